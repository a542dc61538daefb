"""The rows of a pinned version in the hands of an engine: it reads what it can itself, the rest comes through Arrow."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput, SnapshotLost
from lakelineage.model import ids
from lakelineage.snapshots.predicate import Predicate
from lakelineage.snapshots.reader import Part, Rows

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

#: Rows of a batch when nothing else is said.
BATCH_ROWS = 65_536
#: Polars' plans of many scans cost more than they save (measured: 100 scans 0.13 s, 1,000 scans 3.3 s).
_MOST_SCANS = 16


def polars_frame(rows: Rows, columns: Sequence[str], predicate: Predicate | None) -> "pl.DataFrame":
    """All rows, in the order of the files.

    Raises:
        SnapshotLost: a file is not what was pinned.
    """
    import polars as pl

    from lakelineage.query.polars import files

    if not columns:
        return pl.DataFrame(height=rows.table([], predicate).num_rows)
    if predicate is not None:
        with _polars_reading(rows):
            return polars_scan(rows, columns, predicate).collect()
    frames = []
    for part in rows.parts(columns):
        if part.group is not None and files.can_read(part.group):
            with _polars_reading(rows):
                frames.append(files.frame(part.group))
        else:
            frames.append(pl.from_arrow(part.rows.table(columns, None)))  # type: ignore[arg-type]
    if not frames:
        return pl.DataFrame(schema=files.schema(rows.schema_of(columns)))
    return pl.concat(frames) if len(frames) > 1 else frames[0]


@contextmanager
def _polars_reading(rows: Rows) -> Iterator[None]:
    import polars as pl

    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        raise SnapshotLost(f"{rows.label}: a file cannot be read: {error}") from error


def polars_scan(rows: Rows, columns: Sequence[str], predicate: Predicate | None) -> "pl.LazyFrame":
    """A lazy frame: Polars' own scans where it can read all the files, else batches that are read when asked."""
    import polars as pl

    from lakelineage.query.polars import files

    if not columns:
        return polars_frame(rows, columns, predicate).lazy()
    needed = rows.needed(columns, predicate)
    scans: list[pl.LazyFrame] = []
    for part in rows.parts(needed):
        if part.group is None or not files.can_read(part.group):
            return _polars_stream(rows, columns, predicate)
        scans += files.lazy(part.group)
    if not 0 < len(scans) <= _MOST_SCANS:
        return _polars_stream(rows, columns, predicate)
    whole = pl.concat(scans) if len(scans) > 1 else scans[0]
    return whole if predicate is None else predicate.keep_lazy(whole).select(columns)


def _polars_stream(rows: Rows, columns: Sequence[str], predicate: Predicate | None) -> "pl.LazyFrame":
    import polars as pl
    from polars.io.plugins import register_io_source

    from lakelineage.query.polars import files

    def read(
        wanted: list[str] | None, chosen: "pl.Expr | None", limit: int | None, batch_size: int | None
    ) -> "Iterator[pl.DataFrame]":
        left = limit
        for batch in rows.batches(columns if wanted is None else wanted, predicate, batch_size or BATCH_ROWS):
            frame: Any = pl.from_arrow(batch)
            frame = frame if chosen is None else frame.filter(chosen)
            frame = frame if left is None else frame.head(left)
            left = None if left is None else left - frame.height
            yield frame
            if left == 0:
                return

    return register_io_source(read, schema=files.schema(rows.schema_of(columns)))


def duckdb_relation(
    con: Any, name: str | None, rows: Rows, columns: Sequence[str], predicate: Predicate | None, base: str
) -> Any:
    """A relation on a user's connection, and a temporary view if a name is given.

    Raises:
        InvalidInput: no columns.
        SnapshotLost: a file is not what was pinned.
    """
    from lakelineage.query.duckdb import files

    if not columns:
        raise InvalidInput("DuckDB has no relations without columns; name one, or use to_arrow")
    schema = rows.schema_of(columns)
    if predicate is not None:
        return files.relation(con, name, schema, [_arrow_stream(rows, columns, predicate)], base)
    # What is held is told apart by its places, too: files may since have been found in the archive.
    base = f"{base}_{ids.digest(file.place or file.path for file in rows.files)[:8]}"
    parts = [_for_duckdb(part, columns, itself=True) for part in rows.parts(columns)]
    made = files.relation(con, name, schema, parts, base)
    if made is None:
        made = files.relation(con, name, schema, [_for_duckdb(Part(None, rows), columns, itself=False)], base)
    return made


def _for_duckdb(part: Part, columns: Sequence[str], *, itself: bool) -> Any:
    from lakelineage.query.duckdb import files

    if itself and part.group is not None and files.can_read(part.group):
        return part.group
    part.rows.check_files()
    dataset = part.rows.dataset(columns)
    return _arrow_stream(part.rows, columns, None) if dataset is None else dataset


def _arrow_stream(rows: Rows, columns: Sequence[str], predicate: Predicate | None) -> "pa.RecordBatchReader":
    import pyarrow as pa

    return pa.RecordBatchReader.from_batches(rows.schema_of(columns), rows.batches(columns, predicate, BATCH_ROWS))


def spark_frame(
    spark: "SparkSession", rows: Rows, schema_json: str, columns: Sequence[str], predicate: Predicate | None
) -> "DataFrame":
    """A Spark DataFrame. Spark reads the files itself, but for conditions, and for columns that only ids tell apart.

    Raises:
        SnapshotLost: a file is not what was pinned.
        InvalidInput: Spark cannot reach the files.
    """
    from lakelineage.query.spark import files

    if predicate is not None or not rows.are_stored_by_name():
        # PySpark loses rows of tables that have empty pieces among others (measured with 4.2.0).
        return spark.createDataFrame(rows.table(columns, predicate).combine_chunks())
    rows.check_files()
    found = [files.SparkFile(file.place, file.texts, file.hidden) for file in rows.files if file.place is not None]
    if len(found) < len(rows.files):
        raise InvalidInput(f"to_spark does not reach object stores yet ({rows.label}); use to_arrow")
    whole = files.read_files(spark, schema_json, found)
    return whole.select([files.quoted(name) for name in columns])
