"""The command doctor."""

from typing import TYPE_CHECKING, Annotated

import typer

from lakelineage.cli.session import Session, storage_options

if TYPE_CHECKING:
    from lakelineage.maintenance.doctor import Finding


def doctor(
    session: Session,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read all that is stored too: rows there twice, content of artifacts.")
    ] = False,
) -> None:
    """Say what is wrong with a lake, and what to do.

    Journal, tables, files, runs, libraries and clock. It looks, and changes nothing: the lake is not upgraded,
    nothing is committed. Others may write meanwhile. Exit code 0 if nothing is worse than a note, 1 if there are
    warnings or errors.

    Examples:
      lakelineage --lake mylake doctor
      lakelineage doctor --lake mylake --deep --json
    """
    from lakelineage.maintenance.doctor import Severity, examine_at

    findings = examine_at(session.place, storage_options(), deep)
    if session.as_json:
        session.out.json(
            [{"check": f.check, "severity": f.severity, "message": f.message, "advice": f.advice} for f in findings]
        )
    else:
        _print(session, findings)
    if any(f.severity.rank >= Severity.WARNING.rank for f in findings):
        raise typer.Exit(1)


def _print(session: Session, findings: "list[Finding]") -> None:
    for finding in findings:
        session.out.say(f"{finding.severity:<7}  {finding.check}: {finding.message}")
        if finding.advice:
            session.out.say(f"         → {finding.advice}")
