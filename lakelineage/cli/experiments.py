"""Commands about experiments: experiments list, folders, create, rename, delete, restore, tag, protect."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakelineage.cli import complete
from lakelineage.cli.edit import pairs
from lakelineage.cli.output import Output
from lakelineage.cli.session import AsOfOption, JsonOption, LakeOption, Session, UsageError, shared_options

if TYPE_CHECKING:
    from lakelineage.tracking.experiments import Experiment

_HELP = """Experiments: list, make, rename, delete, restore, tag.

\b
Examples:
  lakelineage experiments
  lakelineage experiments list --folder /team
  lakelineage experiments rename /team/churn/xgb /team/churn/boosted
  lakelineage experiments tag /team/churn/boosted owner=ada --delete draft
"""
app = typer.Typer(help=_HELP, invoke_without_command=True)

_Experiment = Annotated[
    str, typer.Argument(metavar="EXPERIMENT", help="Its name, or its id.", autocompletion=complete.experiments)
]


@app.callback()
def _root(ctx: typer.Context, lake_uri: LakeOption = None, as_json: JsonOption = False) -> None:
    session = (ctx.obj or Session()).with_options(lake_uri, as_json)
    ctx.obj = session
    if ctx.invoked_subcommand is None:
        list_experiments(session)


def list_experiments(
    session: Session,
    folder: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Only those in it and below it.", show_default="all")
    ] = None,
    deleted: Annotated[bool, typer.Option("--deleted", help="Those that were deleted, instead of the others.")] = False,
    as_of: AsOfOption = None,
) -> None:
    """List experiments, by name.

    Examples:
      lakelineage experiments list --folder /team
      lakelineage experiments list --deleted
    """
    with session.look(as_of) as lake:
        session.out.table(lake.experiments.list(folder, deleted=deleted))


def folders(
    session: Session,
    parent: Annotated[str, typer.Argument(metavar="FOLDER", help="Where to look.")] = "/",
    as_of: AsOfOption = None,
) -> None:
    """List the folders directly in a folder.

    With each, how many experiments lie below it.

    Example:
      lakelineage experiments folders /team
    """
    with session.look(as_of) as lake:
        session.out.table(lake.experiments.folders(parent))


def create(
    session: Session,
    name: Annotated[str, typer.Argument(help="Its name; slashes make folders.")],
    tag: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="A tag; may repeat.", show_default=False)
    ] = None,
    protection: Annotated[
        str | None,
        typer.Option(
            help="Level at which its runs pin their inputs: reference, protected or archived.",
            show_default="the lake's",
            autocompletion=complete.protections,
        ),
    ] = None,
) -> None:
    """Create an experiment.

    Examples:
      lakelineage experiments create /team/churn/xgb --tag owner=ada
      lakelineage experiments create /team/churn/audit --protection archived
    """
    tags = pairs(tag or (), "--tag")
    with session.open() as lake:
        _print(session.out, lake.experiments.create(name, tags, protection=protection))


def rename(
    session: Session, experiment: _Experiment, new_name: Annotated[str, typer.Argument(help="Its new name.")]
) -> None:
    """Give an experiment another name.

    Example:
      lakelineage experiments rename /team/churn/xgb /team/churn/boosted
    """
    with session.open() as lake:
        _print(session.out, lake.experiments.rename(experiment, new_name))


def delete(session: Session, experiment: _Experiment) -> None:
    """Delete an experiment; `restore` brings it back.

    Searches no longer show its runs, SQL does.

    Example:
      lakelineage experiments delete /team/churn/xgb
    """
    with session.open() as lake:
        _print(session.out, lake.experiments.delete(experiment))


def restore(
    session: Session,
    experiment: _Experiment,
    name: Annotated[
        str | None,
        typer.Option(help="New name, where the old one was taken meanwhile.", show_default="the name that it had"),
    ] = None,
) -> None:
    """Bring a deleted experiment back, with its runs.

    Examples:
      lakelineage experiments restore /team/churn/xgb
      lakelineage experiments restore 3 --name /team/churn/old-xgb
    """
    with session.open() as lake:
        _print(session.out, lake.experiments.restore(experiment, name))


def tag(
    session: Session,
    experiment: _Experiment,
    tags: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Tags to set.")] = None,
    delete_: Annotated[
        list[str] | None, typer.Option("--delete", metavar="KEY", help="A tag to take off; may repeat.")
    ] = None,
) -> None:
    """Set tags of an experiment, and take tags off.

    Examples:
      lakelineage experiments tag /team/churn/xgb owner=ada reviewed=yes
      lakelineage experiments tag /team/churn/xgb --delete draft
    """
    wanted = pairs(tags or (), "KEY=VALUE")
    if not wanted and not delete_:
        raise UsageError("give KEY=VALUE to set a tag, or --delete KEY to take one off")
    with session.open() as lake:
        changed = lake.experiments.set_tags(experiment, wanted)
        for key in delete_ or ():
            changed = lake.experiments.delete_tag(experiment, key)
        _print(session.out, changed)


def protect(
    session: Session,
    experiment: _Experiment,
    level: Annotated[
        str,
        typer.Argument(
            metavar="LEVEL",
            help="reference, protected, archived; or default, for the lake's.",
            autocompletion=complete.protections,
        ),
    ],
) -> None:
    """Set the level at which its runs pin their inputs.

    It holds where the run itself does not say another.

    Examples:
      lakelineage experiments protect /team/churn/xgb archived
      lakelineage experiments protect /team/churn/xgb default
    """
    with session.open() as lake:
        _print(session.out, lake.experiments.set_protection(experiment, None if level == "default" else level))


_COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_experiments,
    "folders": folders,
    "create": create,
    "rename": rename,
    "delete": delete,
    "restore": restore,
    "tag": tag,
    "protect": protect,
}
for _name, _function in _COMMANDS.items():
    app.command(_name)(shared_options(_function))


def _print(out: Output, experiment: "Experiment") -> None:
    told: dict[str, Any] = {
        "experiment_id": experiment.id,
        "name": experiment.name,
        "lifecycle_stage": str(experiment.lifecycle_stage),
        "created_at": experiment.created_at,
        "tags": dict(experiment.tags),
    }
    if out.as_json:
        out.json(told)
    else:
        out.fields(f"experiment {experiment.name}", ((k, v) for k, v in told.items() if k != "name" and v))
