"""The command vacuum: deleting what neither a table nor a pin needs."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lakelineage.cli.ask import agreed, check_json
from lakelineage.cli.bar import bar
from lakelineage.cli.session import Session

if TYPE_CHECKING:
    from lakelineage.snapshots.vacuum import Vacuumed


def vacuum(
    session: Session,
    table: Annotated[str, typer.Argument(help="Delta table: path or URI.")],
    retention_hours: Annotated[
        float | None,
        typer.Option(
            metavar="HOURS",
            help="How long files stay that the table no longer needs.",
            show_default="the table's own, else 168",
        ),
    ] = None,
    enforce: Annotated[
        bool,
        typer.Option(
            "--enforce-retention-duration/--no-enforce-retention-duration",
            help="Refuse a retention shorter than the table's own.",
        ),
    ] = True,
    paths: Annotated[bool, typer.Option("--paths", help="List the files.")] = False,
    comment: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why; kept in the table activity.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be deleted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """VACUUM a table of yours, but keep what is pinned.

    Shows first what would be deleted, and what pins keep, then asks. Kept are files and deletion vectors of pinned
    versions, and change data between them; what the archive has intact does not keep the original. Pins of other
    hosts count once they are committed: `lakelineage flush` there first.

    Examples:
      lakelineage vacuum data/diabetes --dry-run
      lakelineage vacuum data/diabetes --retention-hours 24 --no-enforce-retention-duration --yes
    """
    check_json(session, yes, dry_run)
    with session.open() as lake:
        found = lake.vacuum(table, retention_hours=retention_hours, enforce_retention_duration=enforce)
        if not session.as_json:
            _show(session, found, paths)
        if not dry_run and found.files and agreed("Delete them?", yes):
            with bar(session, "deleting", found.files) as told:
                found = lake.vacuum(
                    table,
                    retention_hours=retention_hours,
                    dry_run=False,
                    enforce_retention_duration=enforce,
                    progress=told,
                    comment=comment,
                )
            session.out.say(f"deleted {found.files:,} files, {_size(found.bytes)}")
    if session.as_json:
        session.out.json({**asdict(found), "files": found.files})


def _show(session: Session, found: "Vacuumed", paths: bool) -> None:
    if paths:
        session.out.columns([("path", found.paths)])
    if found.kept_for:
        session.out.columns(
            [
                ("snapshot_id", [kept.snapshot_id for kept in found.kept_for]),
                ("version", [kept.version for kept in found.kept_for]),
                ("files", [kept.files for kept in found.kept_for]),
                ("bytes", [kept.bytes for kept in found.kept_for]),
            ]
        )
    session.out.say(
        f"{found.table_uri}: {found.files:,} files ({_size(found.bytes)}) would be deleted that nothing has needed for "
        f"{found.retention_hours:g} hours; pins keep {found.kept_files:,} files ({_size(found.kept_bytes)})"
    )


def _size(count: int) -> str:
    size, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:,.0f} {units[0]}" if units[0] == "bytes" else f"{size:,.1f} {units[0]}"
