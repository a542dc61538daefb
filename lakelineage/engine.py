"""One open lake: what the verbs build on."""

import atexit
import concurrent.futures.thread  # noqa: F401 - cannot be imported at the end of a process, where the last drain needs it
import json
import logging
import os
import re
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lakelineage.errors import ConcurrentWrite, InvalidInput, LakelineageError, StorageFailed, StorageFull
from lakelineage.journal.background import Flusher
from lakelineage.journal.lanes import file_system, hosts, is_network, require_local, segments
from lakelineage.journal.segment import MAGIC
from lakelineage.journal.writer import Journal
from lakelineage.model.changes import Change, Stamp
from lakelineage.model.clock import wall_clock
from lakelineage.model.values import Durability
from lakelineage.settings import FORMAT, Settings, load_or_create
from lakelineage.store import forks
from lakelineage.store.cache import HostCache
from lakelineage.store.delta import DeltaStore
from lakelineage.store.root import Root, storage_errors
from lakelineage.tables import RUNS, Table

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.journal.committer import Committer, Drained
    from lakelineage.query.duckdb.reader import DuckDBReader

_log = logging.getLogger(__name__)

#: Seconds that a flush waits for another process that is draining the same journal.
_FLUSH_TIMEOUT = 120.0


class Reads(Protocol):
    """What a verb that only reads builds on: the lake as it is (:class:`Engine`) or as it was (:class:`Past`)."""

    @property
    def root(self) -> Root:
        """Where the lake is, and its files."""

    @property
    def settings(self) -> Settings:
        """What ``lake.json`` says."""

    @property
    def store(self) -> DeltaStore:
        """The lake's tables."""

    @property
    def cache(self) -> HostCache:
        """What this host keeps of the lake to be quick."""

    @property
    def now(self) -> int:
        """The moment that it is, or was: µs since 1970 UTC."""

    @property
    def present(self) -> "Reads":
        """The lake as it is."""

    def query(self, sql: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> "pa.Table":
        """Answer SQL over all tables.

        Raises:
            InvalidQuery: the engine refused it.
        """

    def select_runs(
        self,
        where: str,
        params: Sequence[Any],
        order: str,
        limit: int | None = None,
        told: Sequence[str] = (),
        columns: Sequence[str] = RUNS.names,
    ) -> "pa.Table":
        """Rows of ``runs``, quickly where few are wanted of many.

        Args:
            where: condition over ``runs`` with the alias ``r``; may have subqueries over other tables.
            params: values for ``?``.
            order: ``ORDER BY`` terms over ``r``.
            limit: greatest number of rows.
            told: expressions over ``r``, for columns ``told_0``, ``told_1``, … behind those of ``runs``.
            columns: of ``runs``; maps cost most.
        """

    def find_run(self, run_id: str, columns: Sequence[str] = RUNS.names) -> dict[str, Any] | None:
        """The row of ``runs`` of one run: column → value of Python, times in UTC. None if there is no such run."""

    def has_rows(self, table: Table) -> bool:
        """Whether a table of facts has any rows, of whatever time; costs less than a query."""


class Engine:
    """An open lake.

    Args:
        uri: folder or object-store URI.
        storage_options: credentials and endpoint, as deltalake takes them.
        durability: ``"power"`` (a returned call survives loss of power) or ``"process"`` (it survives a crash of the
            process; faster).
        create: make the lake if there is none.
        protection: default protection of pins in a new lake.
    """

    def __init__(
        self,
        uri: str | os.PathLike[str],
        storage_options: Mapping[str, str] | None = None,
        *,
        durability: Durability = "power",
        create: bool = True,
        protection: str | None = None,
    ) -> None:
        if durability not in ("power", "process"):
            raise InvalidInput(f"durability {durability!r} is unknown; choose 'power' or 'process'")
        self.durability: Durability = durability
        self.root = Root(uri, storage_options)
        self.settings = load_or_create(self.root, create, protection)
        self.spool = spool_folder(self.root, self.settings)
        self.host_folder = self.spool / _host_name()
        self.after_append: Callable[[Change], None] = lambda _: None
        self.after_drain: Callable[[Drained], None] = lambda _: None
        self.before_close: Callable[[], None] = lambda: None
        self.store = DeltaStore(self.root, sync=durability == "power")
        self._committer: Committer | None = None
        self._flusher = Flusher(lambda: self._drain(0.0))
        with storage_errors(f"opening the journal {self.host_folder}"):
            self.journal = Journal(self.host_folder, durability, self._flusher.notify)
        self._upgrade_if_possible()
        self._reader: DuckDBReader | None = None
        self.known_environments: set[str] = set()
        self._pid = os.getpid()
        self._closed = False
        self._wrote = False
        _open_engines.add(self)
        self._drain_leftovers()

    def _upgrade_if_possible(self) -> None:
        """Upgrade a lake of an older format. One that cannot be written can still be read."""
        try:
            self._upgrade()
        except (StorageFailed, StorageFull, ConcurrentWrite) as error:
            _log.warning(
                "the lake %s has format %d and could not be upgraded to %d; reading works, and what is logged waits in "
                "the journal until it can be: %s",
                self.root.uri,
                self.settings.format,
                FORMAT,
                error,
            )

    def _upgrade(self) -> None:
        """Upgrade a lake of an older format; nothing to do most of the time.

        Raises:
            StorageFailed: the lake cannot be written.
            ConcurrentWrite: another process is at it.
        """
        if self.settings.format >= FORMAT or not forks.usable():
            return  # a forked child only journals
        from lakelineage import migrations

        before = self.settings.format
        self.settings = migrations.upgrade(self.root, self.store, self.spool)
        _log.info("the lake %s was upgraded from format %d to %d", self.root.uri, before, self.settings.format)

    def _folders(self) -> list[Path]:
        """Journal folders to read and drain: all that are here, for a local disk belongs to one running system."""
        here = hosts(self.spool)
        return here if here == [self.host_folder] or not self._on_network else [self.host_folder]

    @cached_property
    def _on_network(self) -> bool:
        """Whether other machines may be at work on the same folder; leases of theirs cannot be trusted."""
        return self.root.local is not None and is_network(file_system(self.spool))

    def _drain_leftovers(self) -> None:
        """Have the flusher commit what processes that have died left behind."""
        left = 0
        for segment in (s for folder in self._folders() for s in segments(folder)):
            with suppress(FileNotFoundError):  # another process committed and released it meanwhile
                left += max(0, segment.path.stat().st_size - len(MAGIC))
        if left:
            self._flusher.notify(left)

    def append(self, change: Change) -> Stamp:
        """Journal a change; durable when it returns, as a whole or not at all. Never touches the Delta engine."""
        self._wrote = True
        stamp = self.journal.append(change)
        self.after_append(change)
        return stamp

    def exclusive(self, table: Table, decide: "Callable[[pa.Table], Sequence[tuple[Any, ...]] | None]") -> Stamp | None:
        """Add rows that depend on all rows there are (unique names, version numbers).

        Args:
            table: one with ``unique=True``.
            decide: given every row as Arrow, in the order of the lake, the rows to add (as ``Table.row`` makes
                them), or none; may raise. It is called again when another writer was faster.

        Returns:
            The place of the rows in the order; None if there were none to add.

        Raises:
            ConcurrentWrite: other writers won every race.
        """
        if not table.unique:
            raise InvalidInput(f"table {table.name} goes through the journal; use append")
        placed: list[Stamp] = []

        def stamped(rows: Sequence[tuple[Any, ...]]) -> "pa.Table":
            import pyarrow as pa

            stamp = self.journal.stamp(len(rows))
            placed[:] = [stamp]
            order = [(stamp.ingested_at, stamp.writer, stamp.seq + i) for i in range(len(rows))]
            columns = [*zip(*order, strict=True), *zip(*rows, strict=True)]
            arrays = [pa.array(c, f.type) for c, f in zip(columns, table.schema, strict=True)]
            return pa.table(arrays, schema=table.schema)

        def witnessed(rows: "pa.Table") -> Sequence[tuple[Any, ...]] | None:
            if rows.num_rows:
                self.journal.witness(rows.column("ingested_at")[-1].value)
            wanted = decide(rows)
            if wanted:
                self._upgrade()
            return wanted

        self._wrote = True
        added = self.store.exclusive(table, witnessed, stamped)
        if added is None:
            return None
        from lakelineage.journal.committer import Drained

        self.after_drain(Drained(added.num_rows, frozenset({table.name})))
        return placed[0]

    def rows(self, table: Table) -> "pa.Table":
        """Every row of a table with ``unique=True``, in the order of the lake: what ``exclusive`` would show now."""
        return self.store.rows(table)

    @cached_property
    def cache(self) -> HostCache:
        """What this host keeps of the lake to be quick."""
        return HostCache(self.root, self.settings.lake_id)

    @property
    def closed(self) -> bool:
        """Whether it was let go of."""
        return self._closed

    @property
    def reader(self) -> "DuckDBReader":
        """The reader; made when first asked for."""
        if self._reader is None:
            self._reader = self._new_reader()
        return self._reader

    @property
    def now(self) -> int:
        """The moment that it is: µs since 1970 UTC."""
        return wall_clock()

    @property
    def present(self) -> "Reads":
        """The lake as it is: itself."""
        return self

    def query(self, sql: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> "pa.Table":
        """Answer SQL over all tables, fresh to the last row of this host."""
        return self.reader.query(sql, params)

    def select_runs(
        self,
        where: str,
        params: Sequence[Any],
        order: str,
        limit: int | None = None,
        told: Sequence[str] = (),
        columns: Sequence[str] = RUNS.names,
    ) -> "pa.Table":
        """Rows of ``runs``, quickly where few are wanted of many."""
        return self.reader.select_runs(where, params, order, limit, told, columns)

    def find_run(self, run_id: str, columns: Sequence[str] = RUNS.names) -> dict[str, Any] | None:
        """The row of ``runs`` of one run; None if there is no such run."""
        return self.reader.find_run(run_id, columns)

    def has_rows(self, table: Table) -> bool:
        """Whether a table of facts has any rows."""
        return self.reader.has_rows(table)

    def at(self, moment: int) -> "Past":
        """The lake as it was at a moment, for reading.

        Args:
            moment: µs since 1970 UTC; what was ingested up to then is seen.
        """
        return Past(self, self._new_reader(moment), moment)

    def _new_reader(self, as_of: int | None = None) -> "DuckDBReader":
        from lakelineage.query.duckdb.reader import DuckDBReader

        return DuckDBReader(self.store, self._folders, self.cache, as_of)

    def flush(self) -> None:
        """Commit all that the journals of this host hold at the time of the call.

        Raises:
            StorageFailed: the store cannot be reached, or another process holds the journal for too long. What was
                logged stays safe in the journal.
        """
        if forks.usable():
            if not self._drain(_FLUSH_TIMEOUT):
                raise StorageFailed(
                    f"another process has been committing the journal {self.spool} for {_FLUSH_TIMEOUT:.0f} s; "
                    "what was logged is safe in the journal, try again"
                )
        else:
            self._drain_elsewhere()

    def _drain(self, timeout: float) -> bool:
        """Commit what is journaled; says whether no folder was left to another committer."""
        self._upgrade()
        if self._committer is None:
            from lakelineage.journal.committer import Committer

            self._committer = Committer(self.store)
        drained = self._committer.drain(self._folders(), timeout)
        if drained.rows:
            self.after_drain(drained)
        return drained.complete

    def _drain_elsewhere(self) -> None:
        """A forked child cannot use the Delta engine: have a fresh process do it."""
        import subprocess

        environment = {**os.environ, "LAKELINEAGE_STORAGE_OPTIONS": json.dumps(self.root.storage_options)}
        command = [sys.executable, "-m", "lakelineage", "--lake", self.root.uri, "flush"]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_FLUSH_TIMEOUT * 2, check=False
        )
        if done.returncode != 0:
            raise StorageFailed(f"flushing {self.root.uri} in a fresh process failed: {done.stderr.strip()[-500:]}")

    def close(self) -> None:
        """Commit what this process logged and let go of everything. The lake can be opened again."""
        if self._closed:
            return
        self._closed = True
        self._flusher.stop()
        self.journal.close()  # before the last drain, so that it can release the lane's segments
        try:
            if (self._wrote or self._flusher.waiting) and self._pid == os.getpid() and forks.usable():
                self._drain(0.0)
                self.before_close()
        finally:
            if self._reader is not None:
                self._reader.close()
            _open_engines.discard(self)


class Past:
    """The lake as it was: what was ingested after a moment is not seen.

    Args:
        engine: the open lake.
        reader: that looks up to the moment.
        now: the moment: µs since 1970 UTC.
    """

    def __init__(self, engine: Engine, reader: "DuckDBReader", now: int) -> None:
        self.now = now
        self.present: Reads = engine
        self.root = engine.root
        self.settings = engine.settings
        self.store = engine.store
        self.cache = engine.cache
        self.query = reader.query
        self.select_runs = reader.select_runs
        self.find_run = reader.find_run
        self.has_rows = reader.has_rows
        self.close = reader.close


def spool_folder(root: Root, settings: Settings) -> Path:
    """Where the journals of a lake are on this host.

    Raises:
        UnsuitableStorage: on a network file system, for a remote lake.
    """
    if root.local is not None:
        return root.local / "journal"
    given = os.environ.get("LAKELINEAGE_SPOOL")
    if given:
        base = Path(given).expanduser().absolute()
    else:
        from platformdirs import user_state_path

        base = user_state_path("lakelineage")
    folder = base / settings.lake_id / "journal"
    require_local(folder)
    return folder


def _host_name() -> str:
    import socket

    return re.sub(r"[^A-Za-z0-9.-]", "_", socket.gethostname()) or "localhost"


_open_engines: "weakref.WeakSet[Engine]" = weakref.WeakSet()


def close_all() -> None:
    """At the end of the process: commit what is journaled, so that other engines see it at once."""
    for engine in list(_open_engines):
        if engine._pid != os.getpid():
            continue
        try:
            engine.close()
        except LakelineageError as error:  # nobody is left to catch it, and other lakes want closing too
            _log.warning(
                "what was logged to %s is safe in the journal but not yet in the tables: %s", engine.root, error
            )


atexit.register(close_all)
