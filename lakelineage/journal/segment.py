"""The format of journal segments.

A segment is the 8 bytes of ``MAGIC`` followed by frames:

    length of payload   uint32, little endian
    CRC-32 of payload   uint32, little endian (zlib's)
    payload             MessagePack: [seq, ingested_at, [[table, count, body], …]]

``body`` is a list of rows (each a list of values in the order of the table's own columns) or, for bulk data, the
bytes of an Arrow IPC stream. ``seq`` is the number of the first row; rows count on through all parts.

A reader stops at the first frame that is cut short or whose checksum is wrong: what is before it is whole.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakelineage.errors import LakeTooNew
from lakelineage.model.changes import Batch, Change, Rows
from lakelineage.tables import BY_NAME, Table

if TYPE_CHECKING:
    import pyarrow as pa

MAGIC = b"LLSEG\x00\x01\n"
_FRAME = struct.Struct("<II")


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one table within a record.

    Attributes:
        table: name of the table.
        seq: number of the first row.
        count: rows.
        body: rows as plain values, or an Arrow IPC stream.
    """

    table: str
    seq: int
    count: int
    body: list[list[Any]] | bytes


@dataclass(frozen=True, slots=True)
class Record:
    """One change as journaled.

    Attributes:
        seq: number of its first row.
        ingested_at: µs.
        parts: its rows by table.
        end: offset just behind it in its segment.
    """

    seq: int
    ingested_at: int
    parts: tuple[Part, ...]
    end: int

    @property
    def last_seq(self) -> int:
        """Number of its last row."""
        return self.seq + sum(part.count for part in self.parts) - 1


def encode(change: Change, seq: int, ingested_at: int) -> bytes:
    """A change as one frame."""
    import ormsgpack

    parts = [(part.table, len(part), part.rows if isinstance(part, Rows) else _ipc(part)) for part in change]
    payload = ormsgpack.packb((seq, ingested_at, parts))
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def _ipc(batch: Batch) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(sink, batch.data.schema, options=options) as writer:
        writer.write_batch(batch.data)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def decode(data: bytes, start: int) -> Iterator[Record]:
    """The whole records in a piece of a segment.

    Args:
        data: bytes of the segment from a frame's beginning.
        start: offset of that piece in the segment.
    """
    import ormsgpack

    view, at = memoryview(data), 0
    while at + _FRAME.size <= len(data):
        length, checksum = _FRAME.unpack_from(data, at)
        end = at + _FRAME.size + length
        payload = view[at + _FRAME.size : end]
        if not length or end > len(data) or zlib.crc32(payload) != checksum:
            return  # zeros, which a file system may leave after a loss of power, would pass the checksum
        seq, ingested_at, parts = ormsgpack.unpackb(payload)
        yield Record(seq, ingested_at, tuple(_numbered(parts, seq)), start + end)
        at = end


def _numbered(parts: list[list[Any]], seq: int) -> Iterator[Part]:
    for table, count, body in parts:
        yield Part(table, seq, count, body)
        seq += count


@dataclass(frozen=True, slots=True)
class Piece:
    """A part with the rest of its place in the order of the lake."""

    writer: str
    ingested_at: int
    part: Part


def to_arrow(table: Table, pieces: list[Piece]) -> "pa.Table":
    """Journaled rows of one table with its stored schema."""
    import pyarrow as pa

    rows = [piece for piece in pieces if isinstance(piece.part.body, list)]
    tables = [_rows_to_arrow(table, rows)] if rows else []
    tables += [_ipc_to_arrow(table, piece) for piece in pieces if isinstance(piece.part.body, bytes)]
    return pa.concat_tables(tables) if tables else table.empty()


def _rows_to_arrow(table: Table, pieces: list[Piece]) -> "pa.Table":
    import pyarrow as pa

    width = len(table.columns)
    values: list[list[Any]] = []
    order: list[tuple[int, str, int]] = []
    for piece in pieces:
        assert isinstance(piece.part.body, list)
        values.extend(piece.part.body)
        order.extend((piece.ingested_at, piece.writer, piece.part.seq + i) for i in range(piece.part.count))
    if any(len(row) > width for row in values):
        raise LakeTooNew(f"the journal holds rows of {table.name} with newer columns; upgrade lakelineage to read them")
    if any(len(row) < width for row in values):  # written before the table got its newest columns
        values = [row + [None] * (width - len(row)) for row in values]
    columns = [*zip(*order, strict=True), *zip(*values, strict=True)]
    arrays = [
        pa.array(_pairs(c) if pa.types.is_map(f.type) else c, f.type)
        for c, f in zip(columns, table.schema, strict=True)
    ]
    return pa.table(arrays, schema=table.schema)


def _pairs(column: Sequence[list[list[Any]] | None]) -> list[list[tuple[Any, ...]] | None]:
    """Maps as Arrow takes them: MessagePack has no tuples."""
    return [None if entries is None else [tuple(entry) for entry in entries] for entries in column]


def _ipc_to_arrow(table: Table, piece: Piece) -> "pa.Table":
    import pyarrow as pa

    assert isinstance(piece.part.body, bytes)
    own = pa.ipc.open_stream(piece.part.body).read_all()
    count, first = piece.part.count, piece.part.seq
    order = [
        pa.repeat(pa.scalar(piece.ingested_at, table.schema.field(0).type), count),
        pa.repeat(pa.scalar(piece.writer, pa.string()), count),
        pa.arange(first, first + count),
    ]
    if unknown := set(own.schema.names) - set(table.names):
        raise LakeTooNew(
            f"the journal holds rows of {table.name} with newer columns {sorted(unknown)}; upgrade lakelineage to read "
            "them"
        )
    columns = [  # batches of older versions lack the newest columns
        own.column(f.name) if f.name in own.schema.names else pa.nulls(count, f.type) for f in table.own_schema
    ]
    return pa.table([*order, *columns], schema=table.schema)


def by_table(records: Iterator[tuple[str, Record]]) -> dict[str, list[Piece]]:
    """Pieces of each table, of records given with their writer.

    Raises:
        LakeTooNew: a record is of a table that this version does not know.
    """
    found: dict[str, list[Piece]] = {}
    for writer, record in records:
        for part in record.parts:
            if part.table not in BY_NAME:
                raise LakeTooNew(f"the journal holds rows of a table {part.table!r}; upgrade lakelineage to read them")
            found.setdefault(part.table, []).append(Piece(writer, record.ingested_at, part))
    return found


__all__ = ["MAGIC", "Batch", "Part", "Piece", "Record", "by_table", "decode", "encode", "to_arrow"]
