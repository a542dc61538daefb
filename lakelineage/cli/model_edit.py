"""Commands that change registered models: models rename, delete, tag, stage."""

from typing import Annotated

import typer

from lakelineage.cli import complete
from lakelineage.cli.edit import pairs
from lakelineage.cli.session import Session, UsageError

NameArgument = Annotated[str, typer.Argument(help="Registered model.", autocompletion=complete.models)]
NumberedArgument = Annotated[
    str, typer.Argument(metavar="NAME[@VERSION]", help="A model, or one version.", autocompletion=complete.models)
]
CommentOption = Annotated[str | None, typer.Option(help="Why; kept in the activity log.", show_default=False)]


def numbered(model: str) -> tuple[str, int | None]:
    """A model, or one of its versions, as it was typed.

    Raises:
        UsageError: what follows the @ is no number.
    """
    name, at, version = model.rpartition("@")
    if not at:
        return model, None
    if not name or not version.isdecimal():
        raise UsageError(f"{model!r} names no version by number; write NAME or NAME@3")
    return name, int(version)


def rename(
    session: Session,
    name: NameArgument,
    new_name: Annotated[str, typer.Argument(help="What it shall be called.")],
    comment: CommentOption = None,
) -> None:
    """Give a model another name.

    Its versions, aliases and lineage stay; the old name is free.

    Example:
      lakelineage models rename diabetes diabetes-enet --comment "there is a forest too now"
    """
    with session.open() as lake:
        made = lake.models.rename(name, new_name, comment=comment)
    if session.as_json:
        session.out.json({"name": made.name, "registered_model_id": made.registered_model_id})
    session.out.say(f"{name} is called {made.name} now")


def delete(session: Session, model: NumberedArgument, comment: CommentOption = None) -> None:
    """Delete a model with its versions, or one version. Files and history stay; a name is free, a number is not.

    Examples:
      lakelineage models delete diabetes@1
      lakelineage models delete diabetes --comment "replaced by diabetes-enet"
    """
    name, version = numbered(model)
    with session.open() as lake:
        if version is None:
            lake.models.delete(name, comment=comment)
        else:
            lake.models.delete_version(name, version, comment=comment)
    if session.as_json:
        session.out.json({"name": name, "version": version, "lifecycle_stage": "deleted"})
    session.out.say(f"{model} is deleted")


def tag(
    session: Session,
    model: NumberedArgument,
    tags: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Tags to set.")] = None,
    delete_: Annotated[
        list[str] | None, typer.Option("--delete", metavar="KEY", help="A tag to take off; may repeat.")
    ] = None,
    comment: CommentOption = None,
) -> None:
    """Set, take off or show tags of a model or a version.

    Examples:
      lakelineage models tag diabetes owner=ada
      lakelineage models tag diabetes@3 reviewed=yes --delete draft
    """
    name, version = numbered(model)
    wanted = pairs(tags or (), "KEY=VALUE")
    with session.open() as lake:
        if wanted:
            lake.models.set_tags(name, wanted, version, comment=comment)
        for key in delete_ or ():
            lake.models.delete_tag(name, key, version, comment=comment)
        found = lake.models.model(name) if version is None else lake.models.get(name, version)
        told = dict(sorted(found.tags.items()))
    if session.as_json:
        session.out.json({"name": name, "version": version, "tags": told})
    else:
        session.out.fields(f"tags of {model}", told.items())


def stage(
    session: Session,
    name: NameArgument,
    version: Annotated[int, typer.Argument(help="Version that shall move.")],
    to: Annotated[str, typer.Argument(metavar="STAGE", help="None, Staging, Production or Archived.")],
    archive_existing: Annotated[
        bool, typer.Option("--archive-existing", help="Move the other versions of the stage to Archived.")
    ] = False,
    comment: CommentOption = None,
) -> None:
    """Move a version to a stage.

    Example:
      lakelineage models stage diabetes 3 Production --archive-existing --comment "approved by ada"
    """
    with session.open() as lake:
        moved = lake.models.set_stage(name, version, to, archive_existing=archive_existing, comment=comment)
    if session.as_json:
        session.out.json({"name": moved.name, "version": moved.version, "stage": moved.stage})
    session.out.say(f"{moved.uri} is in {moved.stage}")
