"""Questions in DuckDB's SQL as questions in Spark's."""

from typing import TYPE_CHECKING

from lakelineage.errors import InvalidQuery, MissingExtra

if TYPE_CHECKING:
    from sqlglot import Expr


def translate(sql: str) -> str:
    """A statement in DuckDB's dialect, in Spark's.

    sqlglot translates. Besides, what both engines can say but mean differently is said so that Spark means what DuckDB
    means: nulls come last, ``isnan`` of null is null, and rows compare as structs.

    Raises:
        InvalidQuery: it cannot be understood, or Spark has no such thing; the message names it.
        MissingExtra: sqlglot is not installed.
    """
    try:
        import sqlglot
    except ImportError as error:
        raise MissingExtra('sqlglot is not installed: pip install "lakelineage[spark]"') from error
    try:
        statements = [each for each in sqlglot.parse(sql, read="duckdb") if each is not None]
        if len(statements) != 1:
            raise InvalidQuery(f"the query is {len(statements)} statements; write one")
        meant = statements[0].transform(_as_spark_means_it)
        return meant.sql(dialect="spark", unsupported_level=sqlglot.ErrorLevel.RAISE)
    except sqlglot.errors.SqlglotError as error:
        raise InvalidQuery(f"the query cannot be translated for Spark: {error}") from error


def _as_spark_means_it(node: "Expr") -> "Expr":
    from sqlglot import exp

    if isinstance(node, exp.IsNan) and not isinstance(node.parent, exp.If):
        return exp.If(this=exp.Is(this=node.this.copy(), expression=exp.null()), true=exp.null(), false=node.copy())
    if isinstance(node, exp.IsInf):
        infinity = exp.cast(exp.Literal.string("Infinity"), "double")
        return exp.paren(exp.EQ(this=exp.Abs(this=node.this), expression=infinity))
    if isinstance(node, exp.Anonymous) and node.name.lower() == "row":
        return exp.Struct(expressions=node.expressions)
    if isinstance(node, exp.Anonymous) and node.name.lower() == "epoch_us":
        return exp.Anonymous(this="UNIX_MICROS", expressions=node.expressions)
    if isinstance(node, (exp.TimeToUnix, exp.UnixToTime)):
        raise InvalidQuery("epoch(…) and epoch_ms(…) are not translated for Spark; write epoch_us(…), microseconds")
    if isinstance(node, exp.ArrayAgg) and isinstance(node.this, exp.Order):
        raise InvalidQuery("Spark has no list(… ORDER BY …); order the answer instead, or use list_sort(list(…))")
    if isinstance(node, exp.With) and node.recursive and any(each.args.get("distinct") for each in _unions(node)):
        raise InvalidQuery("Spark has no UNION in recursive queries; write UNION ALL, with a bound of the depth")
    return node


def _unions(node: "Expr") -> "list[Expr]":
    from sqlglot import exp

    return [each.this for each in node.expressions if isinstance(each.this, exp.Union)]
