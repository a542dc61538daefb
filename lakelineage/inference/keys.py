"""Whether a key identifies a row: of what is scored, and of the output. In bounded memory, however many there are."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING

from lakelineage.errors import InvalidInput
from lakelineage.snapshots import pin
from lakelineage.snapshots.engines import BATCH_ROWS
from lakelineage.store.output import Target, require_same_columns

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine
    from lakelineage.inference.increment import Increment
    from lakelineage.inference.source import Source
    from lakelineage.query.duckdb.workspace import Workspace
    from lakelineage.snapshots import Snapshot


#: Column that counts the rows of a key, beside columns of any name.
_ROWS = '"_lakelineage_rows"'


def require_key(source: "Source", key: Sequence[str]) -> None:
    """Check that each row has a key of its own.

    Raises:
        InvalidInput: a column is not there, or empty in some row; or two rows have the same key.
    """
    with _noted(source, key) as work:
        _require_own(work, source, key)


def require_fitting(
    engine: "Engine", target: Target, change: "Increment", key: Sequence[str], *, all_new: bool
) -> None:
    """Check that rows that are written to an output leave it with one row for each key.

    Only the key columns of the output are read, and of these what the keys' least and greatest value leave.

    Args:
        engine: the lake.
        target: the output, which is there.
        change: which rows.
        key: columns that identify a row.
        all_new: rows whose keys are in ``change.fresh`` must have a key that the output does not have, since the output
            has the other rows of the input.

    Raises:
        InvalidInput: a key is empty, of several rows, or in the output more often than it may be; or the output has
            other columns.
    """
    assert target.existing is not None
    with _noted(change.source, key, change.removed_keys()) as work:
        _require_own(work, change.source, key)
        require_same_columns(target.uri, _subset(target.existing.schema, key), _subset(change.source.schema, key))
        as_it_is(engine, target).to_duckdb(work.connection, "output", list(key))
        names = _names(key)
        work.execute(
            f"CREATE TABLE held AS SELECT {names}, count(*) AS {_ROWS} FROM output SEMI JOIN keys USING ({names}) "
            f"GROUP BY {names}"
        )
        twice = work.rows(f"SELECT * FROM held WHERE {_ROWS} > 1 ORDER BY {names} LIMIT 1")
        if twice:
            raise InvalidInput(
                f"{target.uri} has {twice[0][-1]} rows with {_told(key, twice[0])}; give more columns as the key, or "
                "score all anew by mode='overwrite'"
            )
        if all_new:
            fresh = "keys" if change.fresh is None else "fresh"
            if change.fresh is not None:
                _note(work, fresh, change.source, key, change.fresh())
            again = work.rows(f"SELECT * FROM held SEMI JOIN {fresh} USING ({names}) ORDER BY {names} LIMIT 1")
            if again:
                raise InvalidInput(
                    f"{change.source.label} has several rows with {_told(key, again[0])}: {target.uri} has one that "
                    "was scored before, and another came since; give more columns as the key, or leave one row out"
                )


def note_keys(work: "Workspace", source: "Source", key: Sequence[str], more: "Iterable[pa.RecordBatch]" = ()) -> None:
    """Make the table ``keys``: those of the rows, and some more."""
    _note(work, "keys", source, key, chain(source.batches(BATCH_ROWS, list(key)), more))


def as_it_is(engine: "Engine", target: Target) -> "Snapshot":
    """The output, to be read."""
    assert target.existing is not None
    return pin(engine, target.table(), version=target.existing.version, protection="reference")


@contextmanager
def _noted(source: "Source", key: Sequence[str], more: "Iterable[pa.RecordBatch]" = ()) -> "Iterator[Workspace]":
    from lakelineage.query.duckdb.workspace import Workspace

    unknown = [name for name in key if name not in source.schema.names]
    if unknown:
        raise InvalidInput(f"the key {unknown} is no column of {source.label}; it has {source.schema.names}")
    work = Workspace()
    try:
        note_keys(work, source, key, more)
        yield work
    finally:
        work.close()


def _require_own(work: "Workspace", source: "Source", key: Sequence[str]) -> None:
    from lakelineage.query.duckdb.workspace import quoted

    names = _names(key)
    null = " OR ".join(f"{quoted(name)} IS NULL" for name in key)
    empty = work.rows(f"SELECT count(*) FROM keys WHERE {null}")[0][0]
    if empty:
        raise InvalidInput(f"{source.label} has {empty:,} rows without a key ({', '.join(key)}); leave them out")
    twice = work.rows(
        f"SELECT {names}, count(*) AS {_ROWS} FROM keys GROUP BY {names} HAVING {_ROWS} > 1 ORDER BY {names} LIMIT 1"
    )
    if twice:
        raise InvalidInput(
            f"{source.label} has {twice[0][-1]} rows with {_told(key, twice[0])}; give more columns as the key"
        )


def _note(
    work: "Workspace", table: str, source: "Source", key: Sequence[str], keys: "Iterable[pa.RecordBatch]"
) -> None:
    import pyarrow as pa

    kinds = _subset(source.schema, key)
    reader = pa.RecordBatchReader.from_batches(kinds, (batch.cast(kinds) for batch in keys))
    work.connection.register("given", reader)
    work.execute(f"CREATE TABLE {table} AS SELECT * FROM given")


def _subset(schema: "pa.Schema", key: Sequence[str]) -> "pa.Schema":
    """The key columns that a schema has, as they are when none is empty."""
    import pyarrow as pa

    return pa.schema([pa.field(name, schema.field(name).type) for name in key if name in schema.names])


def _names(key: Sequence[str]) -> str:
    from lakelineage.query.duckdb.workspace import listed, quoted

    return listed([quoted(name) for name in key])


def _told(key: Sequence[str], row: Sequence[object]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in zip(key, row, strict=False))
