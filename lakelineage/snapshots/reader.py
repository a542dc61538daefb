"""Reading a pinned version back: where its files are now, and its rows as a stream of Arrow batches.

One mechanism serves every form: an Arrow dataset over the pinned files, with the pinned schema. Each file comes from
its original place if what is there is what was pinned, else from the archive.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from lakelineage.errors import SnapshotLost
from lakelineage.snapshots import archive
from lakelineage.snapshots.predicate import Predicate
from lakelineage.snapshots.types import partition_scalar
from lakelineage.store import source
from lakelineage.store.root import Root, storage_errors
from lakelineage.store.source import DataFile, Options

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds

_BATCHES_AHEAD = 4


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """A file of a snapshot, and the path below the lake under which it is kept (None: it is not)."""

    file: DataFile
    kept_as: str | None


@dataclass(frozen=True, slots=True)
class Pinned:
    """What is needed to find a snapshot's files."""

    snapshot_id: str
    uri: str
    table_id: str
    version: int
    files: tuple[PinnedFile, ...]
    options: Options


def local_place(uri: str, path: str) -> Path:
    """Where a file of a local table is; the log percent-encodes paths."""
    plain = unquote(urlsplit(path).path) if path.startswith("file:") else unquote(path)
    return Path(uri, plain)


def find(root: Root, pinned: Pinned) -> list[str]:
    """Where each file is now: a local path, or for object stores a path below the table.

    Raises:
        SnapshotLost: files that are neither intact at their original place nor archived; ``missing`` lists them.
    """
    places = _find_local(root, pinned) if source.is_local(pinned.uri) else _find_remote(pinned)
    missing = tuple(pin.file.path for pin, place in zip(pinned.files, places, strict=True) if place is None)
    if missing:
        shown = ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
        raise SnapshotLost(
            f"snapshot {pinned.snapshot_id} of {pinned.uri} (table {pinned.table_id}, version {pinned.version}): "
            f"{len(missing)} of {len(pinned.files)} files {_how_lost(pinned)}: {shown}. Restore them from a backup",
            missing,
        )
    return [place for place in places if place is not None]


def _how_lost(pinned: Pinned) -> str:
    if any(pin.kept_as is not None for pin in pinned.files):
        return "are gone or were overwritten in place, and so were their archived copies (hard links share content)"
    return "are gone or were altered, and are not archived (protection='archived' would have kept them)"


def _find_local(root: Root, pinned: Pinned) -> list[str | None]:
    same_table: bool | None = None
    places: list[str | None] = []
    for pin in pinned.files:
        original = local_place(pinned.uri, pin.file.path)
        if pin.kept_as is not None:
            places.append(_kept_or_original(root, pinned, pin, original))
            continue
        if same_table is None:
            same_table = _is_same_table(pinned)
        places.append(str(original) if same_table and _has_size(original, pin.file.size) else None)
    return places


def _kept_or_original(root: Root, pinned: Pinned, pin: PinnedFile, original: Path) -> str | None:
    assert pin.kept_as is not None
    file = pin.file
    if archive.same(pinned.table_id, file.path, file.size, pin.kept_as, original):
        return str(original)
    if root.local is not None and archive.intact(root, pinned.table_id, file.path, file.size, pin.kept_as):
        return str(root.local / pin.kept_as)
    return None


def _is_same_table(pinned: Pinned) -> bool:
    """Whether the table was not dropped and made again: with names like ``part-0.parquet`` sizes alone may deceive.

    A place without any table is trusted as far as sizes go: there is nothing that it could be mistaken for.
    """
    return source.table_id_at(pinned.uri, pinned.options) in (pinned.table_id, None)


def _has_size(place: Path, size: int) -> bool:
    try:
        return place.stat().st_size == size
    except (FileNotFoundError, NotADirectoryError):
        return False


def _find_remote(pinned: Pinned) -> list[str | None]:
    if not pinned.files or not _is_same_table(pinned):
        return [None for _ in pinned.files]
    import pyarrow.fs as pafs

    fs = source.filesystem(pinned.uri, pinned.options)
    names = [unquote(pin.file.path) for pin in pinned.files]
    with storage_errors(f"looking for the files of {pinned.uri}"):
        infos = fs.get_file_info(names)
    pairs = zip(names, pinned.files, infos, strict=True)
    return [n if i.type == pafs.FileType.File and i.size == pin.file.size else None for n, pin, i in pairs]


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
