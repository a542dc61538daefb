"""Commands about registered models: list, register, show, alias, find; the files ``model_…`` have others."""

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakelineage.cli import complete, model_checks, model_edit, model_requests
from lakelineage.cli.output import Output
from lakelineage.cli.session import JsonOption, LakeOption, RunArgument, Session, UsageError, shared_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lakelineage.registry import ModelVersion

_HELP = """Registered models: versions, aliases, choice by lineage.

\b
Examples:
  lakelineage models
  lakelineage models register diabetes 0199c0ffee12
  lakelineage models alias diabetes champion 2
  lakelineage models find --trained-on data/diabetes --order-by metrics.rmse
"""
app = typer.Typer(help=_HELP, invoke_without_command=True)


@app.callback()
def _root(ctx: typer.Context, lake_uri: LakeOption = None, as_json: JsonOption = False) -> None:
    session = (ctx.obj or Session()).with_options(lake_uri, as_json)
    ctx.obj = session
    if ctx.invoked_subcommand is None:
        list_models(session)


def list_models(session: Session) -> None:
    """List the newest version of each registered model.

    Example:
      lakelineage models list --json
    """
    with session.open() as lake:
        _print(session.out, lake.models.list())


def register(
    session: Session,
    name: Annotated[str, typer.Argument(help="Registered model; made if it is new.", autocompletion=complete.models)],
    run_id: RunArgument,
    path: Annotated[str, typer.Option(help="Where in the run's artifacts the model is.")] = "model",
    description: Annotated[str | None, typer.Option(help="Of this version, for people.")] = None,
) -> None:
    """Register a logged model: it becomes the next version.

    Example:
      lakelineage models register diabetes 0199c0ffee12 --path model
    """
    with session.open() as lake:
        made = lake.models.register(name, lake.run_id(run_id), path=path, description=description)
        _print_one(session.out, made)


def show(
    session: Session,
    model: Annotated[
        str,
        typer.Argument(
            metavar="NAME[@ALIAS|@VERSION]", help="All versions, or the one named.", autocompletion=complete.models
        ),
    ],
) -> None:
    """Show a registered model's versions, or one of them.

    Examples:
      lakelineage models show diabetes
      lakelineage models show diabetes@champion
    """
    name, at, which = model.partition("@")
    if at and not which:
        raise UsageError(f"{model!r} names nothing after @; write NAME@ALIAS or NAME@VERSION")
    with session.open() as lake:
        if at:
            version = int(which) if which.isdecimal() else which
            used = {key: f"{each.table_uri}@{each.version}" for key, each in lake.models.inputs(name, version).items()}
            more = {"inputs": used, "checks": dict(lake.models.standing(name, version))}
            _print_one(session.out, lake.models.get(name, version), more)
        else:
            _print(session.out, lake.models.versions(name))


def alias(
    session: Session,
    name: Annotated[str, typer.Argument(help="Registered model.", autocompletion=complete.models)],
    alias_: Annotated[str, typer.Argument(metavar="ALIAS", help="Such as champion.")],
    version: Annotated[int | None, typer.Argument(help="Version that it shall name.", show_default=False)] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Take the alias off.")] = False,
    comment: Annotated[str | None, typer.Option(help="Why; kept in the activity log.")] = None,
) -> None:
    """Let an alias name a version, or take it off.

    Examples:
      lakelineage models alias diabetes champion 2 --comment "best on January's data"
      lakelineage models alias diabetes champion --delete
    """
    if delete is (version is not None):
        raise UsageError("give the VERSION that the alias shall name, or --delete")
    with session.open() as lake:
        if version is not None:
            _print_one(session.out, lake.models.set_alias(name, alias_, version, comment=comment))
            return
        lake.models.delete_alias(name, alias_, comment=comment)
    if session.as_json:
        session.out.json({"name": name, "alias": alias_, "version": None})
    session.out.say(f"{name} has no alias {alias_} any more")


def find(
    session: Session,
    trained_on: Annotated[str | None, typer.Option(metavar="TABLE", help="Path, URI, table id or snapshot id.")] = None,
    version: Annotated[str | None, typer.Option(help="Of that table: 3, or '>= 3 and < 12'.")] = None,
    where: Annotated[
        str | None, typer.Option(metavar="FILTER", help="On the run, such as 'metrics.rmse < 70'.")
    ] = None,
    order_by: Annotated[
        str | None, typer.Option(metavar="TERM", help="Such as metrics.rmse or 'version desc'.")
    ] = None,
    alias: Annotated[str | None, typer.Option(help="Only versions that it names.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.", show_default="all")] = None,
    stage: Annotated[str | None, typer.Option(help="Only versions in it, such as Production.")] = None,
    validated: Annotated[
        bool | None,
        typer.Option("--validated/--not-validated", help="Whether they passed all checks.", show_default="both"),
    ] = None,
) -> None:
    """Choose versions by training data, metrics and params.

    Example:
      lakelineage models find --trained-on data/diabetes --version 0 --where "metrics.rmse < 70" --order-by metrics.rmse
    """
    with session.open() as lake:
        found = lake.models.find(
            trained_on=trained_on,
            version=version,
            where=where,
            order_by=order_by,
            alias=alias,
            limit=limit,
            stage=stage,
            validated=validated,
        )
        _print(session.out, found)


_COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_models,
    "register": register,
    "show": show,
    "alias": alias,
    "find": find,
    "rename": model_edit.rename,
    "delete": model_edit.delete,
    "tag": model_edit.tag,
    "stage": model_edit.stage,
    **model_checks.COMMANDS,
    **model_requests.COMMANDS,
}
for _name, _function in _COMMANDS.items():
    app.command(_name)(shared_options(_function))


def _told(version: "ModelVersion") -> dict[str, Any]:
    return {**asdict(version), "uri": version.uri}


def _print(out: Output, found: "Sequence[ModelVersion]") -> None:
    told = [_told(each) for each in found]
    if out.as_json:
        out.json(told)
    else:
        out.columns([(key, [row[key] for row in told]) for key in _COLUMNS])


_COLUMNS = ("uri", "aliases", "run_id", "created_at", "stage", "user_id", "description")


def _print_one(out: Output, version: "ModelVersion", more: "Mapping[str, Any] | None" = None) -> None:
    told = _told(version) | dict(more or {})
    if out.as_json:
        out.json(told)
    else:
        out.fields(version.uri, ((k, v) for k, v in told.items() if k != "uri" and v not in (None, {}, ())))
