"""Charts of params and metrics of many runs against each other: scatter, contour, parallel coordinates."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput
from lakelineage.plot import charts, fields, surface

if TYPE_CHECKING:
    from lakelineage.engine import Reads
    from lakelineage.plot.choose import Chosen
    from lakelineage.plot.fields import Column

#: Labels of texts along one vertical axis; of more, every second, third, … is written.
_MOST_LABELS = 12
#: Lines of one picture of parallel coordinates: 10,000 would be a blot, and take 40 s to render as PNG.
_MOST_LINES = 1_000


def scatter(
    engine: "Reads",
    chosen: "Chosen",
    x: str,
    y: str,
    color: str | None,
    log_x: bool,
    log_y: bool,
) -> Any:
    """See :meth:`lakelineage.plot.Plots.scatter`."""
    alt = charts.altair()
    asked = [fields.parse(name) for name in (x, y, *([] if color is None else [color]))]
    columns = fields.read(engine, chosen.ids, asked)
    xs, x_notes = charts.usable(columns[0], log_x, "log_x")
    ys, y_notes = charts.usable(columns[1], log_y, "log_y")
    rows = [
        {"run": charts.safe(run), "id": run_id, "x": charts.shown(px), "y": charts.shown(py)}
        | dict(zip(("colour",), map(charts.shown, shades), strict=False))
        for run, run_id, px, py, *shades in zip(
            chosen.labels, chosen.ids, xs, ys, *(column.values for column in columns[2:]), strict=True
        )
        if px is not None and py is not None
    ]
    if not rows:
        why = "; ".join((*x_notes, *y_notes))
        raise InvalidInput(f"none of the {len(chosen.ids):,} runs has both {x} and {y} to plot: {why}")
    tips = [_tip(alt, name, column) for name, column in zip(("x", "y", "colour"), columns, strict=False)]
    encoding = {"x": charts.axis(alt, "x", columns[0], log_x), "y": charts.axis(alt, "y", columns[1], log_y)}
    if color is not None:
        encoding["color"] = charts.colour(alt, columns[2])
    marks = alt.Chart(alt.Data(values=rows)).mark_circle(size=50, fillOpacity=0.75)
    title = charts.title(f"{y} by {x}", (*chosen.notes, *x_notes, *y_notes))
    drawn = marks.encode(**encoding, tooltip=[alt.Tooltip("run:N"), alt.Tooltip("id:N"), *tips])
    return drawn.properties(width=charts.WIDTH, height=charts.HEIGHT, title=title).interactive()


def _tip(alt: Any, name: str, column: "Column") -> Any:
    kind = {"number": "Q", "time": "T", "text": "N"}[column.kind]
    return alt.Tooltip(f"{name}:{kind}", title=charts.safe(column.field.title))


def contour(
    engine: "Reads",
    chosen: "Chosen",
    names: tuple[str, str, str],
    log_x: bool,
    log_y: bool,
) -> Any:
    """See :meth:`lakelineage.plot.Plots.contour`."""
    alt = charts.altair()
    columns = fields.read(engine, chosen.ids, [fields.parse(name) for name in names])
    for column, argument in zip(columns, "xyz", strict=True):
        charts.number(column, argument)
    xs, x_notes = charts.usable(columns[0], log_x, "log_x")
    ys, y_notes = charts.usable(columns[1], log_y, "log_y")
    kept = [
        (charts.safe(label), px, py, pz)
        for label, px, py, pz in zip(chosen.labels, xs, ys, columns[2].values, strict=True)
        if px is not None and py is not None and pz is not None
    ]
    found = surface.interpolate([row[1:] for row in kept], log_x, log_y, names)
    steps = alt.Scale(scheme="viridis", type="threshold", domain=found.levels)
    shade = alt.Color("z:Q", title=charts.safe(columns[2].field.title), scale=steps)
    place = {"x": charts.axis(alt, "x", columns[0], log_x), "y": charts.axis(alt, "y", columns[1], log_y)}
    cells = alt.Chart(alt.Data(values=found.cells)).mark_rect().encode(**place, x2="x2", y2="y2", color=shade)
    lines = alt.Chart(alt.Data(values=found.lines)).mark_line(color="white", strokeOpacity=0.6, strokeWidth=1)
    rows = [{"run": run, "x": px, "y": py, "z": pz} for run, px, py, pz in kept]
    tips = [alt.Tooltip("run:N"), *(_tip(alt, n, c) for n, c in zip("xyz", columns, strict=True))]
    dots = alt.Chart(alt.Data(values=rows)).mark_circle(color="black", size=18, fillOpacity=0.8)
    layers = [
        cells,
        lines.encode(x="x:Q", y="y:Q", detail="line:N", order="order:Q"),
        dots.encode(x="x:Q", y="y:Q", tooltip=tips),
    ]
    notes = (*chosen.notes, *x_notes, *y_notes, *columns[2].notes)
    heading = charts.title(f"{names[2]} over {names[0]} and {names[1]}", notes)
    return alt.layer(*layers).properties(width=charts.WIDTH, height=charts.HEIGHT, title=heading)


def parallel_coordinates(
    engine: "Reads",
    chosen: "Chosen",
    params: Sequence[str] | None,
    metrics: Sequence[str] | None,
    color: str | None,
    log: Sequence[str],
) -> Any:
    """See :meth:`lakelineage.plot.Plots.parallel_coordinates`."""
    alt = charts.altair()
    columns, notes = _axes(engine, chosen, params, metrics)
    every = math.ceil(len(chosen.ids) / _MOST_LINES)
    if every > 1:
        notes.append(f"a line for every {every}th run; a filter shows fewer runs, and all of them")
    logs = {fields.parse(name) for name in log}
    unknown = logs - {column.field for column in columns}
    if unknown:
        raise InvalidInput(f"log names {unknown.pop().title}, which is no axis of this plot")
    tint = fields.read(engine, chosen.ids, [fields.parse(color)])[0] if color else columns[-1]
    lines: list[dict[str, Any]] = []
    ticks: list[dict[str, Any]] = []
    for number, column in enumerate(columns):
        values, more = charts.usable(column, column.field in logs, "log")
        notes += more
        places, marks = _scale(column, values, column.field in logs)
        ticks += [{"axis": number, "place": place, "text": charts.safe(text)} for place, text in marks]
        lines += _crossings(number, chosen.labels, places, values, tint.values)[::every]
    return _parallel(
        alt, columns, lines, ticks, tint, charts.title(f"{len(chosen.ids):,} runs", (*chosen.notes, *notes))
    )


def _axes(
    engine: "Reads", chosen: "Chosen", params: Sequence[str] | None, metrics: Sequence[str] | None
) -> "tuple[list[Column], list[str]]":
    """The columns to plot: those named, or those that differ between the runs."""
    named = {"params": params, "metrics": metrics}
    columns: list[Column] = []
    notes: list[str] = []
    for kind, given in named.items():
        keys = fields.keys_of(engine, chosen.ids, kind) if given is None else list(given)  # type: ignore[arg-type]
        found = fields.read(engine, chosen.ids, [fields.Field(kind, _bare(key, kind)) for key in keys]) if keys else []
        if given is None:
            differing = [column for column in found if len(set(column.values)) > 1] or found[:1]
            most = fields.MOST_KEYS // 2
            if len(differing) > most:
                notes.append(f"{most} of {len(differing)} {kind}; name others with {kind}=")
            found = differing[:most]
        columns += found
    if not columns:
        raise InvalidInput(f"the {len(chosen.ids):,} runs have no params and no metrics to plot")
    absent = next((column.field.title for column in columns if all(v is None for v in column.values)), None)
    if absent is not None:
        raise InvalidInput(f"none of the {len(chosen.ids):,} runs has a value of {absent} that can be drawn")
    return columns, notes


def _bare(key: str, kind: str) -> str:
    return key.removeprefix(f"{kind}.")


def _scale(column: "Column", values: Sequence[Any], log: bool) -> tuple[list[float | None], list[tuple[float, str]]]:
    """Where each value is on an axis from 0 to 1, and what is written beside the axis."""
    if column.kind == "text":
        texts = sorted({v for v in values if v is not None})
        spot = {text: (i + 0.5) / len(texts) for i, text in enumerate(texts)}
        step = math.ceil(len(texts) / _MOST_LABELS)
        return [None if v is None else spot[v] for v in values], [(spot[t], t[:24]) for t in texts[::step]]
    numbers = [None if v is None else math.log10(v) if log else float(v) for v in values]
    present = [n for n in numbers if n is not None]
    low, high = (min(present), max(present)) if present else (0.0, 0.0)
    if low == high:
        return [None if n is None else 0.5 for n in numbers], [(0.5, _written(column, low, log))]
    marks = [(i / 4, _written(column, low + (high / 4 - low / 4) * i, log)) for i in range(5)]
    # Halves, so that the width of ±1e308 is still a number.
    return [None if n is None else (n / 2 - low / 2) / (high / 2 - low / 2) for n in numbers], marks


def _written(column: "Column", value: float, log: bool) -> str:
    if column.kind == "time":
        from datetime import UTC, datetime

        return datetime.fromtimestamp(value / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    return f"{10**value if log else value:.4g}"


def _crossings(
    number: int,
    labels: Sequence[str],
    places: Sequence[float | None],
    values: Sequence[Any],
    tints: Sequence[Any],
) -> list[dict[str, Any]]:
    return [
        {"axis": number, "run": charts.safe(run), "place": place, "value": charts.shown(v), "colour": charts.shown(c)}
        for run, place, v, c in zip(labels, places, values, tints, strict=True)
    ]


def _parallel(
    alt: Any,
    columns: "Sequence[Column]",
    lines: list[dict[str, Any]],
    ticks: list[dict[str, Any]],
    tint: "Column",
    title: Any,
) -> Any:
    names = [charts.safe(column.field.title) for column in columns]
    # Axes are numbered, so that their names may hold anything; a text never becomes part of an expression.
    heads = [{"axis": number, "name": name} for number, name in enumerate(names)]
    x = alt.X("axis:O", axis=None, scale=alt.Scale(type="point", padding=0.5))
    y = alt.Y("place:Q", axis=None, scale=alt.Scale(domain=[0, 1]))
    hover = alt.selection_point(on="pointerover", fields=["run"], empty=True)
    faint = max(0.08, min(0.8, 60 / max(1, len(lines) / len(columns))))
    drawn = (
        alt.Chart(alt.Data(values=lines))
        .mark_line()
        .encode(
            x=x,
            y=y,
            detail="run:N",
            color=charts.colour(alt, tint),
            strokeOpacity=alt.condition(hover, alt.value(faint), alt.value(0.03)),
            tooltip=[alt.Tooltip("run:N"), alt.Tooltip("value:N")],
        )
    )
    rules = alt.Chart(alt.Data(values=heads)).mark_rule(color="gray").encode(x=x)
    labels = alt.Chart(alt.Data(values=heads)).mark_text(dy=-12, fontWeight="bold", limit=140)
    marks = alt.Chart(alt.Data(values=ticks)).mark_text(align="left", dx=4, fontSize=9, limit=110)
    wide = max(charts.WIDTH, 150 * len(columns))
    layers = [
        drawn.add_params(hover),
        rules,
        labels.encode(x=x, y=alt.value(0), text="name:N"),
        marks.encode(x=x, y=y, text="text:N"),
    ]
    return alt.layer(*layers).properties(width=wide, height=charts.HEIGHT, title=title)
