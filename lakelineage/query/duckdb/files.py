"""Parquet files of a pinned version as a view or relation on a user's DuckDB connection."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lakelineage.query.files import File, Group, Stored

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

#: What a user's settings may have changed, or file names make DuckDB guess. Statistics do not tell of NaN.
_OPTIONS = (
    "filename='__lakelineage_place', hive_partitioning=false, union_by_name=false, binary_as_string=false, "
    "can_have_nan=true, int96_as='timestamp'"
)
_GLOB = frozenset("*?[")
_ROW = "file_row_number"


def can_read(group: Group) -> bool:
    """Whether DuckDB takes these files for what they are: their names are no patterns, and its own ones are free."""
    named = {(c.stored or "").lower() for c in group.columns}
    return not (group.has_hidden and _ROW in named) and not any(_GLOB & set(f.place) for f in group.files)


def relation(
    con: "duckdb.DuckDBPyConnection", name: str | None, schema: "pa.Schema", parts: Sequence[Any], base: str
) -> "duckdb.DuckDBPyRelation | None":
    """The rows of all parts; None if the connection may not open files, which can be forbidden for good.

    Args:
        con: the user's connection.
        name: of the temporary view that is made; None: only the relation is given.
        schema: of the rows.
        parts: each a :class:`Group` that DuckDB reads when asked, an Arrow dataset likewise, or an Arrow record batch
            reader, whose rows are put into a temporary table now.
        base: beginning of the names of what the connection must hold besides; the same for the same rows.
    """
    import duckdb

    selects = [sql for at, part in enumerate(parts) for sql in _selects(con, part, f"{base}_{at}")]
    sql = " union all ".join(selects) or f"from {_hold(con, f'{base}_none', schema.empty_table())}"
    try:
        if name is None:
            return con.sql(sql)
        _create(con, "view", name, sql)
        return con.table(f"temp.{_quoted(name)}")
    except duckdb.PermissionException:
        return None


def _create(con: "duckdb.DuckDBPyConnection", kind: str, name: str, sql: str) -> None:
    """Make a temporary view or table of that name, in place of the one that the connection may have."""
    import duckdb

    create = f"create or replace temporary {kind} {_quoted(name)} as {sql}"
    try:
        con.execute(create)
    except duckdb.CatalogException:  # the other of the two has this name
        con.execute(f"drop {'table' if kind == 'view' else 'view'} if exists temp.{_quoted(name)}")
        con.execute(create)


def _selects(con: "duckdb.DuckDBPyConnection", part: Any, base: str) -> Iterator[str]:
    import pyarrow as pa

    if isinstance(part, Group):
        plain = tuple(file for file in part.files if file.hidden is None)
        partly = tuple(file for file in part.files if file.hidden is not None)
        for files, ending in ((plain, "whole"), (partly, "partly")):
            if files:
                yield _select(con, part.columns, files, f"{base}_{ending}")
        return
    if not isinstance(part, pa.RecordBatchReader):
        yield f"select * from {_hold(con, f'{base}_files', part)}"
        return
    incoming, held = f"{base}_incoming", f"{base}_rows"
    con.register(incoming, part)
    try:
        _create(con, "table", held, f"select * from {_quoted(incoming)}")
    finally:
        con.unregister(incoming)
    yield f"select * from temp.{_quoted(held)}"


def _select(con: "duckdb.DuckDBPyConnection", columns: Sequence[Stored], files: Sequence[File], base: str) -> str:
    hidden = files[0].hidden is not None
    valued = [c for c in columns if c.stored is None and any(file.values[c.name].is_valid for file in files)]
    places = ", ".join("'" + file.place.replace("'", "''") + "'" for file in files)
    options = f"{_OPTIONS}, file_row_number=true" if hidden else _OPTIONS
    sql = f"from read_parquet([{places}], {options}) r"
    if hidden:
        held = _hold(con, f"{base}_hidden", _hidden(files))
        sql += f" anti join {held} h on r.__lakelineage_place = h.place and r.{_ROW} = h.row_number"
    if valued:
        held = _hold(con, f"{base}_values", _values(valued, files))
        sql += f" join {held} v on r.__lakelineage_place = v.place"
    at = {column.name: f"v.c{number}" for number, column in enumerate(valued)}
    chosen = (f"{_expression(con, c, at.get(c.name))} as {_quoted(c.name)}" for c in columns)
    return f"select {', '.join(chosen)} {sql}"


def _expression(con: "duckdb.DuckDBPyConnection", column: Stored, value: str | None) -> str:
    import pyarrow as pa

    if column.stored is None:
        return value or f"cast(null as {con.from_arrow(pa.table({'c': pa.nulls(0, column.kind)})).types[0]})"
    stored = f"r.{_quoted(column.stored)}"
    return f"make_timestamptz(epoch_us({stored}))" if column.int96 else stored


def _hold(con: "duckdb.DuckDBPyConnection", name: str, rows: Any) -> str:
    """Put a small Arrow table or a dataset on the connection; what is there by this name has the same rows."""
    con.register(name, rows)
    return f"temp.{_quoted(name)}"


def _hidden(files: Sequence[File]) -> "pa.Table":
    import numpy as np
    import pyarrow as pa

    positions = [file.hidden for file in files if file.hidden is not None]
    index = np.repeat(np.arange(len(files)), [len(found) for found in positions])
    places = pa.DictionaryArray.from_arrays(pa.array(index, pa.int32()), pa.array([file.place for file in files]))
    return pa.table({"place": places.cast(pa.string()), "row_number": np.concatenate(positions)})


def _values(columns: Sequence[Stored], files: Sequence[File]) -> "pa.Table":
    import pyarrow as pa

    data: dict[str, Any] = {"place": pa.array([file.place for file in files])}
    for number, column in enumerate(columns):
        data[f"c{number}"] = pa.array([file.values[column.name].as_py() for file in files], column.kind)
    return pa.table(data)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
