"""Commands that change what is told of runs: delete, restore, tag, note."""

from collections.abc import Iterable
from typing import Annotated

import typer

from lakelineage.cli.session import RunArgument, RunsArgument, Session, UsageError


def pairs(given: Iterable[str], what: str) -> dict[str, str]:
    """Keys and values, as they are typed.

    Args:
        given: such as ``owner=ada``; the value may hold more ``=``.
        what: what they were typed as, for errors.

    Raises:
        UsageError: one has no ``=`` or no key.
    """
    found: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"{what}: {text!r} is not KEY=VALUE")
        found[key] = value
    return found


def delete(session: Session, runs: RunsArgument) -> None:
    """Delete runs: searches no longer show them, `run` and SQL do. Their files stay; `restore` brings them back.

    Examples:
      lakelineage delete 0199c0ffee12
      lakelineage delete 0199c0ffee12 0199c0ffee34 --json
    """
    _set_stage(session, runs, deleted=True)


def restore(session: Session, runs: RunsArgument) -> None:
    """Bring deleted runs back.

    Example:
      lakelineage restore 0199c0ffee12
    """
    _set_stage(session, runs, deleted=False)


def _set_stage(session: Session, runs: list[str], *, deleted: bool) -> None:
    with session.open() as lake:
        ids = [lake.run(run).id for run in runs]  # all are there before any is changed
        for run_id in ids:
            (lake.delete_run if deleted else lake.restore_run)(run_id)
    stage = "deleted" if deleted else "active"
    if session.as_json:
        session.out.json([{"run_id": run_id, "lifecycle_stage": stage} for run_id in ids])
    for run_id in ids:
        session.out.say(f"run {run_id} is {'deleted' if deleted else 'back'}")


def tag(
    session: Session,
    run: RunArgument,
    tags: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Tags to set.")] = None,
    delete_: Annotated[
        list[str] | None, typer.Option("--delete", metavar="KEY", help="A tag to take off; may repeat.")
    ] = None,
) -> None:
    """Set tags of a run, and take tags off; without any, show them.

    Examples:
      lakelineage tag 0199c0ffee12 reviewed=yes "comment=looks fine"
      lakelineage tag 0199c0ffee12 --delete draft
    """
    wanted = pairs(tags or (), "KEY=VALUE")
    with session.open() as lake:
        found = lake.run(run)
        found.set_tags(wanted)
        for key in delete_ or ():
            found.delete_tag(key)
        told = dict(sorted(found.tags.items()))
    if session.as_json:
        session.out.json({"run_id": found.id, "tags": told})
    else:
        session.out.fields(f"tags of run {found.id}", told.items())


def note(
    session: Session,
    run: RunArgument,
    text: Annotated[str | None, typer.Argument(help="The new note.", show_default=False)] = None,
) -> None:
    """Print the note of a run, or set it.

    Examples:
      lakelineage note 0199c0ffee12
      lakelineage note 0199c0ffee12 "Learning rate too high from step 300 on."
    """
    with session.open() as lake:
        found = lake.run(run)
        if text is not None:
            found.set_note(text)
        told = found.note
    if session.as_json:
        session.out.json({"run_id": found.id, "note": told})
    elif text is None:
        session.out.say(told if told is not None else f"run {found.id} has no note")
    else:
        session.out.say(f"run {found.id} has the note")
