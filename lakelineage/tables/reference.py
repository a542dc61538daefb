"""The table reference of the documentation, made from the declarations: ``python -m lakelineage.tables.reference``."""

import sys
from collections.abc import Iterator

from lakelineage.tables import CURRENT, FACTS
from lakelineage.tables.declare import ORDER, Column, Table

_HEAD = """# Tables

Made by `make reference` from the declarations in `lakelineage/tables`; do not edit.

Facts are append-only. Each begins with the three columns of the one order of the lake:
"""


def markdown() -> str:
    """The reference as Markdown."""
    lines = [_HEAD, *_columns(ORDER), "", "## Facts", ""]
    for table in FACTS:
        lines += _section(table)
    lines += ["## Current tables", "", "One row per thing as it is now; derived from the facts.", ""]
    for table in CURRENT:
        lines += _section(table)
    return "\n".join(lines).rstrip() + "\n"


def _section(table: Table) -> list[str]:
    key = ", ".join(f"`{name}`" for name in table.key)
    return [f"### `{table.name}`", "", f"One row per: {table.doc}. Key: {key}.", "", *_columns(table.columns), ""]


def _columns(columns: tuple[Column, ...]) -> Iterator[str]:
    yield "| column | type | null | meaning |"
    yield "|---|---|---|---|"
    for column in columns:
        yield f"| `{column.name}` | {column.type} | {'yes' if column.nullable else 'no'} | {column.doc} |"


if __name__ == "__main__":
    sys.stdout.write(markdown())
