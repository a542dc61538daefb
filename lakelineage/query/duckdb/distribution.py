"""How the values of columns are distributed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lakelineage.query.duckdb.workspace import Workspace, listed

#: Most frequent values that are told.
TOP = 3


@dataclass(frozen=True, slots=True)
class Wanted:
    """A column to look at.

    Attributes:
        expression: SQL.
        number: whether it has a mean.
        floating: whether it may be NaN or infinite.
        ordered: whether it has a least and a greatest value that are worth telling.
        few: whether its most frequent values are.
    """

    expression: str
    number: bool
    floating: bool
    ordered: bool
    few: bool


def distributions(work: Workspace, relation: str, columns: Sequence[Wanted]) -> list[dict[str, Any]]:
    """Count, nulls, NaN, distinct values, least, greatest, mean, deviation and the most frequent of each column.

    Args:
        work: where.
        relation: SQL of what comes after FROM.
        columns: what to look at.
    """
    if not columns:
        return []
    [row] = work.rows(f"SELECT {listed([cell for column in columns for cell in _cells(column)])} FROM {relation}")
    names = ("count", "nulls", "nans", "distinct", "min", "max", "mean", "std")
    found = []
    for i, column in enumerate(columns):
        told = dict(zip(names, row[i * len(names) : (i + 1) * len(names)], strict=True))
        found.append({**told, "top": _top(work, relation, column) if column.few else None})
    return found


def _cells(column: Wanted) -> list[str]:
    value = column.expression
    finite = f"FILTER (isfinite(CAST({value} AS DOUBLE)))" if column.floating else ""
    known = f"FILTER (NOT isnan({value}))" if column.floating else ""
    return [
        "count(*)",
        f"count(*) - count({value})",
        f"count(*) FILTER (isnan({value}))" if column.floating else "NULL",
        f"approx_count_distinct({value})",
        f"CAST(min({value}) {known} AS VARCHAR)" if column.ordered else "NULL",
        f"CAST(max({value}) {known} AS VARCHAR)" if column.ordered else "NULL",
        f"avg(CAST({value} AS DOUBLE)) {finite}" if column.number else "NULL",
        f"stddev_samp(CAST({value} AS DOUBLE)) {finite}" if column.number else "NULL",
    ]


def _top(work: Workspace, relation: str, column: Wanted) -> list[dict[str, Any]]:
    value = column.expression
    rows = work.rows(
        f"SELECT CAST({value} AS VARCHAR) AS v, count(*) AS n FROM {relation} WHERE {value} IS NOT NULL "
        f"GROUP BY {value} ORDER BY n DESC, v LIMIT {TOP}"
    )
    return [{"value": value, "count": number} for value, number in rows]
