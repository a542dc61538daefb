"""Rows that take the place of those with the same key, in bounded memory however many they are."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from lakelineage.errors import InvalidInput
from lakelineage.inference.ahead import ahead
from lakelineage.snapshots import pin
from lakelineage.snapshots.engines import BATCH_ROWS
from lakelineage.store.output import Output, Record, Target, require_same_columns

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine
    from lakelineage.inference.increment import Increment
    from lakelineage.inference.source import Source
    from lakelineage.query.duckdb.workspace import Workspace

#: Rows up to which Delta's own merge holds them all in memory, and rewrites only files that they are in.
MERGED = 250_000


def require_key(source: "Source", key: Sequence[str]) -> int:
    """Check that each row has a key of its own.

    Returns:
        The number of rows.

    Raises:
        InvalidInput: a column is not there, or empty in some row; or two rows have the same key.
    """
    from lakelineage.query.duckdb.workspace import Workspace, listed, quoted

    unknown = [name for name in key if name not in source.schema.names]
    if unknown:
        raise InvalidInput(f"the key {unknown} is no column of {source.label}; it has {source.schema.names}")
    names = listed([quoted(name) for name in key])
    null = " OR ".join(f"{quoted(name)} IS NULL" for name in key)
    work = Workspace()
    try:
        _note_keys(work, source, key)
        counted = work.rows(f"SELECT count(*), count(*) FILTER ({null}) FROM keys")
        twice = work.rows(f"SELECT {names}, count(*) AS n FROM keys GROUP BY {names} HAVING n > 1 LIMIT 1")
    finally:
        work.close()
    where = source.label
    if counted[0][1]:
        raise InvalidInput(f"{where} has {counted[0][1]:,} rows without a key ({', '.join(key)}); leave them out")
    if twice:
        told = ", ".join(f"{name} = {value}" for name, value in zip(key, twice[0], strict=False))
        raise InvalidInput(f"{where} has {twice[0][-1]} rows with {told}; give more columns as the key")
    return int(counted[0][0])


def upsert(
    engine: "Engine",
    target: Target,
    schema: "pa.Schema",
    batches: "Iterator[pa.RecordBatch]",
    change: "Increment",
    key: Sequence[str],
    record: Record,
) -> Output:
    """Put scored rows in the place of those that have their keys, and delete those that went, as one commit.

    Few rows are merged by Delta's own merge; with many, the table is written anew, since that merge would hold all of
    them in memory.

    Args:
        engine: the lake.
        target: the output, which is there.
        schema: of the rows.
        batches: scored rows.
        change: which rows they are.
        key: columns that identify a row.
        record: what lands with the rows.

    Raises:
        InvalidInput: the output has other columns, or several rows for a key.
        ConcurrentWrite, StorageFull, StorageFailed: as for every write.
    """
    assert target.existing is not None
    require_same_columns(target.uri, target.existing.schema, schema)
    if change.source.total is not None and change.source.total + change.removed <= MERGED:
        return target.merge(schema, batches, ahead(change.removed_keys()), key, record)
    kept = ahead(_kept(engine, target, change, schema, key))
    return target.write(schema, chain(kept, batches), "overwrite", record)


def _kept(
    engine: "Engine", target: Target, change: "Increment", schema: "pa.Schema", key: Sequence[str]
) -> "Iterator[pa.RecordBatch]":
    """Rows of the output whose key none of the rows has that came, changed or went."""
    from lakelineage.query.duckdb.workspace import Workspace, listed, quoted

    assert target.existing is not None
    now = pin(engine, target.uri, version=target.existing.version, protection="reference")
    same = " AND ".join(f"o.{quoted(name)} = k.{quoted(name)}" for name in key)
    columns = listed([f"o.{quoted(name)}" for name in schema.names])
    work = Workspace()
    try:
        now.to_duckdb(work.connection, "output")
        _note_keys(work, change.source, key, change.removed_keys())
        work.execute(f"CREATE TABLE kept AS SELECT {columns} FROM output o ANTI JOIN keys k ON {same}")
        yield from work.stream("SELECT * FROM kept", schema)
    finally:
        work.close()


def _note_keys(work: "Workspace", source: "Source", key: Sequence[str], more: "Iterable[pa.RecordBatch]" = ()) -> None:
    """Make the table ``keys``."""
    import pyarrow as pa

    kinds = pa.schema([pa.field(name, source.schema.field(name).type) for name in key])
    batches = chain(source.batches(BATCH_ROWS, list(key)), more)
    reader = pa.RecordBatchReader.from_batches(kinds, (batch.cast(kinds) for batch in batches))
    work.connection.register("given", reader)
    work.execute("CREATE TABLE keys AS SELECT * FROM given")
