"""Commands with which a shell script logs a run of its own: start, log, end."""

from pathlib import Path
from typing import Annotated

import typer

from lakelineage.cli import complete
from lakelineage.cli.edit import pairs
from lakelineage.cli.session import RunArgument, Session, UsageError

_Pairs = list[str] | None


def start(
    session: Session,
    experiment: Annotated[
        str,
        typer.Option(metavar="NAME", help="Created if there is none.", autocompletion=complete.experiments),
    ] = "Default",
    name: Annotated[str | None, typer.Option(help="Name of the run, for people.", show_default=False)] = None,
    param: Annotated[_Pairs, typer.Option(metavar="KEY=VALUE", help="A param; may repeat.", show_default=False)] = None,
    tag: Annotated[_Pairs, typer.Option(metavar="KEY=VALUE", help="A tag; may repeat.", show_default=False)] = None,
    parent: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="Run that it is part of.", show_default=False, autocompletion=complete.run_ids
        ),
    ] = None,
) -> None:
    """Start a run, and print its id. It stays active until `end`.

    Examples:
      run=$(lakelineage start --experiment nightly --param rows=1000)
      lakelineage log $run --metric rmse=0.3
      lakelineage end $run
    """
    params, tags = pairs(param or (), "--param"), pairs(tag or (), "--tag")
    with session.open() as lake:
        run = lake.start_run(experiment, name, tags=tags, parent=parent)
        run.log_params(params)
        run_id = run.detach()
    if session.as_json:
        session.out.json({"run_id": run_id})
    session.out.say(run_id)


def log(
    session: Session,
    run: RunArgument,
    param: Annotated[_Pairs, typer.Option(metavar="KEY=VALUE", help="A param; may repeat.", show_default=False)] = None,
    metric: Annotated[
        _Pairs, typer.Option(metavar="KEY=NUMBER", help="A metric; may repeat.", show_default=False)
    ] = None,
    step: Annotated[int, typer.Option(help="Step of the metrics.")] = 0,
    tag: Annotated[_Pairs, typer.Option(metavar="KEY=VALUE", help="A tag; may repeat.", show_default=False)] = None,
    artifact: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A file to keep; may repeat.", show_default=False)
    ] = None,
) -> None:
    """Log to an active run: params, metrics, tags, files.

    Examples:
      lakelineage log $run --metric loss=0.25 --metric accuracy=0.9 --step 3
      lakelineage log $run --artifact report.html --tag checked=yes
    """
    params, tags = pairs(param or (), "--param"), pairs(tag or (), "--tag")
    metrics = {key: _number(key, text) for key, text in pairs(metric or (), "--metric").items()}
    files = artifact or []
    if not (params or metrics or tags or files):
        raise UsageError("nothing to log: give --param, --metric, --tag or --artifact")
    with session.open() as lake:
        active = lake.resume_run(run, reopen=False)
        active.log_params(params)
        active.log_metrics(metrics, step)
        active.set_tags(tags)
        for file in files:
            active.log_artifact(file)
    counts = {"params": len(params), "metrics": len(metrics), "tags": len(tags), "artifacts": len(files)}
    if session.as_json:
        session.out.json({"run_id": active.id, **counts})
    session.out.say("logged " + ", ".join(f"{count} {what}" for what, count in counts.items() if count))


def _number(key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--metric: {key}={text!r} is no number") from None


def end(
    session: Session,
    run: RunArgument,
    status: Annotated[
        str,
        typer.Option(metavar="STATUS", help="FINISHED, FAILED or KILLED.", autocompletion=complete.statuses),
    ] = "FINISHED",
) -> None:
    """End a run. Ending it again with the same status is no error.

    Examples:
      lakelineage end $run
      lakelineage end $run --status FAILED
    """
    with session.open() as lake:
        found = lake.run(run)
        if found.status != status.upper():
            lake.resume_run(found.id, reopen=False).end(status.upper())
    if session.as_json:
        session.out.json({"run_id": found.id, "status": status.upper()})
    session.out.say(f"run {found.id} is {status.upper()}")
