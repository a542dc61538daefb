"""The command artifacts."""

import sys
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import typer

from lakelineage.cli import complete
from lakelineage.cli.output import Output, records
from lakelineage.cli.session import RunArgument, Session, UsageError
from lakelineage.errors import ArtifactNotFound


def artifacts(
    session: Session,
    run_id: RunArgument,
    path: Annotated[
        str | None,
        typer.Argument(help="A file or folder of them.", show_default="all", autocompletion=complete.artifacts),
    ] = None,
    download: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Copy them into this folder; paths inside the artifacts are kept."),
    ] = None,
    cat: Annotated[bool, typer.Option("--cat", help="Print the content of one file, byte for byte.")] = False,
) -> None:
    """List the files that a run logged, copy them, or print one.

    Examples:
      lakelineage artifacts 0199c0ffee12
      lakelineage artifacts 0199c0ffee12 plots --download copies
      lakelineage artifacts 0199c0ffee12 metrics.parquet --cat > metrics.parquet
    """
    if cat and (download is not None or path is None):
        raise UsageError("--cat prints one file: name its PATH, without --download")
    if cat:
        session.refuse_json("--cat prints the file itself")
    with session.open() as lake:
        run = lake.run(lake.run_id(run_id))
        if cat:
            assert path is not None
            write_bytes(run.artifact(path).read_bytes(), path)
            return
        found = _below(records(run.artifacts), path)
        if path is not None and not found:
            raise ArtifactNotFound(
                f"run {run.id} has no artifact {path!r}; `lakelineage artifacts {run.id}` lists them"
            )
        copied = None if download is None else run.download(path, download)
    if session.as_json:
        session.out.json(found if copied is None else {"downloaded": str(copied), "artifacts": found})
    elif copied is not None:
        session.out.say(f"copied {len(found)} file{'' if len(found) == 1 else 's'} to {copied}")
    else:
        _print_tree(session.out, found)


def _below(found: list[dict[str, Any]], path: str | None) -> list[dict[str, Any]]:
    inside = "" if path is None else str(PurePosixPath(path))
    if inside in ("", ".", "/"):
        return found
    return [row for row in found if row["path"] == inside or row["path"].startswith(f"{inside}/")]


def write_bytes(content: bytes, what: str) -> None:
    """Print bytes as they are; on a terminal only text, for other bytes may command it.

    Raises:
        UsageError: it is no text, and standard output is a terminal.
    """
    if sys.stdout.isatty():
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise UsageError(f"{what} is no text; send it to a file (> name), or use --download") from None
        sys.stdout.write("".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text))
    else:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


def _print_tree(out: Output, found: list[dict[str, Any]]) -> None:
    if not out.for_people:
        out.columns([(key, [row[key] for row in found]) for key in ("path", "size", "sha256")])
        return
    shown: tuple[str, ...] = ()
    for row in found:
        *folders, name = row["path"].split("/")
        # A folder is told when the first file of it comes.
        for depth, folder in enumerate(folders):
            if shown[: depth + 1] != tuple(folders[: depth + 1]):
                out.say(f"{'  ' * depth}{folder}/")
        shown = tuple(folders)
        out.say(f"{'  ' * len(folders)}{name}  {row['size']:,} bytes")
    total = sum(row["size"] for row in found)
    out.say(f"{len(found)} file{'' if len(found) == 1 else 's'}, {total:,} bytes")
