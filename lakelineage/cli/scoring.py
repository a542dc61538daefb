"""The command score."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lakelineage.cli.output import make_console
from lakelineage.cli.session import Session

if TYPE_CHECKING:
    from lakelineage.snapshots import Snapshot


def score(
    session: Session,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="models:/NAME@ALIAS, models:/NAME/3 or runs:/RUN/PATH.")
    ],
    source: Annotated[str, typer.Argument(metavar="INPUT", help="Table or file to score.")],
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="Delta table for the predictions; made if new.")],
    version: Annotated[
        int | None, typer.Option(min=0, help="Delta version of the input.", show_default="newest")
    ] = None,
    mode: Annotated[
        Literal["append", "overwrite"], typer.Option(help="What to do with an output that exists.")
    ] = "append",
    batch_size: Annotated[int, typer.Option(min=1, help="Rows in memory at a time.")] = 65_536,
) -> None:
    """Predict for every row of a table.

    Batches bound the memory; where each prediction came from is recorded.

    Example:
      lakelineage score models:/diabetes@champion data/patients data/predictions
    """
    with session.open() as lake:
        pin = lake.snapshot(source, version=version)
        with _progress(pin, session) as progress:
            done = lake.score(model, pin, output, mode=mode, batch_size=batch_size, progress=progress)
    if session.as_json:
        session.out.json(asdict(done))
        return
    session.out.say(
        f"{done.rows:,} rows of {pin.table_uri}@{done.input_version} scored in {done.seconds:.2f} s → "
        f"{done.output_uri}@{done.output_version}"
    )


@contextmanager
def _progress(pin: "Snapshot", session: Session) -> Iterator[Callable[[int], None] | None]:
    """A bar on stderr while rows are scored, where somebody sees it."""
    import sys

    console = make_console(sys.stderr)
    if session.as_json or not console.is_terminal:
        yield None
        return
    from rich import progress as bars

    shown = (bars.TextColumn("scoring"), bars.BarColumn(), bars.MofNCompleteColumn(), bars.TimeRemainingColumn())
    with bars.Progress(*shown, console=console, transient=True) as bar:
        task = bar.add_task("scoring", total=pin.num_rows)
        yield lambda rows: bar.update(task, completed=rows)
