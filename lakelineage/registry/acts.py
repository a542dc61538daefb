"""What was done to registered models, as the histories tell it: each act is the difference of two states."""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from lakelineage.model import nodes
from lakelineage.model.changes import Stamp
from lakelineage.model.values import Lifecycle
from lakelineage.registry import rules
from lakelineage.registry.activity import Act, act_of
from lakelineage.registry.states import State, model_ids
from lakelineage.tables import (
    ALIASES_HISTORY,
    MODEL_CHECK_RESULTS,
    MODEL_CHECKS_HISTORY,
    MODEL_REQUESTS_HISTORY,
    MODEL_RULES_HISTORY,
    MODEL_VERSIONS_HISTORY,
    REGISTERED_MODELS_HISTORY,
    Table,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine

#: Characters of a description or of a tag's value that an act repeats; the history has all of it.
_MOST_TEXT = 500
_UNKNOWN = "unknown"
#: Status that an answer gives a request → what was done; an approval may leave it open.
_ANSWERS = {
    "open": "approve",
    "approved": "approve",
    "rejected": "reject",
    "cancelled": "cancel",
    "outdated": "close_request",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Known:
    """An act that a row of a history tells of.

    Attributes:
        act: what was done; its actor is "unknown" where the history does not know.
        order: place of the row in the order of the lake.
        state: the row.
    """

    act: Act
    order: tuple[int, str, int]
    state: State

    def is_of(self, stamp: Stamp, rows: int) -> bool:
        """Whether its row is one of those that were written at a place."""
        _, writer, seq = self.order
        return writer == stamp.writer and stamp.seq <= seq < stamp.seq + rows

    def by(self, actor: str, comment: str | None) -> Act:
        """The act as its doer tells it."""
        return replace(self.act, actor=actor, comment=comment)


class Ledger:
    """Acts of the histories that ``activity`` does not hold yet. What was read once is not read again.

    An act is told apart by what was done to what, from what, to what; where that happened several times, as many rows
    of ``activity`` are its record.
    """

    def __init__(self) -> None:
        self._read: Counter[str] = Counter()
        self._states: dict[tuple[str, ...], State] = {}
        self._open: defaultdict[tuple[str | None, ...], deque[Known]] = defaultdict(deque)
        self._ahead: Counter[tuple[str | None, ...]] = Counter()

    def read_histories(self, engine: "Engine") -> bool:
        """Take in what is new in the histories; says whether they are what was read before, and more."""
        histories = [(history, engine.rows(history.table)) for history in _HISTORIES]
        if any(rows.num_rows < self._read[history.table.name] for history, rows in histories):
            return False
        for history, rows in histories:
            new = rows.slice(self._read[history.table.name])
            for model_id, state in zip(model_ids(new), new.to_pylist(), strict=True):
                for known in self._acts(history, model_id, state):
                    self._take(known)
            self._read[history.table.name] = rows.num_rows
        return True

    def read_activity(self, rows: "pa.Table") -> bool:
        """Take in what is new in ``activity``; says whether it is what was read before, and more."""
        if rows.num_rows < self._read["activity"]:
            return False
        for row in rows.slice(self._read["activity"]).to_pylist():
            key = act_of(row).key
            if self._open[key]:
                self._open[key].popleft()
            else:
                self._ahead[key] += 1
            if not self._open[key]:
                del self._open[key]
        self._read["activity"] = rows.num_rows
        return True

    def open(self) -> list[Known]:
        """Acts that are not recorded, in the order of the lake."""
        return sorted((known for waiting in self._open.values() for known in waiting), key=lambda known: known.order)

    def _take(self, known: Known) -> None:
        key = known.act.key
        if self._ahead[key] > 0:
            self._ahead[key] -= 1
        else:
            self._open[key].append(known)

    def _acts(self, history: "_History", model_id: str, state: State) -> Iterator[Known]:
        """The acts between a state and the one before it."""
        own = (history.table.name, model_id, *(str(state[name]) for name in history.of))
        before, self._states[own] = self._states.get(own), state
        at = (state["ingested_at"] - _EPOCH) // timedelta(microseconds=1)
        for act in history.acts(model_id, before, state):
            yield Known(replace(act, acted_at=at), (at, state["writer"], state["seq"]), state)


def _of_model(model_id: str, before: State | None, after: State) -> Iterator[Act]:
    node = str(nodes.model(model_id))
    if before is None:
        # A model that registering its first version made tells no time of a change; the act is that of registering.
        if after["last_updated_at"] is not None:
            yield Act(after["user_id"] or _UNKNOWN, "create_model", node, None, after["name"])
        return
    if after["lifecycle_stage"] != before["lifecycle_stage"]:
        gone = after["lifecycle_stage"] != Lifecycle.ACTIVE
        names = (before["name"], None) if gone else (None, after["name"])
        yield Act(_UNKNOWN, "delete_model" if gone else "restore_model", node, *names)
    if after["name"] != before["name"]:
        yield Act(_UNKNOWN, "rename_model", node, before["name"], after["name"])
    yield from _described(node, before, after)


def _of_version(model_id: str, before: State | None, after: State) -> Iterator[Act]:
    node = str(nodes.model(model_id, after["version"]))
    if before is None:
        yield Act(after["user_id"] or _UNKNOWN, "register", node, None, str(after["version"]))
        return
    if after["lifecycle_stage"] != before["lifecycle_stage"]:
        yield Act(_UNKNOWN, "delete_version", node, str(before["version"]), None)
    if after["stage"] != before["stage"]:
        yield Act(_UNKNOWN, "set_stage", node, before["stage"], after["stage"])
    yield from _described(node, before, after)


def _of_alias(model_id: str, before: State | None, after: State) -> Iterator[Act]:
    alias, version = after["alias"], after["version"]
    old, new = (alias if v is None else f"{alias} -> {v}" for v in (before and before["version"], version))
    action = "delete_alias" if version is None else "set_alias"
    yield Act(after["user_id"] or _UNKNOWN, action, str(nodes.model(model_id)), old, new)


def _of_rules(model_id: str, before: State | None, after: State) -> Iterator[Act]:
    old, new = (None if state is None else _short(rules.of_state(state).told) for state in (before, after))
    yield Act(after["user_id"] or _UNKNOWN, "set_rules", str(nodes.model(model_id)), old, new)


def _of_request(model_id: str, before: State | None, after: State) -> Iterator[Act]:
    if after["status"] == "applied":
        return  # the move that it was about is an act of its own
    old, new = (None if state is None else _asked(state) for state in (before, after))
    action = "request" if before is None else _ANSWERS[after["status"]]
    yield Act(after["user_id"] or _UNKNOWN, action, str(nodes.model(model_id, after["version"])), old, new)


def _asked(state: State) -> str:
    """A request, its status and its approvals, in one line: what tells its acts apart."""
    to = f"stage {state['stage']}" if state["alias"] is None else f"alias {state['alias']}"
    count = len(state["approved_by"] or ())
    approvals = f", {count} approval{'' if count == 1 else 's'}" if count else ""
    return (
        f"request {state['request_id']} ({to}, from {state['from_state'] or 'nothing'}): {state['status']}{approvals}"
    )


def _of_check(model_id: str, before: State | None, after: State) -> Iterator[Act]:
    old, new = (None if state is None else _definition(state) for state in (before, after))
    action = "remove_check" if after["definition"] is None else "set_check"
    yield Act(after["user_id"] or _UNKNOWN, action, str(nodes.model(model_id)), old, new)


def _definition(state: State) -> str | None:
    told = state["definition"]
    return None if told is None else _short(f"{state['check_name']}: {told}")


def _of_result(model_id: str, before: State | None, after: State) -> Iterator[Act]:
    old, new = (None if state is None else _found(state) for state in (before, after))
    yield Act(after["user_id"] or _UNKNOWN, "check", str(nodes.model(model_id, after["version"])), old, new)


def _found(state: State) -> str | None:
    return _short(f"{state['check_name']}: {state['result']}, {state['detail']}")


def _described(node: str, before: State, after: State) -> Iterator[Act]:
    """Changes of the description and of tags."""
    if after["description"] != before["description"]:
        yield Act(_UNKNOWN, "describe", node, _short(before["description"]), _short(after["description"]))
    old, new = dict(before["tags"] or ()), dict(after["tags"] or ())
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key) or (key in old) != (key in new):
            before_, after_ = (f"{key} = {_short(tags[key])}" if key in tags else key for tags in (old, new))
            yield Act(_UNKNOWN, "set_tag" if key in new else "delete_tag", node, before_, after_)


def _short(text: str | None) -> str | None:
    return text if text is None or len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}…"


class _History(NamedTuple):
    """A history: what, besides the model, its rows are states of, and which acts lie between two of them."""

    table: Table
    of: tuple[str, ...]
    acts: Callable[[str, State | None, State], Iterator[Act]]


_HISTORIES = (
    _History(REGISTERED_MODELS_HISTORY, (), _of_model),
    _History(MODEL_VERSIONS_HISTORY, ("version",), _of_version),
    _History(ALIASES_HISTORY, ("alias",), _of_alias),
    _History(MODEL_RULES_HISTORY, (), _of_rules),
    _History(MODEL_REQUESTS_HISTORY, ("request_id",), _of_request),
    _History(MODEL_CHECKS_HISTORY, ("check_name",), _of_check),
    _History(MODEL_CHECK_RESULTS, ("version", "check_name"), _of_result),
)
