"""Commands that draw: plot metrics, scatter, contour, parallel."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lakelineage.cli import complete
from lakelineage.cli.session import JsonOption, LakeOption, Session, UsageError, shared_options

if TYPE_CHECKING:
    from lakelineage import Lake

_HELP = """Draw metric curves, and many runs by params and metrics.

It needs the extra plot: pip install "lakelineage[plot]".

\b
Examples:
  lakelineage plot metrics 0199c0ffee12 --key loss --smoothing 0.6 -o loss.html
  lakelineage plot scatter params.alpha metrics.rmse --log-x -o alpha.png
  lakelineage plot contour params.alpha params.l1_ratio metrics.rmse -o rmse.svg
  lakelineage plot parallel --filter "metrics.rmse < 70" -o best.html
"""
app = typer.Typer(help=_HELP)


@app.callback()
def _root(ctx: typer.Context, lake_uri: LakeOption = None, as_json: JsonOption = False) -> None:
    ctx.obj = (ctx.obj or Session()).with_options(lake_uri, as_json)


Output = Annotated[
    str, typer.Option("--output", "-o", metavar="FILE", help="Where to write: .html, .png or .svg.", show_default=False)
]
Filter = Annotated[
    str, typer.Option("--filter", metavar="CONDITION", help="Only runs that satisfy it.", show_default="all runs")
]
X = Annotated[str, typer.Argument(help="params.KEY, metrics.KEY, tags.KEY, or an attribute such as start_time.")]
Y = Annotated[str, typer.Argument(help="The same.")]
LogX = Annotated[bool, typer.Option("--log-x", help="Logarithmic horizontal axis.")]
LogY = Annotated[bool, typer.Option("--log-y", help="Logarithmic vertical axis.")]
Scale = Annotated[float, typer.Option(min=0.1, max=20, help="Dots of a PNG for each pixel of the screen.")]


def metrics(
    session: Session,
    output: Output,
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN...",
            help="Run ids, or unique beginnings of them.",
            show_default="all runs",
            autocompletion=complete.run_ids,
        ),
    ] = None,
    filter_: Filter = "",
    key: Annotated[
        list[str] | None,
        typer.Option(metavar="METRIC", help="Metric to draw; may repeat.", show_default="those there are"),
    ] = None,
    x: Annotated[Literal["step", "time", "relative"], typer.Option(help="Horizontal axis.")] = "step",
    smoothing: Annotated[float, typer.Option(min=0, max=0.999, help="Weight of what came before.")] = 0.0,
    max_points: Annotated[int, typer.Option(min=4, help="Points of each curve.")] = 1_000,
    log_y: LogY = False,
    scale: Scale = 2.0,
) -> None:
    """Draw metric curves, a line for each run.

    Each metric has a picture of its own.

    Examples:
      lakelineage plot metrics 0199c0ffee12 0199c0ffee34 --key loss -o loss.png
      lakelineage plot metrics --filter "params.model = 'ridge'" --x relative -o ridge.html
    """
    if runs and filter_:
        raise UsageError("name runs or give --filter, not both")
    with session.open() as lake:
        chosen: Any = runs or filter_ or None
        figure = lake.plot.metrics(chosen, key or None, x, smoothing=smoothing, max_points=max_points, log_y=log_y)
        _write(session, lake, figure, output, scale)


def scatter(
    session: Session,
    x: X,
    y: Y,
    output: Output,
    color: Annotated[str | None, typer.Option(metavar="NAME", help="What colours the points.")] = None,
    filter_: Filter = "",
    log_x: LogX = False,
    log_y: LogY = False,
    scale: Scale = 2.0,
) -> None:
    """Draw one point for each run.

    Example:
      lakelineage plot scatter params.alpha metrics.rmse --color params.model --log-x -o alpha.html
    """
    with session.open() as lake:
        figure = lake.plot.scatter(x, y, color, filter=filter_, log_x=log_x, log_y=log_y)
        _write(session, lake, figure, output, scale)


def contour(
    session: Session,
    x: X,
    y: Y,
    z: Annotated[str, typer.Argument(help="The same: what the lines are of.")],
    output: Output,
    filter_: Filter = "",
    log_x: LogX = False,
    log_y: LogY = False,
    scale: Scale = 2.0,
) -> None:
    """Draw lines of equal Z over X and Y.

    They are interpolated between runs.

    Example:
      lakelineage plot contour params.alpha params.l1_ratio metrics.rmse --log-x -o rmse.png
    """
    with session.open() as lake:
        figure = lake.plot.contour(x, y, z, filter=filter_, log_x=log_x, log_y=log_y)
        _write(session, lake, figure, output, scale)


def parallel(
    session: Session,
    output: Output,
    filter_: Filter = "",
    param: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Axis; may repeat.", show_default="those that differ")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Axis; may repeat.", show_default="those that differ")
    ] = None,
    color: Annotated[
        str | None, typer.Option(metavar="NAME", help="What colours the lines.", show_default="the last axis")
    ] = None,
    log: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Logarithmic axis, such as params.lr; may repeat.")
    ] = None,
    scale: Scale = 2.0,
) -> None:
    """Draw parallel coordinates, a line for each run.

    Params and metrics are the axes.

    Example:
      lakelineage plot parallel --param alpha --metric rmse --log params.alpha -o all.html
    """
    with session.open() as lake:
        figure = lake.plot.parallel_coordinates(
            filter=filter_, params=param or None, metrics=metric or None, color=color, log=log or ()
        )
        _write(session, lake, figure, output, scale)


def _write(session: Session, lake: "Lake", figure: Any, output: str, scale: float) -> None:
    path = lake.plot.save(figure, output, scale=scale)
    size = path.stat().st_size
    if session.as_json:
        session.out.json({"output": str(path.absolute()), "bytes": size})
    else:
        session.out.say(f"{path} written ({size:,} bytes)")


_COMMANDS: dict[str, Callable[..., None]] = {
    "metrics": metrics,
    "scatter": scatter,
    "contour": contour,
    "parallel": parallel,
}
for _name, _function in _COMMANDS.items():
    app.command(_name)(shared_options(_function))
