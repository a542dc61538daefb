"""Versions come into stages, and aliases name them. Who may do that is asked of the caller's guard."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakelineage.model.values import Lifecycle
from lakelineage.registry.states import ModelStates, State, VersionStates, aliased
from lakelineage.registry.values import ARCHIVED
from lakelineage.registry.write import record, required_version, tell
from lakelineage.tables import ALIASES_HISTORY, MODEL_VERSIONS_HISTORY, REGISTERED_MODELS_HISTORY
from lakelineage.tracking.capture import current_user

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine
    from lakelineage.model.changes import Stamp

#: Told the state of a version before it comes in; raises if it may not.
Guard = Callable[[State], None]


@dataclass(frozen=True, slots=True)
class Move:
    """A version that shall come into a stage, or be named by an alias.

    Attributes:
        model_id: of the registered model.
        version: number.
        stage: where it goes; None: the move is of an alias.
        alias: what shall name it; None: the move is to a stage.
        archive: move the other versions of the stage to "Archived".
    """

    model_id: str
    version: int
    stage: str | None = None
    alias: str | None = None
    archive: bool = False

    def __str__(self) -> str:
        return f"stage {self.stage}" if self.alias is None else f"alias {self.alias}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the version of a move, or its alias, is.

    Attributes:
        state: of the version; None if it or its model was deleted.
        steps: stages that the version had, or versions that the alias named, one after another.
        now: the stage that the version is in, or the version that the alias names; None if it names none.
    """

    state: State | None
    steps: tuple[str, ...]
    now: str | None


def active_name(engine: "Engine", model_id: str) -> str | None:
    """The name of a model as it is called now; None if it was deleted."""
    state = ModelStates(engine.rows(REGISTERED_MODELS_HISTORY)).state(model_id)
    return state["name"] if state["lifecycle_stage"] == Lifecycle.ACTIVE else None


def place(engine: "Engine", move: Move, versions: "pa.Table | None" = None, aliases: "pa.Table | None" = None) -> Place:
    """Where the version of a move, or its alias, is.

    Args:
        engine: the open lake.
        move: which.
        versions: rows of ``model_versions_history``; default those that there are now.
        aliases: rows of ``aliases_history``; default those that there are now.
    """
    states = VersionStates(engine.rows(MODEL_VERSIONS_HISTORY) if versions is None else versions, move.model_id)
    state = None if active_name(engine, move.model_id) is None else states.state(move.version)
    if move.alias is None:
        steps = tuple(states.stages_of(move.version))
        return Place(state, steps, None if state is None else state["stage"])
    named = aliased(engine.rows(ALIASES_HISTORY) if aliases is None else aliases, move.model_id, move.alias)
    last = named[-1] if named else None
    # With a deleted version its aliases went.
    now = None if last is None or states.state(last) is None else str(last)
    return Place(state, tuple(map(str, named)), now)


def steps_ahead(found: Place, move: Move, expected: int) -> bool | None:
    """Whether a move that was wanted after so many steps is made already; None if it may still be made."""
    if found.state is None:
        return False
    if len(found.steps) == expected:
        return None
    return found.steps[expected : expected + 1] == (str(move.version) if move.stage is None else move.stage,)


def perform(
    engine: "Engine",
    move: Move,
    at: int,
    comment: str | None = None,
    *,
    guard: Guard | None = None,
    expected: int | None = None,
) -> bool:
    """Make a move, in one commit with the versions that are archived for it, and record it.

    Args:
        engine: the open lake.
        move: what goes where.
        at: when, µs since 1970 UTC; an alias has no time of its own.
        comment: why.
        guard: who may; asked only if something changes.
        expected: steps that there were when the move was wanted. It is made after exactly these, so that it is made
            once, whoever tries; and not at all if something else came between.

    Returns:
        Whether the version came to where it shall be; without ``expected`` it always does.

    Raises:
        ModelNotFound: there is no such model or version (without ``expected``).
    """
    name = active_name(engine, move.model_id) or move.model_id
    found = place(engine, move)
    made = None if expected is None else steps_ahead(found, move, expected)
    if made is not None:
        return made
    versions = VersionStates(engine.rows(MODEL_VERSIONS_HISTORY), move.model_id)
    _guarded(required_version(versions, name, move.version), move, found.now, guard)
    if move.stage is None:
        return _to_alias(engine, move, name, comment, guard, expected)
    tell(engine, name, at)
    return _to_stage(engine, move, name, at, comment, guard, expected)


def _guarded(state: State, move: Move, now: str | None, guard: Guard | None) -> None:
    there = now == (move.stage if move.stage is not None else str(move.version))
    if guard is not None and not there:
        guard(state)


def _to_stage(
    engine: "Engine",
    move: Move,
    name: str,
    at: int,
    comment: str | None,
    guard: Guard | None,
    expected: int | None,
) -> bool:
    assert move.stage is not None
    wanted: str = move.stage
    made, count = [True], [0]

    def decide(rows: "pa.Table") -> list[tuple[Any, ...]]:
        states, found = VersionStates(rows, move.model_id), place(engine, move, versions=rows)
        ahead = None if expected is None else steps_ahead(found, move, expected)
        made[:] = [ahead is not False]
        if ahead is not None:
            return []
        _guarded(required_version(states, name, move.version), move, found.now, guard)
        others = [each for each in states.in_stage(wanted) if each != move.version] if move.archive else []
        targets = [*((each, ARCHIVED) for each in others), (move.version, wanted)]
        count[:] = [len(targets)]
        changed = ((required_version(states, name, each), to) for each, to in targets)
        return [states.changed(state, name=name, stage=to, last_updated_at=at) for state, to in changed]

    stamp = engine.exclusive(MODEL_VERSIONS_HISTORY, decide)
    record(engine, [(stamp, count[0])], comment)
    return made[0]


def _to_alias(
    engine: "Engine",
    move: Move,
    name: str,
    comment: str | None,
    guard: Guard | None,
    expected: int | None,
) -> bool:
    made = [True]

    def decide(rows: "pa.Table") -> list[tuple[Any, ...]]:
        found = place(engine, move, aliases=rows)
        ahead = None if expected is None else steps_ahead(found, move, expected)
        made[:] = [ahead is not False]
        if ahead is not None or found.now == str(move.version):
            return []
        versions = VersionStates(engine.rows(MODEL_VERSIONS_HISTORY), move.model_id)
        _guarded(required_version(versions, name, move.version), move, found.now, guard)
        return [_alias_row(move.model_id, name, move.alias, move.version)]

    stamp = engine.exclusive(ALIASES_HISTORY, decide)
    record(engine, [(stamp, 1)], comment)
    return made[0]


def _alias_row(model_id: str, name: str, alias: str | None, version: int | None) -> tuple[Any, ...]:
    told = {"name": name, "registered_model_id": model_id, "user_id": current_user()}
    return ALIASES_HISTORY.row(alias=alias, version=version, **told)


def delete_alias(engine: "Engine", model_id: str, name: str, alias: str, comment: str | None = None) -> bool:
    """Take an alias off. No rule forbids that: what must not be used can always be taken out of use.

    Returns:
        Whether it named a version.
    """

    def decide(rows: "pa.Table") -> list[tuple[Any, ...]]:
        named = aliased(rows, model_id, alias)
        versions = VersionStates(engine.rows(MODEL_VERSIONS_HISTORY), model_id)
        if not named or named[-1] is None or versions.state(named[-1]) is None:
            return []
        return [_alias_row(model_id, name, alias, None)]

    stamp: Stamp | None = engine.exclusive(ALIASES_HISTORY, decide)
    record(engine, [(stamp, 1)], comment)
    return stamp is not None
