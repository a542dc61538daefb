"""Managed Delta tables: data that was not Delta becomes a version of one.

The Parquet files are written here and committed by the Delta engine, because the engine's own writer changes the
order of rows when it is given more than one batch (measured with deltalake 1.6.3), and training data has an order.

Which content a version holds is kept as an application transaction (id ``content-<hash>``, the version as its number):
it is committed together with the content, and unlike commit metadata it survives checkpoints and log clean-up.
"""

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakelineage.errors import ConcurrentWrite, StorageFailed, VersionNotFound
from lakelineage.model import ids
from lakelineage.model.clock import wall_clock
from lakelineage.store import files, forks
from lakelineage.store.delta import delta_errors
from lakelineage.store.root import Root, storage_errors
from lakelineage.store.source import TableVersion, is_delta, resolve

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable, Schema
    from deltalake.transaction import AddAction

#: Pinned versions of managed tables stay readable by time travel: their log and files are kept for a lifetime.
_PROPERTIES = {
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
}
_DESCRIPTION = "Data that lakelineage converted to Delta, in order to pin it."
#: What a description says of the origin; the Delta engine refuses properties that it does not know (deltalake 1.6.3).
_MADE_FROM = f"{_DESCRIPTION} Made from: "
#: Rows of one data file, at most.
_FILE_ROWS = 4_000_000
_ROW_GROUP = 131_072
_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Origin:
    """A file or folder that data is converted from.

    Attributes:
        place: absolute path or URI.
        recorded: whether the lake has it that a table (URI) was made from there. It is asked for tables that do not
            say themselves what they were made from, as older versions wrote them.
    """

    place: str
    recorded: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class _Written:
    """A data file in place, not yet committed."""

    path: str
    size: int
    num_rows: int


def convert(
    root: Root,
    folder: str,
    content: str,
    schema: "pa.Schema",
    batches: "Callable[[], Iterable[pa.RecordBatch]]",
    origin: Origin | None = None,
) -> TableVersion | None:
    """Make the content the newest version of a managed table, unless a version of it holds that content already.

    Args:
        root: the lake.
        folder: of the table, relative to the lake.
        content: hash of the content.
        schema: of the batches, with types that Delta has.
        batches: gives the rows, in order; called at most once.
        origin: where the data comes from; a table belongs to one origin. None: it has no place.

    Returns:
        The version that holds the content; None if the table belongs to another origin. Nothing is kept then.

    Raises:
        ConcurrentWrite: other writers of the same table won every attempt.
    """
    if _is_of_another(root, folder, origin):
        return None
    held = _version_with(root, folder, content)
    if held is not None:
        return held
    written = list(_write_files(root, folder, schema, batches()))
    for _ in range(_ATTEMPTS):
        if _is_of_another(root, folder, origin):  # which made it while our files were being written
            for file in written:
                root.remove(f"{folder}/{file.path}")
            return None
        _commit(root, folder, content, schema, written, origin)
        made = _version_with(root, folder, content)  # ours, or another writer's of the same content
        if made is not None:
            return made
    raise ConcurrentWrite(f"the managed table {root.child(folder)} was written by others at the same time; try again")


def _is_of_another(root: Root, folder: str, origin: Origin | None) -> bool:
    uri = root.child(folder)
    if origin is None or not is_delta(uri, root.storage_options):
        return False
    description = str(_table(root, folder).metadata().description or "")
    if description.startswith(_MADE_FROM):
        return description != _MADE_FROM + origin.place
    return not origin.recorded(uri)


def _version_with(root: Root, folder: str, content: str) -> TableVersion | None:
    uri = root.child(folder)
    if not is_delta(uri, root.storage_options):
        return None
    return _held(root, _table(root, folder), uri, content)


def _held(root: Root, table: "DeltaTable", uri: str, content: str) -> TableVersion | None:
    """The version of an opened table that holds the content."""
    version = table.transaction_version(f"content-{content}")
    if version is None:
        return None
    try:
        found = resolve(uri, root.storage_options, version=version)
    except VersionNotFound:
        return None  # its log was cleaned up by hand: write the content once more
    there = files.states(uri, root.storage_options, [file.path for file in found.files])
    return found if None not in there else None  # its files were erased: the same


def _table(root: Root, folder: str) -> "DeltaTable":
    forks.guard()
    from deltalake import DeltaTable

    with delta_errors(f"opening {root.child(folder)}"):
        return DeltaTable(root.child(folder), storage_options=root.storage_options)


def _write_files(
    root: Root, folder: str, schema: "pa.Schema", batches: "Iterable[pa.RecordBatch]"
) -> Iterator[_Written]:
    """Write the rows as Parquet files whose names sort in the order of the rows."""
    import pyarrow.parquet as pq

    unique, pending = ids.new_id(), iter(batches)
    batch = next(pending, None)
    with tempfile.TemporaryDirectory(prefix="lakelineage-") as scratch:
        number = 0
        while batch is not None:
            local, rows = Path(scratch, f"part-{number:05d}-{unique}.zstd.parquet"), 0
            with storage_errors(f"writing {local}"), pq.ParquetWriter(local, schema, compression="zstd") as writer:
                while batch is not None and rows < _FILE_ROWS:
                    writer.write_batch(batch, row_group_size=_ROW_GROUP)
                    rows += batch.num_rows
                    batch = next(pending, None)
            yield _placed(root, folder, local, rows)
            number += 1


def _placed(root: Root, folder: str, local: Path, rows: int) -> _Written:
    root.upload(local, f"{folder}/{local.name}")
    size = local.stat().st_size
    local.unlink()
    return _Written(local.name, size, rows)


def _commit(
    root: Root, folder: str, content: str, schema: "pa.Schema", written: list[_Written], origin: Origin | None
) -> None:
    """Commit the files as the whole of the next version, unless another commit is faster."""
    forks.guard()
    from deltalake import Schema
    from deltalake.exceptions import CommitFailedError

    uri = root.child(folder)
    actions, delta_schema = [_action(file) for file in written], Schema.from_arrow(schema)
    if not is_delta(uri, root.storage_options):
        _create(root, uri, content, delta_schema, actions, origin)
        return
    table = _table(root, folder)
    if _held(root, table, uri, content) is not None:
        return  # another writer of the same content came first, while our files were being written
    _allow_local_times(table, schema)
    transaction = _transaction(content, table.version() + 1)
    with contextlib.suppress(CommitFailedError), delta_errors(f"writing {uri}"):
        table.create_write_transaction(actions, "overwrite", delta_schema, commit_properties=transaction)


def _create(
    root: Root, uri: str, content: str, schema: "Schema", actions: "list[AddAction]", origin: Origin | None
) -> None:
    from deltalake.exceptions import DeltaError
    from deltalake.transaction import create_table_with_add_actions

    try:
        create_table_with_add_actions(
            uri,
            schema,
            actions,
            mode="error",
            description=_DESCRIPTION if origin is None else _MADE_FROM + origin.place,
            configuration=_PROPERTIES,
            storage_options=root.storage_options,
            commit_properties=_transaction(content, 0),
        )
    except (DeltaError, OSError) as error:
        if not is_delta(uri, root.storage_options):
            raise StorageFailed(f"creating the managed table {uri}: {error}") from error


def _action(file: _Written) -> "AddAction":
    from deltalake.transaction import AddAction

    stats = json.dumps({"numRecords": file.num_rows})
    return AddAction(file.path, file.size, {}, wall_clock() // 1000, True, stats)


def _transaction(content: str, version: int) -> "CommitProperties":
    from deltalake import CommitProperties, Transaction

    # No retries: the number of the transaction is right only for the very next version.
    return CommitProperties(app_transactions=[Transaction(f"content-{content}", version)], max_commit_retries=0)


def _allow_local_times(table: "DeltaTable", schema: "pa.Schema") -> None:
    """Timestamps without a zone are a table feature, which overwriting does not switch on by itself."""
    import pyarrow as pa
    from deltalake import TableFeatures

    if "timestampNtz" in (table.protocol().reader_features or ()):
        return
    if any(_has_local_time(field.type, pa) for field in schema):
        with delta_errors(f"adding timestampNtz to {table.table_uri}"):
            table.alter.add_feature(TableFeatures.TimestampWithoutTimezone, allow_protocol_versions_increase=True)


def _has_local_time(kind: Any, pa: Any) -> bool:
    if pa.types.is_timestamp(kind):
        return kind.tz is None
    return any(_has_local_time(kind.field(i).type, pa) for i in range(kind.num_fields))
