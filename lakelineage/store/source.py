"""Users' Delta tables: which files a version of a table has. Only metadata is read here, never rows.

Lake tables are in :mod:`lakelineage.store.delta`; how managed tables are written, in
:mod:`lakelineage.store.source_write`.
"""

import datetime as dt
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from lakelineage.errors import InvalidInput, StorageFailed, TableNotFound, VersionNotFound
from lakelineage.model.moments import parse_time
from lakelineage.store import forks, source_log
from lakelineage.store.delta import delta_errors

if TYPE_CHECKING:
    import pyarrow.fs as pafs
    from deltalake import DeltaTable

Options = Mapping[str, str] | None
_PHYSICAL_NAME = "delta.columnMapping.physicalName"


@dataclass(frozen=True, slots=True)
class DataFile:
    """A data file as the log of a table names it.

    Attributes:
        path: as in the log: percent-encoded, relative to the table unless absolute.
        size: bytes.
        partition_values: (partition column, value as text) in the order of the partition columns; None is null.
        deletion_vector: descriptor of its deletion vector as JSON with sorted keys; None if it has none.
        num_rows: rows before the deletion vector; None where the log does not tell.
    """

    path: str
    size: int
    partition_values: tuple[tuple[str, str | None], ...] = ()
    deletion_vector: str | None = None
    num_rows: int | None = None


@dataclass(frozen=True, slots=True)
class VersionHead:
    """Which version of which table, without its files.

    Attributes:
        uri: absolute path without a trailing slash, or object-store URI.
        table_id: id in the table's metadata.
        version: Delta version, from 0.
        committed_at: when it was committed, µs since 1970 UTC; None if the log no longer tells.
        storage_options: what the table was opened with.
    """

    uri: str
    table_id: str
    version: int
    committed_at: int | None
    storage_options: Options = None


@dataclass(frozen=True, slots=True)
class TableVersion:
    """A Delta table at one version.

    Attributes:
        uri: absolute path without a trailing slash, or object-store URI.
        table_id: id in the table's metadata.
        version: Delta version, from 0.
        committed_at: when it was committed, µs since 1970 UTC; None if the log no longer tells.
        schema_json: Delta schema.
        partition_columns: in order.
        files: sorted by path.
        reader_features: of the table's protocol; what they mean for reading is judged by the reader.
        column_mapping: how files name columns: ``name`` or ``id``; None: as the schema does.
        storage_options: what the table was opened with.
    """

    uri: str
    table_id: str
    version: int
    committed_at: int | None
    schema_json: str
    partition_columns: tuple[str, ...]
    files: tuple[DataFile, ...]
    reader_features: tuple[str, ...] = ()
    column_mapping: str | None = None
    storage_options: Options = None

    @property
    def head(self) -> VersionHead:
        """Which version it is."""
        return VersionHead(self.uri, self.table_id, self.version, self.committed_at, self.storage_options)


def resolve(
    uri: str,
    storage_options: Options = None,
    *,
    version: int | None = None,
    as_of: dt.datetime | dt.date | str | None = None,
) -> TableVersion:
    """A version of a Delta table with its files: :func:`identify`, then :func:`describe`."""
    return describe(identify(uri, storage_options, version=version, as_of=as_of))


def identify(
    uri: str,
    storage_options: Options = None,
    *,
    version: int | None = None,
    as_of: dt.datetime | dt.date | str | None = None,
) -> VersionHead:
    """Find a version of a Delta table; the newest if neither ``version`` nor ``as_of`` is given.

    Args:
        uri: folder, ``file://`` URI or object-store URI of the table.
        storage_options: credentials, as deltalake takes them.
        version: Delta version.
        as_of: the newest version committed at or before this time. A time without a zone is UTC; a date is the
            start of its day.

    Raises:
        TableNotFound: there is no Delta table.
        VersionNotFound: there is no such version, or its log was cleaned up.
        InvalidInput: both ``version`` and ``as_of``, or a value that is neither.
    """
    place = absolute(uri)
    _check_version(version)
    moment = None if as_of is None else parse_time(as_of)
    if version is not None and moment is not None:
        raise InvalidInput(f"version={version!r} and as_of={as_of!r} were both given; give one of them")
    table = _open(place, storage_options, without_files=True)
    with delta_errors(f"reading the log of {place}"):
        if moment is not None:
            version = _version_at(moment, place, storage_options)
        if version is not None and version != table.version():
            table = _open_version(place, storage_options, version, table.version(), without_files=True)
        committed = source_log.commit_time(filesystem(place, storage_options), table.version())
        return VersionHead(place, str(table.metadata().id), table.version(), committed, storage_options)


def describe(head: VersionHead) -> TableVersion:
    """The version with its schema and files.

    Raises:
        VersionNotFound: its log was cleaned up.
        StorageFailed: the store cannot be reached, or another table is there by now.
    """
    table = _open_version(head.uri, head.storage_options, head.version, head.version)
    with delta_errors(f"reading the log of {head.uri}"):
        if str(table.metadata().id) != head.table_id:
            raise StorageFailed(f"{head.uri} was dropped and made again at this moment; try again")
        return _describe(table, head)


def table_id_at(uri: str, storage_options: Options = None) -> str | None:
    """Id of the Delta table that is at a place now; None if there is none."""
    try:
        return str(_open(absolute(uri), storage_options, without_files=True).metadata().id)
    except TableNotFound:
        return None


def is_delta(uri: str, storage_options: Options = None) -> bool:
    """Whether there is a Delta table. Local places are looked at without the Delta engine."""
    place = absolute(uri)
    if is_local(place):
        return Path(place, "_delta_log").is_dir()
    return table_id_at(place, storage_options) is not None


def from_object(source: object) -> tuple[str, Options, int] | None:
    """Where, with which options and at which version a ``deltalake.DeltaTable`` is; None for anything else."""
    kind = type(source)
    if kind.__name__ != "DeltaTable" or not kind.__module__.startswith("deltalake"):
        return None
    forks.guard()
    table: Any = source
    return absolute(table.table_uri), table._storage_options, table.version()


def filesystem(uri: str, storage_options: Options = None) -> "pafs.FileSystem":
    """Arrow's view of an object store, with paths relative to ``uri``."""
    forks.guard()
    import pyarrow.fs as pafs
    from deltalake.fs import DeltaStorageHandler

    return pafs.PyFileSystem(DeltaStorageHandler(uri, dict(storage_options or {})))


def absolute(uri: str) -> str:
    """The place in one spelling.

    Raises:
        InvalidInput: it is empty.
    """
    if not uri.strip():
        raise InvalidInput("the table's path is empty; name a folder or an object-store URI")
    parts = urlsplit(uri) if "://" in uri else None
    if parts is not None and parts.scheme != "file":
        return uri.rstrip("/")
    plain = unquote(parts.path) if parts is not None else uri
    return os.path.abspath(os.path.expanduser(plain))


def is_local(uri: str) -> bool:
    """Whether a place (as ``absolute`` spells it) is a folder of this machine."""
    return "://" not in uri


def _check_version(version: object) -> None:
    if version is None:
        return
    if isinstance(version, bool) or not isinstance(version, int):
        raise InvalidInput(f"version must be an integer, not {type(version).__name__} ({version!r})")
    if version < 0:
        raise InvalidInput(f"version {version} is negative; Delta versions count from 0")


def _open(place: str, options: Options, without_files: bool = False) -> "DeltaTable":
    remedy = "name the folder that has _delta_log in it (a CSV, Parquet or JSON file is given by its own path)"
    if is_local(place) and re.search(r"%[0-9A-Fa-f]{2}|\\", place):
        raise InvalidInput(f"{place!r} has a %xx or a backslash, which Delta takes for something else; rename it")
    if is_local(place) and not Path(place, "_delta_log").is_dir():
        found = "is no Delta table" if Path(place).exists() else "does not exist"
        raise TableNotFound(f"{place} {found}; {remedy}")
    forks.guard()
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    try:
        return DeltaTable(place, storage_options=_plain(options), without_files=without_files)
    except TableNotFoundError as error:
        raise TableNotFound(f"{place} is no Delta table; {remedy}") from error
    except (DeltaError, OSError) as error:
        _refuse(place, error)
        raise StorageFailed(f"opening the Delta table {place}: {error}") from error


def _refuse(place: str, error: Exception) -> None:
    """Say which table feature it is that the Delta engine cannot read, if that is the error."""
    feature = re.search(r"[Ff]eature '?(\w+)'? is not supported|([Cc]atalog-managed) table", str(error))
    if feature:
        raise InvalidInput(
            f"{place} uses the table feature {feature[1] or feature[2]}, which the Delta engine cannot read; copy the "
            "table to one without it, and use that"
        ) from error


def _open_version(place: str, options: Options, version: int, newest: int, without_files: bool = False) -> "DeltaTable":
    if version > newest:
        raise VersionNotFound(f"{place} has no version {version}; its newest is {newest}")
    forks.guard()
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        return DeltaTable(place, version=version, storage_options=_plain(options), without_files=without_files)
    except (DeltaError, OSError) as error:
        _refuse(place, error)
        raise VersionNotFound(
            f"version {version} of {place} can no longer be read, its log was cleaned up (newest is {newest}): {error}"
        ) from error


def _plain(options: Options) -> dict[str, str] | None:
    return dict(options) if options else None


def _version_at(moment: int, place: str, options: Options) -> int:
    """The newest version committed by then. Commit times are made to never run backwards, as Delta readers do."""
    times = source_log.commit_times(filesystem(place, options))
    latest, found = 0, None
    for version, micros in times:
        latest = max(latest, micros)
        if latest <= moment:
            found = version
    if found is None:
        first = f"version {times[0][0]}, of {_iso(times[0][1])}" if times else "none"
        raise VersionNotFound(f"{place} has no version as of {_iso(moment)}; the first in its log is {first}")
    return found


def _iso(micros: int) -> str:
    return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=micros)).isoformat()


def _describe(table: "DeltaTable", head: VersionHead) -> TableVersion:
    metadata, place, options = table.metadata(), head.uri, head.storage_options
    features = tuple(sorted(table.protocol().reader_features or ()))
    partition_columns = tuple(metadata.partition_columns)
    return TableVersion(
        uri=place,
        table_id=head.table_id,
        version=head.version,
        committed_at=head.committed_at,
        schema_json=_in_one_order(table.schema().to_json()),
        partition_columns=partition_columns,
        files=tuple(sorted(_files(table, place, options, partition_columns, features), key=lambda f: f.path)),
        reader_features=features,
        column_mapping=_mapping_mode(metadata.configuration),
        storage_options=options,
    )


def _in_one_order(schema_json: str) -> str:
    """The schema with the metadata of its fields sorted: the engine gives them in another order each time."""

    def sorted_keys(value: Any) -> Any:
        return json.loads(json.dumps(value, sort_keys=True))

    def ordered(value: Any) -> Any:
        if isinstance(value, list):
            return [ordered(one) for one in value]
        if not isinstance(value, dict):
            return value
        return {
            k: json.loads(json.dumps(v, sort_keys=True)) if k == "metadata" else ordered(v) for k, v in value.items()
        }

    if '"metadata":{"' not in schema_json:
        return schema_json
    return json.dumps(ordered(json.loads(schema_json)), ensure_ascii=False, separators=(",", ":"))


def _mapping_mode(configuration: Mapping[str, str | None]) -> str | None:
    mode = configuration.get("delta.columnMapping.mode")
    return None if mode == "none" else mode


def _files(
    table: "DeltaTable", place: str, options: Options, partition_columns: tuple[str, ...], features: tuple[str, ...]
) -> list[DataFile]:
    import pyarrow as pa

    actions = pa.table(table.get_add_actions(flatten=False))
    chosen = ["path", "size_bytes", "num_records"] + (["partition"] if "partition" in actions.column_names else [])
    rows = actions.select(chosen).to_pylist()
    files = [
        DataFile(
            row["path"],
            row["size_bytes"],
            tuple((name, _text((row.get("partition") or {}).get(name))) for name in partition_columns),
            None,
            row["num_records"],
        )
        for row in rows
    ]
    if not _needs_log(actions.schema, files, features):
        return files
    log = source_log.adds(place, options, table.version(), filesystem)
    stored = _stored_names(table)
    return [_exact(file, {name: stored.get(name, name) for name in partition_columns}, log, place) for file in files]


def _stored_names(table: "DeltaTable") -> dict[str, str]:
    """Column → the name that files and partition values have for it, where that is another (column mapping)."""
    fields = table.schema().fields
    return {f.name: f.metadata[_PHYSICAL_NAME] for f in fields if _PHYSICAL_NAME in f.metadata}


def _needs_log(schema: Any, files: list[DataFile], features: tuple[str, ...]) -> bool:
    """Whether the engine's answer may be inexact.

    It makes '' and null one, is silent on deletion vectors, and may not know values of a type before it was widened.
    """
    if {"deletionVectors", "columnMapping", "typeWidening", "typeWidening-preview"} & set(features):
        return True
    if "partition" not in schema.names:
        return False
    import pyarrow as pa

    texts = [f.name for f in schema.field("partition").type if pa.types.is_string(f.type) or pa.types.is_binary(f.type)]
    return any(value is None and name in texts for file in files for name, value in file.partition_values)


def _exact(
    file: DataFile, stored_names: Mapping[str, str], log: Mapping[str, Mapping[str, Any]], place: str
) -> DataFile:
    add = log.get(file.path)
    if add is None:
        raise StorageFailed(f"the log of {place} has no entry for {file.path}; check that its _delta_log is complete")
    values = dict(add["partitionValues"] or {})
    known = dict(file.partition_values)
    exact = tuple((name, values.get(stored, known[name])) for name, stored in stored_names.items())
    return DataFile(file.path, file.size, exact, source_log.deletion_vector(add), file.num_rows)


def _text(value: Any) -> str | None:
    """A partition value as the Delta protocol writes it ("Partition Value Serialization")."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return format(value, "f") if isinstance(value, Decimal) else str(value)
