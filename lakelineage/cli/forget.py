"""The command forget: rows that somebody has a right to have forgotten."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakelineage.cli.bar import bar
from lakelineage.cli.output import Output
from lakelineage.cli.session import Session, UsageError

if TYPE_CHECKING:
    from lakelineage.erasure import Holding
    from lakelineage.erasure.forget import Forgotten


def forget(
    session: Session,
    table: Annotated[str, typer.Argument(help="Table, or the file or folder that it was made from, or its id.")],
    where: Annotated[str, typer.Option(metavar="CONDITION", help="Rows, as a SQL condition.", show_default=False)],
    drop: Annotated[bool, typer.Option("--drop", help="Keep nothing of a snapshot that holds such rows.")] = False,
    comment: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why, such as the number of the request; is kept.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Forget rows in all that was ever pinned.

    Lists the pins, archives and managed versions that hold matching rows, with the runs and models that descend from
    them, and on confirmation rewrites them without these rows. Such a snapshot cannot be read back any more; another
    one has what is left of it. The table itself is its owner's to clean: what it still holds is told.

    Examples:
      lakelineage forget data/patients --where "patient_id = 4711" --dry-run
      lakelineage forget data/patients --where "patient_id = 4711" --comment "request 2026-17"
    """
    if session.as_json and not (dry_run or yes):
        raise UsageError("with --json nobody can be asked: add --dry-run or --yes")
    mode: Any = "drop" if drop else "rewrite"
    with session.open() as lake:
        with bar(session, "looking", None) as told:
            found = lake.forget(table, where, mode=mode, progress=told)
        if not session.as_json:
            _show(session.out, found)
        if not dry_run and found.plan.holdings and _agreed(yes, mode):
            found = lake.forget(table, where, mode=mode, dry_run=False, comment=comment)
    if session.as_json:
        session.out.json(_told(found))
    elif not found.dry_run:
        session.out.say(f"forgotten: {found.removed:,} files removed; the record is in the table erasures")


def _agreed(yes: bool, mode: str) -> bool:
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("this cannot be undone, and nobody can be asked here: add --yes, or --dry-run to only look")
    return typer.confirm(f"This cannot be undone. {mode.capitalize()} them?", err=True)


def _show(out: Output, found: "Forgotten") -> None:
    plan = found.plan
    if plan.holdings:
        rows = [_holding(each) for each in plan.holdings]
        out.columns([(name, [row[name] for row in rows]) for name in rows[0]])
    out.say(f"{len(plan.holdings)} snapshots hold {plan.rows:,} matching rows")
    for each in plan.unknown:
        out.say(f"nobody can tell of snapshot {each.snapshot.id}: {each.problem}")
    if plan.in_table:
        newest = "its newest version too: delete them there, then vacuum" if plan.in_newest else "vacuum it"
        out.say(f"{len(plan.in_table)} files in the table itself hold such rows ({newest})")


def _holding(holding: "Holding") -> dict[str, Any]:
    snapshot = holding.snapshot
    return {
        "snapshot_id": snapshot.id,
        "table_uri": snapshot.table_uri,
        "version": snapshot.version,
        "protection": snapshot.protection,
        "rows": holding.rows,
        "files": len(holding.files),
        "runs": list(holding.runs),
        "models": list(holding.models),
    }


def _told(found: "Forgotten") -> dict[str, Any]:
    plan = found.plan
    return {
        "table": plan.table,
        "rows": plan.rows,
        "mode": found.mode,
        "dry_run": found.dry_run,
        "erasure_id": found.erasure_id,
        "snapshots": [
            {**_holding(each), "successor_id": (found.successors or {}).get(each.snapshot.id)} for each in plan.holdings
        ],
        "unknown": [{"snapshot_id": each.snapshot.id, "problem": each.problem} for each in plan.unknown],
        "in_table": list(plan.in_table),
        "in_newest": plan.in_newest,
        "removed": found.removed,
    }
