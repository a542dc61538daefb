"""Commands about pinned data: snapshot pin, list, pins, keep, archive, release (and those of ``protect``)."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from lakelineage.cli import complete, protect
from lakelineage.cli.bar import bar
from lakelineage.cli.session import AsOfOption, JsonOption, LakeOption, Session, UsageError, shared_options

if TYPE_CHECKING:
    from lakelineage.snapshots import Snapshot

_HELP = """Pin data; list, keep, archive, protect, release pins.

Without a subcommand, a SOURCE is pinned, and without that what is pinned is listed.

\b
Examples:
  lakelineage snapshot
  lakelineage snapshot data/diabetes --version 3
  lakelineage snapshot pins
  lakelineage snapshot archive 3f2a9c
  lakelineage snapshot release 3f2a9c --run 0199c0ffee12
"""


class _PinsByDefault(TyperGroup):
    """A group that takes what is no subcommand for the source of ``pin``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the subcommand in where it was left out."""
        words = [word for word in args if not word.startswith("-")]
        options = {name for option in self.params for name in option.opts} | {*self.get_help_option_names(ctx)}
        own = not args or args[0] in options or (words and words[0] in self.commands)
        return super().parse_args(ctx, args if own else ["pin", *args])


app = typer.Typer(help=_HELP, invoke_without_command=True, cls=_PinsByDefault)

_Snapshot = Annotated[
    str,
    typer.Argument(
        metavar="SNAPSHOT", help="Its id, or a unique beginning of it.", autocompletion=complete.snapshot_ids
    ),
]
_Run = Annotated[
    str | None,
    typer.Option(
        "--run",
        metavar="RUN",
        help="The run whose pin is meant.",
        show_default="the only one, or none's",
        autocompletion=complete.run_ids,
    ),
]
_Until = Annotated[
    str | None,
    typer.Option(
        metavar="WHEN",
        help="When the pin ends by itself: 2027-01-01, 90d, 'while registered' or '90d, while registered'.",
        show_default="never",
    ),
]
_Comment = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; kept with the pin.", show_default=False)]


@app.callback()
def _root(ctx: typer.Context, lake_uri: LakeOption = None, as_json: JsonOption = False) -> None:
    session = (ctx.obj or Session()).with_options(lake_uri, as_json)
    ctx.obj = session
    if ctx.invoked_subcommand is None:
        list_snapshots(session)


def pin(
    session: Session,
    source: Annotated[str, typer.Argument(help="Delta table, folder, CSV, Parquet or JSON file.")],
    version: Annotated[int | None, typer.Option(min=0, help="Delta version.", show_default="newest")] = None,
    as_of: Annotated[str | None, typer.Option(metavar="TIME", help="Newest version by then, ISO 8601, UTC.")] = None,
    protection: Annotated[
        str | None,
        typer.Option(
            help="reference, archived, or protected (where the table's properties suffice).",
            show_default="the lake's, else archived where free",
            autocompletion=complete.protections,
        ),
    ] = None,
    until: _Until = None,
) -> None:
    """Pin a version of a table. The word pin may be left out.

    Examples:
      lakelineage snapshot data/diabetes --version 3
      lakelineage snapshot pin data/diabetes --as-of 2026-01-31T12:00 --protection archived --until "2 years"
    """
    with session.open() as lake, bar(session, "pinning", None) as told:
        made = lake.snapshot(source, version=version, as_of=as_of, protection=protection, until=until, progress=told)
    _print(session, made)


def list_snapshots(session: Session, as_of: AsOfOption = None) -> None:
    """List the versions that were ever pinned.

    Example:
      lakelineage snapshot list
    """
    with session.look(as_of) as lake:
        session.out.table(lake.snapshots)


def pins(
    session: Session,
    every: Annotated[bool, typer.Option("--all", help="Those that were released or have expired, too.")] = False,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Look whether each can be read back now.")] = True,
    as_of: AsOfOption = None,
) -> None:
    """List pins, and whether each is readable today.

    What is pinned, until when, and on whose behalf.

    Examples:
      lakelineage snapshot pins
      lakelineage snapshot pins --all --no-check
    """
    with session.look(as_of) as lake:
        session.out.table(lake.pins.list(every=every, check=check))


def keep(
    session: Session, snapshot: _Snapshot, until: _Until = None, run: _Run = None, comment: _Comment = None
) -> None:
    """Say when a pin ends.

    Without --until it does not end by itself. A pin that was released or has expired is a pin again.

    Examples:
      lakelineage snapshot keep 3f2a9c --until "2 years" --comment "audit of 2026"
      lakelineage snapshot keep 3f2a9c --run 0199c0ffee12 --until "90d, while registered"
    """
    with session.open() as lake:
        lake.pins.keep(snapshot, until, run=run, comment=comment)
        _print(session, lake.load_snapshot(snapshot))


def archive(session: Session, snapshot: _Snapshot, comment: _Comment = None) -> None:
    """Keep the files themselves.

    The snapshot then survives whatever becomes of its table. By hard links or copies inside the object store where that
    is possible. What was interrupted goes on where it stopped.

    Example:
      lakelineage snapshot archive 3f2a9c
    """
    with session.open() as lake, bar(session, "archiving", lake.load_snapshot(snapshot).bytes) as told:
        made = lake.pins.archive(snapshot, progress=told, comment=comment)
    _print(session, made)


def release(
    session: Session,
    snapshot: _Snapshot,
    run: _Run = None,
    every: Annotated[bool, typer.Option("--all", help="Release all its pins.")] = False,
    comment: _Comment = None,
) -> None:
    """Let go of a snapshot. What the archive keeps for nobody any more goes with `lakelineage maintain`.

    Examples:
      lakelineage snapshot release 3f2a9c
      lakelineage snapshot release 3f2a9c --run 0199c0ffee12
      lakelineage snapshot release 3f2a9c --all --comment "the contract ended"
    """
    if every and run is not None:
        raise UsageError("give --run or --all, not both")
    with session.open() as lake:
        left = lake.pins.release(snapshot, run=run, every=every, comment=comment)
        full = lake.load_snapshot(snapshot).id
        freed = lake.pins.releases_table(full)
    if session.as_json:
        session.out.json({"snapshot_id": full, "pins": left, "releases_table": freed})
    session.out.say(
        f"snapshot {full} has {left} more pins"
        if left
        else f"snapshot {full} has no pin any more; `lakelineage maintain` removes what the archive keeps of it"
    )
    if freed:
        session.out.say(
            f"no pin needs the properties of its table now; `lakelineage snapshot unprotect {full}` takes them back"
        )


_COMMANDS: dict[str, Callable[..., None]] = {
    "pin": pin,
    "list": list_snapshots,
    "pins": pins,
    "keep": keep,
    "archive": archive,
    "protect": protect.protect,
    "unprotect": protect.unprotect,
    "release": release,
}
for _name, _function in _COMMANDS.items():
    app.command(_name)(shared_options(_function))


def _print(session: Session, snapshot: "Snapshot") -> None:
    told = _told(snapshot)
    if session.as_json:
        session.out.json(told)
    else:
        session.out.fields(f"snapshot {told['snapshot_id']}", list(told.items())[1:])


def _told(pin: "Snapshot") -> dict[str, Any]:
    committed = None if pin.committed_at is None else datetime.fromtimestamp(pin.committed_at / 1e6, UTC)
    return {
        "snapshot_id": pin.id,
        "table_uri": pin.table_uri,
        "table_id": pin.table_id,
        "version": pin.version,
        "committed_at": committed,
        "num_rows": pin.num_rows,
        "num_files": pin.num_files,
        "bytes": pin.bytes,
        "protection": pin.protection,
        "origin": pin.origin,
    }
