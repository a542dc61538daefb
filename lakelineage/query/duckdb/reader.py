"""One consistent view over published tables, newer facts and the journal."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lakelineage.errors import InvalidQuery, StorageFailed
from lakelineage.query.duckdb.flat import FlatColumns, Key
from lakelineage.query.duckdb.fresh import CHANGED, FRESH, FreshRuns
from lakelineage.query.duckdb.native import NativeCache
from lakelineage.query.duckdb.pending import Pending
from lakelineage.query.duckdb.published import Part, PublishedRuns
from lakelineage.query.duckdb.rows import integers
from lakelineage.query.duckdb.session import INTERNAL, Moved, Params, Session, parquet, text, values
from lakelineage.query.duckdb.views import SOURCES, derived_sql, named_in, needed
from lakelineage.query.journal_view import JournalView
from lakelineage.store import forks
from lakelineage.store.cache import HostCache
from lakelineage.store.delta import DeltaStore, TableSnapshot
from lakelineage.tables import BY_NAME, CURRENT, RUNS, RUNS_HISTORY, Table

if TYPE_CHECKING:
    import pyarrow as pa

_Answer = TypeVar("_Answer")
_CURRENT_NAMES = {table.name for table in CURRENT}
#: Up to so many rows are first found, then fetched: the columns of maps are read for these rows alone.
_FEW = 2_000
#: Runs that a publish writes at a time.
_SLICE = 50_000


@dataclass(frozen=True, slots=True)
class Unpublished:
    """Rows of ``runs`` that differ from what is published.

    Attributes:
        rows: with the stored schema of ``runs``.
        watermarks: application id → number: what all such rows (with those published) hold of each source and writer.
        more_after: greatest run id among them if there may be more; None if these are all.
    """

    rows: "pa.Table"
    watermarks: dict[str, int]
    more_after: str | None = None


class DuckDBReader:
    """Answers SQL over all tables of a lake, fresh to the last row of this host. Safe to share between threads.

    The order in which things are looked at makes it exact: journal, then published tables, then snapshots with
    ``runs_history`` first. A row leaves the journal only after it is in a table, so it is in one or the other; and
    it is dropped from the journal's part if the snapshot's transaction version of its writer covers it.

    Args:
        store: the lake's tables.
        folders: tells the journal folders of the hosts to be read.
        cache: of this host.
        as_of: answer as the lake was then (``ingested_at``, µs since 1970 UTC); None means now.
    """

    def __init__(
        self, store: DeltaStore, folders: Callable[[], list[Path]], cache: HostCache, as_of: int | None = None
    ) -> None:
        self._store = store
        self._journal = JournalView(folders)
        self._fetch = cache.local_path
        self._as_of = as_of
        self._lock = threading.RLock()
        self._session = Session()
        self._published = PublishedRuns(self._session, self._fetch, NativeCache(cache.folder("runs")))
        self._pending = Pending(self._session, store, self._fetch, cache.folder("writers"))
        self._seen: dict[str, object] = {}
        self._fresh = FreshRuns(self._session, self._fetch, as_of)
        self._flat = FlatColumns(self._session)
        self._parts: list[Part] = []
        self._chosen = ""

    def query(self, sql: str, params: Params = ()) -> "pa.Table":
        """Run one SQL statement.

        Args:
            sql: DuckDB's dialect; tables are the names in :data:`lakelineage.tables.BY_NAME`.
            params: values for ``?`` or ``$name``.

        Raises:
            InvalidQuery: the statement is wrong; the message is DuckDB's.
        """
        forks.guard()
        with self._lock:
            question = self._session.question(sql)

            def answer() -> "pa.Table":
                self._refresh(named_in(question) or set(BY_NAME))
                return self._session.run(question, params)

            return self._steadily(answer)

    def select_runs(
        self,
        where: str,
        params: Params,
        order: str,
        limit: int | None = None,
        told: Sequence[str] = (),
        columns: Sequence[str] = RUNS.names,
    ) -> "pa.Table":
        """Rows of ``runs``. See :class:`lakelineage.engine.Reads`."""
        forks.guard()
        wanted = ", ".join(f'r."{name}"' for name in columns)
        also = "".join(f", {expression} AS told_{i}" for i, expression in enumerate(told))
        tail = f"WHERE {where} ORDER BY {order}" + ("" if limit is None else f" LIMIT {limit}")

        def answer() -> "pa.Table":
            self._refresh({RUNS.name} | named_in(where))
            if limit is None or limit > _FEW or not all(part.native for part in self._parts):
                return self._session.run(f"SELECT {wanted}{also} FROM runs r {tail}", params)
            keys = self._flat.chosen((where, order, *told), self._parts)
            question = f"{also} {tail}"
            asked = self._flat.rewritten(f"SELECT part, id{also} FROM ({self._found(question, keys)}) r {tail}", keys)
            places = self._session.run(asked, params)
            rows = self._rows_at(places, columns)
            for name in places.column_names[2:]:
                rows = rows.append_column(name, places.column(name))
            return rows

        with self._lock:
            return self._steadily(answer)

    def find_run(self, run_id: str, columns: Sequence[str] = RUNS.names) -> dict[str, Any] | None:
        """The row of ``runs`` of one run. See :class:`lakelineage.engine.Reads`."""
        forks.guard()

        def answer() -> dict[str, Any] | None:
            self._refresh({RUNS.name})
            if self._fresh.changed is None:
                relations = ["runs"]
            elif run_id in self._fresh.changed:
                relations = [FRESH]
            else:
                parts = [part for part in self._parts if part.may_hold(run_id)]
                for rows in [part.rows for part in parts if part.rows is not None]:
                    place = rows.find(run_id)
                    if place is not None:
                        return values(RUNS, rows.take([place], columns))
                relations = [part.relation for part in parts if part.rows is None] or [FRESH]
            return self._session.row(RUNS, relations, run_id, columns)

        with self._lock:
            return self._steadily(answer)

    def has_rows(self, table: Table) -> bool:
        """Whether a table of facts has any rows. See :class:`lakelineage.engine.Reads`."""
        with self._lock:
            self._journal.poll()
            snapshot = self._store.snapshot(table, self._journal.writers(table))
            return bool(snapshot.files) or self._journal.rows(table, snapshot.covered).num_rows > 0

    def _rows_at(self, places: "pa.Table", columns: Sequence[str]) -> "pa.Table":
        """Rows by (part, id), in the order given."""
        import pyarrow as pa

        wanted: dict[int, list[int]] = {}
        order = list(zip(places.column("part").to_pylist(), places.column("id").to_pylist(), strict=True))
        for part, row in order:
            wanted.setdefault(part, []).append(row)
        found = [self._fetched(part, ids, columns) for part, ids in wanted.items()]
        if not found:
            return self._session.run(f"SELECT {_listed(columns)} FROM {FRESH} LIMIT 0")
        at = {key: i for i, key in enumerate((part, row) for part, ids in wanted.items() for row in ids)}
        return pa.concat_tables(found).take(integers([at[place] for place in order]))

    def _fetched(self, part: int, ids: list[int], columns: Sequence[str]) -> "pa.Table":
        """Rows of a part, in the order of the ids."""
        copy = None if part < 0 else self._parts[part].rows
        if copy is not None:
            return copy.take(ids, columns)
        among = ", ".join(map(str, ids))
        found = self._session.run(
            f"SELECT {_listed(columns)}, rowid AS __id FROM {self._relation(part)} WHERE rowid IN ({among})"
        )
        at = {row: i for i, row in enumerate(found.column("__id").to_pylist())}
        return found.drop_columns(["__id"]).take(integers([at[row] for row in ids]))

    def _relation(self, part: int) -> str:
        return FRESH if part < 0 else self._parts[part].relation

    def _steadily(self, attempt: "Callable[[], _Answer]") -> "_Answer":
        """Try again when maintenance moved the tables under a reader."""
        missing: BaseException | None = None
        for _ in range(5):
            try:
                return attempt()
            except Moved as moved:
                missing = moved.__cause__
                self._store.distrust()
                self._seen.clear()
                self._session.forget()
                self._fresh.forget()
        if missing is not None:  # a file that the statement itself names, most likely
            raise InvalidQuery(f"SQL: {missing}") from missing
        raise StorageFailed("the lake's tables change faster than they can be read; try again")

    def _refresh(self, names: set[str]) -> None:
        """Make the views that a query needs, all of one moment. What has not changed since the last time stays."""
        self._journal.poll()
        published = self._store.snapshot(RUNS) if RUNS.name in names else None
        snapshots = self._snapshots(needed(names))
        for name, snapshot in snapshots.items():
            state = (snapshot.version, self._journal.changes(BY_NAME[name]))
            if self._seen.get(name) != state:
                self._define_fact(BY_NAME[name], snapshot, self._journal.rows(BY_NAME[name], snapshot.covered))
                self._seen[name] = state
        for name in (names & _CURRENT_NAMES) - {RUNS.name}:
            self._define_small(name)
        if published is not None:
            moment = (published.version, *(self._seen[source] for source in SOURCES[RUNS.name]))
            if self._seen.get(RUNS.name) != moment or not all(part.native for part in self._parts):
                self._define_runs(published, snapshots)
                self._seen[RUNS.name] = moment

    def _define_small(self, name: str) -> None:
        """A current table of few rows is derived when a source has changed, not at each look."""
        state = tuple(self._seen[source] for source in SOURCES[name])
        if self._seen.get(name) != state:
            self._session.execute(f"CREATE OR REPLACE TABLE {INTERNAL}.now_{name} AS {derived_sql(BY_NAME[name])}")
            self._session.define(name, f"SELECT * FROM {INTERNAL}.now_{name}")
            self._seen[name] = state

    def _snapshots(self, names: Iterable[str]) -> dict[str, TableSnapshot]:
        """Snapshots of facts, ``runs_history`` first."""
        ordered = sorted(names, key=lambda name: name != RUNS_HISTORY.name)
        return {n: self._store.snapshot(BY_NAME[n], self._journal.writers(BY_NAME[n])) for n in ordered}

    def _define_fact(self, table: Table, snapshot: TableSnapshot, journaled: "pa.Table") -> None:
        self._session.register(_journaled(table.name), journaled)
        # The journaled rows have every column, and by name the files of older formats get those that they lack.
        sql = f"SELECT * FROM {_journaled(table.name)}"
        if snapshot.files:
            sql += f" UNION ALL BY NAME SELECT * FROM {parquet(map(self._fetch, snapshot.files))}"
            sql = f"SELECT {_columns(table)} FROM ({sql})"  # without those of newer formats
        if self._as_of is not None:
            sql = f"SELECT * FROM ({sql}) WHERE ingested_at <= make_timestamptz({self._as_of})"
        self._session.define(table.name, sql)

    def _define_runs(self, published: TableSnapshot, snapshots: Mapping[str, TableSnapshot]) -> None:
        """Published rows but those of changed runs, and the rows of changed runs, derived anew from their facts."""
        scans, _ = self._pending.changed(published, snapshots)
        scans += [f"SELECT run_id FROM {_journaled(source)}" for source in SOURCES[RUNS.name]]
        self._parts = self._published.parts(published.files)
        if self._as_of is not None:
            later = f"WHERE updated_at > make_timestamptz({self._as_of})"
            scans += [f"SELECT run_id FROM {part.relation} {later}" for part in self._parts]
        self._fresh.derive(" UNION ".join(scans), snapshots, _journaled)
        unchanged = self._fresh.changed == frozenset()
        self._chosen = "" if unchanged else f" WHERE run_id NOT IN (SELECT run_id FROM {CHANGED})"
        columns = _columns(RUNS)
        relations = [(part.relation, self._chosen) for part in self._parts] + [(FRESH, "")]
        rows = (f"SELECT {columns} FROM {relation}{where}" for relation, where in relations)
        self._session.define(RUNS.name, " UNION ALL ".join(rows))

    def _found(self, question: str, keys: Sequence[Key]) -> str:
        """Rows of ``runs`` with where they are, the columns that a question may name, and plain ones for some keys."""
        columns = ", ".join(f'p."{name}"' for name in RUNS.names if name == "run_id" or name in question)
        scans = []
        for i, part in enumerate(self._parts):
            beside, joins = self._flat.beside(part, keys)
            rows = f"{part.relation} p{joins}{self._chosen}"
            scans.append(f"SELECT {i} AS part, p.rowid AS id, {columns}{beside} FROM {rows}")
        scans.append(f"SELECT -1 AS part, p.rowid AS id, {columns}{self._flat.from_maps(keys)} FROM {FRESH} p")
        return " UNION ALL ".join(scans)

    def unpublished_runs(self, after: str = "", limit: int | None = None) -> Unpublished:
        """What a publish of ``runs`` has to write: from Delta tables alone, so that every engine agrees with it.

        Args:
            after: only runs with a greater id.
            limit: of so many runs at most, in the order of their ids; default 50,000.
        """
        forks.guard()
        with self._lock:
            return self._steadily(lambda: self._unpublished_runs(after, limit or _SLICE))

    def _unpublished_runs(self, after: str, limit: int) -> Unpublished:
        published = self._store.snapshot(RUNS)
        snapshots = self._define_committed(RUNS)
        scans, reached = self._pending.changed(published, snapshots)
        scans.append("SELECT run_id FROM runs_history WHERE false")
        changed = f"FROM ({' UNION '.join(scans)}) WHERE run_id > {text(after)} ORDER BY run_id LIMIT {limit}"
        self._fresh.derive(changed, snapshots, _journaled)
        rows = self._session.run(f"SELECT {_columns(RUNS)} FROM {FRESH}")
        last = self._session.run(f"SELECT max(run_id) AS last, count(*) AS n FROM {CHANGED}").to_pylist()[0]
        return Unpublished(rows.cast(RUNS.schema), reached, last["last"] if last["n"] == limit else None)

    def prepare(self) -> None:
        """Make the next reads of this host quick: called after publishing."""
        self._published.prepare(self._store.snapshot(RUNS).files)
        self._pending.tidy()

    def _define_committed(self, table: Table) -> dict[str, TableSnapshot]:
        """Views of the facts that a current table derives from, without the journal."""
        self._seen.clear()
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
        rows = self._session.run(derived_sql(table))
        return rows.select(table.schema.names).cast(table.schema)

    def close(self) -> None:
        """Let go of the engine's memory."""
        with self._lock:
            self._session.close()
            self._published.forget()
            self._fresh.forget()
            self._flat.forget()
            self._parts = []
            self._seen.clear()


def _journaled(name: str) -> str:
    """Name of the journaled rows of a table."""
    return f"__journal_{name}"


def _columns(table: Table) -> str:
    return _listed([column.name for column in table.all_columns])


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)
