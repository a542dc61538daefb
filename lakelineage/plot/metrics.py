"""The chart of metric curves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput
from lakelineage.plot import charts, curves, fields
from lakelineage.plot.choose import choose

if TYPE_CHECKING:
    from lakelineage.engine import Reads
    from lakelineage.plot.curves import Curve

_X_TITLES = {"step": "step", "time": "time (UTC)", "relative": "seconds since the run's start"}


def metric_curves(
    engine: "Reads",
    runs: Any,
    keys: Sequence[str] | str | None,
    x: str,
    smoothing: float,
    max_points: int,
    log_y: bool,
) -> Any:
    """See :meth:`lakelineage.plot.Plots.metrics`."""
    alt = charts.altair()
    if not isinstance(smoothing, (int, float)) or not 0 <= smoothing < 1:
        raise InvalidInput(f"smoothing={smoothing!r}: write a number from 0 (none) to less than 1")
    chosen = choose(engine, runs)
    wanted, more = _keys(engine, chosen.ids, keys)
    found = curves.read(engine, chosen, wanted, x, max_points)
    missing = [key for key in wanted if all(curve.key != key for curve in found)]
    if missing:
        raise InvalidInput(
            f"none of the {len(chosen.ids):,} runs has the metric {missing[0]!r}{_known(engine, chosen.ids)}"
        )
    labels = dict(zip(chosen.ids, chosen.labels, strict=True))
    pictures = []
    for number, key in enumerate(wanted):
        own = [curve for curve in found if curve.key == key]
        notes = [*(chosen.notes if key == wanted[0] else ()), *(more if key == wanted[0] else ())]
        zoom = alt.selection_interval(bind="scales", name=f"zoom{number}")
        picture = _picture(alt, own, labels, x, smoothing, log_y, zoom)
        pictures.append(picture.properties(title=charts.title(key, notes)))
    return pictures[0] if len(pictures) == 1 else alt.concat(*pictures, columns=2)


def _keys(engine: "Reads", ids: Sequence[str], keys: Sequence[str] | str | None) -> tuple[list[str], list[str]]:
    if keys is not None:
        given = [keys] if isinstance(keys, str) else list(dict.fromkeys(keys))
        if not given:
            raise InvalidInput("keys is empty; name metrics, or leave it out for those there are")
        return given, []
    found = fields.keys_of(engine, ids, "metrics")
    if not found:
        raise InvalidInput(f"the {len(ids):,} runs have no metrics to plot")
    notes = (
        [f"{fields.MOST_KEYS} of {len(found)} metrics; name others with keys="] if len(found) > fields.MOST_KEYS else []
    )
    return found[: fields.MOST_KEYS], notes


def _known(engine: "Reads", ids: Sequence[str]) -> str:
    found = fields.keys_of(engine, ids, "metrics")
    return f"; they have {', '.join(found[: fields.MOST_KEYS])}" if found else "; they have none"


def _picture(
    alt: Any, own: Sequence["Curve"], labels: dict[str, str], x: str, smoothing: float, log_y: bool, zoom: Any
) -> Any:
    kind = "T" if x == "time" else "Q"
    place = alt.X(f"x:{kind}", title=_X_TITLES[x], scale=alt.Scale(zero=False, nice=False))
    height = alt.Y("y:Q", title=None, scale=alt.Scale(type="log") if log_y else alt.Scale(zero=False))
    encoding = {"x": place, "y": height, "color": charts.colour(alt, None, [labels[curve.run_id] for curve in own])}
    tips = [alt.Tooltip("run:N"), alt.Tooltip(f"x:{kind}", title=x)]
    value = alt.Tooltip("y:Q", title="value")
    raw = alt.Chart(_data(alt, own, labels, [curve.points for curve in own], log_y)).encode(**encoding)
    layers = []
    if all(len(curve.points) < 2 for curve in own):
        layers.append(raw.mark_point(filled=True, size=60).encode(tooltip=[*tips, value]))
    elif smoothing:
        smooth = alt.Chart(_data(alt, own, labels, [curve.smoothed(smoothing) for curve in own], log_y))
        layers.append(raw.mark_line(strokeOpacity=0.25))
        layers.append(smooth.mark_line().encode(**encoding, tooltip=[*tips, value]))
    else:
        layers.append(raw.mark_line(point=_few(own)).encode(tooltip=[*tips, value]))
    odd = [
        {"x": px, "run": charts.safe(labels[curve.run_id]), "value": str(py)} for curve in own for px, py in curve.odd
    ]
    if odd:  # what has no place on the axis is marked at its foot
        marks = alt.Chart(alt.Data(values=odd)).mark_point(shape="cross", filled=True, color="crimson", size=60)
        layers.append(marks.encode(x=place, y=alt.value(charts.HEIGHT), tooltip=[*tips, alt.Tooltip("value:N")]))
    return alt.layer(layers[0].add_params(zoom), *layers[1:]).properties(width=charts.WIDTH, height=charts.HEIGHT)


def _few(own: Sequence["Curve"]) -> bool:
    """Whether single points are worth a mark: few of them, as of metrics logged once an epoch."""
    return max(len(curve.points) for curve in own) <= 50 and len(own) <= charts.LEGEND_ROWS


def _data(
    alt: Any,
    own: Sequence["Curve"],
    labels: dict[str, str],
    lines: Sequence[Sequence[tuple[float, float]]],
    log_y: bool,
) -> Any:
    values = [
        {"run": charts.safe(labels[curve.run_id]), "x": px, "y": charts.finite(py) if not log_y or py > 0 else None}
        for curve, line in zip(own, lines, strict=True)
        for px, py in line
    ]
    return alt.Data(values=values)
