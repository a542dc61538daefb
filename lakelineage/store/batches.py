"""Streams of Arrow batches."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa


def rebatched(batches: "Iterable[pa.RecordBatch]", size: int) -> "Iterator[pa.RecordBatch]":
    """The same rows, so many in each batch but the last."""
    import pyarrow as pa

    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        while count >= size:
            table = pa.Table.from_batches(waiting)
            yield _joined(table.slice(0, size))
            count -= size
            waiting = table.slice(size).to_batches() if table.num_columns else [without_columns(count)]
    if count:
        yield _joined(pa.Table.from_batches(waiting))


def without_columns(num_rows: int) -> "pa.RecordBatch":
    """Rows that have no columns, but can be counted."""
    import pyarrow as pa

    return pa.RecordBatch.from_struct_array(pa.array([{}] * num_rows, pa.struct([])))


def _joined(table: "pa.Table") -> "pa.RecordBatch":
    import pyarrow as pa

    if not table.num_columns:
        return without_columns(table.num_rows)
    return pa.RecordBatch.from_arrays([pa.concat_arrays(c.chunks) for c in table.columns], schema=table.schema)
