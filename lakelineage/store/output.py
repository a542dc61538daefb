"""Delta tables that users own and lakelineage writes to: results of scoring. One call is one commit."""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lakelineage.errors import ConcurrentWrite, InvalidInput, InvalidQuery, TableNotFound
from lakelineage.store import forks
from lakelineage.store.delta import delta_errors

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

Mode = Literal["append", "overwrite"]
#: Key in the commit's metadata under which a write finds its own commit again.
_STAMP = "lakelineage.write"


@dataclass(frozen=True, slots=True)
class Output:
    """A table as it is now.

    Attributes:
        table_id: id in its metadata.
        version: Delta version.
        schema: Arrow schema.
    """

    table_id: str
    version: int
    schema: "pa.Schema"


def describe(uri: str, storage_options: Mapping[str, str]) -> Output | None:
    """The table at a place, or None if there is none yet."""
    delta = _open(uri, storage_options)
    return None if delta is None else _output(delta)


def table_id(uri: str, storage_options: Mapping[str, str]) -> str:
    """Id of the table at a place.

    Raises:
        TableNotFound: there is none.
    """
    return str(_require(uri, storage_options).metadata().id)


def write_stream(
    uri: str,
    storage_options: Mapping[str, str],
    schema: "pa.Schema",
    batches: "Iterable[pa.RecordBatch]",
    mode: Mode,
) -> Output:
    """Write record batches as one commit, without holding them all in memory; make the table if it is not there.

    An error raised by ``batches`` passes through, and nothing is committed: data files already written are left for
    the table's vacuum. A commit whose answer was lost is found by its stamp and counted as landed.

    Args:
        uri: folder or object-store URI of the table.
        storage_options: as deltalake takes them.
        schema: of every batch.
        batches: consumed once, in order.
        mode: "append" keeps the rows that are there and wants the same columns; "overwrite" replaces rows and schema.

    Returns:
        The table at the version that this call committed.

    Raises:
        InvalidInput: "append" to a table with other columns or types.
        ConcurrentWrite: another writer changed the table meanwhile; nothing was committed.
        StorageFull, StorageFailed: the store refused; nothing was committed.
    """
    forks.guard()
    existing = _open(uri, storage_options)
    if existing is not None and mode == "append":
        _require_same_columns(uri, _arrow_schema(existing), schema)
    stamp, source = uuid.uuid4().hex, _Source(batches)
    try:
        _write(existing, uri, storage_options, source.reader(schema), mode, stamp)
    except BaseException:
        if source.failure is not None:
            raise source.failure from None
        if _landed(uri, storage_options, stamp) is None:
            raise
    return _require_landed(uri, storage_options, stamp)


def rows_where(uri: str, storage_options: Mapping[str, str], where: str | None, limit: int) -> "pa.Table":
    """Rows of a Delta table that a SQL condition selects (DataFusion's dialect; deletion vectors are honoured).

    Raises:
        TableNotFound: there is no Delta table at the place.
        InvalidQuery: the condition cannot be understood.
    """
    import pyarrow as pa
    from deltalake import QueryBuilder

    delta = _require(uri, storage_options)
    condition = "" if where is None else f" WHERE ({where})"
    query = f"SELECT * FROM output{condition} LIMIT {int(limit)}"
    try:
        found = pa.table(QueryBuilder().register("output", delta).execute(query).read_all())
    except Exception as error:  # the query engine's errors have no common class of their own
        raise InvalidQuery(f"the condition {where!r} on {uri} is refused: {error}") from error
    return found.cast(pa.schema([field.with_type(_without_view(field.type)) for field in found.schema]))


def _without_view(kind: "pa.DataType") -> "pa.DataType":
    """DataFusion answers with string views, for which Arrow lacks many functions."""
    import pyarrow as pa

    return {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}.get(kind, kind)


class _Source:
    """Batches as a stream that remembers the error which broke it: the Delta engine only keeps its text."""

    def __init__(self, batches: "Iterable[pa.RecordBatch]") -> None:
        self._batches = batches
        self.failure: BaseException | None = None

    def _pull(self) -> "Iterator[pa.RecordBatch]":
        try:
            yield from self._batches
        except GeneratorExit:
            raise
        except BaseException as error:
            self.failure = error
            raise

    def reader(self, schema: "pa.Schema") -> "pa.RecordBatchReader":
        import pyarrow as pa

        return pa.RecordBatchReader.from_batches(schema, self._pull())


def _write(
    existing: "DeltaTable | None",
    uri: str,
    storage_options: Mapping[str, str],
    reader: "pa.RecordBatchReader",
    mode: Mode,
    stamp: str,
) -> None:
    from deltalake import CommitProperties, write_deltalake
    from deltalake.exceptions import CommitFailedError

    try:
        with delta_errors(f"writing {uri}"):
            write_deltalake(
                uri if existing is None else existing,
                reader,
                mode="error" if existing is None else mode,
                schema_mode="overwrite" if existing is not None and mode == "overwrite" else None,
                storage_options=dict(storage_options),
                commit_properties=CommitProperties(custom_metadata={_STAMP: stamp}),
            )
    except CommitFailedError as error:
        raise ConcurrentWrite(f"{uri}: another writer changed the table meanwhile; score again ({error})") from error


def _open(uri: str, storage_options: Mapping[str, str]) -> "DeltaTable | None":
    forks.guard()
    from deltalake import DeltaTable
    from deltalake.exceptions import TableNotFoundError

    try:
        with delta_errors(f"opening {uri}"):
            if not DeltaTable.is_deltatable(uri, dict(storage_options)):
                return None
            return DeltaTable(uri, storage_options=dict(storage_options))
    except TableNotFoundError:
        return None


def _require(uri: str, storage_options: Mapping[str, str]) -> "DeltaTable":
    delta = _open(uri, storage_options)
    if delta is None:
        raise TableNotFound(f"{uri} is no Delta table; name the output of a scoring")
    return delta


def _arrow_schema(delta: "DeltaTable") -> "pa.Schema":
    import pyarrow as pa

    return pa.schema(delta.schema().to_arrow())


def _output(delta: "DeltaTable") -> Output:
    return Output(str(delta.metadata().id), delta.version(), _arrow_schema(delta))


def _landed(uri: str, storage_options: Mapping[str, str], stamp: str) -> Output | None:
    delta = _open(uri, storage_options)
    for commit in delta.history() if delta is not None else ():
        if commit.get(_STAMP) == stamp and delta is not None:
            delta.load_as_version(int(commit["version"]))
            return _output(delta)
    return None


def _require_landed(uri: str, storage_options: Mapping[str, str], stamp: str) -> Output:
    found = _landed(uri, storage_options, stamp)
    if found is None:
        raise ConcurrentWrite(f"{uri}: the commit {stamp} is gone from the log; was the table dropped meanwhile?")
    return found


def _plain(kind: "pa.DataType") -> Any:
    """A type as Delta stores it: without Arrow's choice of layout."""
    import pyarrow as pa

    layouts = {pa.large_string(): pa.string(), pa.string_view(): pa.string()}
    layouts |= {pa.large_binary(): pa.binary(), pa.binary_view(): pa.binary()}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_list_view(kind):
        return ("list", _plain(kind.value_type))
    if pa.types.is_timestamp(kind):
        return ("timestamp", kind.tz is not None)
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    return layouts.get(kind, kind)


def _require_same_columns(uri: str, existing: "pa.Schema", new: "pa.Schema") -> None:
    missing = sorted(set(existing.names) - set(new.names))
    extra = sorted(set(new.names) - set(existing.names))
    shared = sorted(set(existing.names) & set(new.names))
    other = [
        f"{name}: {existing.field(name).type} there, {new.field(name).type} here"
        for name in shared
        if _plain(existing.field(name).type) != _plain(new.field(name).type)
    ]
    if missing or extra or other:
        raise InvalidInput(
            f"{uri} has other columns than what is to be appended: only there {missing}, only here {extra}, "
            f"of another type {other}; choose another output, or mode='overwrite' to replace the table"
        )
