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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any, TextIO

from lakelineage.display.cells import printable, shown

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console

#: A column as it is printed: name, cells, whether they are numbers.
Told = tuple[str, Sequence[str], bool]
#: Rows of a table that people see; a pipe and ``--json`` get all.
SHOWN_ROWS = 40
#: Characters of a cell that people see.
SHOWN_CHARACTERS = 60
#: Rows that are turned into Python's objects at a time.
_CHUNK_ROWS = 10_000


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

    def json_rows(self, batches: "Iterable[pa.RecordBatch]", end: str = "\n") -> None:
        """Print rows as a JSON array, an element a line, as they come: nothing is gathered.

        Args:
            batches: the rows. If the first cannot be had, nothing is printed.
            end: what follows the array.
        """
        between = "[\n"
        for batch in batches:
            for start in range(0, batch.num_rows, _CHUNK_ROWS):
                lines = map(_ENCODE, _plain_rows(batch.slice(start, _CHUNK_ROWS)))
                self._stream.write(between + ",\n".join(lines))
                between = ",\n"
        self._stream.write(("[]" if between == "[\n" else "\n]") + end)

    def json_named_rows(self, named: "Mapping[str, Iterable[pa.RecordBatch]]") -> None:
        """Print a JSON object of names and, each as by :meth:`json_rows`, rows."""
        between = "{\n"
        for name, batches in named.items():
            self._stream.write(f"{between}{to_json(name)}: ")
            self.json_rows(batches, end="")
            between = ",\n"
        self._stream.write("\n}\n")

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
            self.json_rows(rows.to_batches())
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
        people = self.for_people
        told = [(printable(name), [cell(v, people) for v in values], _numeric(values)) for name, values in columns]
        if not people:
            self._stream.writelines(_aligned(told))
            return
        fitting = _fitting([(name, cells) for name, cells, _ in told], self.console.width)
        self._draw(told[:fitting])
        shown = len(told[0][1]) if told else 0
        self._footer(shown, shown if total is None else total, [name for name, _, _ in told[fitting:]])

    def _draw(self, told: "Sequence[Told]") -> None:
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
        for name, _, numeric in told:
            table.add_column(_text(name), justify="right" if numeric else "left", no_wrap=True, overflow="ellipsis")
        for row in zip(*(cells for _, cells, _ in told), strict=True):
            table.add_row(*map(_text, row))
        self.console.print(table)

    def _footer(self, shown: int, total: int, hidden: Sequence[str]) -> None:
        parts = [f"{total:,} row{'' if total == 1 else 's'}" + (f" ({shown} shown)" if shown < total else "")]
        if hidden:
            parts.append(f"not shown: {', '.join(hidden[:8])}{' …' if len(hidden) > 8 else ''}")
        self.console.print(_text(" · ".join(parts)), style="dim")

    def csv(self, rows: "pa.Table") -> None:
        """Print a table as CSV with a header; null is empty, maps and lists are JSON."""
        import csv

        # Not pyarrow.csv: it has no maps and lists, quotes every text, and writes a lone null as no row at all.
        writer = csv.writer(self._stream, lineterminator="\n")
        writer.writerow(rows.schema.names)
        for batch in rows.to_batches(_CHUNK_ROWS):
            writer.writerows(zip(*map(_csv_cells, batch.columns), strict=True))

    def fields(self, title: str, values: Iterable[tuple[str, Any]]) -> None:
        """Print names and values, one pair a line, below a title."""
        pairs = [(printable(name), cell(value, False)) for name, value in values]
        width = max((len(name) for name, _ in pairs), default=0)
        self.console.print(_text(title), style="bold", soft_wrap=True)
        for name, value in pairs or [("none", "")]:
            line = _text(f"  {name.ljust(width)}  ") + _text(value)
            line.rstrip()
            line.stylize("dim", 0, len(name) + 2)
            self.console.print(line, soft_wrap=True)


def make_console(stream: TextIO) -> "Console":
    """A console on a stream. What is no terminal gets plain text of any width, so that nothing is cut."""
    from rich.console import Console

    class PipeConsole(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    console = PipeConsole(file=stream, highlight=False)
    return console if console.is_terminal else PipeConsole(file=stream, highlight=False, width=100_000)


def records(rows: "pa.Table") -> list[dict[str, Any]]:
    """Rows as dictionaries; maps as dictionaries too. Columns of one name are told apart: n, n_1, …."""
    rows = rows.rename_columns(_distinct(rows.schema.names))
    found: list[dict[str, Any]] = rows.to_pylist(maps_as_pydicts="lossy")
    return found


def _distinct(names: Iterable[str]) -> list[str]:
    taken: dict[str, None] = {}
    for name in names:
        taken[next(n for i in count() if (n := f"{name}_{i}" if i else name) not in taken)] = None
    return list(taken)


def _plain_rows(batch: "pa.RecordBatch") -> Iterator[dict[str, Any]]:
    """Rows as JSON has them, made column by column: that takes half the time of row by row."""
    names = _distinct(batch.schema.names)
    for row in zip(*map(_plain_cells, batch.columns), strict=True):
        yield dict(zip(names, row, strict=True))


def _plain_cells(column: "pa.Array") -> list[Any]:
    values, plain = _values(column)
    return values if plain else [_plain(value) for value in values]


def _csv_cells(column: "pa.Array") -> list[Any]:
    values, plain = _values(column)
    return values if plain else [_csv_cell(value) for value in values]


def _values(column: "pa.Array") -> tuple[list[Any], bool]:
    """A column's values, and whether each is printed as it is. The common types go by the fast ways there are."""
    from pyarrow import compute, types

    kind = column.type
    if types.is_timestamp(kind) and kind.unit == "us" and kind.tz in (None, "UTC"):
        column, kind = _iso(column), None
    if kind is None or types.is_string(kind):
        return column.to_numpy(zero_copy_only=False).tolist(), True
    whole = types.is_integer(kind)
    if column.null_count == 0 and (whole or types.is_float64(kind)):
        plain = whole or bool(compute.all(compute.is_finite(column), min_count=0).as_py())
        return column.to_numpy(zero_copy_only=False).tolist(), plain
    return column.to_pylist(maps_as_pydicts="lossy"), whole or types.is_null(kind)


def _iso(times: "pa.Array") -> "pa.Array":
    """Times as texts, as ``datetime.isoformat`` writes them: without a fraction if it is zero."""
    import pyarrow as pa
    from pyarrow import compute

    texts = compute.strftime(times.cast(pa.timestamp("us")), format="%Y-%m-%dT%H:%M:%S")
    texts = compute.replace_substring_regex(texts, r"\.000000$", "")
    return texts if times.type.tz is None else compute.binary_join_element_wise(texts, "+00:00", "")


def to_json(value: Any, indent: int | None = None) -> str:
    """A value as JSON, as told at the top of this module."""
    return json.dumps(_plain(value), ensure_ascii=False, indent=indent, allow_nan=False)


#: One value, plain already, on one line; ``json.dumps`` with options makes an encoder for each.
_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else _not_finite(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if type(value).__name__ == "MonthDayNano":
        return dict(zip(("months", "days", "nanoseconds"), value, strict=True))
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
    text = printable(shown(value, brief))
    return text if not brief or len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _csv_cell(value: Any) -> Any:
    if isinstance(value, (Mapping, list, tuple)):
        return to_json(value)
    if isinstance(value, float) and not math.isfinite(value):
        return _not_finite(value)
    return _plain(value)


def _text(text: str) -> Any:
    from rich.text import Text

    return Text(text)


def _numeric(values: Sequence[Any]) -> bool:
    present = [v for v in values if v is not None]
    return bool(present) and all(isinstance(v, (int, float, Decimal)) and not isinstance(v, bool) for v in present)


def _aligned(told: "Sequence[Told]") -> Iterator[str]:
    """Lines of a table for a pipe: a header, then the rows, nothing cut."""
    widths = [max(len(name), *map(len, cells), 0) for name, cells, _ in told]
    sides = [str.rjust if numeric else str.ljust for _, _, numeric in told]
    names = tuple(name for name, _, _ in told)
    for row in (names, *zip(*(cells for _, cells, _ in told), strict=True)):
        yield "  ".join(side(text, w) for side, text, w in zip(sides, row, widths, strict=True)).rstrip() + "\n"


def _fitting(columns: Sequence[tuple[str, Sequence[str]]], width: int) -> int:
    """How many of the columns fit side by side; at least two."""
    used = 0
    for i, (name, cells) in enumerate(columns):
        used += max(len(name), *map(len, cells), 1) + 3
        if used > width + 3 and i >= 2:
            return i
    return len(columns)
