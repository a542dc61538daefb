"""The commands import mlflow and export mlflow."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakelineage.cli.bar import phases
from lakelineage.cli.session import JsonOption, LakeOption, Session, shared_options
from lakelineage.errors import MissingExtra

if TYPE_CHECKING:
    from lakelineage.mlflow_plugin.transfer import Transferred

imports = typer.Typer(
    help="""Take over what another tracker has.

\b
Example:
  lakelineage import mlflow sqlite:///mlflow.db
""",
    no_args_is_help=True,
)
exports = typer.Typer(
    help="""Give what the lake has to another tracker.

\b
Example:
  lakelineage export mlflow sqlite:///mlflow.db
""",
    no_args_is_help=True,
)


@imports.callback()
@exports.callback()
def _root(ctx: typer.Context, lake_uri: LakeOption = None, as_json: JsonOption = False) -> None:
    ctx.obj = (ctx.obj or Session()).with_options(lake_uri, as_json)


_Registry = Annotated[
    str | None, typer.Option("--registry-uri", metavar="URI", help="Of the model registry.", show_default="the same")
]
_Experiments = Annotated[
    list[str] | None,
    typer.Option("--experiment", metavar="NAME", help="Only it; may repeat.", show_default="all"),
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Write nothing, tell what would be.")]
_NoArtifacts = Annotated[bool, typer.Option("--no-artifacts", help="Leave artifacts where they are.")]


def import_mlflow(
    session: Session,
    source: Annotated[
        str, typer.Argument(help="Tracking URI: sqlite:///mlflow.db, http://server:5000, ./mlruns, …", metavar="SOURCE")
    ],
    registry_uri: _Registry = None,
    experiment: _Experiments = None,
    dry_run: _DryRun = False,
    no_artifacts: _NoArtifacts = False,
) -> None:
    """Take over runs, models and artifacts of MLflow.

    Ids, times and histories are kept. What the lake has already is left: call it again after an interruption, or for
    what is new. At the end both sides are counted; exit code 1 if the lake lacks something. The lake is made if it is
    new.

    Examples:
      lakelineage --lake mylake import mlflow sqlite:///mlflow.db
      lakelineage --lake mylake import mlflow http://localhost:5000 --experiment churn --dry-run
    """
    with session.open(create=True) as lake, phases(session) as progress:
        done = _room().import_mlflow(
            lake,
            source,
            registry_uri=registry_uri,
            experiments=experiment,
            artifacts=not no_artifacts,
            dry_run=dry_run,
            progress=progress,
        )
    _tell(session, done)


def export_mlflow(
    session: Session,
    target: Annotated[
        str,
        typer.Argument(
            help="Tracking URI of a store that is there: sqlite:///mlflow.db, http://server:5000, …", metavar="TARGET"
        ),
    ],
    registry_uri: _Registry = None,
    experiment: _Experiments = None,
    dry_run: _DryRun = False,
    no_artifacts: _NoArtifacts = False,
) -> None:
    """Give runs, models and artifacts to an MLflow store.

    MLflow gives ids of its own; tags tell those of the lake, by which another export knows what is there. At the end
    both sides are counted; exit code 1 if the target lacks something.

    Example:
      lakelineage --lake mylake export mlflow sqlite:///mlflow.db --experiment churn
    """
    with session.open() as lake, phases(session) as progress:
        done = _room().export_mlflow(
            lake,
            target,
            registry_uri=registry_uri,
            experiments=experiment,
            artifacts=not no_artifacts,
            dry_run=dry_run,
            progress=progress,
        )
    _tell(session, done)


def _room() -> Any:
    """The functions.

    Raises:
        MissingExtra: MLflow is not installed.
    """
    try:
        from lakelineage.mlflow_plugin import transfer
    except ImportError as error:
        raise MissingExtra('this needs MLflow: pip install "lakelineage[mlflow]"') from error
    return transfer


def _tell(session: Session, done: "Transferred") -> None:
    if session.as_json:
        session.out.json({**asdict(done), "ok": done.ok})
    else:
        names = ("kind", "source", "target", "added")
        session.out.columns([(name, [getattr(each, name) for each in done.counts]) for name in names])
        for line in done.differences:
            session.out.say(line)
        if done.dry_run:
            session.out.say("nothing was written; `added` is what would be")
    if not done.ok:
        raise typer.Exit(1)


imports.command("mlflow")(shared_options(import_mlflow))
exports.command("mlflow")(shared_options(export_mlflow))
