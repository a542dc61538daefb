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


def reads_files(con: "duckdb.DuckDBPyConnection") -> bool:
    """Whether a connection may open files, which can be forbidden for good."""
    return bool(con.execute("select current_setting('enable_external_access')").fetchall()[0][0])


def can_read(group: Group) -> bool:
    """Whether DuckDB takes these files for what they are: their names are no patterns, and its own ones are free."""
    named = {(c.stored or "").lower() for c in group.columns}
    return not (group.has_hidden and _ROW in named) and not any(_GLOB & set(f.place) for f in group.files)


def relation(
    con: "duckdb.DuckDBPyConnection", name: str | None, schema: "pa.Schema", parts: Sequence[Any], base: str
) -> "duckdb.DuckDBPyRelation":
    """The rows of all parts.

    Args:
        con: the user's connection.
        name: of the temporary view that is made; None: only the relation is given.
        schema: of the rows.
        parts: each a :class:`Group` that DuckDB reads when asked, an Arrow dataset likewise, or an Arrow record batch
            reader, whose rows are put into a temporary table now.
        base: beginning of the names of what the connection must hold besides; the same for the same rows.
    """
    kinds = dict(zip(schema.names, con.from_arrow(schema.empty_table()).types, strict=True))
    selects = [sql for at, part in enumerate(parts) for sql in _selects(con, part, kinds, f"{base}_{at}")]
    if not selects:
        empty = ", ".join(f"cast(null as {kind}) as {_quoted(column)}" for column, kind in kinds.items())
        selects = [f"select {empty} where false"]
    sql = " union all ".join(selects)
    if name is None:
        return con.sql(sql)
    forget(con, name)
    con.execute(f"create temporary view {_quoted(name)} as {sql}")
    return con.table(f"temp.{_quoted(name)}")


def forget(con: "duckdb.DuckDBPyConnection", name: str) -> None:
    """Drop the temporary view or table of a name, if the connection has one."""
    con.unregister(name)
    for kind in ("view", "table"):
        there = f"select 1 from duckdb_{kind}s() where temporary and lower({kind}_name) = lower(?)"
        if con.execute(there, [name]).fetchall():
            con.execute(f"drop {kind} temp.{_quoted(name)}")


def _selects(con: "duckdb.DuckDBPyConnection", part: Any, kinds: dict[str, Any], base: str) -> Iterator[str]:
    import pyarrow as pa

    if isinstance(part, Group):
        plain = tuple(file for file in part.files if file.hidden is None)
        partly = tuple(file for file in part.files if file.hidden is not None)
        for files, ending in ((plain, "whole"), (partly, "partly")):
            if files:
                yield _select(con, part.columns, files, kinds, f"{base}_{ending}")
        return
    held = f"{base}_rows"
    forget(con, held)
    if isinstance(part, pa.RecordBatchReader):
        con.register(f"{base}_incoming", part)
        try:
            con.execute(f"create temporary table {_quoted(held)} as select * from {_quoted(base + '_incoming')}")
        finally:
            con.unregister(f"{base}_incoming")
    else:
        con.register(held, part)
    yield f"select * from temp.{_quoted(held)}"


def _select(
    con: "duckdb.DuckDBPyConnection", columns: Sequence[Stored], files: Sequence[File], kinds: dict[str, Any], base: str
) -> str:
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
    chosen = (f"{_expression(c, at.get(c.name), kinds[c.name])} as {_quoted(c.name)}" for c in columns)
    return f"select {', '.join(chosen)} {sql}"


def _expression(column: Stored, value: str | None, kind: Any) -> str:
    if column.stored is None:
        return value or f"cast(null as {kind})"
    stored = f"r.{_quoted(column.stored)}"
    return f"make_timestamptz(epoch_us({stored}))" if column.int96 else stored


def _hold(con: "duckdb.DuckDBPyConnection", name: str, rows: "pa.Table") -> str:
    """Put a small table on the connection; what is there by this name has the same rows."""
    forget(con, name)
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
