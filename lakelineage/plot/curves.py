"""Metric curves: points sampled where the data is, so that a curve of any length costs one picture.

A long curve is cut into stretches of equal width, and of each its first, least, greatest and last point are kept. A
line through these covers the same pixels as one through all points, once the stretches are as narrow as pixels (M4:
Jugel et al., "M4: A Visualization-Oriented Time Series Data Aggregation", VLDB 2014).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from lakelineage.errors import InvalidInput

if TYPE_CHECKING:
    from lakelineage.engine import Reads
    from lakelineage.plot.choose import Chosen

Axis = Literal["step", "time", "relative"]

#: SQL of the horizontal place of a point: its step, ms since 1970 UTC, or seconds since the run's start.
_PLACES: dict[str, str] = {
    "step": "m.step::DOUBLE",
    "time": "epoch_us(m.timestamp) / 1e3",
    "relative": "(epoch_us(m.timestamp) - chosen.start) / 1e6",
}
#: Points that one picture holds at most, of all its curves together.
MOST_POINTS = 200_000

_POINTS = """
WITH chosen AS (SELECT unnest($ids::VARCHAR[]) AS run_id, unnest($starts::BIGINT[]) AS start),
point AS (
  SELECT m.run_id, m.key, {place} AS x, m.value, m.ingested_at, m.writer, m.seq
  FROM metrics m JOIN chosen USING (run_id) WHERE list_contains($keys, m.key)
)
"""
_SPANS = _POINTS + "SELECT run_id, key, count(*) AS n, min(x) AS lo, max(x) AS hi FROM point GROUP BY run_id, key"
_ALL = (
    _POINTS
    + """
SELECT run_id, key, x, value FROM point
WHERE (run_id, key) IN (SELECT unnest($runs::VARCHAR[]), unnest($names::VARCHAR[]))
ORDER BY run_id, key, x, ingested_at, writer, seq
"""
)
_SAMPLED = (
    _POINTS
    + """,
span AS (SELECT unnest($runs::VARCHAR[]) AS run_id, unnest($names::VARCHAR[]) AS key,
                unnest($lows::DOUBLE[]) AS lo, unnest($widths::DOUBLE[]) AS width),
placed AS (
  SELECT point.run_id, point.key, x, value, isfinite(value) AS finite,
         least(greatest(floor((x - lo) / width), 0), $stretches - 1)::INTEGER AS stretch
  FROM point JOIN span ON span.run_id = point.run_id AND span.key = point.key
)
SELECT run_id, key, stretch,
  avg(x) FILTER (WHERE finite) AS mean_x, avg(value) FILTER (WHERE finite) AS mean,
  min(x) FILTER (WHERE finite) AS x0, arg_min(value, x) FILTER (WHERE finite) AS y0,
  arg_min(x, value) FILTER (WHERE finite) AS x1, min(value) FILTER (WHERE finite) AS y1,
  arg_max(x, value) FILTER (WHERE finite) AS x2, max(value) FILTER (WHERE finite) AS y2,
  max(x) FILTER (WHERE finite) AS x3, arg_max(value, x) FILTER (WHERE finite) AS y3,
  min(x) FILTER (WHERE NOT finite) AS odd_x, arg_min(value, x) FILTER (WHERE NOT finite) AS odd
FROM placed GROUP BY run_id, key, stretch ORDER BY run_id, key, stretch
"""
)


@dataclass(slots=True)
class Curve:
    """One metric of one run.

    Attributes:
        run_id: the run.
        key: the metric.
        count: values that were logged.
        points: (x, value) by x; values are finite.
        trend: (x, value) that smoothing works on: the points themselves, or the means of the stretches.
        odd: (x, value) of values that are not finite: all of a short curve, the first of each stretch of a long one.
    """

    run_id: str
    key: str
    count: int
    points: list[tuple[float, float]] = field(default_factory=list)
    trend: list[tuple[float, float]] = field(default_factory=list)
    odd: list[tuple[float, float]] = field(default_factory=list)

    def smoothed(self, weight: float) -> list[tuple[float, float]]:
        """An exponential moving average without the bias of its start, as TensorBoard draws it.

        Args:
            weight: of what came before, at least 0 and less than 1.
        """
        average, told = 0.0, []
        for number, (x, value) in enumerate(self.trend, start=1):
            average = weight * average + (1 - weight) * value
            told.append((x, average / (1 - weight**number)))
        return told


def read(engine: "Reads", chosen: "Chosen", keys: Sequence[str], axis: str, max_points: int) -> list[Curve]:
    """Curves of some metrics of some runs, sampled.

    Args:
        engine: the open lake.
        chosen: the runs.
        keys: metrics.
        axis: step, time or relative.
        max_points: of each curve; fewer where there are many curves.

    Raises:
        InvalidInput: the axis is unknown, or the number is less than 4.
    """
    if axis not in _PLACES:
        raise InvalidInput(f"x={axis!r}: choose one of {', '.join(_PLACES)}")
    if isinstance(max_points, bool) or not isinstance(max_points, int) or max_points < 4:
        raise InvalidInput(f"max_points={max_points!r}: write a number of points, 4 or more")
    question = {"ids": list(chosen.ids), "starts": list(chosen.starts), "keys": list(keys)}
    spans = engine.query(_SPANS.format(place=_PLACES[axis]), question).to_pylist()
    most = min(max_points, max(4, MOST_POINTS // max(1, len(spans))))
    curves = {(s["run_id"], s["key"]): Curve(s["run_id"], s["key"], s["n"]) for s in spans}
    short = [span for span in spans if span["n"] <= most]
    long = [span for span in spans if span["n"] > most]
    if short:
        rows = engine.query(_ALL.format(place=_PLACES[axis]), question | _pairs(short))
        _add_all(curves, rows.to_pydict())
    if long:
        extent = _pairs(long) | _stretches(long, most // 4)
        _add_sampled(curves, engine.query(_SAMPLED.format(place=_PLACES[axis]), question | extent).to_pylist())
    order = {run_id: number for number, run_id in enumerate(chosen.ids)}
    return sorted(curves.values(), key=lambda curve: (order[curve.run_id], curve.key))


def _pairs(spans: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"runs": [span["run_id"] for span in spans], "names": [span["key"] for span in spans]}


def _stretches(spans: Sequence[dict[str, Any]], stretches: int) -> dict[str, Any]:
    # A curve whose points are all at one place has one stretch, of any width.
    widths = [(span["hi"] - span["lo"]) / stretches or 1.0 for span in spans]
    return {"lows": [span["lo"] for span in spans], "widths": widths, "stretches": stretches}


def _add_all(curves: dict[tuple[str, str], Curve], rows: dict[str, list[Any]]) -> None:
    for run_id, key, x, value in zip(*rows.values(), strict=True):
        curve = curves[run_id, key]
        if math.isfinite(value):
            curve.points.append((x, value))
            curve.trend.append((x, value))
        else:
            curve.odd.append((x, value))


def _add_sampled(curves: dict[tuple[str, str], Curve], rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        curve = curves[row["run_id"], row["key"]]
        if row["mean_x"] is not None:
            curve.points += sorted({(row[f"x{i}"], row[f"y{i}"]) for i in range(4)})
            curve.trend.append((row["mean_x"], row["mean"]))
        if row["odd_x"] is not None:
            curve.odd.append((row["odd_x"], row["odd"]))
