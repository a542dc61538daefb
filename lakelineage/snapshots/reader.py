"""Reading a pinned version back: its rows as a stream of Arrow batches.

One mechanism serves every form: an Arrow dataset over the pinned files, with the pinned schema.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakelineage.errors import SnapshotLost
from lakelineage.snapshots.places import Pinned, find
from lakelineage.snapshots.predicate import Predicate
from lakelineage.snapshots.types import partition_scalar
from lakelineage.store import source
from lakelineage.store.root import Root
from lakelineage.store.source import DataFile

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds

_BATCHES_AHEAD = 4


@dataclass(frozen=True)
class Rows:
    """The rows of a snapshot, ready to be read.

    Attributes:
        dataset: over the files found.
        schema: of the pinned version, all columns.
        expected: place of a file → rows that it must have, where the log told.
    """

    dataset: "ds.FileSystemDataset"
    schema: "pa.Schema"
    expected: dict[str, int]
    label: str

    def batches(
        self, columns: Sequence[str] | None, predicate: Predicate | None, batch_rows: int
    ) -> "Iterator[pa.RecordBatch]":
        """Batches of at most ``batch_rows`` rows, in the order of the files; memory stays within a few of them.

        Raises:
            SnapshotLost: a file vanished, is damaged, or has another number of rows than was pinned.
        """
        import pyarrow as pa

        chosen = self.schema.names if columns is None else list(columns)
        output = pa.schema([self.schema.field(name) for name in chosen])
        needed = chosen + [name for name in (predicate.columns if predicate else ()) if name not in chosen]
        full = pa.schema([self.schema.field(name) for name in needed])
        seen: Counter[str] = Counter()
        for place, batch in self._scan(needed, batch_rows):
            seen[place] += batch.num_rows
            kept = pa.RecordBatch.from_arrays(batch.columns, schema=full)
            if predicate is not None:
                kept = predicate.keep(kept)
            if kept.num_rows:
                yield pa.RecordBatch.from_arrays(kept.columns[: len(chosen)], schema=output)
        self._check(seen)

    def _scan(self, columns: list[str], batch_rows: int) -> "Iterator[tuple[str, pa.RecordBatch]]":
        import pyarrow as pa

        try:
            # File by file: a scanner over all of them reads ahead without bound when its consumer is slow (measured).
            for fragment in self.dataset.get_fragments():
                scanner = fragment.scanner(
                    self.schema, columns=columns, batch_size=batch_rows, batch_readahead=_BATCHES_AHEAD
                )
                for batch in scanner.to_batches():
                    yield fragment.path, batch
        except (OSError, pa.ArrowInvalid) as error:
            raise SnapshotLost(f"{self.label}: a file cannot be read: {error}") from error

    def _check(self, seen: Counter[str]) -> None:
        wrong = [(place, want, seen[place]) for place, want in self.expected.items() if seen[place] != want]
        if wrong:
            place, want, got = wrong[0]
            raise SnapshotLost(
                f"{self.label}: {len(wrong)} files do not have the rows that were pinned; {place} has {got} rows "
                f"instead of {want}. Restore them from a backup",
                tuple(place for place, _, _ in wrong),
            )

    def check_files(self) -> None:
        """Compare the number of rows of each file with what was pinned, by the files' footers.

        Raises:
            SnapshotLost: a file cannot be read, or has another number of rows.
        """
        import pyarrow as pa

        try:
            self._check(Counter({f.path: f.count_rows() for f in self.dataset.get_fragments()}))
        except (OSError, pa.ArrowInvalid) as error:
            raise SnapshotLost(f"{self.label}: a file cannot be read: {error}") from error

    def only(self, columns: Sequence[str]) -> "ds.Dataset":
        """The dataset with some of its columns, for engines that read datasets themselves."""
        import pyarrow as pa

        return self.dataset.replace_schema(pa.schema([self.schema.field(name) for name in columns]))


def rows(root: Root, pinned: Pinned, schema: "pa.Schema") -> Rows:
    """Find the files and put a dataset over them.

    Raises:
        SnapshotLost: files are gone.
    """
    import pyarrow.dataset as ds
    import pyarrow.fs as pafs

    places = find(root, pinned)
    local = source.is_local(pinned.uri)
    fs: Any = pafs.LocalFileSystem() if local else source.filesystem(pinned.uri, pinned.options)
    kind = ds.ParquetFileFormat()
    fragments = [
        kind.make_fragment(place, filesystem=fs, partition_expression=_partition(pin.file, schema))
        for place, pin in zip(places, pinned.files, strict=True)
    ]
    expected = {
        place: pin.file.num_rows
        for place, pin in zip(places, pinned.files, strict=True)
        if pin.file.num_rows is not None
    }
    label = f"snapshot {pinned.snapshot_id} of {pinned.uri}"
    return Rows(ds.FileSystemDataset(fragments, schema, kind, fs), schema, expected, label)


def _partition(file: DataFile, schema: "pa.Schema") -> Any:
    """Arrow's way to give a file's rows its partition values: what is known to be true of all of them."""
    import pyarrow.compute as pc

    whole: Any = None
    for name, text in file.partition_values:
        value = partition_scalar(text, schema.field(name).type, name)
        known = pc.field(name) == value if value.is_valid else pc.field(name).is_null()
        whole = known if whole is None else whole & known
    return pc.scalar(True) if whole is None else whole
