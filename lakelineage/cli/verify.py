"""The command verify: whether what is pinned can be read back, and is what was pinned."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lakelineage.cli import complete
from lakelineage.cli.bar import bar
from lakelineage.cli.session import Session

if TYPE_CHECKING:
    from lakelineage.snapshots.verify import Verified


def verify(
    session: Session,
    snapshots: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SNAPSHOT]...",
            help="Ids, or unique beginnings of them; default all that have a pin.",
            show_default=False,
            autocompletion=complete.snapshot_ids,
        ),
    ] = None,
    depth: Annotated[
        Literal["files", "rows", "checksums"],
        typer.Option(help="files: they are there, unchanged; rows: each is read; checksums: and every byte."),
    ] = "rows",
    sample: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only so many, chosen at random.", show_default="all")
    ] = None,
) -> None:
    """Read back what is pinned, and report.

    Exit code 1 if something is lost. Files without a checksum get theirs at --depth checksums; from then on a change
    of a single bit shows.

    Examples:
      lakelineage verify
      lakelineage verify --sample 20 --depth checksums
      lakelineage verify 3f2a9c
    """
    with session.open() as lake:
        total = None if sample is None and not snapshots else min(sample or len(snapshots or ()), 1 << 30)
        found = []
        with bar(session, "verifying", total) as told:
            for each in lake.verify(snapshots or None, depth=depth, sample=sample):
                found.append(each)
                if told is not None:
                    told(len(found))
    lost = [each for each in found if not each.ok]
    if session.as_json:
        session.out.json([asdict(each) for each in found])
    else:
        _tell(session, found, lost)
    if lost:
        raise typer.Exit(1)


_COLUMNS = ("snapshot_id", "table_uri", "version", "ok", "read_from", "rows", "bytes", "checksums", "taken")


def _tell(session: Session, found: "list[Verified]", lost: "list[Verified]") -> None:
    if found:
        session.out.columns([(name, [getattr(each, name) for each in found]) for name in _COLUMNS])
    for each in lost:
        session.out.say(f"{each.snapshot_id}: {each.problem}")
    read = sum(each.rows or 0 for each in found)
    session.out.say(f"{len(found) - len(lost)} of {len(found)} snapshots are what was pinned; {read:,} rows read")
