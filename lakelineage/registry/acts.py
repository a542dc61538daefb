"""What was done to registered models, as the histories tell it: each act is the difference of two states."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from lakelineage.model import nodes
from lakelineage.model.changes import Stamp
from lakelineage.model.values import Lifecycle
from lakelineage.registry import rules
from lakelineage.registry.activity import Act, act_of
from lakelineage.registry.states import State, model_ids
from lakelineage.tables import (
    ALIASES_HISTORY,
    MODEL_REQUESTS_HISTORY,
    MODEL_RULES_HISTORY,
    MODEL_VERSIONS_HISTORY,
    REGISTERED_MODELS_HISTORY,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine

#: Characters of a description or of a tag's value that an act repeats; the history has all of it.
_MOST_TEXT = 500
_UNKNOWN = "unknown"
_HISTORIES = (
    REGISTERED_MODELS_HISTORY,
    MODEL_VERSIONS_HISTORY,
    ALIASES_HISTORY,
    MODEL_RULES_HISTORY,
    MODEL_REQUESTS_HISTORY,
)
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
        tables = [(table.name, engine.rows(table)) for table in _HISTORIES]
        if any(rows.num_rows < self._read[name] for name, rows in tables):
            return False
        for name, rows in tables:
            new = rows.slice(self._read[name])
            for model_id, state in zip(model_ids(new), new.to_pylist(), strict=True):
                for known in self._acts(name, model_id, state):
                    self._take(known)
            self._read[name] = rows.num_rows
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

    def _acts(self, table: str, model_id: str, state: State) -> Iterator[Known]:
        """The acts between a state and the one before it."""
        own: tuple[str, ...] = (table, model_id)
        if table == MODEL_VERSIONS_HISTORY.name:
            own += (str(state["version"]),)
        elif table == ALIASES_HISTORY.name:
            own += (state["alias"],)
        elif table == MODEL_REQUESTS_HISTORY.name:
            own += (str(state["request_id"]),)
        before, self._states[own] = self._states.get(own), state
        at = (state["ingested_at"] - _EPOCH) // timedelta(microseconds=1)
        told = {
            REGISTERED_MODELS_HISTORY.name: _of_model,
            MODEL_VERSIONS_HISTORY.name: _of_version,
            ALIASES_HISTORY.name: _of_alias,
            MODEL_RULES_HISTORY.name: _of_rules,
            MODEL_REQUESTS_HISTORY.name: _of_request,
        }[table](model_id, before, state)
        for act in told:
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
