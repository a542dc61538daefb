"""The command impact."""

from typing import Annotated

import typer

from lakelineage.cli.output import records
from lakelineage.cli.session import AsOfOption, Session


def impact(
    session: Session,
    table: Annotated[str, typer.Argument(help="Path, URI or id of a table, or a snapshot id.")],
    version: Annotated[
        str | None, typer.Option(help="Of that table: 3, or '>= 3 and < 12'.", show_default="all")
    ] = None,
    stage: Annotated[str | None, typer.Option(help="Only models in it, such as Production.")] = None,
    alias: Annotated[str | None, typer.Option(help="Only models that it names.")] = None,
    as_of: AsOfOption = None,
) -> None:
    """Show which models and predictions a table touched.

    Example:
      lakelineage impact data/homes --version "< 12" --stage Production
    """
    with session.look(as_of) as lake:
        told = lake.impact(table, version, stage=stage, alias=alias)
    if session.as_json:
        session.out.json(
            {
                "source": told.source,
                "versions": list(told.versions),
                "counts": dict(told.counts),
                "runs": list(told.runs),
                "models": records(told.models),
                "predictions": records(told.predictions),
            }
        )
        return
    session.out.say(str(told))
    for rows in (told.models, told.predictions):
        if rows.num_rows:
            session.out.table(rows)
