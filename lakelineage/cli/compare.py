"""Commands that set runs side by side: compare, history."""

import sys
from typing import Annotated

import typer

from lakelineage.cli import complete
from lakelineage.cli.session import AsOfOption, RunArgument, RunsArgument, Session, UsageError


def compare(
    session: Session,
    runs: RunsArgument,
    everything: Annotated[bool, typer.Option("--all", help="List what is the same, too.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_of: AsOfOption = None,
) -> None:
    """Show what differs between runs.

    Params, metrics, data versions, code and environment. Values are texts; what a run lacks is empty, in JSON null.
    JSON and CSV have section, key, and a column by run id.

    Examples:
      lakelineage compare 0199c0ffee12 0199c0ffee34
      lakelineage compare 0199c0ffee12 0199c0ffee34 --all --csv > compared.csv
    """
    if csv and session.as_json:
        raise UsageError("--csv and --json exclude each other; choose one")
    with session.look(as_of) as lake:
        compared = lake.compare(*(lake.run_id(run) for run in runs), all=everything)
    if csv:
        session.out.csv(compared.to_arrow())
    elif session.as_json:
        session.out.table(compared.to_arrow())
    else:
        for line in str(compared).splitlines():
            session.out.say(line)


def history(
    session: Session,
    run: RunArgument,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Name of the metric.", autocompletion=complete.metric_keys)],
    max_points: Annotated[
        int | None,
        typer.Option(min=1, help="At most so many points, for plots: peaks stay.", show_default="all"),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_of: AsOfOption = None,
) -> None:
    """Show the values of a metric over the steps of a run.

    Examples:
      lakelineage history 0199c0ffee12 rmse
      lakelineage history 0199c0ffee12 loss --max-points 1000 --csv > loss.csv
    """
    if csv and session.as_json:
        raise UsageError("--csv and --json exclude each other; choose one")
    with session.look(as_of) as lake:
        points = lake.metric_history(lake.run_id(run), key, max_points)
    if points.num_rows == 0 and not session.as_json:
        print(f"the run logged no metric {key!r}; `lakelineage run {run}` shows those it has", file=sys.stderr)
    if csv:
        session.out.csv(points)
    else:
        session.out.table(points.drop_columns(["run_id"]) if session.out.for_people else points)
