"""One data file of a pinned version: checked, and read as the version has it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput, SnapshotLost
from lakelineage.query import files
from lakelineage.snapshots.columns import Column
from lakelineage.snapshots.fit import fit, fits
from lakelineage.store.batches import without_columns

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import pyarrow.dataset as ds
    from numpy.typing import NDArray

_BATCHES_AHEAD = 4
#: Spark marks files whose old dates are of the Julian calendar; versions before 3.1 had no other, and no mark.
_OLD_CALENDAR = (b"org.apache.spark.legacyDateTime", b"org.apache.spark.legacyINT96")
_OLD_VERSIONS = (b"1.", b"2.", b"3.0.")
#: From here on (µs since 1970 UTC) both calendars, and all zones' histories, agree.
_AGREED_SINCE = -2_208_988_800_000_000


@dataclass(frozen=True)
class StoredFile:
    """A file, found.

    Attributes:
        path: as the log names it, for messages.
        place: absolute path on this machine; None if it is elsewhere.
        fragment: Arrow's view of the file.
        values: partition column → value of all rows.
        expected: rows that it must have; None where the log did not tell.
        hidden: positions of the rows that the version does not have, ascending.
    """

    path: str
    place: str | None
    fragment: "ds.ParquetFileFragment"
    values: "dict[str, pa.Scalar]"
    expected: int | None
    hidden: "NDArray[np.int64] | None"

    @cached_property
    def num_rows(self) -> int:
        """Rows by the file's footer, hidden ones too.

        Raises:
            SnapshotLost: it has not the rows that were pinned.
        """
        found: int = self.fragment.metadata.num_rows
        if self.expected is not None and found != self.expected:
            raise SnapshotLost(f"{self.path} has {found} rows instead of {self.expected}", (self.path,))
        if self.hidden is not None and len(self.hidden) and self.hidden[-1] >= found:
            raise SnapshotLost(f"{self.path} has {found} rows, fewer than its deletion vector tells of", (self.path,))
        return found

    @cached_property
    def _schema(self) -> "pa.Schema":
        return self.fragment.physical_schema

    def table(self, columns: Sequence[Column], schema: "pa.Schema") -> "pa.Table":
        """All its rows."""
        import pyarrow as pa

        expected, at = self.num_rows, self._find(columns)
        names = [self._schema.names[i] for i in at if i is not None]
        found = self.fragment.to_table(schema=self._schema, columns=names)
        if found.num_rows != expected:
            raise SnapshotLost(f"{self.path} gave {found.num_rows} rows instead of {expected}", (self.path,))
        arrays = self._arrays(found, columns, at)
        if not arrays:
            return pa.Table.from_batches([without_columns(expected - self._num_hidden(0, expected))])
        whole = pa.Table.from_arrays(arrays, schema=schema)
        return whole if self.hidden is None else whole.filter(self._mask(0, expected))

    def batches(self, columns: Sequence[Column], schema: "pa.Schema", size: int) -> "Iterator[pa.RecordBatch]":
        """All its rows, in batches of at most ``size``; memory stays within a few of them."""
        import pyarrow as pa

        expected, at = self.num_rows, self._find(columns)
        names = [self._schema.names[i] for i in at if i is not None]
        scanner = self.fragment.scanner(
            schema=self._schema, columns=names, batch_size=size, batch_readahead=_BATCHES_AHEAD
        )
        seen = 0
        for batch in scanner.to_batches():
            arrays = self._arrays(batch, columns, at)
            if not arrays:
                yield without_columns(batch.num_rows - self._num_hidden(seen, batch.num_rows))
            else:
                whole = pa.RecordBatch.from_arrays(arrays, schema=schema)
                yield whole if self.hidden is None else whole.filter(self._mask(seen, batch.num_rows))
            seen += batch.num_rows
        if seen != expected:
            raise SnapshotLost(f"{self.path} gave {seen} rows instead of {expected}", (self.path,))

    def _find(self, columns: Sequence[Column]) -> list[int | None]:
        fields = list(self._schema)
        return [None if column.name in self.values else column.find(fields) for column in columns]

    def _arrays(self, found: Any, columns: Sequence[Column], at: Sequence[int | None]) -> list[Any]:
        import pyarrow as pa

        stored = iter(found.columns)
        arrays: list[Any] = []
        for column, index in zip(columns, at, strict=True):
            if index is not None:
                array = fit(next(stored), column)
                self._check_calendar(array, column)
                arrays.append(array)
            elif column.name in self.values:
                arrays.append(pa.repeat(self.values[column.name], found.num_rows))
            else:
                arrays.append(pa.nulls(found.num_rows, column.kind))
        return arrays

    def _mask(self, start: int, count: int) -> "pa.Array":
        """Which of some rows are not hidden."""
        import numpy as np
        import pyarrow as pa

        assert self.hidden is not None
        visible = np.ones(count, dtype=bool)
        first, last = np.searchsorted(self.hidden, (start, start + count))
        visible[self.hidden[first:last] - start] = False
        return pa.array(visible)

    def _num_hidden(self, start: int, count: int) -> int:
        import numpy as np

        if self.hidden is None:
            return 0
        first, last = np.searchsorted(self.hidden, (start, start + count))
        return int(last - first)

    @cached_property
    def _is_of_old_calendar(self) -> bool:
        told = self.fragment.metadata.metadata or {}
        return any(mark in told for mark in _OLD_CALENDAR) or told.get(b"org.apache.spark.version", b"").startswith(
            _OLD_VERSIONS
        )

    def _check_calendar(self, array: Any, column: Column) -> None:
        if not self._is_of_old_calendar or not _tells_time(column):
            return
        import pyarrow as pa
        import pyarrow.compute as pc

        first = None if column.parts else pc.min(array.cast(pa.timestamp("us", getattr(column.kind, "tz", None)))).value
        if column.parts or (first is not None and first < _AGREED_SINCE):
            raise InvalidInput(
                f"column {column.name!r} of {self.path} has times before 1900 that an old Spark wrote in the Julian "
                "calendar, which lakelineage does not convert; read it with to_spark, or rewrite the table with Spark"
            )

    @property
    def texts(self) -> tuple[tuple[str, str | None], ...]:
        """The partition values as text, without doubt about zones."""
        return tuple((name, _text(value)) for name, value in self.values.items())

    def is_stored_by_name(self, columns: Sequence[Column]) -> bool:
        """Whether the file names columns as the schema says; where they are found by id, it may not."""
        names = set(self._schema.names)
        found = zip(columns, self._find(columns), strict=True)
        return all((column.stored in names) == (at is not None) or column.name in self.values for column, at in found)

    def is_laid_out_as(self, other: "StoredFile") -> bool:
        """Whether both store the same columns in the same way, which makes :meth:`shape` the same."""
        return (
            self.values.keys() == other.values.keys()
            and self._is_of_old_calendar == other._is_of_old_calendar
            and self._arrow_notes == other._arrow_notes
            and self.fragment.metadata.schema.equals(other.fragment.metadata.schema)
        )

    @cached_property
    def _arrow_notes(self) -> bytes | None:
        return (self.fragment.metadata.metadata or {}).get(b"ARROW:schema")

    def shape(self, columns: Sequence[Column]) -> tuple[files.Stored, ...] | None:
        """How the file stores columns, if an engine that reads Parquet takes them for what they are; else None."""
        import pyarrow as pa

        stored = []
        for column, at in zip(columns, self._find(columns), strict=True):
            if at is None:
                stored.append(files.Stored(column.name, column.kind, None))
                continue
            field = self._schema.field(at)
            is_old = field.name in self._int96 and pa.types.is_timestamp(column.kind)
            if not (is_old or fits(field.type, column)) or (self._is_of_old_calendar and _tells_time(column)):
                return None
            stored.append(files.Stored(column.name, column.kind, field.name, is_old))
        return tuple(stored)

    @cached_property
    def _int96(self) -> frozenset[str]:
        """Paths of leaves; of those in nested columns Arrow's type tells, which then has no zone."""
        schema = self.fragment.metadata.schema
        leaves = (schema.column(i) for i in range(len(schema)))
        return frozenset(leaf.path for leaf in leaves if leaf.physical_type == "INT96")

    def describe(self, columns: Sequence[files.Stored]) -> files.File:
        """The file as engines are told of it."""
        import pyarrow as pa

        assert self.place is not None
        missing = (column for column in columns if column.stored is None)
        values = {c.name: self.values[c.name] if c.name in self.values else pa.scalar(None, c.kind) for c in missing}
        return files.File(self.place, self.num_rows, values, self.hidden)


def _tells_time(column: Column) -> bool:
    import pyarrow as pa

    kind = column.kind
    return pa.types.is_temporal(kind) or any(_tells_time(part) for part in column.parts)


def _text(value: "pa.Scalar") -> str | None:
    plain: Any = value.as_py()
    if plain is None or isinstance(plain, str):
        return plain
    return plain.isoformat() if hasattr(plain, "isoformat") else str(plain)
