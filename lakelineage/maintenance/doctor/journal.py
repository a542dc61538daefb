"""The journal: rows on their way to the tables, and what is broken in it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lakelineage.journal.lanes import Segment, boot_id, file_system, is_network, segments
from lakelineage.journal.segment import MAGIC, Piece, by_table
from lakelineage.maintenance.doctor.finding import Finding, Place, Severity, of_bytes, of_seconds, some
from lakelineage.store.locks import is_held
from lakelineage.tables import BY_NAME

#: Seconds after which rows should have been committed: the longest interval between drains is 30.
_LATE = 600.0


@dataclass
class _Lane:
    """What a lane holds.

    Attributes:
        folder: of its host.
        writer: its id.
        alive: whether a process owns it.
        waiting: rows that are in no table yet.
        size: bytes of its segments.
        oldest: when the oldest such row was journaled, µs; 0 if there is none.
        torn: bytes that are no whole record, where nobody can be writing.
    """

    folder: Path
    writer: str
    alive: bool
    segments: list[Segment] = field(default_factory=list)
    waiting: int = 0
    size: int = 0
    oldest: int = 0
    torn: int = 0


def journal(place: Place, deep: bool) -> Iterator[Finding]:  # noqa: ARG001 - checks are alike
    """Rows not yet committed, by whom, and segments that are damaged."""
    yield from _file_system(place)
    lanes = [lane for folder in place.folders for lane in _lanes(folder)]
    pieces: dict[str, list[tuple[_Lane, Piece]]] = {}
    for lane in lanes:
        _read(lane, pieces)
    _count(place, pieces)  # after the journal: a row is in one or the other
    yield from _waiting([lane for lane in lanes if lane.alive], True)
    yield from _waiting([lane for lane in lanes if not lane.alive], False)
    yield from _torn(lanes)
    yield from _set_aside(place)
    yield from _old_boots(lanes)
    if not any(lane.waiting for lane in lanes):
        yield Finding("journal", Severity.OK, f"{len(lanes)} lanes, all that they hold is in the tables")


def _lanes(folder: Path) -> list[_Lane]:
    found: dict[str, _Lane] = {}
    for segment in segments(folder):
        if segment.writer not in found:  # asked before it is read: what is dead now writes no more
            found[segment.writer] = _Lane(folder, segment.writer, is_held(folder / f"{segment.writer}.lock"))
        found[segment.writer].segments.append(segment)
    return list(found.values())


def _read(lane: _Lane, pieces: dict[str, list[tuple[_Lane, Piece]]]) -> None:
    for segment in lane.segments:
        try:
            size = segment.path.stat().st_size
        except FileNotFoundError:
            continue  # committed and released meanwhile
        end = len(MAGIC)
        for record in segment.records(stop=size):
            end = record.end
            for name, found in by_table(iter([(segment.writer, record)])).items():
                pieces.setdefault(name, []).extend((lane, piece) for piece in found)
        lane.size += max(0, size - len(MAGIC))
        last = segment is lane.segments[-1]
        if size > end and not (last and lane.alive) and segment.path.exists():
            lane.torn += size - end


def _count(place: Place, pieces: dict[str, list[tuple[_Lane, Piece]]]) -> None:
    for name, found in pieces.items():
        covered = place.store.snapshot(BY_NAME[name], {piece.writer for _, piece in found}).covered
        for lane, piece in found:
            rows = min(piece.part.count, piece.part.seq + piece.part.count - 1 - covered.get(piece.writer, 0))
            if rows > 0:
                lane.waiting += rows
                lane.oldest = min(lane.oldest or piece.ingested_at, piece.ingested_at)


def _waiting(lanes: list[_Lane], alive: bool) -> Iterator[Finding]:
    behind = [lane for lane in lanes if lane.waiting]
    if not behind:
        return
    rows, size = sum(lane.waiting for lane in behind), sum(lane.size for lane in behind)
    age = max(0.0, time.time() - min(lane.oldest for lane in behind) / 1e6)
    whose = "processes that run" if alive else "processes that ended"
    hosts = some(sorted({lane.folder.name for lane in behind}))
    message = (
        f"{rows:,} rows ({of_bytes(size)} of segments) of {len(behind)} {whose} on {hosts} are not in the tables yet; "
        f"the oldest waits for {of_seconds(age)}"
    )
    if alive and age < _LATE:
        yield Finding("journal", Severity.OK, message + ", as is usual while they log")
        return
    late = Severity.WARNING if age >= _LATE else Severity.NOTE
    yield Finding("journal", late, message, "`lakelineage flush` commits them; it says why, if it cannot")


def _torn(lanes: list[_Lane]) -> Iterator[Finding]:
    torn = [lane for lane in lanes if lane.torn]
    if torn:
        names = some([f"{lane.folder.name}/{lane.writer}" for lane in torn])
        yield Finding(
            "journal",
            Severity.WARNING,
            f"{of_bytes(sum(lane.torn for lane in torn))} at the end of segments of {names} are no whole record: a "
            "process died while it wrote (its call had not returned), or the disk lost them",
            "`lakelineage flush` commits all before them and sets the rest aside; if it happened without a crash, "
            "check the disk",
        )


def _set_aside(place: Place) -> Iterator[Finding]:
    found = sorted(path for folder in place.folders for path in folder.glob("*.damaged"))
    if found:
        yield Finding(
            "journal",
            Severity.WARNING,
            f"{len(found)} segments with a damaged end were set aside: {some([path.name for path in found])}",
            f"all before the damage is in the tables. Check the disk, then delete them from {place.spool}",
        )


def _old_boots(lanes: list[_Lane]) -> Iterator[Finding]:
    old = [lane for lane in lanes if not lane.writer.startswith(boot_id())]
    if old:
        yield Finding(
            "journal",
            Severity.NOTE,
            f"{len(old)} lanes are of an earlier boot of this host, or of another host",
            "`lakelineage flush` drains and removes those of this host",
        )


def _file_system(place: Place) -> Iterator[Finding]:
    kind = file_system(place.spool)
    if is_network(kind):
        yield Finding(
            "journal",
            Severity.WARNING,
            f"the journal {place.spool} is on a network file system ({kind}), where leases and syncs are only as good "
            "as its server; each host commits its own rows",
            "keep the lake on a local disk or in an object store",
        )
