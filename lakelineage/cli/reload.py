"""The command reload: pinned rows, brought back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
        typer.Option("-o", "--output", metavar="FILE", help="File ending in .parquet or .csv; replaced if it exists."),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="Columns.", show_default="as the run read")
    ] = None,
    where: Annotated[
        str | None, typer.Option(metavar="CONDITION", help="Rows, as a SQL condition.", show_default="as the run read")
    ] = None,
) -> None:
    """Bring back the rows that a run read.

    It does so whatever became of the table. Without -o, people and pipes see the first rows; --json prints all.

    Examples:
      lakelineage reload 0199c0ffee12
      lakelineage reload 0199c0ffee12 diabetes -o train.parquet
      lakelineage reload 0199c0ffee12 --all -o inputs/
      lakelineage reload 0199c0ffee12 diabetes --columns age,bmi --where "age > 0" -o some.csv
    """
    if every and name is not None:
        raise UsageError(f"give the input's name {name!r} or --all, not both")
    if output is not None and not every and output.suffix not in (".parquet", ".csv"):
        raise UsageError(f"{output} ends in neither .parquet nor .csv")
    wanted = None if columns is None else [c.strip() for c in columns.split(",")]
    with session.open() as lake:
        inputs = lake.run(lake.run_id(run_id)).inputs
        chosen = _chosen(inputs, run_id, name, every)
        if output is None:
            _show(session.out, chosen, every, wanted, where)
        else:
            _write(session.out, chosen, output, every, wanted, where)


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
        out.say(f"{name}: {pin.table_uri}@{pin.version}, the first rows (-o writes all)")
        out.table(_head(pin, columns, where), total=None)


def _head(pin: "Snapshot", columns: Any, where: str | None) -> "pa.Table":
    import pyarrow as pa

    batches = pin.to_batches(HEAD_ROWS, columns, where)
    first = next(batches, None)
    return pin.to_arrow(columns, where) if first is None else pa.Table.from_batches([first])


def _write(
    out: Output, chosen: "dict[str, Snapshot]", output: Path, every: bool, columns: Any, where: str | None
) -> None:
    places = {name: output / f"{name}.parquet" if every else output for name in chosen}
    written = [
        {"name": name, "path": str(places[name]), "rows": write_rows(pin, places[name], columns, where)}
        for name, pin in chosen.items()
    ]
    if out.as_json:
        out.json(written)
    for row in written:
        out.say(f"{row['path']}: {row['rows']:,} rows of {row['name']}")
