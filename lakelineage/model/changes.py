"""A write as data: what is to be added to which tables, before any of it touches a disk."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

#: Values of one row, in the order of the table's own columns (without ``ingested_at``, ``writer``, ``seq``).
#: Timestamps are integers: microseconds since 1970-01-01 UTC. Maps are lists of (key, value) pairs.
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table, as plain values. The cheap way for a few rows."""

    table: str
    rows: tuple[Row, ...]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one table, as Arrow. The cheap way for many rows.

    Attributes:
        data: the table's own columns, in their declared order and types.
    """

    table: str
    data: "pa.RecordBatch"

    def __len__(self) -> int:
        return int(self.data.num_rows)


#: One call's change. It becomes durable as a whole or not at all.
Change = tuple[Rows | Batch, ...]


@dataclass(frozen=True, slots=True)
class Stamp:
    """The place of a change in the one order of the lake, which is (ingested_at, writer, seq).

    Attributes:
        ingested_at: hybrid logical clock, microseconds since 1970-01-01 UTC, the same for all rows of the change.
        writer: journal id.
        seq: of the first row; the following rows count on.
    """

    ingested_at: int
    writer: str
    seq: int
