"""Pinning: a source becomes a snapshot, recorded in one change or not at all."""

import datetime as dt
import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lakelineage.errors import Conflict, InvalidInput, TableNotFound
from lakelineage.model import validate
from lakelineage.model.changes import Change
from lakelineage.model.values import Protection
from lakelineage.snapshots import archive, convert, predicate, records
from lakelineage.snapshots.places import PinnedFile, local_place
from lakelineage.snapshots.snapshot import Snapshot, check_columns
from lakelineage.store import source as tables
from lakelineage.store.source import TableVersion

if TYPE_CHECKING:
    from lakelineage.engine import Engine

Moment = dt.datetime | dt.date | str


@dataclass
class _Known:
    """What this process knows of a lake's pins, to spare queries."""

    levels: dict[str, Protection] = field(default_factory=dict)
    inputs: dict[str, dict[str, Snapshot]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def note(self, snapshot: Snapshot) -> None:
        """A snapshot was recorded; levels only rise."""
        if self.levels.get(snapshot.id) is not Protection.ARCHIVED:
            self.levels[snapshot.id] = Protection(snapshot.protection)


_known: "weakref.WeakKeyDictionary[Engine, _Known]" = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class _Found:
    """A source, resolved."""

    table: TableVersion
    name: str | None
    origin: str | None = None


def pin(
    engine: "Engine",
    source: Any,
    *,
    version: int | None = None,
    as_of: Moment | None = None,
    name: str | None = None,
    columns: Sequence[str] | None = None,
    where: str | None = None,
    protection: str | None = None,
) -> Snapshot:
    """Pin a source outside a run.

    Args:
        engine: the lake.
        source: path or URI of a Delta table, ``deltalake.DeltaTable``, ``Snapshot``, path of a CSV, TSV, Parquet or
            JSON file, or Arrow, pandas or Polars data.
        version: Delta version.
        as_of: the newest version committed by then (ISO 8601; without a zone, UTC).
        name: name; for data that has no path it is also the name of the managed table.
        columns: columns to read back by default.
        where: rows to read back by default, as a SQL condition.
        protection: ``reference`` or ``archived``; by default the lake's, else archived where hard links make it free.

    Raises:
        TableNotFound, VersionNotFound: no such table or version.
        InvalidInput: anything else that is wrong with the call. Nothing is recorded then.
        SnapshotLost: the table's own files are missing.
    """
    snapshot = _prepared(engine, source, version, as_of, name, columns, where, protection)
    with _knowledge(engine) as known:
        engine.append((*_new_rows(engine, known, snapshot), records.pin_row(snapshot, None)))
        known.note(snapshot)
    return snapshot


def use(
    engine: "Engine",
    run_id: str,
    source: Any,
    *,
    version: int | None = None,
    as_of: Moment | None = None,
    name: str | None = None,
    context: str = "training",
    columns: Sequence[str] | None = None,
    where: str | None = None,
    protection: str | None = None,
) -> Snapshot:
    """Pin a source as an input of a run. Arguments and errors are those of :func:`pin`, and some more.

    Args:
        engine: the lake.
        run_id: the run, which must be active (the caller checks).
        source: see :func:`pin`.
        version: see :func:`pin`.
        as_of: see :func:`pin`.
        name: what the run calls it; by default the last part of the path, without the suffix of a file.
        context: training, validation, test, ….
        columns: see :func:`pin`.
        where: see :func:`pin`.
        protection: see :func:`pin`.

    Raises:
        Conflict: the run already uses something else by this name. Using the same again changes nothing.
    """
    checked_context = validate.key(context, "context")
    snapshot = _prepared(engine, source, version, as_of, name, columns, where, protection)
    named = replace(snapshot, context=checked_context, name=validate.key(snapshot.name or "", "name of the input"))
    with _knowledge(engine) as known:
        if run_id not in known.inputs:
            known.inputs[run_id] = dict(records.inputs_of(engine, run_id))
        earlier = known.inputs[run_id].get(str(named.name))
        if earlier is not None:
            return _again(earlier, named, run_id)
        engine.append(
            (
                *_new_rows(engine, known, named),
                *records.use_rows(named, run_id),
                records.pin_row(named, run_id),
            )
        )
        known.note(named)
        known.inputs[run_id][str(named.name)] = named
    return named


def _again(earlier: Snapshot, now: Snapshot, run_id: str) -> Snapshot:
    def what(snapshot: Snapshot) -> tuple[Any, ...]:
        return snapshot.id, snapshot.context, snapshot.columns, snapshot.where

    if what(earlier) == what(now):
        return now
    raise Conflict(
        f"run {run_id} already uses {now.name!r} as version {earlier.version} of {earlier.table_uri} "
        f"({earlier.context}, columns {earlier.columns}, where {earlier.where!r}); give this input another name="
    )


@contextmanager
def _knowledge(engine: "Engine") -> Iterator[_Known]:
    known = _known.setdefault(engine, _Known())
    with known.lock:
        yield known


def _new_rows(engine: "Engine", known: _Known, snapshot: Snapshot) -> Change:
    """What the lake does not have of the snapshot yet."""
    level = _recorded_level(engine, known, snapshot.id)
    if level is None:
        return records.snapshot_row(snapshot), records.file_rows(snapshot)
    if snapshot.protection != Protection.ARCHIVED:
        return ()
    if level is Protection.ARCHIVED and records.files_of(engine, snapshot.id) == snapshot.files:
        return ()
    return (records.file_rows(snapshot),)


def _recorded_level(engine: "Engine", known: _Known, snapshot_id: str) -> Protection | None:
    """The highest recorded level; what this process recorded itself needs no query."""
    if known.levels.get(snapshot_id) is Protection.ARCHIVED:
        return Protection.ARCHIVED
    return records.level(engine, snapshot_id)


def _prepared(
    engine: "Engine",
    source: Any,
    version: int | None,
    as_of: Moment | None,
    name: str | None,
    columns: Sequence[str] | None,
    where: str | None,
    protection: str | None,
) -> Snapshot:
    """Everything but the record: all that can fail does so here."""
    wanted = _level(engine, protection)
    if name is not None:
        validate.key(name, "name of the input")
    if isinstance(source, Snapshot):
        _refuse_time(version, as_of, "a Snapshot")
        columns = source.columns if columns is None else columns
        where = source.where if where is None else where
        found = _Found(_as_table(source), name or source.name, source.origin)
    else:
        found = _resolved(engine, source, version, as_of, name)
    made = _snapshot(engine, found)
    chosen = None if columns is None else check_columns(columns, made.table_schema)
    if where is not None:
        predicate.parse(where, made.table_schema)
    return _protected(engine, replace(made, columns=chosen, where=where), found.table, wanted)


def _snapshot(engine: "Engine", found: _Found) -> Snapshot:
    table = found.table
    return Snapshot(
        id=records.snapshot_id(table),
        table_uri=table.uri,
        table_id=table.table_id,
        version=table.version,
        committed_at=table.committed_at,
        num_rows=records.num_rows(table),
        num_files=len(table.files),
        bytes=sum(file.size for file in table.files),
        protection=Protection.REFERENCE.value,
        name=found.name,
        origin=found.origin,
        schema_json=table.schema_json,
        partition_columns=table.partition_columns,
        reader_features=table.reader_features,
        column_mapping=table.column_mapping,
        _engine=engine,
        _files=tuple(PinnedFile(file) for file in table.files),
        _options=table.storage_options,
    )


def _as_table(snapshot: Snapshot) -> TableVersion:
    return TableVersion(
        uri=snapshot.table_uri,
        table_id=snapshot.table_id,
        version=snapshot.version,
        committed_at=snapshot.committed_at,
        schema_json=snapshot.schema_json,
        partition_columns=snapshot.partition_columns,
        reader_features=snapshot.reader_features,
        column_mapping=snapshot.column_mapping,
        files=tuple(pin.file for pin in snapshot.files),
        storage_options=snapshot._options,
    )


def _level(engine: "Engine", protection: str | None) -> tuple[Protection | None, bool]:
    """The level to reach (None: the best that is free), and whether it was asked for."""
    given = protection if protection is not None else engine.settings.protection
    if given is None:
        return None, False
    if given not in (Protection.REFERENCE, Protection.ARCHIVED):
        what = "is not available yet" if given == Protection.PROTECTED else "is unknown"
        raise InvalidInput(f"protection {given!r} {what}; choose 'reference' or 'archived'")
    return Protection(given), True


def _protected(
    engine: "Engine", snapshot: Snapshot, table: TableVersion, wanted: tuple[Protection | None, bool]
) -> Snapshot:
    level, asked = wanted
    if level is Protection.REFERENCE:
        return snapshot
    if engine.root.local is None or not tables.is_local(table.uri):
        if asked:
            raise InvalidInput(
                f"protection 'archived' needs the lake ({engine.root.uri}) and the table ({table.uri}) on local disks "
                "for now; pin with protection='reference', or copy the table to the lake's machine"
            )
        return snapshot
    kept = _kept(engine, table, asked)
    if kept is None:
        return snapshot
    files = tuple(PinnedFile(file, kept[file.path]) for file in table.files)
    return replace(snapshot, protection=Protection.ARCHIVED.value, _files=files)


def _kept(engine: "Engine", table: TableVersion, copy: bool) -> dict[str, str] | None:
    known = {pin.file.path: pin.kept_as for pin in _already_kept(engine, table)}
    if table.files and all(known.get(file.path) for file in table.files):
        return {path: kept for path, kept in known.items() if kept is not None}
    wanted = [archive.Wanted(file.path, local_place(table.uri, file.path), file.size) for file in table.files]
    return archive.keep(engine.root, table.table_id, wanted, copy)


def _already_kept(engine: "Engine", table: TableVersion) -> tuple[PinnedFile, ...]:
    """The files of the same snapshot if it is archived and intact: its originals need not exist any more."""
    identity = records.snapshot_id(table)
    with _knowledge(engine) as known:
        if _recorded_level(engine, known, identity) is not Protection.ARCHIVED:
            return ()
    pins = records.files_of(engine, identity)
    sound = all(
        pin.kept_as and archive.intact(engine.root, table.table_id, pin.file.path, pin.file.size, pin.kept_as)
        for pin in pins
    )
    return pins if sound else ()


def _resolved(engine: "Engine", source: Any, version: int | None, as_of: Moment | None, name: str | None) -> _Found:
    delta = tables.from_object(source)
    if delta is not None:
        uri, options, loaded = delta
        at = loaded if version is None and as_of is None else version
        return _Found(tables.resolve(uri, options, version=at, as_of=as_of), name or _last_part(uri))
    if isinstance(source, (str, os.PathLike)):
        return _of_path(engine, os.fspath(source), version, as_of, name)
    data = convert.of_object(source)
    if data is None:
        raise InvalidInput(
            f"a {type(source).__module__}.{type(source).__name__} cannot be pinned; give a Delta table, a path, or "
            "Arrow, pandas or Polars data"
        )
    _refuse_time(version, as_of, f"a {type(source).__name__}")
    if name is None:
        raise InvalidInput(f"a {type(source).__name__} has no name of its own; pass name='…'")
    return _Found(convert.keep(engine.root, name, data), name)


def _of_path(engine: "Engine", text: Any, version: int | None, as_of: Moment | None, name: str | None) -> _Found:
    if not isinstance(text, str):
        raise InvalidInput(f"the path {text!r} must be text, not bytes")
    place = tables.absolute(text)
    options = None if tables.is_local(place) else _options(engine)
    if Path(place).suffix.lower() not in convert.FILE_KINDS or tables.is_delta(place, options):
        if tables.is_local(place) and Path(place).is_file():
            kinds = ", ".join(convert.FILE_KINDS)
            raise TableNotFound(f"{place} is no Delta table, and no file of a kind that can be converted ({kinds})")
        return _Found(tables.resolve(place, options, version=version, as_of=as_of), name or _last_part(place))
    _refuse_time(version, as_of, f"the file {place}")
    if not tables.is_local(place):
        raise InvalidInput(f"{place} is a file on an object store; download it, or give a Delta table")
    used = name or Path(place).stem
    return _Found(_converted(engine, Path(place), used), used, place)


def _converted(engine: "Engine", path: Path, name: str) -> TableVersion:
    with convert.reading(path):
        return convert.keep(engine.root, name, convert.of_file(path))


def _options(engine: "Engine") -> Mapping[str, str] | None:
    return engine.root.storage_options or None


def _last_part(uri: str) -> str:
    return Path(urlsplit(uri).path if "://" in uri else uri).name


def _refuse_time(version: object, as_of: object, what: str) -> None:
    if version is not None or as_of is not None:
        raise InvalidInput(f"version={version!r}, as_of={as_of!r}: {what} has no versions to choose from; omit them")
