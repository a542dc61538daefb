"""Rows of ``runs`` as memory-mapped Arrow: a row costs what it weighs, wherever it is.

DuckDB reads columns in vectors of 2,048 values, so a hundred rows from all over a table cost as much as the table: its
maps are what is dear. Arrow's own format, mapped and not compressed, gives single rows without reading others.
"""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakelineage.store.batches import rebatched

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows of a batch. All but the last have as many, so that the number of a row tells where it is.
_BATCH = 65_536
#: Column besides those of ``runs``: numbers of rows in the order of their run ids.
_BY_ID = "__by_id"


def integers(values: Sequence[int]) -> "pa.Array":
    """Numbers as Arrow. Arrow's own way from a list imports pandas."""
    import pyarrow as pa

    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(array("q", values))])


def write(path: Path, rows: "pa.RecordBatchReader", ids: "pa.ChunkedArray") -> None:
    """Write all rows of a table.

    Args:
        path: where to.
        rows: with ``run_id``, each once.
        ids: their run ids, in the same order.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    by_id = pc.sort_indices(ids).cast(pa.int64())
    schema = rows.schema.append(pa.field(_BY_ID, pa.int64()))
    written = 0
    with pa.ipc.new_file(str(path), schema) as file:
        for batch in rebatched(rows, _BATCH):
            told = by_id.slice(written, batch.num_rows)
            file.write_batch(pa.RecordBatch.from_arrays([*batch.columns, told], schema=schema))
            written += batch.num_rows


class RowFile:
    """Rows that :func:`write` wrote.

    Args:
        path: of the file.

    Raises:
        OSError: it cannot be read, or is none.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        try:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            self._batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        except pa.ArrowException as error:
            raise OSError(f"{path}: {error}") from error
        self._rows = sum(batch.num_rows for batch in self._batches)

    def take(self, places: Sequence[int], columns: Sequence[str]) -> "pa.Table":
        """Rows by their numbers, from 0, in the order of the numbers given."""
        import pyarrow as pa

        found = []
        for number, near in groupby(places, lambda place: place // _BATCH):
            batch = self._batches[number].select(list(columns))
            found.append(batch.take(integers([place % _BATCH for place in near])))
        return pa.Table.from_batches(found)

    def find(self, run_id: str) -> int | None:
        """The number of the row of a run."""
        at = bisect_left(range(self._rows), run_id, key=lambda i: self._cell("run_id", self._cell(_BY_ID, i)))
        if at == self._rows:
            return None
        place: int = self._cell(_BY_ID, at)
        return place if self._cell("run_id", place) == run_id else None

    def _cell(self, column: str, place: int) -> Any:
        return self._batches[place // _BATCH].column(column)[place % _BATCH].as_py()
