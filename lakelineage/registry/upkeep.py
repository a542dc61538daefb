"""Going back to the version before, archiving versions that nothing points at, finishing what the dead began."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lakelineage.errors import ConcurrentWrite, InvalidInput, ModelNotFound
from lakelineage.model.clock import wall_clock
from lakelineage.model.moments import parse_duration
from lakelineage.registry import activity, moves, requests, rules, write
from lakelineage.registry.moves import Move
from lakelineage.registry.states import State, VersionStates, aliased
from lakelineage.registry.values import ARCHIVED
from lakelineage.tables import ALIASES_HISTORY, MODEL_VERSIONS_HISTORY

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine


def complete(engine: "Engine") -> int:
    """Do what is left of acts whose processes died: moves of approved requests, rows of the record, edges of versions.

    Returns:
        The number of requests whose move was made.

    Raises:
        ConcurrentWrite: other writers were always faster; trying again is safe.
    """
    done = requests.complete(engine)
    activity.record(engine, ())
    return done


def before(named: Iterable[int | None], now: int | None, there: Iterable[int]) -> int | None:
    """The version to go back to.

    Going back to a version takes what came after it off the way, so that going back twice goes further.

    Args:
        named: versions, one after another; None while there was none.
        now: the one of the moment, if there is one.
        there: versions that were not deleted.
    """
    way: list[int] = []
    for version in named:
        if version is not None and way[-2:-1] == [version]:
            way.pop()
        elif version is not None and way[-1:] != [version]:
            way.append(version)
    known = set(there)
    return next((version for version in reversed(way) if version in known and version != now), None)


def roll_back_alias(engine: "Engine", name: str, alias: str, comment: str | None) -> int:
    """Let an alias name the version that it named before.

    Returns:
        That version.

    Raises:
        ModelNotFound: there is no such model, or the alias named no other version.
        ConcurrentWrite: somebody moved the alias in the meantime.
    """
    own = write.model_id(engine, name)
    requests.complete(engine)
    states = VersionStates(engine.rows(MODEL_VERSIONS_HISTORY), own)
    named = aliased(engine.rows(ALIASES_HISTORY), own, alias)
    there = states.active
    now = named[-1] if named and named[-1] in there else None
    return _back(engine, name, before(named, now, there), Move(own, 0, alias=alias), comment)


def roll_back_stage(engine: "Engine", name: str, stage: str, comment: str | None) -> int:
    """Let the version come back that was in a stage before; the one that is there is archived.

    Returns:
        That version.

    Raises:
        ModelNotFound: there is no such model, or no other version was in the stage.
        ConcurrentWrite: somebody moved the version in the meantime.
    """
    own = write.model_id(engine, name)
    requests.complete(engine)
    states = VersionStates(engine.rows(MODEL_VERSIONS_HISTORY), own)
    entered, inside = states.entered(stage), states.in_stage(stage)
    now = next((version for version in reversed(entered) if version in inside), None)
    return _back(engine, name, before(entered, now, states.active), Move(own, 0, stage=stage, archive=True), comment)


def _back(engine: "Engine", name: str, version: int | None, way: Move, comment: str | None) -> int:
    if version is None:
        raise ModelNotFound(f"model {name!r} has no version that {way} could go back to; `lakelineage models activity`")
    move = Move(way.model_id, version, way.stage, way.alias, way.archive)
    told = f"roll back{'' if comment is None else f': {comment}'}"
    expected = len(moves.place(engine, move).steps)
    guard = rules.guard(engine, name, move)
    if not moves.perform(engine, move, wall_clock(), told, guard=guard, expected=expected):
        raise ConcurrentWrite(
            f"{move} of {name!r} was moved in the meantime; look at it, and roll back again if needed"
        )
    return version


@dataclass(frozen=True, slots=True)
class Rule:
    """Which versions are to be archived.

    Attributes:
        keep: the newest so many stay.
        older_than: younger ones stay: a duration such as "90d".
        stages: only versions that are in one of these.
    """

    keep: int
    older_than: str
    stages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Retired:
    """What became of a version.

    Attributes:
        version: number.
        stage: that it was in.
        created_at: when it was registered, UTC.
        archived: whether it was archived, or would be.
        reason: why it stays; None if it does not.
    """

    version: int
    stage: str
    created_at: datetime
    archived: bool
    reason: str | None


def retire(engine: "Engine", name: str, rule: Rule, dry_run: bool, comment: str | None) -> list[Retired]:
    """Archive the versions that a rule names, in one commit.

    Raises:
        ModelNotFound: no model has this name.
        ApprovalNeeded: the model's rules let versions be archived by request only.
        InvalidInput: a rule that cannot be.
    """
    own = write.model_id(engine, name)
    oldest = datetime.now(UTC) - _age(rule)
    named = _named(engine, own)  # not in decide: who sets an alias holds that table, and looks at versions
    asked = {request.version for request in requests.listed(engine, own, "open")}
    found: list[Retired] = []

    def decide(rows: "pa.Table") -> list[tuple[Any, ...]]:
        states = VersionStates(rows, own)
        found[:] = _judged(states, rule, oldest, named, asked)
        leaving = [required for each in found if each.archived and (required := states.state(each.version))]
        for state in leaving:
            rules.guard(engine, name, Move(own, state["version"], stage=ARCHIVED))(state)
        at = wall_clock()
        return [states.changed(state, name=name, stage=ARCHIVED, last_updated_at=at) for state in leaving]

    if dry_run:
        decide(engine.rows(MODEL_VERSIONS_HISTORY))
        return found
    stamp = engine.exclusive(MODEL_VERSIONS_HISTORY, decide)
    write.record(engine, [(stamp, sum(each.archived for each in found))], comment)
    return found


def _age(rule: Rule) -> timedelta:
    if rule.keep < 0:
        raise InvalidInput(f"keep={rule.keep} is negative; say how many of the newest versions stay")
    if ARCHIVED in rule.stages or not rule.stages:
        raise InvalidInput(f"choose stages whose versions shall be archived, not {', '.join(rule.stages) or 'none'}")
    return parse_duration(rule.older_than)


def _named(engine: "Engine", own: str) -> dict[int, str]:
    """Version → an alias that names it."""
    import pyarrow.compute as pc

    rows = engine.rows(ALIASES_HISTORY)
    mine = rows.filter(pc.equal(pc.coalesce(rows["registered_model_id"], rows["name"]), own)).to_pylist()
    return {version: alias for alias, version in {row["alias"]: row["version"] for row in mine}.items() if version}


def _judged(
    states: VersionStates, rule: Rule, oldest: datetime, named: dict[int, str], asked: set[int]
) -> list[Retired]:
    newest = set(sorted(states.active)[-rule.keep :]) if rule.keep else set()

    def reason(state: State) -> str | None:
        version = state["version"]
        if version in newest:
            return f"one of the newest {rule.keep}"
        if version in named:
            return f"alias {named[version]} names it"
        if version in asked:
            return "a request about it is open"
        return f"younger than {rule.older_than}" if state["created_at"] > oldest else None

    judged = []
    for version in sorted(states.active):
        state = states.state(version)
        if state is not None and state["stage"] in rule.stages:
            why = reason(state)
            judged.append(Retired(version, state["stage"], state["created_at"], why is None, why))
    return judged
