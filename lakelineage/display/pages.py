"""HTML from templates. What a template shows is escaped by Jinja, and has no character that HTML forbids."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakelineage.display.cells import printable, shown

if TYPE_CHECKING:
    import jinja2
    import pyarrow as pa

#: Rows of a table, and of a part of a card, that are shown.
SHOWN_ROWS = 50
#: Columns of a table that are shown.
_SHOWN_COLUMNS = 50
#: Characters of a cell that are shown.
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a card: a table below a heading.

    Attributes:
        title: heading.
        header: names of columns; empty for pairs of name and value.
        rows: cells.
        total: rows there are, if these are only the first of them.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    total: int

    @classmethod
    def of(cls, title: str, header: Sequence[str], rows: Iterable[Sequence[Any]], total: int | None = None) -> "Part":
        """A part with the first rows of those given."""
        every = list(rows)
        return cls(title, header, every[:SHOWN_ROWS], len(every) if total is None else total)


@cache
def _environment() -> "jinja2.Environment":
    import jinja2

    folder = Path(__file__).parent / "templates"
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    made.filters["cell"] = cell
    return made


def render(template: str, **values: Any) -> str:
    """Fill a template of this room.

    Args:
        template: file name without its ending.
        values: what it shows.
    """
    return _environment().get_template(f"{template}.html").render(**values)


def card(
    kind: str,
    title: str,
    *,
    status: str = "",
    facts: Iterable[tuple[str, Any]] = (),
    parts: Iterable[Part] = (),
) -> str:
    """One thing: what it is, facts about it, and parts that hold something."""
    told = [(name, value) for name, value in facts if value is not None]
    return render("card", kind=kind, title=title, status=status, facts=told, parts=[p for p in parts if p.total])


def table(rows: "pa.Table") -> str:
    """An Arrow table: its first rows, with the type of each column, and how many rows there are."""
    import pyarrow as pa

    head = rows.slice(0, SHOWN_ROWS).select(list(range(min(rows.num_columns, _SHOWN_COLUMNS))))
    columns = [_cells(column) for column in head.columns]
    fields = [(f.name, str(f.type), pa.types.is_integer(f.type) or pa.types.is_floating(f.type)) for f in head.schema]
    return render(
        "table",
        fields=fields,
        rows=list(zip(*columns, strict=True)),
        shown_rows=head.num_rows,
        total_rows=rows.num_rows,
        total_columns=rows.num_columns,
    )


def _cells(column: "pa.ChunkedArray") -> list[Any]:
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError):  # times beyond Python's years
        values = [_python(value) for value in column]
    return values


def _python(value: "pa.Scalar") -> Any:
    try:
        return value.as_py()
    except (ValueError, OverflowError):
        return "(beyond what Python's times hold)"


def cell(value: Any) -> str:
    """A value as a text of limited length; a null is said to be one."""
    if value is None:
        return "null"
    text = printable(shown(value, brief=True))
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
