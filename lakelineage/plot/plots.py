"""The public face of this room."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from lakelineage.engine import Reads


class Plots:
    """Plots of the runs of one lake, as charts of Altair (extra ``plot``).

    A notebook shows a chart that is the last value of a cell; :meth:`save` writes it to a file. ``runs`` may be a run,
    its id or the beginning of it, several of them, a table with the column ``run_id`` (such as
    :meth:`lakelineage.Lake.search_runs` answers), or a filter. What a chart cannot show (missing values, NaN, what is
    not positive on a logarithmic axis) is counted below its title. One plot shows at most 10,000 runs.

    Args:
        engine: the open lake.

    Example::

        chart = lake.plot.scatter("params.alpha", "metrics.rmse", color="params.model", log_x=True)
        lake.plot.save(chart, "alpha.html")
    """

    def __init__(self, engine: "Reads") -> None:
        self._engine = engine

    def __repr__(self) -> str:
        return "<Plots: metrics, scatter, contour, parallel_coordinates, save>"

    def metrics(
        self,
        runs: Any = None,
        keys: Sequence[str] | str | None = None,
        x: Literal["step", "time", "relative"] = "step",
        *,
        smoothing: float = 0.0,
        max_points: int = 1_000,
        log_y: bool = False,
    ) -> Any:
        """Metric curves, one picture for each metric and one line for each run.

        Long curves are sampled where the data is: first, least, greatest and last point of each stretch. NaN and
        infinities are red crosses at the foot of the picture.

        Args:
            runs: which runs; default all.
            keys: metrics; default those there are, at most twelve, without those that begin with ``system/``.
            x: ``step``, ``time``, or ``relative`` (seconds since the run's start).
            smoothing: weight of what came before in an exponential moving average, 0 to less than 1. Of a sampled curve
                the means of its stretches are smoothed.
            max_points: of each curve, at least 4; fewer where there are so many curves that 200,000 would be exceeded.
            log_y: logarithmic values; what is not positive makes a gap.

        Raises:
            InvalidInput: no run, no such metric, or an argument out of its range.
            RunNotFound: a run that was named is not there.
            MissingExtra: Altair is not installed.
        """
        from lakelineage.plot.metrics import metric_curves

        return metric_curves(self._engine, runs, keys, x, smoothing, max_points, log_y)

    def scatter(
        self,
        x: str,
        y: str,
        color: str | None = None,
        *,
        runs: Any = None,
        filter: str = "",  # noqa: A002 - the word of search
        log_x: bool = False,
        log_y: bool = False,
    ) -> Any:
        """One point for each run.

        Args:
            x: ``params.<key>``, ``metrics.<key>``, ``tags.<key>``, or an attribute such as ``start_time`` or
                ``duration`` (seconds). A param whose values are all numbers is one; another is a text.
            y: the same.
            color: the same.
            runs: which runs; default all.
            filter: runs by a filter, instead.
            log_x: logarithmic axis.
            log_y: logarithmic axis.

        Raises:
            InvalidInput: no run has both, a name that means nothing, or a logarithm of texts.
            InvalidFilter: the filter cannot be understood.
            RunNotFound: a run that was named is not there.
            MissingExtra: Altair is not installed.
        """
        from lakelineage.plot.across import scatter
        from lakelineage.plot.choose import choose

        return scatter(self._engine, choose(self._engine, runs, filter), x, y, color, log_x, log_y)

    def contour(
        self,
        x: str,
        y: str,
        z: str,
        *,
        runs: Any = None,
        filter: str = "",  # noqa: A002 - the word of search
        log_x: bool = False,
        log_y: bool = False,
    ) -> Any:
        """Lines of equal ``z`` over ``x`` and ``y``, interpolated linearly between runs and only among them.

        Arguments and errors as of :meth:`scatter`; all three must be numbers. Of several runs at one place the mean
        counts.
        """
        from lakelineage.plot.across import contour
        from lakelineage.plot.choose import choose

        return contour(self._engine, choose(self._engine, runs, filter), (x, y, z), log_x, log_y)

    def parallel_coordinates(
        self,
        runs: Any = None,
        filter: str = "",  # noqa: A002 - the word of search
        *,
        params: Sequence[str] | None = None,
        metrics: Sequence[str] | None = None,
        color: str | None = None,
        log: Sequence[str] = (),
    ) -> Any:
        """One vertical axis for each param and metric, one line for each run (of more than 1,000, for some).

        Args:
            runs: which runs; default all.
            filter: runs by a filter, instead.
            params: keys, in this order; default those that differ between the runs, at most six.
            metrics: the same for metrics; they follow the params.
            color: what colours the lines, as in :meth:`scatter`; default the last axis.
            log: axes that are logarithmic, such as ``["params.lr"]``.

        Raises:
            InvalidInput, InvalidFilter, RunNotFound, MissingExtra: as of :meth:`scatter`.
        """
        from lakelineage.plot.across import parallel_coordinates
        from lakelineage.plot.choose import choose

        return parallel_coordinates(self._engine, choose(self._engine, runs, filter), params, metrics, color, log)

    def save(self, figure: Any, path: str | os.PathLike[str], *, scale: float = 2.0) -> Path:
        """Write a chart to a file: ``.html`` (works offline, with zoom and tooltips), ``.png`` or ``.svg``.

        Args:
            figure: a chart.
            path: the file; its folder is made, a file there is replaced.
            scale: dots of a PNG for each pixel of the screen.

        Raises:
            InvalidInput: another ending, or no chart.
            StorageFailed: the disk refuses.
            MissingExtra: vl-convert is not installed.
        """
        from lakelineage.plot import files

        return files.save(figure, path, scale)
