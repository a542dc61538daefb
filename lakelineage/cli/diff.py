"""The command diff."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakelineage.cli import complete
from lakelineage.cli.export import write_batches
from lakelineage.cli.output import Output, records
from lakelineage.cli.session import Session, UsageError
from lakelineage.errors import InvalidInput, RunNotFound, SnapshotNotFound

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage import Snapshot
    from lakelineage.snapshots.diff import Diff
    from lakelineage.view import LakeView

_Side = Annotated[
    str,
    typer.Argument(
        metavar="RUN|SNAPSHOT",
        help="Id of a run or snapshot, or a unique beginning.",
        autocompletion=complete.run_or_snapshot_ids,
    ),
]


def diff(
    session: Session,
    a: _Side,
    b: _Side,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Only this input of the runs.", show_default="all that both have"),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(metavar="A,B,…", help="Columns that identify a row.", show_default="rows are added or removed"),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="Columns to compare.", show_default="as the runs read")
    ] = None,
    where: Annotated[
        str | None, typer.Option(metavar="CONDITION", help="Rows to compare.", show_default="as the runs read")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Rows shown of each input, at most.")] = 10,
    summary: Annotated[bool, typer.Option("--summary", help="How values are distributed in what differs.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="All rows to a .parquet or .csv file; it is replaced."),
    ] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 if anything differs.")] = False,
) -> None:
    """Show what changed between the data that two runs saw.

    Inputs of the same name are compared: schema, and rows added, removed and (with --key) changed. Of several, those
    that have the key's columns are compared by it. What both have is not read. With -o one input is written: _change,
    the key, and each column before and after.

    Examples:
      lakelineage diff 0199c0ffee12 0199c0ffee34
      lakelineage diff 0199c0ffee12 0199c0ffee34 diabetes --key patient_id -o changes.parquet
      lakelineage diff 0199c0ffee12 0199c0ffee34 --key id --summary --json
    """
    if output is not None and output.suffix not in (".parquet", ".csv"):
        raise UsageError(f"{output} ends in neither .parquet nor .csv")
    how: dict[str, Any] = {"key": _listed(key), "columns": _listed(columns), "where": where}
    with session.open() as lake:
        pairs, alone = _pairs(lake, a, b, name)
        if output is not None and len(pairs) > 1:
            raise UsageError(f"the runs share several inputs ({_told(pairs)}); name the one to be written")
        inputs = {}
        keyed = _keyed(pairs, how["key"])
        for input_, (before, after) in pairs.items():
            own = {**how, "key": how["key"] if input_ in keyed else None}
            with _found(lake, input_ if len(pairs) > 1 else None, before, after, own) as found:
                inputs[input_] = _shown(session.out, input_, found, limit, summary, output)
    if session.as_json:
        session.out.json({"inputs": inputs, "only_in_a": alone[0], "only_in_b": alone[1]})
    for which, names in zip((a, b), alone, strict=True):
        if names:
            session.out.say(f"only {which} has: {', '.join(names)}")
    if exit_code and (any(told["differs"] for told in inputs.values()) or any(alone)):
        raise typer.Exit(1)


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",")]


def _keyed(pairs: "Mapping[str, tuple[Snapshot, Snapshot]]", key: list[str] | None) -> set[str]:
    """The inputs that the key is for: all, unless some of several have its columns and others have not."""
    having = {
        name
        for name, sides in pairs.items()
        if all(column in side.table_schema.names for column in key or () for side in sides)
    }
    return having or set(pairs)


def _told(names: Any) -> str:
    return ", ".join(names) or "none"


def _found(lake: "LakeView", name: str | None, a: "Snapshot", b: "Snapshot", how: Mapping[str, Any]) -> "Diff":
    """The diff of an input; its mistakes say of which, if there are several."""
    try:
        return lake.diff(a, b, **how)
    except InvalidInput as error:
        if name is None:
            raise
        raise InvalidInput(f"input {name!r}: {error}; `lakelineage diff A B NAME` compares one input only") from error


def _pairs(
    lake: "LakeView", a: str, b: str, name: str | None
) -> "tuple[dict[str, tuple[Snapshot, Snapshot]], tuple[list[str], list[str]]]":
    """What is compared, by the name of the input, and what only one of the two has."""
    left, right = _named(lake, a), _named(lake, b)
    if not isinstance(left, Mapping) and not isinstance(right, Mapping):
        if name is not None:
            raise UsageError(f"{name!r} names an input of runs, but {a} and {b} are snapshots")
        return {right.name or left.name or "snapshot": (left, right)}, ([], [])
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        shared = [n for n in left if n in right and name in (None, n)]
        if not shared:
            raise SnapshotNotFound(
                f"{a} and {b} share no input{'' if name is None else f' {name!r}'}: {a} has {_told(left)}, {b} has "
                f"{_told(right)}; give the ids of two snapshots to compare others"
            )
        alone = [[n for n in one if n not in other and name is None] for one, other in ((left, right), (right, left))]
        return {n: (left[n], right[n]) for n in shared}, (alone[0], alone[1])
    inputs: Any = left if isinstance(left, Mapping) else right
    if name is None and len(inputs) != 1:
        raise UsageError(f"the run has the inputs {_told(inputs)}; name the one to compare with the snapshot")
    chosen = next(iter(inputs)) if name is None else name
    sides = [side[chosen] if isinstance(side, Mapping) else side for side in (left, right)]
    return {chosen: (sides[0], sides[1])}, ([], [])


def _named(lake: "LakeView", text: str) -> "Mapping[str, Snapshot] | Snapshot":
    """The inputs of a run, or a snapshot."""
    found = None
    with suppress(SnapshotNotFound):
        found = lake.load_snapshot(text)
    try:
        inputs: Mapping[str, Snapshot] = lake.run(lake.run_id(text)).inputs
    except (RunNotFound, InvalidInput) as error:
        if found is not None:
            return found
        raise RunNotFound(f"{error} (nor has a snapshot, which `lakelineage snapshot` lists)") from error
    if found is not None:
        raise InvalidInput(f"a run and a snapshot have ids that begin with {text!r}; write more digits")
    return inputs


def _shown(out: Output, name: str, found: "Diff", limit: int, summary: bool, output: Path | None) -> dict[str, Any]:
    """Print a diff for people, or write its rows; what JSON tells of it."""
    told = found.to_dict()
    for line in f"{name}: {found}".splitlines():
        out.say(line)
    if summary:
        told["summary"] = records(found.summary())
        if not out.as_json:
            out.table(found.summary())
    if output is not None:
        told["written"] = {"path": str(output), "rows": _write(found, output)}
        out.say(f"{output}: {told['written']['rows']:,} rows")
    else:
        rows = found.rows(limit).read_all()
        told["rows"] = records(rows)
        if rows.num_rows and not out.as_json:
            counts = found.counts
            out.table(rows, total=counts.added + counts.removed + counts.changed)
    return told


def _write(found: "Diff", output: Path) -> int:
    rows = found.rows()
    if output.suffix == ".csv":
        return write_batches(output, *_flat(rows))
    return write_batches(output, rows.schema, rows)


def _flat(rows: "pa.RecordBatchReader") -> "tuple[pa.Schema, Iterator[pa.RecordBatch]]":
    """Rows with the list of changed columns as a text, since CSV has no lists."""
    import pyarrow as pa
    from pyarrow import compute

    from lakelineage.snapshots.diff.result import CHANGED_COLUMNS

    if CHANGED_COLUMNS not in rows.schema.names:
        return rows.schema, iter(rows)
    place = rows.schema.get_field_index(CHANGED_COLUMNS)
    schema = rows.schema.set(place, pa.field(CHANGED_COLUMNS, pa.string()))

    def joined(batch: "pa.RecordBatch") -> "pa.RecordBatch":
        columns = batch.columns
        columns[place] = compute.binary_join(columns[place], ",")
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    return schema, map(joined, rows)
