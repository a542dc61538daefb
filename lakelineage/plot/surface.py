"""A surface through scattered points, for contour plots."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lakelineage.errors import InvalidInput, MissingExtra

#: Cells of the surface along each axis.
_CELLS = 50
#: Lines of equal height.
_LEVELS = 9


@dataclass(frozen=True, slots=True)
class Surface:
    """A surface, as rows of chart data.

    Attributes:
        cells: x, x2, y, y2, z of each cell that lies among the points.
        lines: line, order, x, y of the points of the lines of equal height.
        levels: heights at which colours change.
    """

    cells: list[dict[str, float]]
    lines: list[dict[str, float]]
    levels: list[float]


def interpolate(
    points: Sequence[tuple[float, float, float]], log_x: bool, log_y: bool, names: Sequence[str]
) -> Surface:
    """Interpolate linearly between neighbours (Delaunay triangles); of points at one place the mean counts.

    Nothing is drawn outside the hull of the points: there no run has been.

    Args:
        points: x, y, z; finite, and positive on logarithmic axes.
        log_x: triangles are those of log(x).
        log_y: the same for y.
        names: of x, y and z, for messages.

    Raises:
        InvalidInput: the points do not span a surface.
        MissingExtra: SciPy or ContourPy is not installed.
    """
    try:
        import numpy as np
        from contourpy import contour_generator
        from scipy.interpolate import LinearNDInterpolator
        from scipy.spatial import QhullError
    except ImportError as error:
        raise MissingExtra('contour plots need SciPy and ContourPy: pip install "lakelineage[plot]"') from error
    places = _at_one_place(points)
    flat = InvalidInput(
        f"a contour needs runs at three places or more that are not on one line; {len(places)} places have {names[0]}, "
        f"{names[1]} and {names[2]}: use lake.plot.scatter(x, y, color=z)"
    )
    data = np.array([(*place, z) for place, z in places.items()], dtype=float).reshape(-1, 3)
    for number, log in enumerate((log_x, log_y)):
        if log and len(data):
            data[:, number] = np.log10(data[:, number])
    if len(data) < 3 or any(np.ptp(data[:, i]) == 0 for i in range(2)):
        raise flat
    lows, widths = data[:, :2].min(axis=0), np.ptp(data[:, :2], axis=0)
    try:
        height = LinearNDInterpolator((data[:, :2] - lows) / widths, data[:, 2])
    except QhullError as error:
        raise flat from error
    levels = _levels(float(data[:, 2].min()), float(data[:, 2].max()))
    edges = np.linspace(0, 1, _CELLS + 1)
    middles = (edges[:-1] + edges[1:]) / 2

    def place(at: Any, number: int) -> Any:
        raw = lows[number] + at * widths[number]
        return 10**raw if (log_x, log_y)[number] else raw

    grid = height(*np.meshgrid(middles, middles))
    xs, ys = place(edges, 0).tolist(), place(edges, 1).tolist()
    # Cells reach a little below their neighbours: renderers show a seam where two only touch.
    x2s, y2s = place(edges + 0.1 / _CELLS, 0).tolist(), place(edges + 0.1 / _CELLS, 1).tolist()
    cells = [
        {"x": xs[i], "x2": x2s[i + 1], "y": ys[j], "y2": y2s[j + 1], "z": z}
        for j, row in enumerate(grid.tolist())
        for i, z in enumerate(row)
        if math.isfinite(z)
    ]
    fine = height(*np.meshgrid(edges, edges))
    generator = contour_generator(edges, edges, np.ma.masked_invalid(fine))
    lines = [
        {"line": number, "order": order, "x": float(place(px, 0)), "y": float(place(py, 1))}
        for number, line in enumerate(line for level in levels for line in generator.lines(level))
        for order, (px, py) in enumerate(line)
    ]
    return Surface(cells, lines, levels)


def _at_one_place(points: Sequence[tuple[float, float, float]]) -> dict[tuple[float, float], float]:
    found: dict[tuple[float, float], list[float]] = {}
    for x, y, z in points:
        found.setdefault((x, y), []).append(z)
    return {place: math.fsum(zs) / len(zs) for place, zs in found.items()}


def _levels(low: float, high: float) -> list[float]:
    """Round heights between the least and the greatest; the one height there is, if all are alike."""
    if low == high:
        return [low]
    step = 10 ** math.floor(math.log10((high - low) / _LEVELS))
    step *= next(m for m in (1, 2, 2.5, 5, 10, 20) if (high - low) / (step * m) <= _LEVELS)
    first = math.floor(low / step) + 1
    told = [float(f"{number * step:.12g}") for number in range(first, math.ceil(high / step))]
    return told or [(low + high) / 2]
