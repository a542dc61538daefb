"""The command reload: pinned rows, brought back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakelineage.cli.bar import bar
from lakelineage.cli.export import write_rows
from lakelineage.cli.output import Output
from lakelineage.cli.session import RunArgument, Session, UsageError
from lakelineage.errors import SnapshotNotFound

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.snapshots import Snapshot

#: Rows of the head of a table.
HEAD_ROWS = 10


def reload(
    session: Session,
    run_id: RunArgument,
    name: Annotated[
        str | None,
        typer.Argument(help="Name of the input in the run; may be left out if it has one.", show_default=False),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All inputs of the run; -o is then a folder.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE|DIR",
            help="File ending in .parquet or .csv, replaced if it exists; for the files of a pinned folder, a folder.",
        ),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="Columns.", show_default="as the run read")
    ] = None,
    where: Annotated[
        str | None, typer.Option(metavar="CONDITION", help="Rows, as a SQL condition.", show_default="as the run read")
    ] = None,
) -> None:
    """Bring back the rows or files that a run read.

    It does so whatever became of the table. Without -o, people and pipes see the first rows; --json prints all. The
    rows of a pinned folder are the list of its files.

    Examples:
      lakelineage reload 0199c0ffee12
      lakelineage reload 0199c0ffee12 diabetes -o train.parquet
      lakelineage reload 0199c0ffee12 --all -o inputs/
      lakelineage reload 0199c0ffee12 images --where "path LIKE 'cats/%'" -o cats/
      lakelineage reload 0199c0ffee12 diabetes --columns age,bmi --where "age > 0" -o some.csv
    """
    if every and name is not None:
        raise UsageError(f"give the input's name {name!r} or --all, not both")
    wanted = None if columns is None else [c.strip() for c in columns.split(",")]
    with session.open() as lake:
        inputs = lake.run(lake.run_id(run_id)).inputs
        chosen = _chosen(inputs, run_id, name, every)
        if output is None:
            _show(session.out, chosen, every, wanted, where)
        else:
            _write(session, chosen, output, every, wanted, where)


def _chosen(inputs: Any, run_id: str, name: str | None, every: bool) -> "dict[str, Snapshot]":
    known = ", ".join(sorted(inputs)) or "none"
    if not inputs or (name is not None and name not in inputs):
        raise SnapshotNotFound(f"run {run_id} has no input {name or ''!r}; its inputs: {known}".replace(" ''", ""))
    if every:
        return dict(inputs)
    if name is None and len(inputs) > 1:
        raise UsageError(f"run {run_id} has several inputs ({known}); name one, or say --all")
    chosen = next(iter(inputs)) if name is None else name
    return {chosen: inputs[chosen]}


def _show(out: Output, chosen: "dict[str, Snapshot]", every: bool, columns: Any, where: str | None) -> None:
    if out.as_json:
        rows = {name: pin.to_batches(columns=columns, where=where) for name, pin in chosen.items()}
        if every:
            out.json_named_rows(rows)
        else:
            out.json_rows(next(iter(rows.values())))
        return
    for name, pin in chosen.items():
        place = f"{pin.table_uri}@{pin.version}" if pin.kind == "table" else f"files of {pin.origin}"
        out.say(f"{name}: {place}, the first rows (-o writes all)")
        out.table(_head(pin, columns, where), total=None)


def _head(pin: "Snapshot", columns: Any, where: str | None) -> "pa.Table":
    import pyarrow as pa

    batches = pin.to_batches(HEAD_ROWS, columns, where)
    first = next(batches, None)
    return pin.to_arrow(columns, where) if first is None else pa.Table.from_batches([first])


def _write(
    session: Session, chosen: "dict[str, Snapshot]", output: Path, every: bool, columns: Any, where: str | None
) -> None:
    out = session.out
    as_files = {name: _as_files(pin, output, every, columns) for name, pin in chosen.items()}
    written: list[dict[str, Any]] = []
    for name, pin in chosen.items():
        suffix = "" if as_files[name] else ".parquet"
        place = output / f"{name}{suffix}" if every else output
        if as_files[name]:
            with bar(session, name, None if where else pin.bytes) as told:
                pin.download(place, where, progress=told)
            written.append({"name": name, "path": str(place), "files": len(pin.paths(where))})
        else:
            written.append({"name": name, "path": str(place), "rows": write_rows(pin, place, columns, where)})
    if out.as_json:
        out.json(written)
    for row in written:
        count = f"{row['rows']:,} rows" if "rows" in row else f"{row['files']:,} files"
        out.say(f"{row['path']}: {count} of {row['name']}")


def _as_files(pin: "Snapshot", output: Path, every: bool, columns: Any) -> bool:
    """Whether an input is written as the files of a folder, rather than as rows."""
    if not every and output.suffix in (".parquet", ".csv"):
        return False
    if pin.kind != "folder":
        if not every:
            raise UsageError(f"{output} ends in neither .parquet nor .csv")
        return False
    if columns is not None:
        raise UsageError("--columns does not go with files of a folder; write their list with -o FILE.parquet or .csv")
    return True
