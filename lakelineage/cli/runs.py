"""Commands about runs: runs, run."""

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakelineage.cli import complete
from lakelineage.cli.output import Output, records
from lakelineage.cli.session import AsOfOption, RunArgument, Session, UsageError
from lakelineage.tracking.pages import next_page_token

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage import PastRun
    from lakelineage.view import LakeView

#: Hex digits of a run id that people see: milliseconds, and twelve random bits. ``run`` takes any unique prefix.
SHORT_ID = 16


def runs(
    session: Session,
    filter_: Annotated[
        str,
        typer.Option("--filter", metavar="CONDITION", help="Such as \"metrics.rmse < 70 and params.alpha = '0.01'\"."),
    ] = "",
    order_by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TERM", help="Such as metrics.rmse or 'start_time DESC'; may repeat.", show_default="newest first"
        ),
    ] = None,
    experiment: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Only runs of this experiment; may repeat.",
            show_default="all",
            autocompletion=complete.experiments,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    page_token: Annotated[
        str | None, typer.Option(metavar="TOKEN", help="Go on after the page that gave it.", show_default="first page")
    ] = None,
    page: Annotated[bool, typer.Option("--page", help="With --json: an object of runs and next_page_token.")] = False,
    deleted: Annotated[bool, typer.Option("--deleted", help="Only deleted runs.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a column for each metric, param and tag.")] = False,
    as_of: AsOfOption = None,
) -> None:
    """List runs, with their metrics and params.

    Where there are more, the token of the next page is told on stderr (with --json: by --page). CSV is quoted as in
    RFC 4180, with plain newlines; what a run lacks is empty.

    Examples:
      lakelineage runs --order-by metrics.rmse --limit 5
      lakelineage runs --as-of 2026-11-01
      lakelineage runs --filter "tags.team = 'x' and metrics.rmse < 70" --json
      lakelineage runs --filter "datasets.name = 'diabetes'" --csv --limit 100000 > runs.csv
    """
    if csv and session.as_json:
        raise UsageError("--csv and --json exclude each other; choose one")
    if page and not session.as_json:
        raise UsageError("--page goes with --json; without it the token is told on stderr")
    with session.look(as_of) as lake:
        found = lake.search_runs(
            filter_,
            experiments=experiment or (),
            order_by=order_by or (),
            limit=limit,
            page_token=page_token,
            view="deleted" if deleted else "active",
        )
        names = {row["experiment_id"]: row["name"] for row in records(lake.sql("select * from experiments"))}
    token = next_page_token(found)
    if csv:
        session.out.csv(_flat(found, names))
    else:
        rows = [{"experiment": names.get(row["experiment_id"]), **row} for row in records(found)]
        if session.as_json:
            session.out.json({"runs": rows, "next_page_token": token} if page else rows)
        else:
            _print_runs(session.out, rows)
    if token is not None and not session.as_json:
        print(f"there are more: --page-token {token}", file=sys.stderr)


def _flat(found: "pa.Table", names: dict[str, str]) -> "pa.Table":
    import pyarrow as pa

    from lakelineage.tracking.frames import flatten

    experiments = [names.get(i) for i in found.column("experiment_id").to_pylist()]
    flat: pa.Table = flatten(found).to_arrow()
    return flat.add_column(0, "experiment", pa.array(experiments, pa.string()))


def _print_runs(out: Output, rows: list[dict[str, Any]]) -> None:
    ids = [row["run_id"][:SHORT_ID] if out.for_people else row["run_id"] for row in rows]
    lasted = [(row["end_time"] or datetime.now(UTC)) - row["start_time"] for row in rows]
    columns = [("run", ids), *((key, [row[key] for row in rows]) for key in ("name", "experiment", "status"))]
    for kind in ("metrics", "params"):
        keys = sorted({key for row in rows for key in row[kind] or ()})
        columns += [(f"{kind}.{key}", [(row[kind] or {}).get(key) for row in rows]) for key in keys]
    columns += [("started (UTC)", [row["start_time"] for row in rows])]
    out.columns([*columns, ("seconds", [round(time.total_seconds(), 3) for time in lasted])])


def run(
    session: Session,
    run_id: RunArgument,
    as_of: AsOfOption = None,
) -> None:
    """Show a run: params, metrics, tags, inputs, files and more.

    Examples:
      lakelineage run 0199c0ffee12
      lakelineage run 0199c0ffee12 --json
    """
    with session.look(as_of) as lake:
        told = _told(lake, lake.run(lake.run_id(run_id)))
    if session.as_json:
        session.out.json(told)
    else:
        _print_run(session.out, told)


def _told(lake: "LakeView", run: "PastRun") -> dict[str, Any]:
    """All that the lake knows of a run."""
    environments = lake.sql(
        "select python, platform, packages from environments where environment_id = ? limit 1",
        [run.attributes["environment_id"]],
    )
    names = lake.sql("select name from experiments where experiment_id = ?", [run.attributes["experiment_id"]])
    return {
        **run.attributes,
        "experiment": next((row["name"] for row in records(names)), None),
        "params": run.params,
        "metrics": run.metrics,
        "tags": run.tags,
        "inputs": [
            {
                "name": name,
                "context": pin.context,
                "table_uri": pin.table_uri,
                "version": pin.version,
                "num_rows": pin.num_rows,
                "columns": pin.columns,
                "where": pin.where,
                "protection": pin.protection,
                "snapshot_id": pin.id,
            }
            for name, pin in run.inputs.items()
        ],
        "artifacts": records(run.artifacts),
        "environment": next(iter(records(environments)), None),
        "error": run.error,
    }


_PARTS = ("params", "metrics", "tags", "inputs", "artifacts", "environment", "error")


def _print_run(out: Output, told: dict[str, Any]) -> None:
    plain = {key: value for key, value in told.items() if key not in _PARTS and value is not None}
    out.fields(f"run {told['run_id']}", ((k, v) for k, v in plain.items() if k != "run_id"))
    for part in ("params", "metrics", "tags"):
        out.fields(part, sorted(told[part].items()))
    out.fields("inputs", ((row["name"], _input_line(row)) for row in told["inputs"]))
    out.fields("artifacts", ((row["path"], f"{row['size']:,} bytes") for row in told["artifacts"]))
    environment = told["environment"] or {}
    packages = f"{len(environment.get('packages') or ())} (all with --json)"
    if told["error"] is not None:
        out.fields("error", [("", line) for line in told["error"].splitlines()])
    out.fields("environment", ((k, packages if k == "packages" else v) for k, v in environment.items()))


def _input_line(row: dict[str, Any]) -> str:
    rows = "" if row["num_rows"] is None else f", {row['num_rows']:,} rows"
    chosen = "" if row["columns"] is None else f", columns {', '.join(row['columns'])}"
    where = "" if row["where"] is None else f", where {row['where']}"
    return f"{row['table_uri']}@{row['version']} ({row['context']}, {row['protection']}{rows}{chosen}{where})"
