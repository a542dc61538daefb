"""Rows that take the place of those with the same key, in bounded memory however many they are."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from lakelineage.inference.ahead import ahead
from lakelineage.inference.keys import as_it_is, note_keys
from lakelineage.store.output import Output, Record, Target, require_same_columns

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine
    from lakelineage.inference.increment import Increment

#: Rows up to which Delta's own merge holds them all in memory, and rewrites only files that they are in.
MERGED = 250_000


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
        InvalidInput: the output has other columns.
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

    now = as_it_is(engine, target)
    same = " AND ".join(f"o.{quoted(name)} = k.{quoted(name)}" for name in key)
    columns = listed([f"o.{quoted(name)}" for name in schema.names])
    work = Workspace()
    try:
        now.to_duckdb(work.connection, "output")
        note_keys(work, change.source, key, change.removed_keys())
        work.execute(f"CREATE TABLE kept AS SELECT {columns} FROM output o ANTI JOIN keys k ON {same}")
        yield from work.stream("SELECT * FROM kept", schema)
    finally:
        work.close()
