"""Rows to pin."""

import pyarrow as pa


def people(start: int, stop: int) -> pa.Table:
    """A row for each number."""
    return pa.table({"id": pa.array(range(start, stop), pa.int64()), "score": [n / 7 for n in range(start, stop)]})
