"""Commands about protection by the table itself: snapshot protect, snapshot unprotect."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lakelineage.cli import complete
from lakelineage.cli.ask import agreed, check_json
from lakelineage.cli.session import Session

if TYPE_CHECKING:
    from lakelineage.snapshots.protect import Plan

_Snapshot = Annotated[
    str,
    typer.Argument(
        metavar="SNAPSHOT", help="Its id, or a unique beginning of it.", autocompletion=complete.snapshot_ids
    ),
]
_Comment = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; kept with the pin.", show_default=False)]
_Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be changed.")]
_IN_FLIGHT = "Commits of other writers that are in flight will fail, and have to be run again. Change the properties?"


def protect(
    session: Session,
    snapshot: _Snapshot,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN", help="New end of the pin: 2027-01-01, 90d, 2 years.", show_default="as the pin has it"
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="RUN",
            help="The run whose pin is meant.",
            show_default="all pins of the snapshot",
            autocompletion=complete.run_ids,
        ),
    ] = None,
    comment: _Comment = None,
    dry_run: _DryRun = False,
    yes: _Yes = False,
) -> None:
    """Have the table itself keep a snapshot. For the owner of the table.

    Sets delta.deletedFileRetentionDuration and delta.logRetentionDuration, never lower than they are, so that VACUUM
    and log clean-up of every engine keep the version's files and log until its pin ends. It does not stop a VACUUM that
    is told a shorter time, such as RETAIN 0 HOURS; `snapshot archive` survives that too.

    Examples:
      lakelineage snapshot protect 3f2a9c --until "2 years" --dry-run
      lakelineage snapshot protect 3f2a9c --until "2 years" --yes --comment "audit of 2026"
    """
    check_json(session, yes, dry_run)
    with session.open() as lake:
        plan = lake.pins.protect(snapshot, until=until, run=run, dry_run=True)
        _show(session, plan)
        if dry_run or (plan.changes and not agreed(_IN_FLIGHT, yes)):
            return _end(session, plan)
        made = lake.pins.protect(snapshot, until=until, run=run, comment=comment)
    session.out.say(f"snapshot {made.snapshot_id} is protected by its table")
    return _end(session, made)


def unprotect(
    session: Session, snapshot: _Snapshot, comment: _Comment = None, dry_run: _DryRun = False, yes: _Yes = False
) -> None:
    """Take `snapshot protect` back.

    The snapshot's pins become references. If no other pin of the lake is protected by the table, its properties go back
    to what they were; those that somebody changed meanwhile stay.

    Examples:
      lakelineage snapshot unprotect 3f2a9c --dry-run
      lakelineage snapshot unprotect 3f2a9c --yes
    """
    check_json(session, yes, dry_run)
    with session.open() as lake:
        plan = lake.pins.unprotect(snapshot, dry_run=True)
        _show(session, plan)
        if dry_run or (plan.changes and not agreed(_IN_FLIGHT, yes)):
            return _end(session, plan)
        made = lake.pins.unprotect(snapshot, comment=comment)
    session.out.say(f"snapshot {made.snapshot_id} is no longer protected by its table")
    return _end(session, made)


def _show(session: Session, plan: "Plan") -> None:
    if session.as_json:
        return
    if not plan.changes:
        session.out.say(f"no property of {plan.table_uri} has to change")
        return
    session.out.say(f"properties of {plan.table_uri}:")
    session.out.columns(
        [
            ("property", [change.property for change in plan.changes]),
            ("now", [change.before or "not set" for change in plan.changes]),
            ("then", [change.after for change in plan.changes]),
        ]
    )


def _end(session: Session, plan: "Plan") -> None:
    if session.as_json:
        session.out.json(asdict(plan))
