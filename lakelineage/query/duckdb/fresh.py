"""The rows of ``runs`` whose facts are not all published, derived anew from these facts.

Of the committed facts of such a run only those rows are held that decide: for each metric the latest value, and so on.
What is the latest of some rows and more rows is the latest of the first ones' latest and the others. So a read while a
run is logging looks at what was added since the read before, however much the run has logged.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lakelineage.query.duckdb.session import INTERNAL, Session, declaration, parquet, text
from lakelineage.query.duckdb.views import SOURCES, deciding_sql, runs_sql
from lakelineage.store.delta import DataFile, TableSnapshot
from lakelineage.tables import BY_NAME, RUNS

#: Runs that are not published as they are, and their rows.
CHANGED = f"{INTERNAL}.changed"
FRESH = f"{INTERNAL}.fresh"
#: More changed runs than this are derived in one go, and nothing is held.
_MANY = 2_000


@dataclass(frozen=True, slots=True)
class _Held:
    """What the deciding rows of a source were taken from: these files, for these runs."""

    files: frozenset[DataFile] = frozenset()
    runs: frozenset[str] = frozenset()


class FreshRuns:
    """Keeps the table ``FRESH``.

    Args:
        session: where it is.
        fetch: turns a data file into a local path.
        as_of: see :class:`lakelineage.query.duckdb.reader.DuckDBReader`.
    """

    def __init__(self, session: Session, fetch: Callable[[DataFile], str], as_of: int | None) -> None:
        self._session = session
        self._fetch = fetch
        self._until = "" if as_of is None else f" AND ingested_at <= make_timestamptz({as_of})"
        self._held: dict[str, _Held] = {}
        #: Ids of the changed runs; None if they are many.
        self.changed: frozenset[str] | None = frozenset()

    def derive(self, changed: str, snapshots: Mapping[str, TableSnapshot], journaled: Callable[[str], str]) -> None:
        """Make the table, for the runs that a statement tells.

        Args:
            changed: SQL of their ``run_id``.
            snapshots: of the sources of ``runs``.
            journaled: name of a source → name of its journaled rows.
        """
        self._session.execute(f"CREATE OR REPLACE TABLE {CHANGED} AS {changed}")
        self._session.execute(f"CREATE OR REPLACE TABLE {FRESH} ({declaration(RUNS)})")
        ids = self._session.run(f"SELECT run_id FROM {CHANGED} LIMIT {_MANY + 1}").column("run_id").to_pylist()
        self.changed = frozenset(ids) if len(ids) <= _MANY else None
        if self.changed is None:
            self._session.execute(f"INSERT INTO {FRESH} BY NAME {runs_sql(lambda source: source, CHANGED)}")
        elif ids:
            for source in SOURCES[RUNS.name]:
                self._hold(source, snapshots[source], self.changed)
                rows = f"SELECT * FROM {_held(source)} UNION ALL BY NAME SELECT * FROM {journaled(source)}"
                self._session.define(_deciding(source), f"SELECT * FROM ({rows}) WHERE true{self._until}")
            self._session.execute(f"INSERT INTO {FRESH} BY NAME {runs_sql(_deciding, CHANGED)}")

    def forget(self) -> None:
        """Hold nothing: the session is closed, or what it read is in doubt."""
        self._held.clear()

    def _hold(self, source: str, snapshot: TableSnapshot, runs: frozenset[str]) -> None:
        """Bring the deciding rows of a source up to a snapshot and to more runs."""
        held, files = self._held.get(source, _Held()), frozenset(snapshot.files)
        compacted, outgrown = not held.files <= files, len(held.runs) > _MANY
        if compacted or outgrown or source not in self._held:
            held = _Held()
            self._session.execute(f"CREATE OR REPLACE TABLE {_held(source)} ({declaration(BY_NAME[source])})")
        scans = [
            f"SELECT * FROM {parquet(map(self._fetch, wanted))} WHERE run_id IN ({_listed(of)}){self._until}"
            for wanted, of in ((files - held.files, held.runs), (files, runs - held.runs))
            if wanted and of
        ]
        if scans:
            self._add(source, scans)
        self._held[source] = _Held(files, held.runs | runs)

    def _add(self, source: str, scans: list[str]) -> None:
        # By name: files of older formats lack the newest columns.
        rows = f"SELECT * FROM {_held(source)} UNION ALL BY NAME " + " UNION ALL BY NAME ".join(scans)
        self._session.execute(f"CREATE OR REPLACE TABLE {_held(source)} AS {deciding_sql(source, rows)}")


def _held(source: str) -> str:
    return f"{INTERNAL}.held_{source}"


def _deciding(source: str) -> str:
    return f"{INTERNAL}.deciding_{source}"


def _listed(runs: frozenset[str]) -> str:
    return ", ".join(map(text, sorted(runs)))
