"""The command score."""

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from lakelineage.cli.bar import bar
from lakelineage.cli.session import Session
from lakelineage.errors import InvalidInput

TrustOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WORD",
        help="What the model may run: pickle, code, all, or a type in a skops file; again for more.",
        show_default="$LAKELINEAGE_TRUST",
    ),
]


def score(
    session: Session,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="models:/NAME@ALIAS, models:/NAME/3 or runs:/RUN/PATH.")
    ],
    source: Annotated[str, typer.Argument(metavar="INPUT", help="Table or file to score; with --table, a SELECT.")],
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="Delta table for the predictions; made if new.")],
    table: Annotated[
        list[str] | None, typer.Option(metavar="NAME=PATH", help="Table that the SELECT reads; again for more.")
    ] = None,
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
    trust: TrustOption = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows in memory at a time.")] = 65_536,
) -> None:
    """Predict for every row of a table.

    Batches bound the memory; where each prediction came from is recorded. With --incremental, rows that were appended
    since the last time are scored and appended, exactly once; with --key, updates and deletes are applied, too. Where
    what is new cannot be known, all rows are scored anew; it says which.

    A model that would run code when it is loaded is refused without --trust; the message says what it would run.

    With --table, INPUT is a SELECT over the tables named, which are pinned; it can read nothing else.

    Examples:
      lakelineage score models:/diabetes@champion data/patients data/predictions
      lakelineage score models:/diabetes@champion data/patients data/predictions --incremental --key id
      lakelineage score models:/diabetes/3 "select * from p where age > 40" data/predictions --table p=data/patients
    """
    with session.open() as lake:
        pin = None if table else lake.snapshot(source, version=version)
        with bar(session, "scoring", None if pin is None else pin.num_rows) as progress:
            done = lake.score(
                model,
                source if pin is None else pin,
                output,
                tables=_named(table) if table else None,
                version=version if pin is None else None,
                trust=trust or None,
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
    scored = "the query" if pin is None else f"{pin.table_uri}@{pin.version}"
    session.out.say(
        f"{done.rows:,} rows of {scored} scored{gone} in {done.seconds:.2f} s → "
        f"{done.output_uri}@{done.output_version}{why}"
    )


def _named(tables: list[str]) -> dict[str, str]:
    named = dict(each.partition("=")[::2] for each in tables)
    wrong = [each for each in tables if not all(each.partition("=")[::2])]
    if wrong or len(named) < len(tables):
        raise InvalidInput(f"--table {' '.join(wrong or tables)}: write each as NAME=PATH, and no name twice")
    return named
