"""Which runs have rows that the published ``runs`` does not hold yet."""

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from lakelineage.query.duckdb.session import INTERNAL, Moved, Session, parquet
from lakelineage.query.duckdb.views import SOURCES
from lakelineage.store.delta import DataFile, DeltaStore, TableSnapshot
from lakelineage.tables import RUNS


def watermark_id(source: str, writer: str) -> str:
    """Application id under which ``runs`` notes what it holds of a writer's rows in a source.

    It names the format from which on ``runs`` is derived so: rows that were published before are derived anew.
    """
    return f"{source}/{writer}/4"


#: Seconds after which a note is made anew, so that those of files that are gone do not pile up.
_NOTED = 30 * 86_400.0


class Pending:
    """Compares data files of the facts with what the published ``runs`` says that it holds of each writer.

    Args:
        session: where files are read.
        store: the lake's tables.
        fetch: turns a data file into a local path.
        notes: folder, shared by the processes of a host, that remembers which writers are in a file.
    """

    def __init__(self, session: Session, store: DeltaStore, fetch: Callable[[DataFile], str], notes: Path) -> None:
        self._session = session
        self._store = store
        self._fetch = fetch
        self._notes = notes
        self._writers: dict[str, dict[str, int]] = {}

    def tidy(self) -> None:
        """Delete old notes."""
        with suppress(OSError):  # another process is tidying too, or there are none yet
            for note in self._notes.iterdir():
                if time.time() - note.stat().st_mtime > _NOTED:
                    note.unlink()

    def changed(
        self, published: TableSnapshot, snapshots: Mapping[str, TableSnapshot]
    ) -> tuple[list[str], dict[str, int]]:
        """What to look at for runs that are not published as they are.

        Returns:
            SQL of the ``run_id`` of committed rows that are not published, one statement for each source that has
            some; and the numbers that those rows reach, by application id.

        Raises:
            Moved: another version was published meanwhile.
        """
        reached: dict[str, int] = {}
        scans: list[str] = []
        for source in SOURCES[RUNS.name]:
            files, numbers = self._files(source, snapshots[source].files, published.version)
            reached.update(numbers)
            if files:
                scans.append(self._scan(source, files, published.version))
        return scans, reached

    def _files(self, source: str, files: Iterable[DataFile], version: int) -> tuple[list[DataFile], dict[str, int]]:
        """Files with rows that are not published, and the numbers that they reach, by application id."""
        known = {file: self._writers_of(file) for file in files}
        marks = self._marks(source, {w for writers in known.values() for w in writers}, version)
        pending = [f for f, writers in known.items() if any(n > marks.get(w, 0) for w, n in writers.items())]
        reached: dict[str, int] = {}
        for file in pending:
            for writer, number in known[file].items():
                key = watermark_id(source, writer)
                reached[key] = max(number, reached.get(key, marks.get(writer, 0)))
        return pending, reached

    def _scan(self, source: str, files: Sequence[DataFile], version: int) -> str:
        writers = sorted({w for file in files for w in self._writers_of(file)})
        marks = self._marks(source, writers, version)
        name = f"{INTERNAL}.marks_{source}"
        given = "SELECT unnest(?::VARCHAR[]) AS writer, unnest(?::BIGINT[]) AS mark"
        self._session.execute(
            f"CREATE OR REPLACE TABLE {name} AS {given}", [writers, [marks.get(w, 0) for w in writers]]
        )
        return f"SELECT run_id FROM {parquet(map(self._fetch, files))} JOIN {name} USING (writer) WHERE seq > mark"

    def _marks(self, source: str, writers: Iterable[str], version: int) -> dict[str, int]:
        ids = {watermark_id(source, w): w for w in writers}
        snapshot = self._store.snapshot(RUNS, ids)
        if snapshot.version != version:
            raise Moved
        return {ids[i]: n for i, n in snapshot.covered.items()}

    def _writers_of(self, file: DataFile) -> dict[str, int]:
        """Greatest number of each writer in a file. Files never change, so the answer is kept, for the host too."""
        known = self._writers.get(file.path)
        if known is None:
            known = self._writers[file.path] = self._by_statistics(file) or self._noted(file)
        return known

    @staticmethod
    def _by_statistics(file: DataFile) -> dict[str, int] | None:
        if file.writers is not None and file.writers[0] == file.writers[1] and file.max_seq is not None:
            return {file.writers[0]: file.max_seq}
        return None

    def _noted(self, file: DataFile) -> dict[str, int]:
        note = self._notes / (sha256(file.path.encode()).hexdigest()[:32] + ".json")
        with suppress(OSError, ValueError):  # no note yet, or a broken one: the file is asked
            found = json.loads(note.read_text())
            return {str(writer): int(number) for writer, number in found.items()}
        sql = f"SELECT writer, max(seq) AS seq FROM {parquet([self._fetch(file)])} GROUP BY writer"
        writers = {row["writer"]: row["seq"] for row in self._session.run(sql).to_pylist()}
        with suppress(OSError):  # a full or read-only disk costs the next process a look into the file
            self._notes.mkdir(parents=True, exist_ok=True)
            temporary = note.with_suffix(f".{os.getpid()}")
            temporary.write_text(json.dumps(writers))
            os.replace(temporary, note)
        return writers
