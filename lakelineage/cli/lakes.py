"""Commands about a lake as a whole: demo, init, flush, maintain."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lakelineage.cli import complete
from lakelineage.cli.session import Session, UsageError


def demo(
    session: Session,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove an earlier demo in the folder first.")] = False,
) -> None:
    """Show the main job on real data, in under a minute.

    It logs, pins, loses the source, reloads, chooses, scores and traces. Makes a folder, by default a new one,
    ./lakelineage-demo; --lake names another.

    Examples:
      lakelineage demo
      lakelineage demo --lake mydemo --fresh
    """
    from lakelineage.demo import run_demo

    session.refuse_json("the demo is a story for people")
    run_demo(None if session.lake_uri is None else Path(session.lake_uri), fresh=fresh)


def init(
    session: Session,
    path: Annotated[
        str | None,
        typer.Argument(metavar="PATH|URI", help="Where; default --lake or LAKELINEAGE_URI.", show_default=False),
    ] = None,
    protection: Annotated[
        str | None,
        typer.Option(
            help="How inputs are pinned by default: reference or archived.",
            show_default="archived where free",
            autocompletion=complete.protections,
        ),
    ] = None,
) -> None:
    """Make a lake, or tell that there is one.

    Examples:
      lakelineage init mylake
      lakelineage init s3://bucket/lake --protection archived
    """
    chosen = session.with_options(path, False)
    made = not chosen.exists()
    if not made and protection is not None:
        raise UsageError(f"{chosen.place} is a lake already; --protection is for new ones")
    with chosen.open(create=True, protection=protection) as lake:
        if session.as_json:
            session.out.json({"uri": lake.uri, "id": lake.id, "created": made})
        else:
            session.out.say(f"{'made the lake' if made else 'there is a lake already at'} {lake.uri}")


def flush(session: Session) -> None:
    """Commit what this host has logged to the Delta tables.

    Whatever has the lake open does this by itself; this is for what a killed process left, and before other engines
    read the tables.

    Example:
      lakelineage --lake mylake flush
    """
    with session.open() as lake:
        lake.flush()
        if session.as_json:
            session.out.json({"uri": lake.uri, "flushed": True})
        else:
            session.out.say(f"all that this host logged is in the tables of {lake.uri}")


def maintain(session: Session) -> None:
    """Commit, compact, publish and vacuum the lake's own tables.

    Compacts small files into larger ones; publishes the tables runs, experiments, registered_models and
    model_versions for other engines; and vacuums: removes files that no version has needed for three hours. Whatever
    has the lake open does this when it is due; this is for a nightly job, or before other engines read. It also makes
    the moves of approved requests, and records the acts, whose processes died before they could.

    Example:
      lakelineage --lake mylake maintain
    """
    with session.open() as lake:
        done = lake.maintain()
        if session.as_json:
            session.out.json({"uri": lake.uri, "maintained": True, **asdict(done)})
        else:
            merged = ", ".join(f"{name} ({count:,} files fewer)" for name, count in done.compacted.items())
            session.out.say(
                f"{lake.uri}: published {done.published:,} runs, compacted {merged or 'nothing that needed it'}, "
                f"removed {done.removed:,} files, and from the archive {done.unpinned:,} files "
                f"({done.unpinned_bytes:,} bytes) that no pin needs"
                + (f"; made the moves of {done.completed:,} approved requests" if done.completed else "")
            )
