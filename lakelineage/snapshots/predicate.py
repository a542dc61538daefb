"""Row conditions: one SQL condition, judged by one engine (Polars) whatever form the rows are asked in.

The dialect is Polars SQL: comparisons, ``and or not``, ``in``, ``between``, ``like``, ``is null``, arithmetic and
row-wise functions. Dates are written ``date '2024-05-31'``. Timestamps with a zone are compared as UTC.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

_RESULT = "__lakelineage_chosen"
#: Parts of Polars expressions that SQL can make and that need other rows than the one judged. Polars' own
#: ``is_row_separable`` says yes to aggregates, and fails on ``in``.
_BEYOND_THE_ROW = {
    *("Agg", "Over", "Window", "Rolling", "Len", "Explode", "Selector", "Sort", "SortBy", "Gather", "Filter", "Slice"),
    *("AnonymousFunction", "AnonymousAgg", "SubQuery", "Quantile", "Correlation", "Rank", "NullCount", "Any", "All"),
    *(
        "Unique",
        "Mode",
        "Shift",
        "ShiftAndFill",
        "Diff",
        "CumSum",
        "CumCount",
        "CumMin",
        "CumMax",
        "CumProd",
        "Reverse",
    ),
}


@dataclass(frozen=True)
class Predicate:
    """A condition that was checked against a schema; make it with :func:`parse`."""

    text: str
    columns: tuple[str, ...]

    @cached_property
    def _expression(self) -> "pl.Expr":
        import polars as pl

        return pl.sql_expr(self.text).alias(_RESULT)

    def keep(self, batch: "pa.RecordBatch") -> "pa.RecordBatch":
        """The rows for which the condition is true (not false, not null)."""
        return batch.filter(self.holds(batch)) if batch.num_rows else batch

    def holds(self, batch: "pa.RecordBatch") -> "pa.BooleanArray":
        """For each row, whether the condition is true."""
        frame = _frame(batch.select(list(self.columns)))
        chosen: Any = frame.with_columns(self._expression)[_RESULT].fill_null(False).to_arrow()
        return chosen

    def keep_lazy(self, rows: "pl.LazyFrame") -> "pl.LazyFrame":
        """As :meth:`keep`, for rows that Polars reads."""
        import polars as pl

        kinds = rows.collect_schema()
        zoned = [name for name in self.columns if isinstance(kind := kinds[name], pl.Datetime) and kind.time_zone]
        plain = rows.with_columns(pl.col(zoned).dt.replace_time_zone(None)) if zoned else rows
        kept = plain.filter(self._expression)
        return kept.with_columns(pl.col(zoned).dt.replace_time_zone("UTC")) if zoned else kept


def parse(text: object, schema: "pa.Schema") -> Predicate:
    """Check a condition against a schema, with the engine that will judge the rows.

    Raises:
        InvalidInput: it is malformed, names no column of the table, is no condition, or needs more than one row.
    """
    import polars as pl

    if not isinstance(text, str) or not text.strip():
        raise InvalidInput(f"where must be a SQL condition such as \"age > 40 and sex = 'F'\", not {text!r}")
    try:
        expression = pl.sql_expr(text)
        if _looks_beyond_the_row(json.loads(expression.meta.serialize(format="json"))):
            raise InvalidInput(f"where {text!r} looks at more than one row (an aggregate or window); name row values")
        wanted = set(expression.meta.root_names())
        columns = tuple(name for name in schema.names if name in wanted) or (schema.names[0],)
        if wanted - set(schema.names):
            raise InvalidInput(f"where {text!r} names {sorted(wanted - set(schema.names))}; columns are {schema.names}")
        empty = _frame(schema.empty_table().select(list(columns)))
        kind = empty.lazy().select(expression.alias(_RESULT)).filter(pl.col(_RESULT)).collect().schema[_RESULT]
    except pl.exceptions.PolarsError as error:
        first = str(error).strip().splitlines()[0]
        raise InvalidInput(
            f"where {text!r} cannot be understood: {first}; write a SQL condition (dates as date '2024-05-31')"
        ) from error
    if kind != pl.Boolean:
        raise InvalidInput(f"where {text!r} is no condition, it gives {kind}; compare it with something")
    return Predicate(text, columns)


def _looks_beyond_the_row(node: Any) -> bool:
    """Whether a serialised expression has a part that one row does not suffice for."""
    if isinstance(node, dict):
        inner = (value for name, value in node.items() if name != "Literal")
        return any(name in _BEYOND_THE_ROW for name in node) or any(map(_looks_beyond_the_row, inner))
    if isinstance(node, list):
        return any(map(_looks_beyond_the_row, node))
    return isinstance(node, str) and node in _BEYOND_THE_ROW


def _frame(data: Any) -> "pl.DataFrame":
    """Polars' view, with zoned timestamps as plain UTC ones, so that ``timestamp '…'`` literals compare with them."""
    import polars as pl

    frame: Any = pl.from_arrow(data)
    zoned = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime) and kind.time_zone]
    return frame.with_columns(pl.col(zoned).dt.replace_time_zone(None)) if zoned else frame  # type: ignore[no-any-return]
