"""The command score."""

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from lakelineage.cli.bar import bar
from lakelineage.cli.session import Session


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
        with bar(session, "scoring", pin.num_rows) as progress:
            done = lake.score(model, pin, output, mode=mode, batch_size=batch_size, progress=progress)
    if session.as_json:
        session.out.json(asdict(done))
        return
    session.out.say(
        f"{done.rows:,} rows of {pin.table_uri}@{done.input_version} scored in {done.seconds:.2f} s → "
        f"{done.output_uri}@{done.output_version}"
    )
