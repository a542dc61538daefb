"""How results are printed: JSON for programs, tables for people, plain columns for a pipe.

JSON: a table is an array of objects, one per row; maps are objects; times are ISO 8601; NaN, Infinity and -Infinity are
the texts ``"NaN"``, ``"Infinity"`` and ``"-Infinity"`` (as in Protocol Buffers' JSON), since JSON has no such numbers
and null is another value; bytes are base64; durations are seconds.
"""

import base64
import datetime as dt
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console

#: Rows of a table that people see; a pipe and ``--json`` get all.
SHOWN_ROWS = 40
#: Characters of a cell that people see.
SHOWN_CHARACTERS = 60


class Output:
    """Where a command's result goes.

    Args:
        as_json: for programs.
        stream: default the process's standard output.
    """

    def __init__(self, as_json: bool, stream: TextIO | None = None) -> None:
        self.as_json = as_json
        self._stream = sys.stdout if stream is None else stream

    @property
    def for_people(self) -> bool:
        """Whether somebody sees it: it goes to a terminal, and is not JSON."""
        return not self.as_json and self.console.is_terminal

    @cached_property
    def console(self) -> "Console":
        """Rich's console; without colours when NO_COLOR is set or nobody looks."""
        return make_console(self._stream)

    def json(self, value: Any) -> None:
        """Print one JSON value; arrays one element a line."""
        if isinstance(value, list) and value:
            self._stream.write("[\n" + ",\n".join(map(to_json, value)) + "\n]\n")
        else:
            self._stream.write(to_json(value, indent=2) + "\n")

    def say(self, text: str) -> None:
        """Print a line for people; in JSON there is none."""
        if not self.as_json:
            self.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def table(self, rows: "pa.Table", total: int | None = None) -> None:
        """Print a table: as JSON, or as columns.

        Args:
            rows: what to print.
            total: rows there are, if these are only the first of them.
        """
        if self.as_json:
            self.json(records(rows))
            return
        shown = rows.slice(0, SHOWN_ROWS) if self.for_people else rows
        columns = [(f.name, c.to_pylist()) for f, c in zip(rows.schema, shown.columns, strict=True)]
        self.columns(columns, rows.num_rows if total is None else total)

    def columns(self, columns: Sequence[tuple[str, Sequence[Any]]], total: int | None = None) -> None:
        """Print named columns of equal length, as many as fit.

        Args:
            columns: name and values.
            total: rows there are; default those given.
        """
        from rich import box
        from rich.table import Table

        people = self.for_people
        told = [(printable(name), [cell(v, people) for v in values], _numeric(values)) for name, values in columns]
        fitting = _fitting([(name, cells) for name, cells, _ in told], self.console.width) if people else len(told)
        table = Table(box=box.SIMPLE_HEAD if people else None, pad_edge=False, show_edge=False, header_style="bold")
        for name, _, numeric in told[:fitting]:
            table.add_column(_text(name), justify="right" if numeric else "left", no_wrap=True, overflow="ellipsis")
        rows = list(zip(*(cells for _, cells, _ in told[:fitting]), strict=True))
        for row in rows:
            table.add_row(*map(_text, row))
        self.console.print(table)
        if people:
            self._footer(len(rows), len(rows) if total is None else total, [name for name, _, _ in told[fitting:]])

    def _footer(self, shown: int, total: int, hidden: Sequence[str]) -> None:
        parts = [f"{total:,} row{'' if total == 1 else 's'}" + (f" ({shown} shown)" if shown < total else "")]
        if hidden:
            parts.append(f"not shown: {', '.join(hidden[:8])}{' …' if len(hidden) > 8 else ''}")
        self.console.print(_text(" · ".join(parts)), style="dim")

    def csv(self, rows: "pa.Table") -> None:
        """Print a table as CSV with a header; null is empty, maps and lists are JSON."""
        import csv

        writer = csv.writer(self._stream, lineterminator="\n")
        writer.writerow(rows.schema.names)
        for batch in rows.to_batches():
            for row in zip(*(column.to_pylist(maps_as_pydicts="lossy") for column in batch.columns), strict=True):
                writer.writerow([_csv_cell(value) for value in row])

    def fields(self, title: str, values: Iterable[tuple[str, Any]]) -> None:
        """Print names and values, one pair a line, below a title."""
        from rich.table import Table

        pairs = list(values)
        if title:
            self.console.print(_text(title), style="bold")
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in pairs:
            table.add_row(_text(f"  {name}"), _text(cell(value, False)))
        self.console.print(table if pairs else _text("  none"))


def make_console(stream: TextIO) -> "Console":
    """A console on a stream. What is no terminal gets plain text of any width, so that nothing is cut."""
    from rich.console import Console

    class PipeConsole(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    console = PipeConsole(file=stream, highlight=False)
    return console if console.is_terminal else PipeConsole(file=stream, highlight=False, width=100_000)


def records(rows: "pa.Table") -> list[dict[str, Any]]:
    """Rows as dictionaries; maps as dictionaries too."""
    found: list[dict[str, Any]] = rows.to_pylist(maps_as_pydicts="lossy")
    return found


def to_json(value: Any, indent: int | None = None) -> str:
    """A value as JSON, as told at the top of this module."""
    return json.dumps(_plain(value), ensure_ascii=False, indent=indent, allow_nan=False)


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else _not_finite(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def cell(value: Any, brief: bool) -> str:
    """A value in a table.

    Args:
        value: anything that Arrow gives.
        brief: for people: fewer digits, and a limit of characters.
    """
    text = printable(_cell(value, brief))
    return text if not brief or len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _cell(value: Any, brief: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}" if brief else repr(value)
    if isinstance(value, dt.datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S") if brief else value.isoformat()
    if isinstance(value, list) and value and all(isinstance(v, tuple) and len(v) == 2 for v in value):
        value = dict(value)  # Arrow's form of a map
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={_cell(v, brief)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_cell(v, brief) for v in value)
    return str(value)


def _csv_cell(value: Any) -> Any:
    if isinstance(value, (Mapping, list, tuple)):
        return to_json(value)
    if isinstance(value, float) and not math.isfinite(value):
        return _not_finite(value)
    return _plain(value)


def printable(text: str) -> str:
    """Without what would command the terminal: escape sequences, newlines."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def _text(text: str) -> Any:
    from rich.text import Text

    return Text(text)


def _numeric(values: Sequence[Any]) -> bool:
    present = [v for v in values if v is not None]
    return bool(present) and all(isinstance(v, (int, float, Decimal)) and not isinstance(v, bool) for v in present)


def _fitting(columns: Sequence[tuple[str, Sequence[str]]], width: int) -> int:
    """How many of the columns fit side by side; at least two."""
    used = 0
    for i, (name, cells) in enumerate(columns):
        used += max(len(name), *map(len, cells), 1) + 2
        if used > width + 2 and i >= 2:
            return i
    return len(columns)
