"""The record of acts: a chain of rows in which each holds the hash of the one before.

Order of writing. An act is first committed to its own history table (which makes it true: the version number is
taken, the alias moved), then to ``activity``. The other order could record an act that never happened. A process that
dies between the two leaves an act without its row; the histories tell which, so the next recorder adds it, with the
comment that it was recorded after the fact and with the actor where the history knows one. It waits ``GRACE`` first:
younger acts belong to processes that are about to record them. Under the lock of ``activity``, no act gets more rows
than the histories hold of it, so an act is recorded once, by whoever comes first.

What the chain shows: a row that was altered, removed from the middle or put in. What it cannot show: rows cut off at
the end, or a chain rewritten from some row on by someone who may write the table; keep a copy of the newest hash
elsewhere for that.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lakelineage.model import nodes
from lakelineage.model.clock import wall_clock
from lakelineage.tables import ACTIVITY

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine

#: Microseconds after which an act without its row is taken for orphaned.
GRACE = 60_000_000
REGISTER, SET_ALIAS, DELETE_ALIAS, FORGET = "register", "set_alias", "delete_alias", "forget"
_RECOVERED = "recorded after the fact: the process that acted ended before it could"
#: Acts that the history tables know of, oldest first.
_ACTS = """
    select ingested_at, writer, seq, name, version, null as alias, null as before, user_id, epoch_us(ingested_at) as at
    from model_versions_history
    qualify row_number() over (partition by name, version order by ingested_at, writer, seq) = 1
    union all
    select ingested_at, writer, seq, name, version, alias,
           lag(version) over (partition by name, alias order by ingested_at, writer, seq), user_id,
           epoch_us(ingested_at)
    from aliases_history
    order by 1, 2, 3
"""


@dataclass(frozen=True, slots=True)
class Act:
    """Who did what to what.

    Attributes:
        actor: who.
        action: what was done.
        object: node id of what it was done to.
        from_state: state before.
        to_state: state after.
        comment: why.
        acted_at: when, µs since 1970, UTC.
    """

    actor: str
    action: str
    object: str
    from_state: str | None = None
    to_state: str | None = None
    comment: str | None = None
    acted_at: int = field(default_factory=wall_clock)

    @property
    def key(self) -> tuple[str, str, str | None, str | None]:
        """What tells which act of the histories it is."""
        return self.action, self.object, self.from_state, self.to_state

    def hash(self, previous: str | None) -> str:
        """SHA-256, in hex, over the act and the hash of the one before, as canonical JSON (sorted keys, UTF-8)."""
        content = asdict(self) | {"previous_hash": previous}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def registered(actor: str, name: str, version: int, comment: str | None = None) -> Act:
    """A version was registered."""
    return Act(actor, REGISTER, str(nodes.model(name, version)), None, str(version), comment)


def alias_moved(
    actor: str, name: str, alias: str, before: int | None, after: int | None, comment: str | None = None
) -> Act:
    """An alias was set, moved or (``after`` None) taken off. States are "alias" or "alias -> version"."""
    action = DELETE_ALIAS if after is None else SET_ALIAS
    states = _alias_state(alias, before), _alias_state(alias, after)
    return Act(actor, action, str(nodes.model(name)), *states, comment)


def _alias_state(alias: str, version: int | None) -> str:
    return alias if version is None else f"{alias} -> {version}"


def record(engine: "Engine", act: Act) -> None:
    """Write an act that is already in its history table, and acts of the dead that nobody recorded."""
    known = engine.query(_ACTS, ()).to_pylist()

    def decide(rows: "pa.Table") -> list[tuple[Any, ...]]:
        return _chained(rows, _missing(known, rows, act))

    engine.exclusive(ACTIVITY, decide)


def note(engine: "Engine", act: Act) -> None:
    """Write an act whose own record went another way."""
    engine.exclusive(ACTIVITY, lambda rows: _chained(rows, [act]))


def _missing(known: Sequence[dict[str, Any]], rows: "pa.Table", mine: Act) -> list[Act]:
    recorded = Counter(_act(row).key for row in rows.to_pylist())
    due = time.time_ns() // 1000 - GRACE
    missing: list[Act] = []
    for entry in known:
        act = _known_act(entry)
        if recorded[act.key] > 0:
            recorded[act.key] -= 1
        elif act.key == mine.key and mine not in missing:
            missing.append(mine)
        elif entry["at"] < due:
            missing.append(act)
    return missing


def _known_act(entry: dict[str, Any]) -> Act:
    actor = entry["user_id"] or "unknown"
    if entry["alias"] is None:
        act = registered(actor, entry["name"], entry["version"], _RECOVERED)
    else:
        act = alias_moved(actor, entry["name"], entry["alias"], entry["before"], entry["version"], _RECOVERED)
    return replace(act, acted_at=entry["at"])


def _chained(rows: "pa.Table", acts: Sequence[Act]) -> list[tuple[Any, ...]]:
    previous: str | None = rows.column("hash")[-1].as_py() if rows.num_rows else None
    chain = []
    for act in acts:
        digest = act.hash(previous)
        chain.append(ACTIVITY.row(**asdict(act), previous_hash=previous, hash=digest))
        previous = digest
    return chain


def _act(row: dict[str, Any]) -> Act:
    at = (row["acted_at"] - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return Act(row["actor"], row["action"], row["object"], row["from_state"], row["to_state"], row["comment"], at)


@dataclass(frozen=True, slots=True)
class Broken:
    """A row of ``activity`` that is not as it was written, or not where.

    Attributes:
        position: place in the chain, from 0.
        hash: the row's own.
        reason: what is wrong.
    """

    position: int
    hash: str
    reason: str


def verify(engine: "Engine") -> list[Broken]:
    """Check the whole chain.

    Returns:
        The rows that break it; empty if nothing was altered.
    """
    rows = engine.query("select * from activity order by ingested_at, writer, seq", ()).to_pylist()
    broken = []
    previous: str | None = None
    for position, row in enumerate(rows):
        if row["previous_hash"] != previous:
            broken.append(Broken(position, row["hash"], "the row before it was removed, put in or altered"))
        if _act(row).hash(row["previous_hash"]) != row["hash"]:
            broken.append(Broken(position, row["hash"], "its content is not what its hash was made of"))
        previous = row["hash"]
    return broken
