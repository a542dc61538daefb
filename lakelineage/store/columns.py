"""Columns that the lake's own tables gained since they were made. Columns are only ever appended, and nullable."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lakelineage.tables import Column, Table
from lakelineage.tables.declare import arrow_type

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable


def lacking(delta: "DeltaTable", columns: Sequence[Column]) -> list[Column]:
    """Those of the columns that a table does not have, at the version that is loaded."""
    names = {field.name for field in delta.schema().fields}
    return [column for column in columns if column.name not in names]


def add(delta: "DeltaTable", columns: Sequence[Column], hooks: Any) -> None:
    """Append columns to a table, as one commit.

    Args:
        delta: the table.
        columns: none of which it has.
        hooks: what the Delta engine does after the commit.
    """
    import pyarrow as pa
    from deltalake import Schema

    fields = Schema.from_arrow(pa.schema([pa.field(c.name, arrow_type(c.type)) for c in columns])).fields
    delta.alter.add_columns(fields, post_commithook_properties=hooks)


def widen(table: Table, delta: "DeltaTable", hooks: Any) -> None:
    """Give a table that an older lakelineage has just made the columns that it lacks."""
    missing = lacking(delta, table.all_columns)
    if missing:
        add(delta, missing, hooks)


def fitted(table: Table, delta: "DeltaTable", rows: "pa.Table", hooks: Any) -> "pa.Table":
    """Rows with the columns that a table has now: a newer lakelineage may have given it some, which are null here.

    A table that lacks columns is widened first.
    """
    import pyarrow as pa

    names = [field.name for field in delta.schema().fields]
    if names == rows.schema.names:
        return rows
    widen(table, delta, hooks)
    fields, arrays = [], []
    for field in pa.schema(delta.schema()):
        known = field.name in rows.schema.names
        fields.append(rows.schema.field(field.name) if known else field)
        arrays.append(rows.column(field.name) if known else pa.nulls(rows.num_rows, field.type))
    return pa.table(arrays, schema=pa.schema(fields))
