"""Parquet files of a pinned version as Polars frames."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lakelineage.query.files import File, Group

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

_ROW = "__lakelineage_row"
#: Polars numbers the rows of a scan with 32 bits.
_MOST_ROWS = 2**32 - 1


def can_read(group: Group) -> bool:
    """Whether Polars takes these files for what they are: it knows Spark's old timestamps of 1677 to 2262 only."""
    countable = not group.has_hidden or sum(file.num_rows for file in group.files) < _MOST_ROWS
    return countable and not any(column.int96 for column in group.columns)


def schema(of: "pa.Schema") -> "dict[str, pl.DataType]":
    """What Polars makes of an Arrow schema."""
    import polars as pl

    frame: Any = pl.from_arrow(of.empty_table())
    return dict(frame.schema)


def lazy(group: Group) -> "list[pl.LazyFrame]":
    """Scans that are the group's rows one after the other: one for each run of files with the same values."""
    runs = itertools.groupby(group.files, key=lambda file: file.values)
    return [_with_values(_visible(group, list(files)), group, values) for values, files in runs]


def _scan(group: Group, files: Sequence[File], row_index: str | None) -> "pl.LazyFrame":
    import polars as pl
    import pyarrow as pa

    stored = pa.schema([(c.stored, c.kind) for c in group.columns if c.stored is not None])
    return pl.scan_parquet(
        [file.place for file in files],
        schema=schema(stored),
        extra_columns="ignore",
        glob=False,
        hive_partitioning=False,
        row_index_name=row_index,
    )


def _visible(group: Group, files: Sequence[File]) -> "pl.LazyFrame":
    import polars as pl

    hidden = _hidden(files)
    if hidden is None:
        return _scan(group, files, None)
    rows = _scan(group, files, _ROW)
    return rows.filter(~pl.col(_ROW).is_in(hidden.cast(pl.get_index_type()).implode()))


def _hidden(files: Sequence[File]) -> "pl.Series | None":
    """Positions of hidden rows in all the files taken together; None if there are none."""
    import numpy as np
    import polars as pl

    starts = itertools.accumulate((file.num_rows for file in files), initial=0)
    found = [start + f.hidden for start, f in zip(starts, files, strict=False) if f.hidden is not None]
    return pl.Series(np.concatenate(found)) if found else None


def _with_values(rows: "pl.LazyFrame", group: Group, values: Any) -> "pl.LazyFrame":
    import polars as pl
    import pyarrow as pa

    def column(c: Any) -> "pl.Expr":
        if c.stored is not None:
            return pl.col(c.stored).alias(c.name)
        one: Any = pl.from_arrow(pa.array([values[c.name].as_py()], c.kind))
        return pl.lit(one[0], dtype=one.dtype).alias(c.name)

    return rows.select([column(c) for c in group.columns])


def frame(group: Group) -> "pl.DataFrame":
    """All rows of a group that has columns. Values that files do not have are put in afterwards: one scan does."""
    import numpy as np
    import polars as pl
    import pyarrow as pa

    total = sum(file.num_rows for file in group.files)
    stored = [c for c in group.columns if c.stored is not None]
    rows = _scan(group, group.files, None).collect() if stored else pl.DataFrame(height=total)
    hidden = _hidden(group.files)
    if hidden is not None:
        visible = np.ones(total, dtype=bool)
        visible[hidden.to_numpy()] = False
        rows = rows.filter(pl.Series(visible))
    counts = [file.num_rows - (0 if file.hidden is None else len(file.hidden)) for file in group.files]

    def column(c: Any) -> Any:
        if c.stored is not None:
            return rows[c.stored].alias(c.name)
        parts = [pa.repeat(f.values[c.name], n) for f, n in zip(group.files, counts, strict=True)]
        return pl.Series(c.name, pl.from_arrow(pa.chunked_array(parts, c.kind)))

    return pl.DataFrame([column(c) for c in group.columns])
