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
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lakelineage.model import nodes
from lakelineage.model.changes import Stamp
from lakelineage.model.clock import wall_clock
from lakelineage.tables import ACTIVITY
from lakelineage.tracking.capture import current_user

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine
    from lakelineage.registry.acts import Known, Ledger

#: Microseconds after which an act without its row is taken for orphaned.
GRACE = 60_000_000
FORGET = "forget"
_lock = threading.Lock()
#: What each open lake's histories told so far.
_ledgers: "weakref.WeakKeyDictionary[Engine, Ledger]" = weakref.WeakKeyDictionary()
_RECOVERED = "recorded after the fact: the process that acted ended before it could"


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


def record(engine: "Engine", written: Sequence[tuple[Stamp, int]], comment: str | None = None) -> None:
    """Write acts that are already in their history tables, and acts of the dead that nobody recorded.

    Args:
        engine: the open lake.
        written: places of the rows that this process has just written to the histories, and how many rows each holds;
            with none, only acts of the dead are recorded.
        comment: why.
    """
    actor = current_user()
    with _lock:
        due = time.time_ns() // 1000 - GRACE
        late = [known for known in _caught_up(engine, engine.rows(ACTIVITY)).open() if known.act.acted_at < due]
        for known in late:
            _complete_lineage(engine, known)
        if not written and not late:
            return

        def decide(rows: "pa.Table") -> list[tuple[Any, ...]]:
            acts = []
            for known in _caught_up(engine, rows).open():
                if any(known.is_of(stamp, count) for stamp, count in written):
                    acts.append(known.by(actor, comment))
                elif known.act.acted_at < due:
                    acts.append(replace(known.act, comment=_RECOVERED))
            return _chained(rows, acts)

        engine.exclusive(ACTIVITY, decide)


def _caught_up(engine: "Engine", rows: "pa.Table") -> "Ledger":
    """The ledger of a lake, told of all that is in the histories and of these rows of ``activity``."""
    from lakelineage.registry.acts import Ledger

    ledger = _ledgers.setdefault(engine, Ledger())
    if not (ledger.read_histories(engine) and ledger.read_activity(rows)):
        ledger = _ledgers[engine] = Ledger()  # a table is not what it was and more: somebody restored it
        ledger.read_histories(engine)
        ledger.read_activity(rows)
    return ledger


def _complete_lineage(engine: "Engine", known: "Known") -> None:
    """Tell the graph of a version whose registering process died before it could."""
    from lakelineage.registry import edges

    if known.act.action == "register":
        version, source, run_id = known.act.object, known.state["source"], known.state["run_id"]
        wanted = [*edges.of_version(version, source), *edges.of_run(engine, version, source, run_id)]
        edges.add(engine, edges.missing(engine, wanted), run_id)


def note(engine: "Engine", act: Act) -> None:
    """Write an act whose own record went another way."""
    engine.exclusive(ACTIVITY, lambda rows: _chained(rows, [act]))


def _chained(rows: "pa.Table", acts: Sequence[Act]) -> list[tuple[Any, ...]]:
    previous: str | None = rows.column("hash")[-1].as_py() if rows.num_rows else None
    chain = []
    for act in acts:
        digest = act.hash(previous)
        chain.append(ACTIVITY.row(**asdict(act), previous_hash=previous, hash=digest))
        previous = digest
    return chain


def acts_on(engine: "Engine", model_id: str | None, version: int | None) -> "pa.Table":
    """Acts as they were recorded, oldest first.

    Args:
        engine: the open lake.
        model_id: on this registered model and its versions; None: all acts.
        version: on this version, and on aliases when they came to it or left it.
    """
    columns = "acted_at, actor, action, object, from_state, to_state, comment, hash"
    where, values = "true", []
    if model_id is not None:
        node, named = str(nodes.model(model_id)), f" -> {version}"
        where, values = "(object = ? or starts_with(object, ?))", [node, f"{node}@"]
        if version is not None:
            where = "(object = ? or (object = ? and (ends_with(from_state, ?) or ends_with(to_state, ?))))"
            values = [f"{node}@{version}", node, named, named]
    return engine.query(f"select {columns} from activity where {where} order by ingested_at, writer, seq", values)


def act_of(row: dict[str, Any]) -> Act:
    """A row of ``activity`` as a value."""
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


@dataclass(frozen=True, slots=True)
class Chain:
    """The record of acts, checked.

    Attributes:
        acts: how many it holds.
        head: hash of the newest; None if there is none. Kept elsewhere, it shows whether the chain was made anew.
        broken: rows that are not as they were written, or not where.
        missing: acts that the histories tell of and the record does not, for longer than a minute: rows were cut off
            its end, or a process ended before it could record them (then the next act records them too).
    """

    acts: int
    head: str | None
    broken: tuple[Broken, ...]
    missing: tuple[Act, ...]

    @property
    def ok(self) -> bool:
        """Whether all is as it was written."""
        return not self.broken and not self.missing


def check(engine: "Engine") -> Chain:
    """Check the whole record: the chain itself, and whether it holds every act of the histories."""
    from lakelineage.registry.acts import Ledger

    rows, ledger = engine.rows(ACTIVITY), Ledger()
    ledger.read_histories(engine)
    ledger.read_activity(rows)
    due = time.time_ns() // 1000 - GRACE
    missing = tuple(known.act for known in ledger.open() if known.act.acted_at < due)
    head = rows.column("hash")[-1].as_py() if rows.num_rows else None
    return Chain(rows.num_rows, head, tuple(_broken(rows.to_pylist())), missing)


def _broken(rows: list[dict[str, Any]]) -> list[Broken]:
    broken = []
    previous: str | None = None
    for position, row in enumerate(rows):
        if row["previous_hash"] != previous:
            broken.append(Broken(position, row["hash"], "the row before it was removed, put in or altered"))
        if act_of(row).hash(row["previous_hash"]) != row["hash"]:
            broken.append(Broken(position, row["hash"], "its content is not what its hash was made of"))
        previous = row["hash"]
    return broken
