"""The command audit."""

from typing import Annotated

import typer

from lakelineage.cli.session import Session, UsageError


def audit(
    session: Session,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="model:NAME@VERSION, model:NAME@ALIAS or models:/NAME/3.")
    ],
    markdown: Annotated[bool, typer.Option("--markdown", help="As a page of Markdown, to file away.")] = False,
) -> None:
    """Tell everything behind a version of a model.

    Its run, code with the changes that were not committed, environment, data, checks, requests and approvals, the
    predictions that it wrote, and all acts on it. Verifies the record of acts; exit code 1 if that is broken.

    Examples:
      lakelineage audit model:diabetes@3
      lakelineage audit model:diabetes@champion --markdown > diabetes.md
    """
    if markdown and session.as_json:
        raise UsageError("choose one of --markdown and --json")
    with session.open() as lake:
        found = lake.audit(model)
    if session.as_json:
        session.out.json(found.to_dict())
    elif markdown:
        print(found.to_markdown(), end="")
    else:
        for line in str(found).splitlines():
            session.out.say(line)
    if not found.record.ok:
        raise typer.Exit(1)
