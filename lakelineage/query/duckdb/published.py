"""The published rows of ``runs``, part by part: one part is one data file."""

import itertools
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lakelineage.errors import LakelineageError
from lakelineage.query.duckdb.native import NativeCache
from lakelineage.query.duckdb.rows import RowFile
from lakelineage.query.duckdb.session import INTERNAL, Moved, Session, declaration, parquet, text
from lakelineage.store.delta import DataFile
from lakelineage.tables import RUNS

_log = logging.getLogger(__name__)

#: Files of fewer rows are simply held in memory.
_SMALL = 2_000
_NONE = f"{INTERNAL}.no_runs"


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one data file.

    Attributes:
        file: which.
        relation: what stands after FROM.
        native: whether its rows have a ``rowid``.
        attached: name of the attached database that holds it; None if none does.
        rows: the same rows by their ``rowid``, quick to fetch; None: only ``relation`` has them.
    """

    file: DataFile
    relation: str
    native: bool
    attached: str | None = None
    rows: RowFile | None = None

    def may_hold(self, run_id: str) -> bool:
        """Whether a run can be in it, by the statistics of the file."""
        return self.file.run_ids is None or self.file.run_ids[0] <= run_id <= self.file.run_ids[1]


class PublishedRuns:
    """Brings data files into a form that is quick to ask.

    Small files are held in memory. A large one is attached from the cache of the host; where there is no copy yet, the
    file is read as it is the first time that it is met, and copied the second time: who asks twice will ask again.

    Args:
        session: where the parts are.
        fetch: turns a data file into a local path.
        cache: of the host.
    """

    def __init__(self, session: Session, fetch: Callable[[DataFile], str], cache: NativeCache) -> None:
        self._session = session
        self._fetch = fetch
        self._cache = cache
        self._parts: dict[str, Part] = {}
        self._met: set[str] = set()
        self._numbers = itertools.count()

    def parts(self, files: Iterable[DataFile]) -> list[Part]:
        """The parts of a snapshot, in its order. Parts of files that are gone are let go."""
        wanted = list(files)
        paths = {file.path for file in wanted}
        for path in [p for p in self._parts if p not in paths]:
            self._drop(self._parts.pop(path))
        for file in wanted:
            known = self._parts.get(file.path)
            if known is None or not known.native:
                self._parts[file.path] = self._part(file)
        return [self._parts[file.path] for file in wanted]

    def prepare(self, files: Iterable[DataFile]) -> None:
        """Copy what is large and not copied yet, and tidy the cache: the next readers of this host are quick."""
        wanted = list(files)
        for file in wanted:
            if file.num_rows >= _SMALL and not self._cache.path(file).exists():
                self._cache.make(file, self._fetch(file))
        self._cache.discard_others(wanted)

    def forget(self) -> None:
        """Forget all parts: the session that held them is closed."""
        self._parts.clear()

    def _part(self, file: DataFile) -> Part:
        if file.num_rows < _SMALL:
            return self._in_memory(file)
        cached = self._cache.path(file)
        if not cached.exists():
            if file.path not in self._met:
                self._met.add(file.path)
                return self._as_is(file)
            if not self._cache.make(file, self._fetch(file)):
                return self._as_is(file)
        return self._attached(file) or self._as_is(file)

    def _as_is(self, file: DataFile) -> Part:
        # By name, a file of an older format gets the columns that it lacks.
        self._session.execute(f"CREATE TABLE IF NOT EXISTS {_NONE} ({declaration(RUNS)})")
        rows = f"(SELECT * FROM {_NONE} UNION ALL BY NAME SELECT * FROM {parquet([self._fetch(file)])})"
        return Part(file, rows, native=False)

    def _in_memory(self, file: DataFile) -> Part:
        name = f"{INTERNAL}.part_{next(self._numbers)}"
        self._session.execute(f"CREATE TABLE {name} ({declaration(RUNS)})")
        self._session.execute(f"INSERT INTO {name} BY NAME SELECT * FROM {parquet([self._fetch(file)])}")
        return Part(file, name, native=True)

    def _attached(self, file: DataFile) -> Part | None:
        """The copy of a file; None if it cannot be used, and then it is gone too."""
        cached = self._cache.path(file)
        name = f"part_{next(self._numbers)}"
        try:
            self._session.execute(f"ATTACH {text(str(cached))} AS {name} (READ_ONLY)")
        except (Moved, LakelineageError):  # broken: the disk was full, or the power failed
            cached.unlink(missing_ok=True)
            return None
        return Part(file, f"{name}.runs", native=True, attached=name, rows=self._rows(file))

    def _rows(self, file: DataFile) -> RowFile | None:
        try:
            return RowFile(self._cache.rows_path(file))
        except OSError as error:
            _log.info("rows of %s are fetched by DuckDB, for their copy cannot be read: %s", file.path, error)
            return None

    def _drop(self, part: Part) -> None:
        if part.attached is not None:
            self._session.execute(f"DETACH {part.attached}")
        elif part.native:
            self._session.execute(f"DROP TABLE {part.relation}")
