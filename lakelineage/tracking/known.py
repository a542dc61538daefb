"""What this process knows of runs that are being logged: enough to check a call without asking the tables.

What is known of a run is its state and its params. Appends of this process change it at once. It is read anew when
another process of the host may have changed it: every append moves the clock that the processes of a host share. An
append of another process takes its place in the order before its rows are written, so what was read less than
``SETTLING`` after such a place is read again. Other hosts are seen when what is known is older than ``STALE``: they
share a lake by its tables alone, with the delay of commits.

A forked child cannot read the tables: what its parent knew has to do.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lakelineage.engine import Engine
from lakelineage.errors import ForkedProcess, ParamConflict, RunNotFound
from lakelineage.model.changes import Change, Row, Rows
from lakelineage.model.clock import wall_clock
from lakelineage.model.values import Lifecycle, RunStatus
from lakelineage.store import forks
from lakelineage.tables import PARAMS, RUNS_HISTORY
from lakelineage.tracking.active import RunState
from lakelineage.tracking.start import load_state

#: Microseconds after the place of another process's append in which its rows may not be written yet.
SETTLING = 1_000_000
#: Microseconds for which a run of a lake that other hosts share is known.
STALE = 30_000_000
#: Runs that are remembered.
_MANY = 2_000


@dataclass(slots=True)
class KnownRun:
    """A run, as this process knows it.

    Attributes:
        state: its newest state.
        params: its params.
        foreign: the newest place of another process when it was read.
        read_at: when it was read, µs since 1970 UTC.
        lock: held while its params are checked and added.
    """

    state: RunState
    params: dict[str, str]
    foreign: int
    read_at: int
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def settled(self) -> bool:
        """Whether all that others had appended when it was read was there to be read."""
        return self.read_at - self.foreign > SETTLING


class KnownRuns:
    """The runs that one open lake knows. Safe to share between threads.

    Args:
        engine: the open lake; there is one ``KnownRuns`` for each.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._shared = engine.root.local is None
        self._runs: OrderedDict[str, KnownRun] = OrderedDict()
        self._lock = threading.Lock()
        engine.after_append = self._follow

    def get(self, run_id: str) -> KnownRun:
        """A run, deleted or not.

        Raises:
            RunNotFound: there is no such run, or it was purged.
        """
        foreign = self._engine.journal.clock.foreign()
        known = self._runs.get(run_id)
        if known is None or not self._fresh(known, foreign):
            known = self._read(run_id, foreign, known)
        if known.state.lifecycle_stage is Lifecycle.PURGED:
            raise RunNotFound(f"run {run_id} was deleted for good")
        return known

    def _fresh(self, known: KnownRun, foreign: int) -> bool:
        if self._shared and wall_clock() - known.read_at > STALE:
            return False
        return known.foreign == foreign and (foreign == 0 or known.settled)

    def _read(self, run_id: str, foreign: int, known: KnownRun | None) -> KnownRun:
        if known is not None and not forks.usable():
            return known
        read_at = wall_clock()
        try:
            state, params = load_state(self._engine, run_id)
        except ForkedProcess as error:
            raise RunNotFound(
                f"run {run_id} is not known to this forked process, and it cannot read the lake; spawn it instead, or "
                "let its parent log to the run before it forks"
            ) from error
        return self._remember(KnownRun(state, params, foreign, read_at))

    def _remember(self, known: KnownRun) -> KnownRun:
        with self._lock:
            there = self._runs.get(known.state.run_id)
            if there is not None:
                known.lock = there.lock
            self._runs[known.state.run_id] = known
            self._runs.move_to_end(known.state.run_id)
            while len(self._runs) > _MANY:
                self._runs.popitem(last=False)
        return known

    def began(self, state: RunState) -> KnownRun:
        """Take note of a run that this process has just begun: nothing of it is elsewhere."""
        return self._remember(KnownRun(state, {}, self._engine.journal.clock.foreign(), wall_clock()))

    def _follow(self, change: Change) -> None:
        for part in change:
            if isinstance(part, Rows) and part.table == RUNS_HISTORY.name:
                self._follow_states(part.rows)
            elif isinstance(part, Rows) and part.table == PARAMS.name:
                for run_id, key, value in part.rows:
                    known = self._runs.get(run_id)
                    if known is not None:
                        known.params.setdefault(key, value)

    def _follow_states(self, rows: tuple[Row, ...]) -> None:
        for row in rows:
            known = self._runs.get(row[0])
            if known is not None:
                known.state = state_of(dict(zip(RUNS_HISTORY.names, row, strict=True)))

    @contextmanager
    def new_params(self, run_id: str, given: Mapping[str, str]) -> "Iterator[tuple[Row, ...]]":
        """Rows of the params that a run does not have yet; whoever appends them does so before the block ends.

        Raises:
            ParamConflict: the run has other values of some of them.
            RunNotFound: there is no such run.
        """
        known = self.get(run_id)
        with known.lock:
            conflicts = {k: (known.params[k], v) for k, v in given.items() if known.params.get(k, v) != v}
            if conflicts:
                raise ParamConflict(f"run {run_id} has other values of {', '.join(map(repr, conflicts))}", conflicts)
            yield tuple((run_id, k, v) for k, v in given.items() if k not in known.params)


def state_of(row: dict[str, Any]) -> RunState:
    """A plain row of ``runs_history`` as a value."""
    row["status"], row["lifecycle_stage"] = RunStatus(row["status"]), Lifecycle(row["lifecycle_stage"])
    return RunState(**row)
