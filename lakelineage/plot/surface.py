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
    logs = (log_x, log_y)
    rows = [(*place, z) for place, z in _at_one_place(points, logs).items()]
    flat = InvalidInput(
        f"a contour needs runs at three places or more that are not on one line; {len(rows)} places have {names[0]}, "
        f"{names[1]} and {names[2]}: use lake.plot.scatter(x, y, color=z)"
    )
    spans = [(min(column), max(column)) for column in zip(*rows, strict=True)]
    if len(rows) < 3 or any(low == high for low, high in spans[:2]):
        raise flat
    if any(math.isinf(high - low) for low, high in spans):
        raise InvalidInput(
            f"{', '.join(names)} are too far apart for a contour; leave the extreme runs out by a filter"
        )
    lows, widths = [low for low, _ in spans], [high - low for low, high in spans]
    data = (np.array(rows) - [*lows[:2], 0]) / [*widths[:2], 1]
    try:
        height = LinearNDInterpolator(data[:, :2], data[:, 2])
    except QhullError as error:
        raise flat from error

    def heights(at: Any) -> Any:
        # Clipped, since rounding would else put parts of a plateau on either side of a level.
        return np.clip(height(*np.meshgrid(at, at)), *spans[2])

    def place(at: Any, number: int) -> Any:
        raw = lows[number] + np.asarray(at) * widths[number]
        return (10**raw if logs[number] else raw).tolist()

    edges = np.linspace(0, 1, _CELLS + 1)
    levels = _levels(*spans[2])
    # Cells reach a little below their neighbours: renderers show a seam where two only touch.
    ends = edges + 0.1 / _CELLS
    cells = _cells(
        place(edges, 0), place(ends, 0), place(edges, 1), place(ends, 1), heights((edges[:-1] + edges[1:]) / 2).tolist()
    )
    generator = contour_generator(edges, edges, np.ma.masked_invalid(heights(edges)))
    lines = [
        {"line": number, "order": order, "x": place(px, 0), "y": place(py, 1)}
        for number, line in enumerate(line for level in levels for line in generator.lines(level))
        for order, (px, py) in enumerate(line)
    ]
    return Surface(cells, lines, levels)


def _cells(
    xs: Sequence[float],
    x2s: Sequence[float],
    ys: Sequence[float],
    y2s: Sequence[float],
    grid: Sequence[Sequence[float]],
) -> list[dict[str, float]]:
    return [
        {"x": xs[i], "x2": x2s[i + 1], "y": ys[j], "y2": y2s[j + 1], "z": z}
        for j, row in enumerate(grid)
        for i, z in enumerate(row)
        if math.isfinite(z)
    ]


def _at_one_place(
    points: Sequence[tuple[float, float, float]], logs: tuple[bool, bool]
) -> dict[tuple[float, float], float]:
    """Mean height of each place; places on logarithmic axes by their powers of ten."""
    found: dict[tuple[float, float], list[float]] = {}
    for x, y, z in points:
        found.setdefault((math.log10(x) if logs[0] else x, math.log10(y) if logs[1] else y), []).append(z)
    return {place: sum(z / len(zs) for z in zs) for place, zs in found.items()}


def _levels(low: float, high: float) -> list[float]:
    """Round heights between the least and the greatest; the one height there is, if all are alike."""
    if low == high:
        return [low]
    step = 10 ** math.floor(math.log10((high - low) / _LEVELS))
    step *= next(m for m in (1, 2, 2.5, 5, 10, 20) if (high - low) / (step * m) <= _LEVELS)
    first = math.floor(low / step) + 1
    told = [float(f"{number * step:.12g}") for number in range(first, math.ceil(high / step))]
    return told or [(low + high) / 2]
