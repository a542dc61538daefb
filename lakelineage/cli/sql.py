"""The command sql."""

import sys
from typing import Annotated

import typer

from lakelineage.cli.session import AsOfOption, Session, UsageError


def sql(
    session: Session,
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help="One statement in DuckDB's dialect; - reads it from stdin.")
    ],
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header.")] = False,
    as_of: AsOfOption = None,
) -> None:
    """Answer SQL over all tables of the lake.

    The answer is fresh to the last row of this host. Tables: runs, experiments, metrics, params, inputs, snapshots,
    artifacts, lineage, registered_models, model_versions, activity and more (`show tables`). People see the first
    40 rows; a pipe, --csv and --json get all. In JSON, NaN and infinities are the texts "NaN", "Infinity" and
    "-Infinity", and times are ISO 8601.

    Examples:
      lakelineage sql "select name, metrics['rmse'] as rmse from runs order by rmse"
      lakelineage sql --csv "from metrics" > metrics.csv
      echo "select count(*) as n from runs" | lakelineage sql - --json
    """
    if csv and session.as_json:
        raise UsageError("--csv and --json exclude each other; choose one")
    text = sys.stdin.read() if query == "-" else query
    if not text.strip():
        raise UsageError('the query is empty; write for example "select * from runs"')
    with session.look(as_of) as lake:
        rows = lake.sql(text)
    if csv:
        session.out.csv(rows)
    else:
        session.out.table(rows)
