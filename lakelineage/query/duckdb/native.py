"""Published data files in forms that are quick to ask: a cache on a local disk, shared by the processes of a host.

A data file never changes, so what was made of it is right as long as the file is part of the table. One form is
DuckDB's own: searching it is five to ten times as fast as searching Parquet (decisions/008), and opening it costs a
millisecond. The other is for single rows (:mod:`lakelineage.query.duckdb.rows`).
"""

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from lakelineage.query.duckdb import rows
from lakelineage.query.duckdb.session import declaration, parquet, text
from lakelineage.store.delta import DataFile
from lakelineage.tables import RUNS

_log = logging.getLogger(__name__)

#: Rows of a row group. Small ones make it cheap to find the newest rows, and single ones.
_ROW_GROUP = 2048
_MEMORY = "1GB"
#: Seconds that a cached file of no use to us is left to readers that may be about to open it.
_GRACE = 600.0


class NativeCache:
    """Native copies of the data files of ``runs``.

    Args:
        folder: where they are kept; made when needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, file: DataFile) -> Path:
        """Where the copy of a data file is, once it is made."""
        made_of = f"{file.path}\n{declaration(RUNS)}"  # a copy of another format's columns is another copy
        return self._folder / (sha256(made_of.encode()).hexdigest()[:32] + ".duckdb")

    def rows_path(self, file: DataFile) -> Path:
        """Where the rows of its copy are, in the same order."""
        return _rows_beside(self.path(file))

    def make(self, file: DataFile, source: str) -> bool:
        """Copy a data file, newest runs first; says whether there is a copy now.

        Args:
            file: which.
            source: local path of it.
        """
        import duckdb

        target = self.path(file)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._folder, prefix="making-") as name:
                made = Path(name, "runs.duckdb")
                with duckdb.connect(":memory:", config={"memory_limit": _MEMORY, "temp_directory": name}) as connection:
                    connection.execute("SET TimeZone = 'UTC'")
                    connection.execute(f"ATTACH {text(str(made))} AS made (ROW_GROUP_SIZE {_ROW_GROUP})")
                    connection.execute(f"CREATE TABLE made.runs ({declaration(RUNS)})")
                    ordered = f"SELECT * FROM {parquet([source])} ORDER BY start_time DESC, run_id"
                    connection.execute(f"INSERT INTO made.runs BY NAME {ordered}")
                    ids = connection.sql("SELECT run_id FROM made.runs").to_arrow_table().column(0)
                    whole = connection.sql("SELECT * FROM made.runs").to_arrow_reader()
                    rows.write(_rows_beside(made), whole, ids)
                    connection.execute("DETACH made")
                os.replace(_rows_beside(made), _rows_beside(target))
                os.replace(made, target)  # last: where it is, both are
        except (OSError, duckdb.Error) as error:
            _log.info("the data file %s is read as it is, for it cannot be cached: %s", file.path, error)
            return False
        return True

    def discard_others(self, files: Iterable[DataFile]) -> None:
        """Delete copies of files that are no longer part of the table, and what processes that were killed left."""
        kept = {path.name for file in files for path in (self.path(file), self.rows_path(file))}
        with suppress(OSError):  # another process is tidying too, or there is no cache yet
            for path in self._folder.iterdir():
                if path.name in kept or time.time() - path.stat().st_mtime <= _GRACE:
                    continue
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()


def _rows_beside(path: Path) -> Path:
    return path.with_suffix(".arrow")
