"""A SELECT over pinned tables as what is scored."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput, InvalidQuery
from lakelineage.inference.source import Source, pinned
from lakelineage.model import validate
from lakelineage.snapshots import Snapshot
from lakelineage.snapshots.types import storable

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine
    from lakelineage.query.duckdb.workspace import Workspace


def of_query(engine: "Engine", sql: Any, tables: Mapping[str, Any], output_name: str) -> Source:
    """The rows that a SELECT (in DuckDB's dialect) gives, in no certain order.

    Args:
        engine: the lake, which pins the tables.
        sql: one SELECT.
        tables: name in the query -> table: a path or URI, a snapshot, or data.
        output_name: what managed tables of data without a place are named after.

    Raises:
        InvalidQuery: it cannot be understood, or reads anything else.
        InvalidInput: no tables, or the input is no text.
        TableNotFound: there is no such table.
    """
    from lakelineage.query.duckdb import selects

    text = validate.text(sql, "query")
    if not tables:
        raise InvalidInput("tables={} names no table; give those that the query reads, as name -> path")
    work = _workspace({})
    try:
        select = selects.checked(work, text, tables)
    finally:
        work.close()
    pins = {name: pinned(engine, table, None, f"{output_name}_{name}") for name, table in tables.items()}
    probe = _workspace(pins)
    try:
        schema = storable(_schema(probe, select))
    finally:
        probe.close()

    def batches(size: int, columns: Sequence[str] | None = None) -> "Iterator[pa.RecordBatch]":
        return _batches(pins, select, schema, size, columns)

    only = next(iter(pins.values())).version if len(pins) == 1 else None
    return Source("the answer to the query", schema, only, tuple(pins.values()), None, batches)


def _workspace(pins: Mapping[str, Snapshot]) -> "Workspace":
    """A workspace in which the tables have their names."""
    from lakelineage.query.duckdb.workspace import Workspace

    work = Workspace()
    for name, snapshot in pins.items():
        snapshot.to_duckdb(work.connection, name)
    return work


def _schema(work: "Workspace", sql: str) -> "pa.Schema":
    from lakelineage.query.duckdb.workspace import failures

    try:
        with failures():
            schema: pa.Schema = work.connection.sql(f"SELECT * FROM ({sql}) LIMIT 0").to_arrow_table().schema
    except InvalidInput as error:
        raise InvalidQuery(f"the query is refused: {error}") from error
    return schema


def _batches(
    pins: Mapping[str, Snapshot], sql: str, schema: "pa.Schema", size: int, columns: Sequence[str] | None
) -> "Iterator[pa.RecordBatch]":
    from lakelineage.query.duckdb.workspace import failures, listed, quoted

    names = list(schema.names if columns is None else columns)
    work = _workspace(pins)
    try:
        with failures():
            asked = f"SELECT {listed([quoted(name) for name in names])} FROM ({sql})"
            reader = work.connection.sql(asked).to_arrow_reader(size)
        while True:
            with failures():
                batch = next(reader, None)
            if batch is None:
                return
            arrays = [batch.column(i).cast(schema.field(name).type) for i, name in enumerate(names)]
            yield batch.from_arrays(arrays, names=names)
    finally:
        work.close()
