"""A data file without some of its rows, kept in the archive under the digest of its content."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakelineage.erasure.plan import only
from lakelineage.errors import SnapshotLost
from lakelineage.snapshots import archive, places, predicate, reader
from lakelineage.snapshots.places import PinnedFile
from lakelineage.snapshots.snapshot import Snapshot
from lakelineage.store import files
from lakelineage.store.root import storage_errors
from lakelineage.store.source import DataFile

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine

_BATCH = 65_536
#: What is put behind the name of a file that was written anew.
_MARK = ".without-"


def without(engine: "Engine", snapshot: Snapshot, pin: PinnedFile, where: str) -> PinnedFile | None:
    """Write a file anew without the matching rows and without those that its deletion vector hides.

    The file keeps its own schema: names, field ids and order of columns are as its table's engine wrote them.

    Args:
        engine: the open lake.
        snapshot: whose file it is.
        pin: the file.
        where: rows to leave out, as a SQL condition.

    Returns:
        The new file, kept in the archive; None if no row is left.

    Raises:
        SnapshotLost: the file is gone or altered.
    """
    with tempfile.TemporaryDirectory(prefix="lakelineage-") as scratch:
        old, new = _local(engine, snapshot, pin, Path(scratch)), Path(scratch, "new.parquet")
        left = _filtered(old, new, _keeps(snapshot, pin, where))
        if not left:
            return None
        digest = files.sha256(files.local_chunks(new))
        kept_as = f"{archive.FOLDER}/{digest[:2]}/{digest}"
        if not engine.root.exists(kept_as):
            engine.root.upload(new, kept_as)
        name = pin.file.path.partition(_MARK)[0] + f"{_MARK}{digest[:16]}.parquet"  # its place in the order stays
        data = DataFile(name, new.stat().st_size, pin.file.partition_values, None, left)
    return PinnedFile(data, kept_as, sha256=digest)


def _local(engine: "Engine", snapshot: Snapshot, pin: PinnedFile, scratch: Path) -> Path:
    pinned = snapshot.pinned([pin])
    (place,) = places.find(engine.root, pinned)
    if place.startswith("/"):
        return Path(place)
    copy = Path(scratch, "old.parquet")
    with storage_errors(f"reading {place}"), copy.open("wb") as out:
        for chunk in places.content(engine.root, pinned, place):
            out.write(chunk)
    return copy


def _keeps(snapshot: Snapshot, pin: PinnedFile, where: str) -> "pa.BooleanArray":
    """For each row of the file, in its order, whether it stays."""
    import pyarrow as pa
    import pyarrow.compute as pc

    judge = predicate.parse(where, snapshot.table_schema)
    batches = only(snapshot, [pin]).to_batches(_BATCH, columns=list(judge.columns))
    judged: Any = pa.concat_arrays([pa.array([], pa.bool_()), *map(judge.holds, batches)])
    stays = pc.invert(judged)
    if pin.file.deletion_vector is None:
        return stays
    return pc.and_(stays, reader.visible(snapshot.lake.root, snapshot.pinned([pin]), pin, len(stays)))


def _filtered(old: Path, new: Path, stays: "pa.BooleanArray") -> int:
    """Copy the rows that stay; returns how many."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    at = left = 0
    with storage_errors(f"rewriting {old}"), pq.ParquetFile(old) as file:
        if file.metadata.num_rows != len(stays):
            raise SnapshotLost(f"{old} has {file.metadata.num_rows} rows, and {len(stays)} were judged; try again")
        compression = file.metadata.row_group(0).column(0).compression.lower()
        with pq.ParquetWriter(new, file.schema_arrow, compression=compression) as writer:
            for batch in file.iter_batches(_BATCH):
                rest = batch.filter(stays.slice(at, batch.num_rows))
                at, left = at + batch.num_rows, left + rest.num_rows
                writer.write_table(pa.Table.from_batches([rest]))
    return left
