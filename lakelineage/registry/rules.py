"""Rules of a registered model: how a version of it may come into use.

Rules are about what comes in, never about what goes out: an alias can always be taken off, and a version archived or
deleted (unless "Archived" is itself a stage that the rules name), so that a bad model can be taken out of use at once.
They are read right before a change is decided; a change of the rules in that very moment may come too late for it, and
the record shows both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from lakelineage.errors import ApprovalNeeded, ChecksNotPassed, InvalidInput
from lakelineage.model import validate
from lakelineage.registry import checks, write
from lakelineage.registry.moves import Guard, Move
from lakelineage.registry.names import alias_name
from lakelineage.registry.states import State
from lakelineage.registry.values import checked_stage
from lakelineage.tables import MODEL_RULES_HISTORY
from lakelineage.tracking.capture import current_user

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine


@dataclass(frozen=True, slots=True)
class Rules:
    """How a version of a registered model may come into some stages, or be named by some aliases.

    Attributes:
        stages: stages that the rules are about.
        aliases: aliases that the rules are about.
        approvers: who may approve; none means everybody.
        approvals: how many different people must approve, from 1.
        requester_may_approve: whether who asks may approve too.
        checks: names of checks that the version must have passed.
        direct: whether a version may also come in without a request.
    """

    stages: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    approvers: tuple[str, ...] = ()
    approvals: int = 1
    requester_may_approve: bool = False
    checks: tuple[str, ...] = ()
    direct: bool = False

    def cover(self, move: Move) -> bool:
        """Whether they are about a move."""
        return move.stage in self.stages if move.alias is None else move.alias in self.aliases

    @property
    def told(self) -> str:
        """They in one line, for the record."""
        who = ", ".join(self.approvers) or "anybody"
        own = "" if self.requester_may_approve else " but who asks"
        about = ", ".join([*(f"stage {each}" for each in self.stages), *(f"alias {each}" for each in self.aliases)])
        checks_ = f"; checks {', '.join(self.checks)}" if self.checks else ""
        return f"{about or 'nothing'}: {self.approvals} of {who}{own}{checks_}; {'' if self.direct else 'not '}direct"


#: Of what no rule is about: whoever asks may approve, and nobody has to ask.
FREE = Rules(requester_may_approve=True, direct=True)
_NAMES = tuple(asdict(FREE))


def current(engine: "Engine", model_id: str) -> Rules:
    """The rules of a model; about nothing if it has none."""
    return _newest(engine.rows(MODEL_RULES_HISTORY), model_id)


def _newest(rows: "pa.Table", model_id: str) -> Rules:
    import pyarrow.compute as pc

    own = rows.filter(pc.equal(rows["registered_model_id"], model_id))
    return of_state(own.slice(own.num_rows - 1).to_pylist()[0]) if own.num_rows else Rules()


def of_state(state: State) -> Rules:
    """A row of ``model_rules_history`` as a value."""
    told: dict[str, Any] = {name: state[name] for name in _NAMES}
    told |= {name: tuple(value) for name, value in told.items() if isinstance(value, list)}
    return Rules(**told)


def for_move(engine: "Engine", move: Move) -> Rules:
    """What holds for a move."""
    rules = current(engine, move.model_id)
    return rules if rules.cover(move) else FREE


def set_rules(engine: "Engine", name: str, given: Mapping[str, Any], comment: str | None) -> Rules:
    """Change rules of a model.

    Args:
        engine: the open lake.
        name: of the model.
        given: attributes of :class:`Rules`; those that are not named, or None, stay.
        comment: why.

    Returns:
        The rules that the model has now.

    Raises:
        ModelNotFound: no model has this name.
        InvalidInput: rules that cannot be, or that nobody could meet.
    """
    own = write.model_id(engine, name)
    wanted = _checked({key: value for key, value in given.items() if value is not None})
    made: list[Rules] = []

    def decide(rows: "pa.Table") -> list[tuple[Any, ...]]:
        before = _newest(rows, own)
        after = replace(before, **wanted)
        _require_sense(name, after, wanted)
        made[:] = [after]
        if after == before:
            return []
        told = {"registered_model_id": own, "name": name, "user_id": current_user(), "comment": comment}
        return [MODEL_RULES_HISTORY.row(**told, **asdict(after))]

    write.record(engine, [(engine.exclusive(MODEL_RULES_HISTORY, decide), 1)], comment)
    return made[0]


def _checked(given: Mapping[str, Any]) -> dict[str, Any]:
    of_each: dict[str, Any] = {
        "stages": checked_stage,
        "aliases": alias_name,
        "approvers": lambda value: validate.key(value, "approver"),
        "checks": lambda value: validate.key(value, "check"),
    }
    found: dict[str, Any] = {}
    for key, value in given.items():
        if key in of_each:
            found[key] = tuple(dict.fromkeys(of_each[key](each) for each in _several(value, key)))
        elif key == "approvals":
            found[key] = validate.step(value)
        elif isinstance(value, bool):
            found[key] = value
        else:
            raise InvalidInput(f"{key} is yes or no (True or False), not {value!r}")
    return found


def _several(value: object, what: str) -> Sequence[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidInput(f"{what} are a list, such as [{value!r}], not {type(value).__name__}")
    return value


def _require_sense(name: str, rules: Rules, given: Mapping[str, Any]) -> None:
    """Refuse rules that are about nothing, or that nobody could meet."""
    if not rules.stages and not rules.aliases and not {"stages", "aliases"} & given.keys():
        raise InvalidInput(
            f"say what the rules of {name!r} are about: stages=['Production'], aliases=['champion'], or both"
        )
    if rules.approvals < 1:
        raise InvalidInput(f"approvals={rules.approvals} is too few; with direct=True no approval is needed at all")
    if rules.approvers and len(rules.approvers) < rules.approvals:
        raise InvalidInput(
            f"{rules.approvals} approvals cannot be had of {len(rules.approvers)} approvers "
            f"({', '.join(rules.approvers)}); name more, or want fewer approvals"
        )


def guard(engine: "Engine", name: str, move: Move) -> Guard:
    """What a move without a request has to pass.

    Raises:
        ApprovalNeeded: the rules want a request (when it is called).
        ChecksNotPassed: the version lacks checks.
    """

    def require(state: State) -> None:
        rules = for_move(engine, move)
        if not rules.direct:
            raise ApprovalNeeded(
                f"by the rules of model {name!r}, a version comes to {move} by request only; ask with "
                f"`lakelineage models request {name}@{move.version} {_option(move)}` "
                f"(in Python lake.models.request({name!r}, {move.version}, {_argument(move)}))"
            )
        require_checks(engine, rules, name, move, state)

    return require


def _option(move: Move) -> str:
    return f"--stage {move.stage}" if move.alias is None else f"--alias {move.alias}"


def _argument(move: Move) -> str:
    return f"stage={move.stage!r}" if move.alias is None else f"alias={move.alias!r}"


def require_checks(engine: "Engine", rules: Rules, name: str, move: Move, state: State) -> None:
    """Refuse a version that has not passed the checks that rules want.

    Raises:
        ChecksNotPassed: it lacks some.
    """
    if not rules.checks:
        return
    known = checks.Checks(engine, move.model_id)
    told = known.standing(move.version, dict(state["tags"] or ()))
    lacking = [check for check in rules.checks if told.get(check) != checks.PASSED]
    if lacking:
        first = lacking[0]
        remedy = (
            f"`lakelineage models validate {name}@{move.version}` runs it"
            if first in known.definitions
            else f"the tag {checks.TAG}{first}={checks.PASSED} tells that one passed which is not defined in the lake"
        )
        last = known.newest(move.version).get(first)
        found = f" ({last.detail})" if last is not None else ""
        raise ChecksNotPassed(
            f"by the rules of model {name!r}, version {move.version} must have passed the checks {', '.join(lacking)} "
            f"before it comes to {move}; {first} is {told.get(first, checks.MISSING)}{found}; {remedy}"
        )
