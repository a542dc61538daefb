"""Distributions of the columns of a diff."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lakelineage.query.duckdb.diff import Kind
from lakelineage.query.duckdb.distribution import Wanted, distributions
from lakelineage.query.duckdb.workspace import Workspace, quoted

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.snapshots.diff.result import Diff


def summary(work: Workspace, found: "Diff", whole: bool) -> "pa.Table":
    """See :meth:`Diff.summary`."""
    import pyarrow as pa

    rows = list(_of_sides(work, found) if whole else _of_changes(work, found))
    order = {name: i for i, name in enumerate(found.schema.names)}
    return pa.Table.from_pylist(sorted(rows, key=lambda row: order[row["column"]]), _schema())


def _schema() -> "pa.Schema":
    import pyarrow as pa

    top = pa.struct([("value", pa.string()), ("count", pa.int64())])
    counts = [(name, pa.int64()) for name in ("count", "nulls", "nans", "distinct")]
    ends = [(name, pa.string()) for name in ("min", "max")]
    means = [(name, pa.float64()) for name in ("mean", "std")]
    return pa.schema([("column", pa.string()), ("rows", pa.string()), *counts, *ends, *means, ("top", pa.list_(top))])


def _of_changes(work: Workspace, found: "Diff") -> Iterator[dict[str, Any]]:
    parts = (
        ("removed", Kind.REMOVED, "a", found.counts.removed),
        ("added", Kind.ADDED, "b", found.counts.added),
        ("before", Kind.CHANGED, "a", found.counts.changed),
        ("after", Kind.CHANGED, "b", found.counts.changed),
    )
    for name, kind, side, number in parts:
        if number:
            wanted = [_wanted(f"{side}{i}", field.type) for i, field in enumerate(found.schema)]
            told = distributions(work, f"(FROM changes WHERE kind = {kind})", wanted)
            yield from _named(found.schema.names, name, told)


def _of_sides(work: Workspace, found: "Diff") -> Iterator[dict[str, Any]]:
    for name, pin in (("a", found.a), ("b", found.b)):
        held = {c.name: c.a if name == "a" else c.b for c in found._matching.columns}
        columns = [of_side for of_side in held.values() if of_side is not None]
        relation = f"side_{name}"
        replace(pin, columns=None).to_duckdb(work.connection, relation, columns)
        try:
            wanted = [_wanted(quoted(column), pin.table_schema.field(column).type) for column in columns]
            told = distributions(work, relation, wanted)
        finally:
            work.let_go()
        yield from _named([shown for shown, of_side in held.items() if of_side is not None], name, told)


def _named(names: list[str], rows: str, told: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return ({"column": name, "rows": rows, **one} for name, one in zip(names, told, strict=True))


def _wanted(expression: str, kind: "pa.DataType") -> Wanted:
    import pyarrow as pa

    t: Any = pa.types
    floating = t.is_floating(kind)
    number = floating or t.is_integer(kind) or t.is_decimal(kind)
    few = t.is_string(kind) or t.is_boolean(kind)
    return Wanted(expression, number, floating, not t.is_nested(kind) and not t.is_binary(kind), few)
