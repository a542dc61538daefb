"""One consistent view over published tables, newer facts and the journal."""

import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lakelineage.errors import InvalidQuery, StorageFailed
from lakelineage.query.duckdb.views import SOURCES, derived_sql, needed, runs_sql
from lakelineage.query.journal_view import JournalView
from lakelineage.store import forks
from lakelineage.store.delta import DataFile, DeltaStore, TableSnapshot
from lakelineage.tables import BY_NAME, CURRENT, RUNS, RUNS_HISTORY, Table

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_Answer = TypeVar("_Answer")
_WORD = re.compile(r"\w+")
_CURRENT_NAMES = {table.name for table in CURRENT}


@dataclass(frozen=True, slots=True)
class Unpublished:
    """Rows of ``runs`` that differ from what is published.

    Attributes:
        rows: with the stored schema of ``runs``.
        watermarks: application id → number: what the rows (with those published) hold of each source and writer.
    """

    rows: "pa.Table"
    watermarks: dict[str, int]


def watermark_id(source: str, writer: str) -> str:
    """Application id under which ``runs`` notes what it holds of a writer's rows in a source."""
    return f"{source}/{writer}"


class DuckDBReader:
    """Answers SQL over all tables of a lake, fresh to the last row of this host. Safe to share between threads.

    The order in which things are looked at makes it exact: journal, then published tables, then snapshots with
    ``runs_history`` first. A row leaves the journal only after it is in a table, so it is in one or the other; and
    it is dropped from the journal's part if the snapshot's transaction version of its writer covers it.

    Args:
        store: the lake's tables.
        folders: tells the journal folders of the hosts to be read.
        fetch: turns the path or URI of a data file into a local path.
    """

    def __init__(self, store: DeltaStore, folders: Callable[[], list[Path]], fetch: Callable[[DataFile], str]) -> None:
        self._store = store
        self._journal = JournalView(folders)
        self._fetch = fetch
        self._lock = threading.RLock()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._published = TableSnapshot(-1, (), {})
        self._file_writers: dict[str, dict[str, int]] = {}
        self._defined: dict[str, str] = {}

    def query(self, sql: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> "pa.Table":
        """Run one SQL statement.

        Args:
            sql: DuckDB's dialect; tables are the names in :data:`lakelineage.tables.BY_NAME`.
            params: values for ``?`` or ``$name``.

        Raises:
            InvalidQuery: the statement is wrong; the message is DuckDB's.
        """
        forks.guard()
        with self._lock:
            self._check_reads(sql)
            names = self._names(sql)
            return self._steadily(lambda: self._answer(names, sql, params))

    def _answer(self, names: set[str], sql: str, params: Sequence[Any] | Mapping[str, Any]) -> "pa.Table":
        self._refresh(names)
        return self._run(sql, params)

    def _steadily(self, attempt: "Callable[[], _Answer]") -> "_Answer":
        """Try again when maintenance moved the tables under a reader."""
        missing: BaseException | None = None
        for _ in range(5):
            try:
                return attempt()
            except _Moved as moved:
                missing = moved.__cause__
                self._store.distrust()
                self._defined.clear()
        if missing is not None:  # a file that the statement itself names, most likely
            raise InvalidQuery(f"SQL: {missing}") from missing
        raise StorageFailed("the lake's tables change faster than they can be read; try again")

    def _connect(self) -> "duckdb.DuckDBPyConnection":
        if self._connection is None:
            import duckdb

            options: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
            self._connection = duckdb.connect(":memory:", config=options)
            self._connection.execute("SET TimeZone = 'UTC'")
            self._connection.execute("SET parquet_metadata_cache = true")  # data files never change
        return self._connection

    def _check_reads(self, sql: str) -> None:
        """Only questions are answered: anything else could change the views that later answers rest on.

        Raises:
            InvalidQuery: no statement, several, or one that writes or sets something.
        """
        import duckdb

        try:
            statements = self._connect().extract_statements(sql)
        except duckdb.Error as error:
            raise InvalidQuery(f"SQL: {error}") from error
        allowed = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.MULTI)  # PIVOT
        if len(statements) != 1 or statements[0].type not in allowed:
            raise InvalidQuery(
                f"SQL: one SELECT (or SHOW, DESCRIBE, EXPLAIN, PIVOT) at a time, not {sql[:80]!r}; to make tables or "
                "files of an answer, take it to a DuckDB connection of yours, to Polars or to pandas"
            )

    @staticmethod
    def _names(sql: str) -> set[str]:
        """Tables of ours that a statement may name; all of them if it names none (``SHOW TABLES``).

        A name that only occurs as a column or in a text costs a look at a table, and changes no answer.
        """
        return {word.lower() for word in _WORD.findall(sql)} & BY_NAME.keys() or set(BY_NAME)

    def _run(self, sql: str, params: Sequence[Any] | Mapping[str, Any]) -> "pa.Table":
        import duckdb

        given: Any = params if isinstance(params, Mapping) else list(params)
        try:
            result: Any = self._connect().sql(sql, params=given) if given else self._connect().sql(sql)
            rows: pa.Table = result.to_arrow_table()
            return rows
        except duckdb.IOException as error:
            if "No files found" in str(error) or "No such file" in str(error):
                raise _Moved from error
            raise InvalidQuery(f"SQL: {error}") from error
        except duckdb.Error as error:
            raise InvalidQuery(f"SQL: {error}") from error

    def _refresh(self, names: set[str]) -> None:
        """Make the views that a query needs, all of one moment."""
        self._journal.poll()
        if RUNS.name in names:
            self._published = self._store.snapshot(RUNS)
        snapshots = self._snapshots(needed(names))
        for name, snapshot in snapshots.items():
            self._define_fact(BY_NAME[name], snapshot, self._journal.rows(BY_NAME[name], snapshot.covered))
        for name in names & _CURRENT_NAMES:
            if name == RUNS.name:
                self._define_runs(self._published, snapshots)
            else:
                self._define(name, derived_sql(BY_NAME[name]))

    def _snapshots(self, names: Iterable[str]) -> dict[str, TableSnapshot]:
        """Snapshots of facts, ``runs_history`` first."""
        ordered = sorted(names, key=lambda name: name != RUNS_HISTORY.name)
        return {n: self._store.snapshot(BY_NAME[n], self._journal.writers(BY_NAME[n])) for n in ordered}

    def _define(self, name: str, sql: str) -> None:
        if self._defined.get(name) != sql:  # binding a view opens its files
            self._connect().execute(f'CREATE OR REPLACE VIEW "{name}" AS {sql}')
            self._defined[name] = sql

    def _define_fact(self, table: Table, snapshot: TableSnapshot, journaled: "pa.Table") -> None:
        journal_name = f"__journal_{table.name}"
        self._connect().register(journal_name, journaled)
        scans = [f"SELECT * FROM {journal_name}"]
        if snapshot.files:
            scans.insert(0, f"SELECT {_column_list(table)} FROM {self._scan(snapshot.files)}")
        self._define(table.name, " UNION ALL ".join(scans))

    def _scan(self, files: Iterable[DataFile]) -> str:
        paths = ", ".join("'" + self._fetch(file).replace("'", "''") + "'" for file in files)
        return f"read_parquet([{paths}], union_by_name = true, hive_partitioning = false)"

    def _define_runs(self, published: TableSnapshot, snapshots: Mapping[str, TableSnapshot]) -> None:
        if published.version < 0 or not published.files:
            self._define(RUNS.name, runs_sql(None))
            return
        self._register_changed(snapshots)
        self._define("__runs_changed", runs_sql("__changed"))
        columns = _column_list(RUNS)
        self._define(
            RUNS.name,
            f"SELECT {columns} FROM {self._scan(published.files)} WHERE run_id NOT IN (SELECT run_id FROM __changed) "
            f"UNION ALL SELECT {columns} FROM __runs_changed",
        )

    def _register_changed(self, snapshots: Mapping[str, TableSnapshot]) -> dict[str, int]:
        """Make ``__changed``, the runs with rows that are not published; returns the numbers that those rows reach."""
        reached: dict[str, int] = {}
        scans: list[str] = []
        for source in SOURCES[RUNS.name]:
            pending, numbers = self._pending(source, snapshots[source].files)
            reached.update(numbers)
            if pending:
                scans.append(self._changed_in(source, pending))
            scans.append(f"SELECT run_id FROM __journal_{source}")
        rows = self._connect().sql(" UNION ".join(scans)).to_arrow_table()
        self._connect().register("__changed", rows)
        return reached

    def _changed_in(self, source: str, pending: Sequence[DataFile]) -> str:
        import pyarrow as pa

        writers = sorted({w for file in pending for w in self._writers_of(file)})
        marks = self._published_marks(source, writers)
        name = f"__marks_{source}"
        numbers = pa.array([marks.get(w, 0) for w in writers], pa.int64())
        self._connect().register(name, pa.table({"writer": pa.array(writers, pa.string()), "mark": numbers}))
        return f"SELECT run_id FROM {self._scan(pending)} JOIN {name} USING (writer) WHERE seq > mark"

    def _published_marks(self, source: str, writers: Iterable[str]) -> dict[str, int]:
        ids = {watermark_id(source, w): w for w in writers}
        snapshot = self._store.snapshot(RUNS, ids)
        if snapshot.version != self._published.version:
            raise _Moved
        return {ids[i]: n for i, n in snapshot.covered.items()}

    def _pending(self, source: str, files: Iterable[DataFile]) -> tuple[list[DataFile], dict[str, int]]:
        """Files with rows that ``runs`` does not hold yet, and the numbers that they reach, by application id."""
        known = {file: self._writers_of(file) for file in files}
        marks = self._published_marks(source, {w for writers in known.values() for w in writers})
        pending = [f for f, writers in known.items() if any(n > marks.get(w, 0) for w, n in writers.items())]
        reached: dict[str, int] = {}
        for file in pending:
            for writer, number in known[file].items():
                key = watermark_id(source, writer)
                reached[key] = max(number, reached.get(key, marks.get(writer, 0)))
        return pending, reached

    def _writers_of(self, file: DataFile) -> dict[str, int]:
        """Greatest number of each writer in a file. Files never change, so the answer is kept."""
        known = self._file_writers.get(file.path)
        if known is None:
            known = self._file_writers[file.path] = self._read_writers(file)
        return known

    def _read_writers(self, file: DataFile) -> dict[str, int]:
        if file.writers is not None and file.writers[0] == file.writers[1] and file.max_seq is not None:
            return {file.writers[0]: file.max_seq}
        sql = f"SELECT writer, max(seq) AS seq FROM {self._scan([file])} GROUP BY writer"
        return {row["writer"]: row["seq"] for row in self._run(sql, ()).to_pylist()}

    def unpublished_runs(self) -> Unpublished:
        """What a publish of ``runs`` has to write: from Delta tables alone, so that every engine agrees with it."""
        forks.guard()
        with self._lock:
            return self._steadily(self._unpublished_runs)

    def _unpublished_runs(self) -> Unpublished:
        self._published = self._store.snapshot(RUNS)
        snapshots = self._define_committed(RUNS)
        reached = self._register_changed(snapshots)
        rows = self._run(runs_sql("__changed"), ())
        return Unpublished(rows.select(RUNS.schema.names).cast(RUNS.schema), reached)

    def _define_committed(self, table: Table) -> dict[str, TableSnapshot]:
        """Views of the facts that a current table derives from, without the journal."""
        snapshots = self._snapshots(SOURCES[table.name])
        for source, snapshot in snapshots.items():
            self._define_fact(BY_NAME[source], snapshot, BY_NAME[source].empty())
        return snapshots

    def derived(self, table: Table) -> "pa.Table":
        """All rows of a small current table, from Delta tables alone, with its stored schema."""
        forks.guard()
        with self._lock:
            return self._steadily(lambda: self._derived(table))

    def _derived(self, table: Table) -> "pa.Table":
        self._define_committed(table)
        rows = self._run(derived_sql(table), ())
        return rows.select(table.schema.names).cast(table.schema)

    def close(self) -> None:
        """Let go of the engine's memory."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            self._defined.clear()


class _Moved(Exception):
    """Maintenance removed a file, or published anew, between two looks of one read."""


def _column_list(table: Table) -> str:
    return ", ".join(f'"{column.name}"' for column in table.all_columns)
