"""Reading back what is pinned, and telling whether it still is what was pinned."""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from lakelineage.errors import InvalidInput, LakelineageError
from lakelineage.snapshots import folders, pin_list, places, records, states
from lakelineage.snapshots.folders import files
from lakelineage.snapshots.snapshot import Snapshot

if TYPE_CHECKING:
    from lakelineage.engine import Engine

#: files: they are there, by size and time or etag, and their footers have the rows; rows: every row is read;
#: checksums: besides, every byte is what it was when its checksum was taken.
Depth = Literal["files", "rows", "checksums"]
_DEPTHS: tuple[Depth, ...] = ("files", "rows", "checksums")


@dataclass(frozen=True, slots=True)
class Verified:
    """What became of a pinned snapshot.

    Attributes:
        snapshot_id: which.
        table_uri: where its table was.
        version: Delta version.
        ok: whether it was read back, and is what was pinned.
        read_from: table (or folder), archive or both; None if it is lost.
        rows: rows that were read; None if only files were looked at.
        bytes: size of its files.
        checksums: files whose content has the checksum that was taken earlier.
        taken: files whose checksum was taken now, because there was none: from now on a change will show.
        seconds: it took.
        problem: what is wrong; None if nothing is.
    """

    snapshot_id: str
    table_uri: str
    version: int
    ok: bool
    read_from: str | None
    rows: int | None
    bytes: int
    checksums: int
    taken: int
    seconds: float
    problem: str | None


def verify(
    engine: "Engine",
    snapshots: Sequence[Snapshot | str] | None = None,
    *,
    depth: Depth = "rows",
    sample: int | None = None,
) -> Iterator[Verified]:
    """Read back what is pinned, one snapshot after the other.

    Args:
        engine: the open lake.
        snapshots: which; default all that have a pin.
        depth: ``files``, ``rows`` or ``checksums``; each does what those before it do.
        sample: only so many of them, chosen at random.

    Raises:
        SnapshotNotFound: there is no such snapshot.
        InvalidInput: no such depth, or a sample that is not positive.
    """
    if depth not in _DEPTHS:
        raise InvalidInput(f"depth {depth!r} is unknown; choose one of {', '.join(_DEPTHS)}")
    if sample is not None and sample < 1:
        raise InvalidInput(f"a sample must be at least 1, not {sample!r}")
    chosen = _pinned(engine) if snapshots is None else [records.loaded(engine, each).id for each in snapshots]
    if sample is not None and sample < len(chosen):
        chosen = random.sample(chosen, sample)
    return (_verified(engine, records.load(engine, each), depth) for each in chosen)


def _pinned(engine: "Engine") -> list[str]:
    sql = f"select distinct snapshot_id from ({states.STATES}) where state = '{states.PINNED}' order by snapshot_id"
    return [str(each) for each in engine.query(sql, {"now": engine.now}).column(0).to_pylist()]


def _verified(engine: "Engine", snapshot: Snapshot, depth: Depth) -> Verified:
    began = time.monotonic()
    rows: int | None = None
    matched = taken = 0
    problem = read_from = None
    try:
        if depth == "checksums":
            matched, taken = take_checksums(engine, snapshot)
            snapshot = records.load(engine, snapshot.id)
        snapshot.check_files()
        if depth != "files":
            rows = sum(batch.num_rows for batch in snapshot.to_batches())
        if snapshot.kind == folders.KIND:
            read_from = files.where_read(engine.root, snapshot, read_all=depth == "checksums")
            matched += snapshot.num_files if depth == "checksums" else 0
        else:
            read_from = pin_list.where_read(snapshot)
    except LakelineageError as error:
        problem = str(error)
    return Verified(
        snapshot.id,
        snapshot.table_uri,
        snapshot.version,
        problem is None,
        read_from,
        rows,
        snapshot.bytes,
        matched,
        taken,
        time.monotonic() - began,
        problem,
    )


def take_checksums(engine: "Engine", snapshot: Snapshot) -> tuple[int, int]:
    """Compare the files with their checksums, and take the checksums of those that have none yet.

    Returns:
        Files that have the checksum taken earlier, and files whose checksum was taken now.

    Raises:
        SnapshotLost: files are gone, or their content is not what it was.
    """
    pinned = snapshot.pinned()
    digests = places.digests(engine.root, pinned, places.find(engine.root, pinned))
    wrong = tuple(
        pin.file.path
        for pin, digest in zip(pinned.files, digests, strict=True)
        if pin.sha256 is not None and pin.sha256 != digest
    )
    if wrong:
        raise places.altered(pinned, wrong)
    fresh = tuple(
        replace(pin, sha256=digest) for pin, digest in zip(pinned.files, digests, strict=True) if pin.sha256 is None
    )
    if fresh:
        engine.append((records.file_rows(replace(snapshot, _files=fresh, _contents=())),))
    return len(pinned.files) - len(fresh), len(fresh)
