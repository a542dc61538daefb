"""Reading a pinned version back: its rows as Arrow, and what engines must be told to read its files themselves."""

import dataclasses
import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lakelineage.errors import SnapshotLost
from lakelineage.query.files import Group, Stored
from lakelineage.snapshots import columns as stored_columns
from lakelineage.snapshots import types, vectors
from lakelineage.snapshots.columns import Column
from lakelineage.snapshots.places import Pinned, PinnedFile, find
from lakelineage.snapshots.predicate import Predicate
from lakelineage.snapshots.stored import StoredFile
from lakelineage.store import files as store_files
from lakelineage.store import source
from lakelineage.store.batches import without_columns
from lakelineage.store.root import Root

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds

#: Files read at once into one table, beside the threads that Arrow has for columns and row groups.
_AT_ONCE = 4
_FOOTERS_AT_ONCE = 8
#: Footers of fewer files on a disk are read before threads for them are started.
_MANY = 256


@dataclass(frozen=True)
class Rows:
    """The rows of a snapshot, ready to be read.

    Attributes:
        files: in the order of their paths.
        columns: all of the pinned version, by name.
        schema: of the pinned version.
        label: for messages.
    """

    files: tuple[StoredFile, ...]
    columns: dict[str, Column]
    schema: "pa.Schema"
    label: str

    def batches(
        self, columns: Sequence[str] | None, predicate: Predicate | None, batch_rows: int
    ) -> "Iterator[pa.RecordBatch]":
        """Batches of at most ``batch_rows`` rows, in the order of the files; memory stays within a few of them.

        Raises:
            SnapshotLost: a file vanished, is damaged, or has another number of rows than was pinned.
            InvalidInput: a file stores a column in a way that has no exact counterpart.
        """
        chosen = self.schema.names if columns is None else list(columns)
        needed = self.needed(chosen, predicate)
        read, schema = [self.columns[name] for name in needed], self.schema_of(needed)
        # File by file: a scanner over all of them reads ahead without bound when its consumer is slow (measured).
        for file in self.files:
            with self._reading():
                for batch in file.batches(read, schema, batch_rows):
                    kept = batch if predicate is None else predicate.keep(batch)
                    if kept.num_rows:
                        yield kept.select(chosen)

    def table(self, columns: Sequence[str] | None, predicate: Predicate | None) -> "pa.Table":
        """All at once, in the same order: several files are read at a time. Errors as in :meth:`batches`."""
        import pyarrow as pa

        chosen = self.schema.names if columns is None else list(columns)
        needed = self.needed(chosen, predicate)
        read, schema = [self.columns[name] for name in needed], self.schema_of(needed)

        def one(file: StoredFile) -> "pa.Table":
            whole = file.table(read, schema)
            return (whole if predicate is None else _kept(whole, predicate)).select(chosen)

        with self._reading():
            tables = list(_at_once(_AT_ONCE, one, self.files))
        if not chosen:  # Arrow forgets the number of such rows when it puts tables together
            return pa.Table.from_batches([without_columns(sum(table.num_rows for table in tables))])
        filled = [table for table in tables if table.num_rows]
        return pa.concat_tables(filled) if filled else self.schema_of(chosen).empty_table()

    def needed(self, columns: Sequence[str], predicate: Predicate | None) -> list[str]:
        """The columns, and after them those that only the condition looks at."""
        more = (name for name in (predicate.columns if predicate else ()) if name not in columns)
        return [*columns, *more]

    def schema_of(self, columns: Sequence[str]) -> "pa.Schema":
        """Schema of some columns."""
        import pyarrow as pa

        return pa.schema([self.schema.field(name) for name in columns])

    @contextmanager
    def _reading(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except SnapshotLost as error:
            raise SnapshotLost(f"{self.label}: {error}. Restore it from a backup", error.missing) from error
        except (OSError, pa.ArrowInvalid) as error:
            raise SnapshotLost(f"{self.label}: a file cannot be read: {error}") from error

    def check_files(self) -> None:
        """Compare the number of rows of each file with what was pinned, by the files' footers.

        Raises:
            SnapshotLost: files cannot be read, or have another number of rows; ``missing`` lists the latter.
        """
        with self._reading():
            near = len(self.files) < _MANY and all(file.place is not None for file in self.files)
            found = map(_wrong, self.files) if near else _at_once(_FOOTERS_AT_ONCE, _wrong, self.files)
            wrong = [lost for lost in found if lost is not None]
            if wrong:
                paths = tuple(path for lost in wrong for path in lost.missing)
                raise SnapshotLost(f"{len(wrong)} files do not have the rows that were pinned: {wrong[0]}", paths)

    def are_stored_by_name(self) -> bool:
        """Whether each file has the names that the schema says; with columns found by id, it may not."""
        columns = tuple(self.columns.values())
        by_id = any(column.field_id is not None for column in columns)
        return not by_id or all(file.is_stored_by_name(columns) for file in self.files)

    def parts(self, columns: Sequence[str]) -> "list[Part]":
        """The files in order, cut where engines must be told something else of how they store columns.

        Raises:
            SnapshotLost: as in :meth:`check_files`.
        """
        self.check_files()
        chosen = [self.columns[name] for name in columns]
        with self._reading():
            shaped = list(_shaped(self.files, chosen))
        found = []
        for shape, run in itertools.groupby(shaped, key=lambda pair: pair[0]):
            files = tuple(file for _, file in run)
            group = None if shape is None else Group(shape, tuple(file.describe(shape) for file in files))
            found.append(Part(group, dataclasses.replace(self, files=files)))
        return found

    def dataset(self, columns: Sequence[str]) -> "ds.Dataset | None":
        """An Arrow dataset, for engines that read those; None if one cannot tell all of what these files are."""
        import pyarrow.dataset as ds

        chosen = [self.columns[name] for name in columns]
        stores = {id(file.fragment.filesystem) for file in self.files}
        if len(stores) != 1 or any(file.hidden is not None for file in self.files):
            return None
        if not all(_is_as_in_the_table(file.shape(chosen)) for file in self.files):
            return None
        first = self.files[0].fragment
        fragments = [
            first.format.make_fragment(file.fragment.path, first.filesystem, _partition(file)) for file in self.files
        ]
        return ds.FileSystemDataset(fragments, self.schema_of(columns), first.format, first.filesystem)


@dataclass(frozen=True)
class Part:
    """Some of the files.

    Attributes:
        group: what engines that read files must be told; None: they would take them for something else.
        rows: the same files.
    """

    group: Group | None
    rows: Rows


def _is_as_in_the_table(shape: tuple[Stored, ...] | None) -> bool:
    return shape is not None and all(not c.int96 and c.stored in {c.name, None} for c in shape)


def _partition(file: StoredFile) -> Any:
    """Arrow's way to give a file's rows its partition values: what is known to be true of all of them."""
    import pyarrow.compute as pc

    whole: Any = pc.scalar(True)
    for name, value in file.values.items():
        whole = whole & (pc.field(name) == value if value.is_valid else pc.field(name).is_null())
    return whole


def _kept(whole: "pa.Table", predicate: Predicate) -> "pa.Table":
    import pyarrow as pa

    kept = map(predicate.keep, whole.to_batches())
    return pa.Table.from_batches([batch for batch in kept if batch.num_rows], whole.schema)


def _shaped(
    files: Sequence[StoredFile], columns: Sequence[Column]
) -> Iterator[tuple[tuple[Stored, ...] | None, StoredFile]]:
    """Each file with its shape; None for one that is not on this machine."""
    last, shape = None, None
    for file in files:
        if file.place is None:
            yield None, file
            continue
        if last is None or not file.is_laid_out_as(last):
            last, shape = file, file.shape(columns)
        yield shape, file


def _wrong(file: StoredFile) -> SnapshotLost | None:
    try:
        assert file.num_rows >= 0
    except SnapshotLost as lost:
        return lost
    return None


def _at_once(workers: int, act: Any, files: Sequence[StoredFile]) -> Iterator[Any]:
    """What each file gives, in order; after an error no more are begun."""
    pool = ThreadPoolExecutor(min(workers, max(len(files), 1)), thread_name_prefix="lakelineage-read")
    try:
        yield from pool.map(act, files)
    finally:
        pool.shutdown(cancel_futures=True)


def rows(root: Root, pinned: Pinned, schema_json: str, mapping: str | None) -> Rows:
    """Find the files, and which of their rows are hidden.

    Args:
        root: of the lake, which may keep copies.
        pinned: whose files.
        schema_json: Delta schema of the version.
        mapping: how its files name columns, see :func:`lakelineage.snapshots.columns.of`.

    Raises:
        SnapshotLost: files are gone.
        InvalidInput: a type that this version cannot read.
    """
    import pyarrow.dataset as ds

    columns = {column.name: column for column in stored_columns.of(schema_json, mapping)}
    form = ds.ParquetFileFormat(read_options=ds.ParquetReadOptions(coerce_int96_timestamp_unit="us"))
    stores, hidden = _Stores(root, pinned), _Hidden(root, pinned)
    found = []
    for place, pin in zip(find(root, pinned), pinned.files, strict=True):
        fs, path = stores.of(place)
        values = {
            name: types.partition_scalar(text, columns[name].kind, name) for name, text in pin.file.partition_values
        }
        here = place if os.path.isabs(place) else None
        fragment = form.make_fragment(path, filesystem=fs)
        found.append(StoredFile(pin.file.path, here, fragment, values, pin.file.num_rows, hidden.of(pin)))
    label = f"snapshot {pinned.snapshot_id} of {pinned.uri}"
    return Rows(tuple(found), columns, types.arrow_schema(schema_json), label)


def visible(root: Root, pinned: Pinned, pin: PinnedFile, count: int) -> "pa.BooleanArray":
    """Which of the ``count`` rows of a file its deletion vector does not hide.

    Raises:
        SnapshotLost: the vector is gone or damaged.
    """
    import numpy as np
    import pyarrow as pa

    mask = np.ones(count, dtype=bool)
    hidden = _Hidden(root, pinned).of(pin)
    if hidden is not None:
        mask[hidden] = False
    found: Any = pa.array(mask)
    return found


class _Stores:
    """Arrow's file systems of the places that :func:`find` gives."""

    def __init__(self, root: Root, pinned: Pinned) -> None:
        self._root, self._pinned = root, pinned

    def of(self, place: str) -> tuple[Any, str]:
        """The file system, and the path there."""
        if os.path.isabs(place):
            return self._local, place
        if "://" in place:
            return self._lake, place.removeprefix(f"{self._root.uri}/")
        return self._table, place

    @cached_property
    def _local(self) -> Any:
        import pyarrow.fs as pafs

        return pafs.LocalFileSystem()

    @cached_property
    def _lake(self) -> Any:
        return source.filesystem(self._root.uri, self._root.storage_options)

    @cached_property
    def _table(self) -> Any:
        return source.filesystem(self._pinned.uri, self._pinned.options)


class _Hidden:
    """Reads deletion vectors; several files' vectors are in one file."""

    def __init__(self, root: Root, pinned: Pinned) -> None:
        self._root, self._pinned = root, pinned
        self._read: dict[str, bytes] = {}

    def of(self, pin: PinnedFile) -> Any:
        """Positions of a file's hidden rows; None if it has no vector.

        Raises:
            SnapshotLost: the vector is gone or damaged, and so is its kept copy if there is one.
        """
        descriptor = pin.file.deletion_vector
        if descriptor is None:
            return None
        try:
            return vectors.positions(descriptor, self._original)
        except (FileNotFoundError, SnapshotLost) as error:
            vector = vectors.file_of(descriptor)
            if pin.vector_kept_as is None or vector is None:
                raise self._lost(pin, vector) from error
        try:
            return vectors.positions(descriptor, lambda _: self._root.read(pin.vector_kept_as or ""))
        except (FileNotFoundError, SnapshotLost) as error:
            raise self._lost(pin, vector) from error

    def _original(self, path: str) -> bytes:
        if path not in self._read:
            chunks = store_files.chunks(self._pinned.uri, self._pinned.options, path)
            self._read[path] = b"".join(chunks)
        return self._read[path]

    def _lost(self, pin: PinnedFile, vector: str | None) -> SnapshotLost:
        return SnapshotLost(
            f"snapshot {self._pinned.snapshot_id} of {self._pinned.uri}: the deletion vector of {pin.file.path} "
            f"({vector or 'in the log'}) is gone or was altered. Restore it from a backup",
            (vector or pin.file.path,),
        )
