"""Asking before something that others notice."""

import sys

import typer

from lakelineage.cli.session import Session, UsageError


def check_json(session: Session, yes: bool, dry_run: bool) -> None:
    """Refuse ``--json`` where somebody would have to be asked.

    Raises:
        UsageError: neither ``--yes`` nor ``--dry-run`` was given with it.
    """
    if session.as_json and not (yes or dry_run):
        raise UsageError("with --json nobody can be asked: add --yes or --dry-run")


def agreed(question: str, yes: bool) -> bool:
    """Whether the user wants it.

    Args:
        question: what is asked.
        yes: it was said already.

    Raises:
        UsageError: nobody can be asked here.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("nobody can be asked here: add --yes, or --dry-run to only look")
    return typer.confirm(question, err=True)
