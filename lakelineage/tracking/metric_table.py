"""Many metric values in one call: whatever table the user has, as one Arrow batch of ``metrics``."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput
from lakelineage.model import validate
from lakelineage.model.changes import Batch
from lakelineage.model.clock import wall_clock
from lakelineage.tables import METRICS

if TYPE_CHECKING:
    import pyarrow as pa

_OPTIONAL = ("step", "timestamp", "model_id", "dataset", "dataset_digest")


def microseconds(timestamp: Any) -> int:
    """A point in time as µs since 1970 UTC.

    Args:
        timestamp: datetime (naive means UTC), or ms since 1970 UTC as in MLflow.

    Raises:
        InvalidInput: neither.
    """
    if isinstance(timestamp, datetime):
        aware = timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)
        return (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    if isinstance(timestamp, int) and not isinstance(timestamp, bool) and abs(timestamp) < 2**53:
        return timestamp * 1000
    raise InvalidInput(f"timestamp {timestamp!r} is neither a datetime nor milliseconds since 1970 (an integer)")


def to_batch(run_id: str, data: Any) -> Batch:
    """Rows of ``metrics`` for one run.

    Args:
        run_id: run.
        data: see :meth:`lakelineage.tracking.active.ActiveRun.log_metric_table`.

    Raises:
        InvalidInput: columns are missing or of a wrong type.
    """
    table = _to_table(data)
    if len(set(table.column_names)) != table.num_columns:
        raise InvalidInput(f"the table names a column twice: {table.column_names}")
    long = table if {"key", "value"} <= set(table.column_names) else _melted(table)
    return Batch(METRICS.name, _checked(run_id, long))


def _to_table(data: Any) -> "pa.Table":
    import pyarrow as pa

    try:
        if isinstance(data, pa.Table):
            return data
        if isinstance(data, pa.RecordBatch):
            return pa.Table.from_batches([data])
        if isinstance(data, dict):
            return pa.table(data)
        if isinstance(data, list):
            return pa.Table.from_pylist(data)
        if type(data).__module__.startswith("pandas"):
            return pa.Table.from_pandas(data, preserve_index=False)
        return pa.table(data)
    except (TypeError, ValueError, AttributeError, pa.ArrowException) as error:
        raise InvalidInput(
            f"{type(data).__name__} is no table of metrics ({error}); "
            "pass Arrow, Polars, pandas, a dict of columns or a list of dicts"
        ) from error


def _melted(table: "pa.Table") -> "pa.Table":
    """Wide to long: one row per metric column and row that has a value there."""
    import pyarrow as pa

    keys = [name for name in table.column_names if name not in ("step", "timestamp")]
    if not keys:
        raise InvalidInput(f"the table has columns {table.column_names}, of which none is a metric")
    parts = []
    for key in keys:
        if not _numeric(table.schema.field(key).type):
            raise InvalidInput(f"column {key!r} has type {table.schema.field(key).type}; metrics are numbers")
        chosen = table.select([c for c in ("step", "timestamp") if c in table.column_names] + [key])
        chosen = chosen.filter(chosen.column(key).is_valid())
        names = [*chosen.column_names[:-1], "value", "key"]
        keyed = chosen.append_column("key", pa.repeat(pa.scalar(key, pa.string()), chosen.num_rows))
        keyed = keyed.rename_columns(names)
        parts.append(
            keyed.set_column(names.index("value"), "value", keyed.column("value").cast(pa.float64(), safe=False))
        )
    return pa.concat_tables(parts)


def _numeric(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _checked(run_id: str, table: "pa.Table") -> "pa.RecordBatch":
    import pyarrow as pa

    unknown = set(table.column_names) - {"key", "value", *_OPTIONAL}
    if unknown:
        raise InvalidInput(
            f"columns {sorted(unknown)} are unknown; a long table has key, value, {', '.join(_OPTIONAL)}"
        )
    if not _numeric(table.schema.field("value").type):
        raise InvalidInput(f"column 'value' has type {table.schema.field('value').type}; metrics are numbers")
    count = table.num_rows
    columns: dict[str, Any] = {
        "run_id": pa.repeat(pa.scalar(run_id, pa.string()), count),
        "key": _keys(table.column("key")),
        "step": _steps(table) if "step" in table.column_names else pa.repeat(pa.scalar(0, pa.int64()), count),
        "timestamp": _timestamps(table),
        "value": table.column("value").cast(pa.float64(), safe=False),
        "model_id": _names(table, "model_id"),
        "dataset": _names(table, "dataset"),
        "dataset_digest": _names(table, "dataset_digest"),
    }
    for required in ("step", "timestamp", "value"):
        if columns[required].null_count:
            raise InvalidInput(f"column {required!r} has {columns[required].null_count} nulls; every value needs one")
    batches = pa.table(columns, schema=METRICS.own_schema).combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=METRICS.own_schema)


def _keys(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    import pyarrow as pa

    if column.null_count:
        raise InvalidInput(f"column 'key' has {column.null_count} nulls; every value needs a name")
    for key in column.unique().to_pylist():
        validate.key(key, "metric key")
    return column.cast(pa.string())


def _steps(table: "pa.Table") -> "pa.ChunkedArray":
    import pyarrow as pa

    column = table.column("step")
    if not pa.types.is_integer(column.type):
        raise InvalidInput(f"column 'step' has type {column.type}; steps are integers")
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise InvalidInput(f"column 'step' is beyond 64 bits ({error})") from error


def _timestamps(table: "pa.Table") -> Any:
    import pyarrow as pa

    kind = METRICS.own_schema.field("timestamp").type
    if "timestamp" not in table.column_names:
        return pa.repeat(pa.scalar(wall_clock(), kind), table.num_rows)
    column = table.column("timestamp")
    if pa.types.is_integer(column.type):
        unit = pa.timestamp("ms", "UTC")
    elif pa.types.is_timestamp(column.type):
        unit = pa.timestamp(column.type.unit, column.type.tz or "UTC")
    else:
        raise InvalidInput(f"column 'timestamp' has type {column.type}; use timestamps, or integers (ms since 1970)")
    try:
        exact = column.cast(pa.int64()).cast(unit)
        if unit.unit == "ns":
            return exact.cast(kind, safe=False)  # what is finer than µs is cut off
        return exact.cast(kind)
    except pa.ArrowInvalid as error:
        raise InvalidInput(f"column 'timestamp' is out of range ({error}); integers are ms since 1970") from error


def _names(table: "pa.Table", name: str) -> Any:
    import pyarrow as pa

    if name not in table.column_names:
        return pa.nulls(table.num_rows, pa.string())
    for value in table.column(name).unique().to_pylist():
        if value is not None:
            validate.key(value, name)
    return table.column(name).cast(pa.string())
