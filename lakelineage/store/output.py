"""Delta tables that users own and lakelineage writes to: results of scoring. One call is one commit."""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

from lakelineage.errors import ConcurrentWrite, InvalidInput, InvalidQuery, TableNotFound
from lakelineage.store import faults, forks
from lakelineage.store.delta import delta_errors

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

Mode = Literal["append", "overwrite"]
#: Key in the commit's metadata under which a write finds its own commit again.
_STAMP = "lakelineage.write"
#: Commits among which a write looks for its own first, before it reads the whole history.
_RECENT = 20
#: Column of what is merged that tells rows which are to be deleted.
_GONE = "_lakelineage_gone"


@dataclass(frozen=True, slots=True)
class Output:
    """A table as it is now.

    Attributes:
        table_id: id in its metadata.
        version: Delta version.
        schema: Arrow schema.
        is_empty: whether it has no data files.
    """

    table_id: str
    version: int
    schema: "pa.Schema"
    is_empty: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """What a commit says besides its rows, and lands with them.

    Attributes:
        transactions: application id → version. Two writers that commit one id from one state of the table conflict.
        notes: kept in the log for as long as the log is.
    """

    transactions: Mapping[str, int]
    notes: Mapping[str, str]


NOTHING = Record({}, {})


def table_id(uri: str, storage_options: Mapping[str, str]) -> str:
    """Id of the table at a place.

    Raises:
        TableNotFound: there is none.
    """
    return str(_require(uri, storage_options).metadata().id)


class Target:
    """A place that is written to once.

    What was read of it before still holds when the write lands; else that fails with ConcurrentWrite.

    Args:
        uri: folder or object-store URI of the table.
        storage_options: as deltalake takes them.
    """

    def __init__(self, uri: str, storage_options: Mapping[str, str]) -> None:
        self.uri = uri
        self.storage_options = dict(storage_options)
        self._delta = _open(uri, storage_options)
        self.existing = None if self._delta is None else _output(self._delta)

    def transaction(self, application: str) -> int | None:
        """Version that the last commit with an application id gave it; None if there is none."""
        if self._delta is None:
            return None
        found: int | None = self._delta.transaction_version(application)
        return found

    def table(self) -> Any:
        """The table as it is now, to be pinned: with its own storage options, which the lake's need not be.

        Raises:
            TableNotFound: there is none.
        """
        return _require(self.uri, self.storage_options)

    def notes(self) -> dict[int, dict[str, str]]:
        """Version → what it noted, of the newest commits by :meth:`write` and :meth:`merge`."""
        recent = [] if self._delta is None else self._delta.history(_RECENT)
        return {int(commit["version"]): commit for commit in recent if _STAMP in commit}

    def write(
        self, schema: "pa.Schema", batches: "Iterable[pa.RecordBatch]", mode: Mode, record: Record = NOTHING
    ) -> Output:
        """Write record batches as one commit, without holding them all in memory; make the table if it is not there.

        An error raised by ``batches`` passes through, and nothing is committed: data files already written are left for
        the table's vacuum. A commit whose answer was lost is found by its stamp and counted as landed.

        Args:
            schema: of every batch.
            batches: consumed once, in order.
            mode: "append" keeps the rows that are there and wants the same columns; "overwrite" replaces rows and
                schema.
            record: what lands with the rows.

        Returns:
            The table at the version that this call committed.

        Raises:
            InvalidInput: "append" to a table with other columns or types.
            ConcurrentWrite: another writer changed the table meanwhile; nothing was committed.
            StorageFull, StorageFailed: the store refused; nothing was committed.
        """
        if self.existing is not None and mode == "append":
            require_same_columns(self.uri, self.existing.schema, schema)
        return self._commit(schema, batches, partial(self._write, mode), record)

    def merge(
        self,
        schema: "pa.Schema",
        batches: "Iterable[pa.RecordBatch]",
        removed: "Iterable[pa.RecordBatch]",
        key: Sequence[str],
        record: Record = NOTHING,
    ) -> Output:
        """Update rows that have a key, insert those that nobody has, and delete some, as one commit.

        All that is merged is held in memory: the join's own side. The table must be there.

        Args:
            schema: of every batch.
            batches: rows; no two of one key, and none without a key.
            removed: keys of rows to delete, none of which is in ``batches``.
            key: columns that identify a row.
            record: what lands with the rows.

        Raises:
            As :meth:`write`.
        """
        import pyarrow as pa

        assert self.existing is not None
        require_same_columns(self.uri, self.existing.schema, schema)
        marked = schema.append(pa.field(_GONE, pa.bool_()))
        return self._commit(marked, _marked(marked, batches, removed), partial(self._merge, key), record)

    def _commit(self, schema: "pa.Schema", batches: "Iterable[pa.RecordBatch]", act: Any, record: Record) -> Output:
        from deltalake import CommitProperties, Transaction

        forks.guard()
        stamp, source = uuid.uuid4().hex, _Source(batches)
        properties = CommitProperties(
            custom_metadata={_STAMP: stamp, **record.notes},
            app_transactions=[Transaction(name, version) for name, version in record.transactions.items()],
        )
        try:
            with _write_errors(self.uri):
                act(source.reader(schema), properties)
            faults.reach("score.after_commit")
        except BaseException as error:
            if source.failure is not None:
                raise source.failure from None
            if _landed(self.uri, self.storage_options, stamp) is None:
                if self._delta is None and _open(self.uri, self.storage_options) is not None:
                    told = f"{self.uri}: another writer made the table meanwhile; score again"
                    raise ConcurrentWrite(told) from error
                raise
        return _require_landed(self.uri, self.storage_options, stamp)

    def _write(self, mode: Mode, reader: "pa.RecordBatchReader", properties: Any) -> None:
        from deltalake import write_deltalake

        write_deltalake(
            self.uri if self._delta is None else self._delta,
            reader,
            mode="error" if self._delta is None else mode,
            schema_mode="overwrite" if self._delta is not None and mode == "overwrite" else None,
            storage_options=self.storage_options,
            commit_properties=properties,
        )

    def _merge(self, key: Sequence[str], reader: "pa.RecordBatchReader", properties: Any) -> None:
        assert self._delta is not None
        merger = self._delta.merge(
            reader,
            " AND ".join(f"t.{_quoted(name)} = s.{_quoted(name)}" for name in key),
            source_alias="s",
            target_alias="t",
            streamed_exec=False,  # statistics of the keys then tell which files of the table cannot have them
            commit_properties=properties,
        )
        merger.when_matched_delete(f"s.{_GONE}").when_matched_update_all(
            except_cols=[_GONE]
        ).when_not_matched_insert_all(f"NOT s.{_GONE}", except_cols=[_GONE]).execute()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _marked(
    schema: "pa.Schema", batches: "Iterable[pa.RecordBatch]", removed: "Iterable[pa.RecordBatch]"
) -> "Iterator[pa.RecordBatch]":
    import pyarrow as pa

    def cells(batch: "pa.RecordBatch", gone: bool) -> "pa.RecordBatch":
        found = {name: batch.column(name) for name in batch.schema.names}
        found[_GONE] = pa.repeat(pa.scalar(gone), batch.num_rows)
        rows = batch.num_rows
        arrays = [found[f.name].cast(f.type) if f.name in found else pa.nulls(rows, f.type) for f in schema]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    for batch in batches:
        yield cells(batch, gone=False)
    for batch in removed:
        yield cells(batch, gone=True)


@contextmanager
def _write_errors(uri: str) -> Iterator[None]:
    from deltalake.exceptions import CommitFailedError

    try:
        with delta_errors(f"writing {uri}"):
            yield
    except CommitFailedError as error:
        raise ConcurrentWrite(f"{uri}: another writer changed the table meanwhile; score again ({error})") from error


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
            for batch in self._batches:
                faults.reach("score.batch")
                yield batch
            faults.reach("score.after_rows")
        except GeneratorExit:
            raise
        except BaseException as error:
            self.failure = error
            raise

    def reader(self, schema: "pa.Schema") -> "pa.RecordBatchReader":
        import pyarrow as pa

        return pa.RecordBatchReader.from_batches(schema, self._pull())


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
    is_empty = delta.get_add_actions().num_rows == 0
    return Output(str(delta.metadata().id), delta.version(), _arrow_schema(delta), is_empty)


def _landed(uri: str, storage_options: Mapping[str, str], stamp: str) -> Output | None:
    delta = _open(uri, storage_options)
    if delta is None:
        return None
    for commit in chain.from_iterable(map(delta.history, (_RECENT, None))):
        if commit.get(_STAMP) == stamp:
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


def require_same_columns(uri: str, existing: "pa.Schema", new: "pa.Schema") -> None:
    """Refuse rows with other columns than a table has.

    Raises:
        InvalidInput: columns are missing, are too many, or have other types.
    """
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
