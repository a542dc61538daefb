"""Every row of a small table, kept between looks: what is asked for again and again is read once."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lakelineage.tables import Table

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

#: Batches in memory before they are made one.
_MOST_CHUNKS = 64


class AllRows:
    """The rows of one table in the order of the lake. Not safe to share between threads: its table has a lock.

    Only for tables that are written under a lock: each commit's rows come after all rows before it, so what is new is
    what has a later ``ingested_at``. All is read again when a file is gone (the table was compacted, or restored), and
    when the number of rows is not what the files tell.

    Args:
        table: which.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._version = -1
        self._rows: pa.Table | None = None
        self._files: frozenset[str] = frozenset()

    def at(self, delta: "DeltaTable", files: Mapping[str, int]) -> "pa.Table":
        """All rows of the version that is loaded.

        Args:
            delta: the table.
            files: its data files, with the number of rows of each.
        """
        if self._rows is None or self._version != delta.version():
            self._rows = self._newer(delta, files)
            self._version, self._files = delta.version(), frozenset(files)
        return self._rows

    def added(self, delta: "DeltaTable", rows: "pa.Table", before: int, files: Mapping[str, int]) -> None:
        """Take note of rows that we committed ourselves, on version ``before``: they need not be read."""
        if self._rows is not None and self._version == before and delta.version() == before + 1:
            found = _joined(self._rows, rows.select(self._table.schema.names).cast(self._table.schema))
            if self._files <= files.keys() and found.num_rows == sum(files.values()):
                self._rows, self._version, self._files = found, delta.version(), frozenset(files)

    def _newer(self, delta: "DeltaTable", files: Mapping[str, int]) -> "pa.Table":
        known = self._rows
        if known is not None and known.num_rows and self._files <= files.keys():
            newest = known.column("ingested_at")[-1].value
            found = _joined(known, self._read(delta, f"WHERE ingested_at > arrow_cast({newest}, '{_TIME}')"))
            if found.num_rows == sum(files.values()):
                return found
        return self._read(delta)

    def _read(self, delta: "DeltaTable", where: str = "") -> "pa.Table":
        import pyarrow as pa
        from deltalake import QueryBuilder

        sql = f"SELECT * FROM t {where} ORDER BY ingested_at, writer, seq"
        rows = pa.RecordBatchReader.from_stream(QueryBuilder().register("t", delta).execute(sql)).read_all()
        for field in self._table.schema:  # a lake of an older format that cannot be upgraded lacks the newest columns
            if field.name not in rows.schema.names:
                rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
        return rows.select(self._table.schema.names).cast(self._table.schema)


_TIME = 'Timestamp(Microsecond, Some("UTC"))'


def _joined(known: "pa.Table", new: "pa.Table") -> "pa.Table":
    import pyarrow as pa

    rows = pa.concat_tables([known, new])
    return rows.combine_chunks() if rows.column(0).num_chunks > _MOST_CHUNKS else rows
