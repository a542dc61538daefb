"""What all charts share: the library, harmless texts, scales and titles."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lakelineage.display.cells import printable
from lakelineage.errors import InvalidInput, MissingExtra

if TYPE_CHECKING:
    from lakelineage.plot.fields import Column

#: Width and height of one picture, in pixels of the screen.
WIDTH = 560
HEIGHT = 320
#: Runs that a legend lists; of more, only the tooltip tells.
LEGEND_ROWS = 24
# Charts travel inside a script element of HTML, which these would end or upset.
_UNSAFE = re.compile(r"<(?=[/!]|script)", re.IGNORECASE)


def altair() -> Any:
    """The library.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import altair as alt
    except ImportError as error:
        raise MissingExtra('plots need Altair: pip install "lakelineage[plot]"') from error
    return alt


def safe(text: object) -> str:
    """A text that stays a text where a chart is put into a page: an invisible joiner splits what HTML would obey."""
    return _UNSAFE.sub("<\u2060", printable(str(text)))


def finite(value: float) -> float | None:
    """A number that JSON has; None for others."""
    return value if math.isfinite(value) else None


def title(text: str, notes: Iterable[str] = ()) -> Any:
    """A title, with what to know about the data below it."""
    told = [safe(note) for note in notes]
    return altair().TitleParams(text=safe(text), subtitle=told, anchor="start") if told else safe(text)


def usable(column: "Column", log: bool, argument: str) -> tuple[list[Any], tuple[str, ...]]:
    """Values of an axis, and notes; on a logarithmic axis without those that it cannot show.

    Raises:
        InvalidInput: a logarithmic axis for what is no number.
    """
    if not log:
        return list(column.values), column.notes
    if column.kind != "number":
        raise InvalidInput(f"{argument}: {column.field.title} has values that are no numbers; leave it out")
    kept = [v if v is not None and v > 0 else None for v in column.values]
    lost = sum(v is not None for v in column.values) - sum(v is not None for v in kept)
    what = f"left out: {lost:,} whose {column.field.title} is not positive"
    return kept, (*column.notes, what) if lost else column.notes


def number(column: "Column", argument: str) -> None:
    """Refuse what is no number.

    Raises:
        InvalidInput: the column holds texts or times, or nothing.
    """
    example = next((v for v in column.values if v is not None), None)
    if example is None:
        raise InvalidInput(f"{argument}: no run has a value of {column.field.title} that can be drawn")
    if column.kind != "number":
        raise InvalidInput(
            f"{argument}={column.field.title!r} must be a number, but holds {example!r}; lake.plot.scatter takes texts"
        )


def axis(alt: Any, channel: str, column: "Column", log: bool = False) -> Any:
    """An axis of a chart for a column; the data has its values in the field ``x`` or ``y``."""
    kind = {"number": "Q", "time": "T", "text": "N"}[column.kind]
    scale = alt.Scale(type="log") if log else alt.Scale(zero=False) if kind == "Q" else alt.Undefined
    make = alt.X if channel == "x" else alt.Y
    ticks = alt.Axis(labelOverlap="greedy", labelLimit=180)
    return make(f"{channel}:{kind}", title=safe(column.field.title), scale=scale, axis=ticks)


def colour(alt: Any, column: "Column | None", labels: Sequence[str] = ()) -> Any:
    """The colour of a run: by a column, or by the run itself."""
    if column is None:
        legend = alt.Legend(title="run", labelLimit=240, symbolLimit=LEGEND_ROWS, symbolOpacity=1)
        scale = alt.Scale(scheme=_scheme(len(labels)))
        return alt.Color("run:N", legend=None if len(labels) > LEGEND_ROWS else legend, sort=None, scale=scale)
    kind = {"number": "Q", "time": "T", "text": "N"}[column.kind]
    scheme = _scheme(len({*column.values} - {None})) if kind == "N" else "viridis"
    return alt.Color(f"colour:{kind}", title=safe(column.field.title), scale=alt.Scale(scheme=scheme))


def _scheme(names: int) -> str:
    return "tableau10" if names <= 10 else "tableau20"


def shown(value: Any) -> Any:
    """A value as chart data has it."""
    return safe(value) if isinstance(value, str) else value
