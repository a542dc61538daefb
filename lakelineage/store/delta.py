"""Commits to, and snapshots of, the lake's own Delta tables."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lakelineage.errors import ConcurrentWrite, StorageFailed, StorageFull
from lakelineage.store import columns, faults, forks
from lakelineage.store.all_rows import AllRows
from lakelineage.store.log_files import sync_checkpoints, sync_commits, trim_log
from lakelineage.store.parquet import writer_properties
from lakelineage.store.root import Root
from lakelineage.tables import Column, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable

#: Logs of the lake's own tables stay short: as-of questions are answered by ``ingested_at``, never by Delta versions.
PROPERTIES = {
    "delta.checkpointInterval": "100",
    "delta.logRetentionDuration": "interval 1 hours",
    "delta.deletedFileRetentionDuration": "interval 3 hours",
}
#: Seconds for which "the next log file does not exist" proves that a table has not changed. It must be well below
#: the log retention, after which a later log file could exist without the next one.
_TRUST = 300.0
#: Columns whose smallest and greatest value of each file are looked at.
_RANGES = ("writer", "run_id")
#: Nanoseconds after which a folder's time of change tells any later change: file systems count it in steps.
_SETTLED = 1_000_000_000
_LOCK_ID = "exclusive"


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file of a table.

    Attributes:
        path: path or URI to open.
        size: bytes.
        num_rows: rows.
        writers: smallest and greatest ``writer`` in it (facts).
        max_seq: greatest ``seq`` in it (facts).
        run_ids: smallest and greatest ``run_id`` in it, where rows have one.
    """

    path: str
    size: int
    num_rows: int
    writers: tuple[str, str] | None
    max_seq: int | None
    run_ids: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class TableSnapshot:
    """A table at one version; version -1 is a table that does not exist yet.

    Attributes:
        version: Delta version.
        files: its Parquet files.
        covered: for each writer that was asked for, the greatest ``seq`` that the table holds of it.
    """

    version: int
    files: tuple[DataFile, ...]
    covered: Mapping[str, int]


@contextmanager
def delta_errors(doing: str) -> "Iterator[None]":
    """Turn the Delta engine's failures into ours; conflicts pass through.

    Raises:
        StorageFull: no space.
        StorageFailed: anything else that the store refused.
    """
    from deltalake.exceptions import CommitFailedError, DeltaError

    try:
        yield
    except CommitFailedError:
        raise
    except (DeltaError, OSError) as error:
        if "No space left" in str(error) or "os error 28" in str(error):
            raise StorageFull(f"{doing}: the disk is full; free some space and try again") from error
        raise StorageFailed(f"{doing}: {error}") from error


class _Handle:
    """One table, opened once and brought up to date cheaply."""

    def __init__(self, root: Root, table: Table) -> None:
        self.table = table
        self.lock = threading.RLock()
        self._root = root
        self._uri = root.child("tables", table.name)
        self._log = Path(self._uri, "_delta_log") if root.local is not None else None
        self._delta: DeltaTable | None = None
        self._checked = 0.0
        self._files: tuple[int, tuple[DataFile, ...]] = (-1, ())
        self._covered: tuple[int, dict[str, int | None]] = (-1, {})
        self._rows = AllRows(table)

    def refreshed(self) -> "DeltaTable | None":
        """The table at its newest version; None if it does not exist yet."""
        forks.guard()
        if self._delta is not None and self._unchanged(self._delta.version()):
            return self._delta
        from deltalake.exceptions import DeltaError

        with delta_errors(f"reading table {self.table.name}"):
            stale = abs(time.time() - self._checked) > _TRUST
            self._checked = time.time()
            if self._delta is not None and not stale:
                try:
                    self._delta.update_incremental()
                    return self._delta
                except DeltaError:
                    self._delta = None  # the log was cleaned past our version: open it anew
            self._delta = self._open()
        return self._delta

    def _unchanged(self, version: int) -> bool:
        if self._log is None or abs(time.time() - self._checked) > _TRUST:
            return False
        here, following = (self._log / f"{v:020d}.json" for v in (version, version + 1))
        return here.exists() and not following.exists()

    def _open(self) -> "DeltaTable | None":
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        if self._log is not None and not self._log.exists():
            return None
        try:
            return DeltaTable(self._uri, storage_options=self._root.storage_options)
        except TableNotFoundError:
            return None

    def reopen(self) -> "DeltaTable | None":
        """Forget what is known and open the table again."""
        self._delta = None
        return self.refreshed()

    def created(self) -> "DeltaTable":
        """The table, made if it does not exist yet."""
        existing = self.refreshed()
        if existing is not None:
            return existing
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        with delta_errors(f"creating table {self.table.name}"):
            try:
                self._delta = DeltaTable.create(
                    self._uri,
                    schema=self.table.schema,
                    mode="error",
                    name=self.table.name,
                    description=f"One row per: {self.table.doc}.",
                    configuration=PROPERTIES,
                    storage_options=self._root.storage_options,
                )
                self._checked = time.time()
            except DeltaError:
                self._delta = self._open()  # another writer made it at the same time
                if self._delta is None:
                    raise
        assert self._delta is not None
        return self._delta

    def files(self, delta: "DeltaTable") -> tuple[DataFile, ...]:
        """Files of the version that is loaded."""
        if self._files[0] != delta.version():
            self._files = (delta.version(), tuple(self._list(delta)))
        return self._files[1]

    def all_rows(self, delta: "DeltaTable") -> "pa.Table":
        """Every row of the version that is loaded, in the order of the lake."""
        with delta_errors(f"reading table {self.table.name}"):
            return self._rows.at(delta, self._sizes(delta))

    def added(self, delta: "DeltaTable", rows: "pa.Table", before: int) -> None:
        """Rows were committed by us, on version ``before``."""
        self._rows.added(delta, rows, before, self._sizes(delta))

    def _sizes(self, delta: "DeltaTable") -> dict[str, int]:
        return {file.path: file.num_rows for file in self.files(delta)}

    def covered(self, delta: "DeltaTable", writers: Iterable[str]) -> dict[str, int]:
        """Transaction versions of the version that is loaded. Each look reads the log, so answers are kept."""
        if self._covered[0] != delta.version():
            self._covered = (delta.version(), {})
        known = self._covered[1]
        with delta_errors(f"reading table {self.table.name}"):
            known.update((w, delta.transaction_version(w)) for w in writers if w not in known)
        return {w: v for w in writers if (v := known.get(w)) is not None}

    def _list(self, delta: "DeltaTable") -> "Iterator[DataFile]":
        import pyarrow as pa

        actions = pa.RecordBatchReader.from_stream(delta.get_add_actions(flatten=True)).read_all()
        wanted = (
            "path",
            "size_bytes",
            "num_records",
            *(f"{e}.{c}" for c in _RANGES for e in ("min", "max")),
            "max.seq",
        )
        for row in actions.select([name for name in wanted if name in actions.column_names]).to_pylist():
            writers, run_ids = (_range(row, column) for column in _RANGES)
            yield DataFile(
                f"{self._uri}/{row['path']}",
                row["size_bytes"],
                row["num_records"] or 0,
                writers,
                row.get("max.seq"),
                run_ids,
            )


def _range(row: Mapping[str, Any], column: str) -> tuple[str, str] | None:
    low, high = row.get(f"min.{column}"), row.get(f"max.{column}")
    return None if low is None or high is None else (low, high)


class DeltaStore:
    """The lake's own tables. Safe to share between threads.

    Args:
        root: the lake.
        sync: fsync what is committed to a local disk (the Delta engine itself does not).
    """

    def __init__(self, root: Root, sync: bool) -> None:
        self._root = root
        self._sync = sync and root.local is not None
        self._listed: dict[str, tuple[int, int]] = {}
        self._handles: dict[str, _Handle] = {}
        self._lock = threading.Lock()

    def _handle(self, table: Table) -> _Handle:
        forks.guard()  # before any lock: a thread of the parent may have held it at the fork
        with self._lock:
            handle = self._handles.get(table.name)
            if handle is None:
                handle = self._handles[table.name] = _Handle(self._root, table)
            return handle

    def newest_version_on_disk(self, table: Table) -> int | None:
        """Newest version of a table of a local lake, told by its log folder alone, without the Delta engine.

        Returns:
            None if the table does not exist yet or the lake is not local.
        """
        if self._root.local is None:
            return None
        log = f"{self._root.local}/tables/{table.name}/_delta_log"
        try:
            changed = os.stat(log).st_mtime_ns
            if self._listed.get(log, (0, 0))[0] == changed:
                return self._listed[log][1]
            names = os.listdir(log)
        except FileNotFoundError:
            return None
        version = max((int(n[:20]) for n in names if n.endswith(".json") and n[:20].isdigit()), default=None)
        if version is not None and time.time_ns() - changed > _SETTLED:
            self._listed[log] = changed, version
        return version

    def age_on_disk(self, table: Table) -> float | None:
        """Seconds since the last commit to a table of a local lake; None if there is none or the lake is not local."""
        newest = self.newest_version_on_disk(table)
        if newest is None or self._root.local is None:
            return None
        entry = self._root.local / "tables" / table.name / "_delta_log" / f"{newest:020d}.json"
        return time.time() - entry.stat().st_mtime

    def columns(self, table: Table) -> tuple[str, ...] | None:
        """Names of the columns that a table has on disk: it may be of an older format. None if there is no table."""
        handle = self._handle(table)
        with handle.lock:
            delta = handle.refreshed()
            return None if delta is None else tuple(field.name for field in delta.schema().fields)

    def snapshot(self, table: Table, writers: Iterable[str] = ()) -> TableSnapshot:
        """The newest version of a table.

        Args:
            table: which.
            writers: writers (or other application ids) to tell the coverage of.
        """
        handle = self._handle(table)
        with handle.lock:
            delta = handle.refreshed()
            if delta is None:
                return TableSnapshot(-1, (), {})
            return TableSnapshot(delta.version(), handle.files(delta), handle.covered(delta, writers))

    def append(self, table: Table, rows: "pa.Table", transactions: Mapping[str, int]) -> int:
        """Append rows in one commit.

        Args:
            table: which.
            rows: with the table's stored schema.
            transactions: greatest ``seq`` of each writer among the rows.

        Returns:
            The version committed.

        Raises:
            ConcurrentWrite: another commit of one of these writers, or a change of the table's properties, came first.
        """
        handle = self._handle(table)
        with handle.lock:
            delta = handle.created()
            before = delta.version()
            with self._conflicts(handle):
                self._write(table, delta, rows, transactions)
            if self._sync:
                sync_commits(Path(self._root.child("tables", table.name)), before + 1, delta.version())
            return delta.version()

    def _write(
        self,
        table: Table,
        delta: "DeltaTable",
        rows: "pa.Table",
        transactions: Mapping[str, int],
        mode: Literal["append", "overwrite"] = "append",
    ) -> None:
        from deltalake import write_deltalake

        with delta_errors(f"writing to {delta.table_uri}"):
            write_deltalake(
                delta,
                columns.fitted(table, delta, rows, _no_hooks()),
                mode=mode,
                writer_properties=writer_properties(table),
                commit_properties=_commit_properties(transactions),
                post_commithook_properties=_no_hooks(),
            )

    def add_columns(self, table: Table, added: Sequence[Column]) -> bool:
        """Append nullable columns to a table, in one commit; those that it has stay as they are.

        Returns:
            Whether there were any to add. A table that does not exist yet needs none.

        Raises:
            ConcurrentWrite: another writer changed the table's columns at the same time.
        """
        handle = self._handle(table)
        with handle.lock:
            delta = handle.reopen()
            lacking = [] if delta is None else columns.lacking(delta, added)
            if delta is None or not lacking:
                return False
            before = delta.version()
            with self._conflicts(handle), delta_errors(f"adding columns to {table.name}"):
                columns.add(delta, lacking, _no_hooks())
            if self._sync:
                sync_commits(Path(self._root.child("tables", table.name)), before + 1, delta.version())
            return True

    @contextmanager
    def _conflicts(self, handle: _Handle) -> "Iterator[None]":
        from deltalake.exceptions import CommitFailedError

        try:
            yield
        except CommitFailedError as error:
            handle.reopen()
            raise ConcurrentWrite(f"table {handle.table.name}: another writer was faster ({error})") from error

    def exclusive(
        self,
        table: Table,
        decide: "Callable[[pa.Table], Sequence[tuple[Any, ...]] | None]",
        stamped: "Callable[[Sequence[tuple[Any, ...]]], pa.Table]",
        attempts: int = 50,
    ) -> "pa.Table | None":
        """Append rows that depend on all rows there are: optimistic locking by an application transaction.

        Args:
            table: which.
            decide: given every row in the order of the lake, the rows to add; may raise; is asked again after a lost
                race.
            stamped: turns them into Arrow with their place in the order.
            attempts: lost races before giving up.

        Raises:
            ConcurrentWrite: every attempt lost its race.
        """
        handle = self._handle(table)
        for attempt in range(attempts):
            with handle.lock:
                delta = handle.created()
                rows = decide(handle.all_rows(delta))
                if not rows:
                    return None
                data = stamped(rows)
                ticket = (delta.transaction_version(_LOCK_ID) or 0) + 1
                try:
                    faults.reach("exclusive.before")
                    before = delta.version()
                    with self._conflicts(handle):
                        self._write(table, delta, data, {_LOCK_ID: ticket})
                    faults.reach("exclusive.after")
                    if self._sync:
                        sync_commits(Path(self._root.child("tables", table.name)), before + 1, delta.version())
                    handle.added(delta, data, before)
                    return data
                except ConcurrentWrite:
                    pass  # decide again on what the winner left
            time.sleep(min(0.5, 0.005 * 1.3**attempt))
        raise ConcurrentWrite(f"table {table.name}: lost {attempts} races in a row; try again")

    def rows(self, table: Table) -> "pa.Table":
        """Every row of a table that is written under a lock, in the order of the lake."""
        handle = self._handle(table)
        with handle.lock:
            delta = handle.refreshed()
            return table.empty() if delta is None else handle.all_rows(delta)

    def upsert(self, table: Table, rows: "pa.Table", transactions: Mapping[str, int]) -> int:
        """Replace rows of a current table by key, and add the new ones, in one commit.

        Raises:
            ConcurrentWrite: another commit came first.
        """
        handle = self._handle(table)
        with handle.lock:
            delta = handle.created()
            before = delta.version()
            match = " AND ".join(f"t.{k} = s.{k}" for k in table.key)
            with self._conflicts(handle), delta_errors(f"publishing {table.name}"):
                columns.widen(table, delta, _no_hooks())
                merge = delta.merge(
                    rows,
                    match,
                    source_alias="s",
                    target_alias="t",
                    writer_properties=writer_properties(table),
                    commit_properties=_commit_properties(transactions),
                    post_commithook_properties=_no_hooks(),
                )
                merge.when_matched_update_all().when_not_matched_insert_all().execute()
            if self._sync:
                sync_commits(Path(self._root.child("tables", table.name)), before + 1, delta.version())
            handle.reopen()
            return delta.version()

    def replace(self, table: Table, rows: "pa.Table", transactions: Mapping[str, int]) -> None:
        """Put all rows of a current table in the place of those that it has, in one commit.

        Raises:
            ConcurrentWrite: another commit came first.
        """
        handle = self._handle(table)
        with handle.lock:
            delta = handle.created()
            before = delta.version()
            with self._conflicts(handle):
                self._write(table, delta, rows, transactions, "overwrite")
            if self._sync:
                sync_commits(Path(self._root.child("tables", table.name)), before + 1, delta.version())
            handle.reopen()

    def compact(self, table: Table, target_size: int) -> int:
        """Merge files smaller than the target into files near it, write a checkpoint, and return the files left.

        Raises:
            ConcurrentWrite: another commit removed what was being merged.
        """
        handle = self._handle(table)
        with handle.lock:
            delta = handle.refreshed()
            if delta is None:
                return 0
            with self._conflicts(handle), delta_errors(f"compacting {table.name}"):
                delta.optimize.compact(
                    target_size=target_size,
                    writer_properties=writer_properties(table),
                    post_commithook_properties=_no_hooks(),
                )
                delta.create_checkpoint()
            folder = Path(self._root.child("tables", table.name))
            if self._sync:
                sync_commits(folder, delta.version(), delta.version())
                sync_checkpoints(folder / "_delta_log")
            with delta_errors(f"cleaning the log of {table.name}"):
                delta.cleanup_metadata()
                if self._root.local is not None:
                    trim_log(folder / "_delta_log")
            fresh = handle.reopen()
            return 0 if fresh is None else len(handle.files(fresh))

    def vacuum(self, table: Table, hours: int, full: bool = False) -> list[str]:
        """Delete files that no version of the last ``hours`` needs.

        Args:
            table: which.
            hours: how long files stay.
            full: also those that no version ever named, which writers that died left: lists the whole folder.

        Returns:
            The files deleted.
        """
        handle = self._handle(table)
        with handle.lock:
            delta = handle.refreshed()
            if delta is None:
                return []
            with delta_errors(f"vacuuming {table.name}"):
                return delta.vacuum(retention_hours=hours, dry_run=False, enforce_retention_duration=False, full=full)

    def distrust(self) -> None:
        """Open every table anew when it is next asked for: something on the disk is not as it was known."""
        with self._lock:
            self._handles.clear()


def _commit_properties(transactions: Mapping[str, int]) -> "CommitProperties":
    from deltalake import CommitProperties, Transaction

    return CommitProperties(app_transactions=[Transaction(app, version) for app, version in transactions.items()])


def _no_hooks() -> Any:
    """No checkpoint and no clean-up with a commit: both belong to compaction, which syncs the one before the other."""
    from deltalake import PostCommitHookProperties

    return PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
