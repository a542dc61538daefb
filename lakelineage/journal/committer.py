"""Carries journaled rows to the Delta tables, each exactly once.

The journal itself is the durable intent: a record is on disk, with its writer and number, before any commit of it is
tried, and a commit names the greatest number that it holds of each writer as application transactions. Whatever
happened before, a row needs committing if and only if its number is greater than the table's transaction version of
its writer. So a batch need not be remembered: after a crash the next committer finds out by asking each table.

One committer at a time works on the folder of a host, by a lease that dies with its holder. Should two meet all the
same, Delta refuses the second commit with the same application id, and the second looks again.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lakelineage.errors import ConcurrentWrite
from lakelineage.journal.lanes import Segment, boot_id, is_whole, lease_of, next_seq, segments
from lakelineage.journal.segment import MAGIC, Piece, Record, by_table, to_arrow
from lakelineage.store import faults
from lakelineage.store.delta import DeltaStore
from lakelineage.store.locks import Lease
from lakelineage.tables import FACTS, RUNS_HISTORY, Table

_log = logging.getLogger(__name__)

#: Bytes of segments that are decoded and committed at a time.
_CHUNK_BYTES = 32 << 20

#: How far segments reached at one moment: segment → size in bytes.
Cut = dict[Segment, int]


@dataclass(frozen=True, slots=True)
class Drained:
    """What a drain did.

    Attributes:
        rows: rows committed.
        tables: names of the tables that got some.
        complete: whether no folder was left to another committer.
    """

    rows: int = 0
    tables: frozenset[str] = frozenset()
    complete: bool = True

    def __add__(self, other: "Drained") -> "Drained":
        return Drained(self.rows + other.rows, self.tables | other.tables, self.complete and other.complete)


def measure(folders: list[Path]) -> Cut:
    """How far all segments reach now."""
    cut: Cut = {}
    for folder in folders:
        for segment in segments(folder):
            try:
                cut[segment] = segment.path.stat().st_size
            except FileNotFoundError:
                continue  # committed and released by another process
    return cut


class Committer:
    """Drains the journals of some hosts into the tables of a lake.

    Args:
        store: the lake's tables.
    """

    def __init__(self, store: DeltaStore) -> None:
        self._store = store
        self._done: dict[Path, int] = {}  # offset up to which a segment is in all tables

    def drain(self, folders: list[Path], timeout: float = 0.0) -> Drained:
        """Commit all that the segments hold at the time of the call, and release what is done with.

        Args:
            folders: folders of hosts.
            timeout: seconds to wait for another committer that is at work on a folder; then the folder is left to it.
        """
        leases = {folder: Lease(folder / "committer.lock") for folder in folders if folder.is_dir()}
        held = [folder for folder, lease in leases.items() if lease.acquire(timeout)]
        try:
            return self._drain(held) + Drained(complete=len(held) == len(leases))
        finally:
            for folder in held:
                leases[folder].release()

    def _drain(self, folders: list[Path]) -> Drained:
        """Facts up to a later cut, then the states of runs up to an earlier one.

        What a run logged anywhere before it was closed was written before its closing row. So whoever closes below the
        first cut has all its facts below the second, which is taken after it.
        """
        closings = measure(folders)
        facts = measure(folders)
        result = Drained()
        states: list[Piece] = []
        done: dict[Path, int] = {}
        for chunk in self._chunks(facts):
            pieces = by_table((segment.writer, record) for segment, record in chunk)
            below = [(segment, record) for segment, record in chunk if record.end <= closings.get(segment, 0)]
            states += by_table((segment.writer, record) for segment, record in below).get(RUNS_HISTORY.name, [])
            done.update((segment.path, record.end) for segment, record in below)
            for table in FACTS:
                if table is not RUNS_HISTORY and table.name in pieces:
                    result += self._commit(table, pieces[table.name])
                    faults.reach("commit.between_tables")
        if states:
            result += self._commit(RUNS_HISTORY, states)
        self._done.update(done)
        self._release(folders)
        return result

    def _chunks(self, cut: Cut) -> Iterator[list[tuple[Segment, Record]]]:
        chunk: list[tuple[Segment, Record]] = []
        size = 0
        for segment, stop in cut.items():
            start = self._done.get(segment.path, len(MAGIC))
            for record in segment.records(start, stop):
                chunk.append((segment, record))
                size += record.end - start
                start = record.end
                if size >= _CHUNK_BYTES:
                    yield chunk
                    chunk, size = [], 0
        if chunk:
            yield chunk

    def _commit(self, table: Table, pieces: list[Piece]) -> Drained:
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

        attempts = Retrying(
            retry=retry_if_exception_type(ConcurrentWrite),
            stop=stop_after_attempt(20),
            wait=wait_random_exponential(multiplier=0.01, max=1.0),
            reraise=True,
        )
        return attempts(self._commit_once, table, pieces)

    def _commit_once(self, table: Table, pieces: list[Piece]) -> Drained:
        covered = self._store.snapshot(table, {piece.writer for piece in pieces}).covered
        fresh = [p for p in pieces if p.part.seq > covered.get(p.writer, 0)]
        if not fresh:
            return Drained()
        greatest: dict[str, int] = {}
        for piece in fresh:
            last = piece.part.seq + piece.part.count - 1
            greatest[piece.writer] = max(last, greatest.get(piece.writer, 0))
        rows = to_arrow(table, fresh)
        if "run_id" in table.names:
            rows = rows.sort_by("run_id")  # so that Parquet statistics prune look-ups by run
        faults.reach("commit.before_append")
        self._store.append(table, rows, greatest)
        faults.reach("commit.after_append")
        return Drained(rows.num_rows, frozenset({table.name}))

    def _release(self, folders: list[Path]) -> None:
        """Forget what is in all tables: delete closed segments, and give lanes without owner an empty one."""
        faults.reach("commit.before_release")
        for folder in folders:
            lanes: dict[str, list[Segment]] = {}
            for segment in segments(folder):
                lanes.setdefault(segment.writer, []).append(segment)
            for lane in lanes.values():
                self._release_lane(folder, lane)
        self._done = {path: end for path, end in self._done.items() if path.exists()}
        faults.reach("commit.after_release")

    def _release_lane(self, folder: Path, lane: list[Segment]) -> None:
        *closed, last = lane
        for segment in closed:
            self._discard(segment)
        lease = lease_of(folder, last.writer)
        if not lease.acquire():
            return  # its owner lives and will write on
        try:
            now = [s for s in segments(folder) if s.writer == last.writer]
            if now[-1:] == [last]:  # no owner came and went since the lane was listed
                self._release_ownerless(folder, last)
        finally:
            lease.release()

    def _release_ownerless(self, folder: Path, last: Segment) -> None:
        size = last.path.stat().st_size
        ends = not last.writer.startswith(boot_id()) or not is_whole(last)
        if size > len(MAGIC) and not ends and self._drained(last):
            successor = folder / f"{last.writer}.{next_seq(last):020d}.seg"
            successor.write_bytes(MAGIC)  # keeps the lane's numbers
        if (size > len(MAGIC) or ends) and self._discard(last) and ends:
            (folder / f"{last.writer}.lock").unlink(missing_ok=True)

    def _drained(self, segment: Segment) -> bool:
        """Whether every whole record of a segment that nobody writes to any more is in all tables."""
        return next(segment.records(self._done.get(segment.path, len(MAGIC))), None) is None

    def _discard(self, segment: Segment) -> bool:
        if not self._drained(segment) or not segment.path.exists():
            return False
        lost = segment.path.stat().st_size - self._done.get(segment.path, len(MAGIC))
        if lost <= 0 or segment.path.stat().st_size <= len(MAGIC):
            segment.path.unlink()
            return True
        kept = segment.path.with_suffix(".damaged")
        segment.path.rename(kept)
        _log.warning(
            "journal segment %s ends in %d bytes that are no whole record (a process died, or the disk lost them); all "
            "before them is in the lake, they are kept in %s",
            segment.path.name,
            lost,
            kept,
        )
        return True
