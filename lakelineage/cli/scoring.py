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
        Literal["append", "overwrite", "merge"], typer.Option(help="What to do with an output that exists.")
    ] = "append",
    key: Annotated[list[str] | None, typer.Option(help="Column that identifies a row; again for more.")] = None,
    incremental: Annotated[bool, typer.Option("--incremental", help="Score only what is new since last time.")] = False,
    on_new_model: Annotated[
        Literal["rescore", "continue"], typer.Option(help="With --incremental, when another model scored last.")
    ] = "rescore",
    batch_size: Annotated[int, typer.Option(min=1, help="Rows in memory at a time.")] = 65_536,
) -> None:
    """Predict for every row of a table.

    Batches bound the memory; where each prediction came from is recorded. With --incremental, rows that were appended
    since the last time are scored and appended, exactly once; with --key, updates and deletes are applied, too. Where
    what is new cannot be known, all rows are scored anew; it says which.

    Examples:
      lakelineage score models:/diabetes@champion data/patients data/predictions
      lakelineage score models:/diabetes@champion data/patients data/predictions --incremental --key id
    """
    with session.open() as lake:
        pin = lake.snapshot(source, version=version)
        with bar(session, "scoring", pin.num_rows) as progress:
            done = lake.score(
                model,
                pin,
                output,
                mode=mode,
                key=key,
                incremental=incremental,
                on_new_model=on_new_model,
                batch_size=batch_size,
                progress=progress,
            )
    if session.as_json:
        session.out.json(asdict(done))
        return
    if done.kind == "nothing":
        session.out.say(f"nothing to score: {done.reason}; {done.output_uri} stays at version {done.output_version}")
        return
    why = f" ({done.kind}: {done.reason})" if incremental else ""
    gone = f", {done.deleted:,} deleted" if done.deleted else ""
    session.out.say(
        f"{done.rows:,} rows of {pin.table_uri}@{done.input_version} scored{gone} in {done.seconds:.2f} s → "
        f"{done.output_uri}@{done.output_version}{why}"
    )
