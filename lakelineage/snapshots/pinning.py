"""Pinning: a source becomes a snapshot, recorded in one change or not at all."""

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lakelineage.display.progress import Progress, reporting
from lakelineage.errors import Conflict
from lakelineage.model import validate
from lakelineage.model.changes import Change
from lakelineage.model.values import Protection
from lakelineage.snapshots import levels, places, predicate, protect, records, retention, sources
from lakelineage.snapshots.folders import KIND, Contents
from lakelineage.snapshots.levels import Level, keeping
from lakelineage.snapshots.places import PinnedFile
from lakelineage.snapshots.retention import Retention, Until
from lakelineage.snapshots.snapshot import Snapshot, check_columns
from lakelineage.snapshots.sources import Found, Moment
from lakelineage.store.source import VersionHead

if TYPE_CHECKING:
    from lakelineage.engine import Engine


@dataclass
class _Known:
    """What this process knows of a lake's pins, to spare queries."""

    versions: dict[tuple[str, str, int, int | None], Snapshot] = field(default_factory=dict)
    inputs: dict[str, dict[str, Snapshot]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def note(self, snapshot: Snapshot) -> None:
        """A snapshot was recorded."""
        self.versions[_key(snapshot)] = replace(
            snapshot, name=None, columns=None, where=None, context=None, origin=None, _files=None, _contents=None
        )


def _key(version: Snapshot | VersionHead) -> tuple[str, str, int, int | None]:
    return (
        version.uri if isinstance(version, VersionHead) else version.table_uri,
        version.table_id,
        version.version,
        version.committed_at,
    )


_known: "weakref.WeakKeyDictionary[Engine, _Known]" = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class _Prepared:
    """Everything but the record of a pin.

    Attributes:
        snapshot: what is pinned.
        rows: what the lake does not have of it yet.
        retention: when the pin ends.
        remember: to be called once it is recorded.
    """

    snapshot: Snapshot
    rows: Change
    retention: Retention
    remember: Callable[[], None]


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
    until: Until | None = None,
    progress: Progress = None,
) -> Snapshot:
    """Pin a source outside a run.

    Args:
        engine: the lake.
        source: path or URI of a Delta table, ``deltalake.DeltaTable``, ``Snapshot``, path of a CSV, TSV, Parquet or
            JSON file, folder of files, or Arrow, pandas or Polars data.
        version: Delta version.
        as_of: the newest version committed by then (ISO 8601; without a zone, UTC).
        name: name; for data that has no path it is also the name of the managed table.
        columns: columns to read back by default.
        where: rows to read back by default, as a SQL condition.
        protection: ``reference``, ``protected`` or ``archived``; by default the lake's, else archived where hard links
            make it free.
        until: when the pin ends by itself; see :mod:`lakelineage.snapshots.retention`. By default it does not.
        progress: True shows a bar; a function is called with the number of bytes hashed (of a folder) and archived.

    Raises:
        TableNotFound, VersionNotFound: no such table or version.
        InvalidInput: anything else that is wrong with the call. Nothing is recorded then.
        SnapshotLost: the table's own files are missing.
    """
    level = levels.chosen(engine, protection)
    with keeping(engine), _telling(progress) as told:
        ready = _prepared(engine, source, version, as_of, name, columns, where, level, until, told)
        with _knowledge(engine) as known:
            engine.append((*ready.rows, records.pin_row(ready.snapshot, None, ready.retention)))
            known.note(ready.snapshot)
        ready.remember()
    return ready.snapshot


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
    until: Until | None = None,
    progress: Progress = None,
    other_names: Sequence[str] = (),
    once: bool = False,
    also: Callable[[Snapshot], Change] = lambda _: (),
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
        protection: see :func:`pin`; by default that of the run's experiment comes before the lake's.
        until: see :func:`pin`.
        progress: see :func:`pin`.
        other_names: names to take, in this order, where the run already uses something else by the first.
        once: add nothing where the run uses this version already, under whatever name and for whatever.
        also: told the snapshot, gives rows to record in the same change.

    Raises:
        Conflict: the run already uses something else by this name. Using the same again changes nothing.
    """
    checked_context = validate.key(context, "context")
    level = levels.chosen(engine, protection, run_id)
    with keeping(engine), _telling(progress) as told:
        ready = _prepared(engine, source, version, as_of, name, columns, where, level, until, told)
        made = ready.snapshot
        named = replace(made, context=checked_context, name=validate.key(made.name or "", "name of the input"))
        with _knowledge(engine) as known:
            if run_id not in known.inputs:
                known.inputs[run_id] = dict(records.inputs_of(engine, run_id))
            named, used_already = _free(known.inputs[run_id], named, other_names, once, run_id)
            rows = also(named)
            if not used_already:
                pinned = records.pin_row(named, run_id, ready.retention)
                rows = (*ready.rows, *records.use_rows(named, run_id), pinned, *rows)
            if rows:
                engine.append(rows)
            if not used_already:
                known.note(named)
                known.inputs[run_id][str(named.name)] = named
        if not used_already:
            ready.remember()
    return named


def forget_inputs(engine: "Engine", run_id: str) -> None:
    """Look anew at what a run uses, the next time: another process may have added to it."""
    with _knowledge(engine) as known:
        known.inputs.pop(run_id, None)


def _free(
    used: Mapping[str, Snapshot], now: Snapshot, other_names: Sequence[str], once: bool, run_id: str
) -> tuple[Snapshot, bool]:
    """The snapshot by the first name that nothing else has; and whether the run uses it by that already."""

    def what(snapshot: Snapshot) -> tuple[Any, ...]:
        return snapshot.id, snapshot.context, snapshot.columns, snapshot.where

    if once and any(each.id == now.id for each in used.values()):
        return now, True
    for name in (str(now.name), *other_names):
        earlier = used.get(name)
        if earlier is None or what(earlier) == what(now):
            return replace(now, name=name), earlier is not None
    earlier = used[str(now.name)]
    raise Conflict(
        f"run {run_id} already uses {now.name!r} as version {earlier.version} of {earlier.table_uri} "
        f"({earlier.context}, columns {earlier.columns}, where {earlier.where!r}); give this input another name="
    )


@contextmanager
def _knowledge(engine: "Engine") -> Iterator[_Known]:
    known = _known.setdefault(engine, _Known())
    with known.lock:
        yield known


def _prepared(
    engine: "Engine",
    source: Any,
    version: int | None,
    as_of: Moment | None,
    name: str | None,
    columns: Sequence[str] | None,
    where: str | None,
    level: Level,
    until: Until | None,
    told: Callable[[int], Any],
) -> _Prepared:
    """Everything but the record: all that can fail does so here."""
    ends = retention.parse(until)
    if name is not None:
        validate.key(name, "name of the input")
    if isinstance(source, Snapshot):
        sources.refuse_time(version, as_of, "a Snapshot")
        columns = source.columns if columns is None else columns
        where = source.where if where is None else where
        found = sources.made(records.as_table(source), name or source.name, source.origin, _as_folder(source))
    else:
        found = sources.find(engine, source, version, as_of, name, told)
    snapshot, rows = _at_level(engine, found, level, told)
    snapshot = replace(snapshot, name=found.name, origin=found.origin)
    if snapshot.table_uri == found.head.uri:
        snapshot = replace(snapshot, _options=found.head.storage_options)
    if level.protection is Protection.PROTECTED:
        protect.require(snapshot, ends.certain)
        snapshot = replace(snapshot, protection=Protection.PROTECTED.value)
    elif snapshot.protection == Protection.PROTECTED:
        snapshot = replace(snapshot, protection=Protection.REFERENCE.value)  # this pin's own, which may end later
    chosen = None if columns is None else check_columns(columns, snapshot.table_schema)
    if where is not None:
        predicate.parse(where, snapshot.table_schema)
    remember = found.folder.remember if found.folder is not None and (found.folder.fresh or rows) else _nothing
    return _Prepared(replace(snapshot, columns=chosen, where=where), rows, ends, remember)


def _nothing() -> None:
    """What there is to remember of a table."""


@contextmanager
def _telling(progress: Progress) -> Iterator[Callable[[int], None]]:
    """What is called with bytes as they are done, for a progress that wants to know of all so far."""
    done = 0
    with reporting(progress, "pinning", None, "B") as tell:

        def told(size: int) -> None:
            nonlocal done
            done += size
            if tell is not None:
                tell(done)

        yield told


def _at_level(engine: "Engine", found: Found, level: Level, told: Callable[[int], Any]) -> tuple[Snapshot, Change]:
    """The snapshot at the level that is wanted, and what the lake does not have of it yet."""
    known = _recorded(engine, found.head)
    if known is not None:
        records.refuse_erased(engine, known)
    if known is not None and levels.suffices(engine, known, level):
        return known, ()
    made = _snapshot(engine, found)
    if known is None or known.id != made.id:
        known = records.find(engine, made.id)  # from another place, or as other commit times tell
        if known is not None:
            records.refuse_erased(engine, known)
    if known is not None and known.table_uri != made.table_uri:
        # The table was copied, or moved. It is read where it was pinned first, as long as that is there.
        if None not in places.look(engine.root, known.pinned()):
            made = known
        else:
            known = None
    before = () if known is None else known.files
    reached = levels.reach(engine, made, before, level, told)
    if known is None:
        return reached, (records.snapshot_row(reached), records.file_rows(reached))
    same = reached.files == before and reached.protection == known.protection
    return reached, () if same else (records.file_rows(reached),)


def _recorded(engine: "Engine", head: VersionHead) -> Snapshot | None:
    """The snapshot of a version, if the lake has it; without a look at its files."""
    with _knowledge(engine) as known:
        found = known.versions.get(_key(head))
    return records.of_version(engine, head) if found is None else found


def _snapshot(engine: "Engine", found: Found) -> Snapshot:
    table = found.describe()
    files = table.files if found.folder is None else [pin.file for pin in found.folder.files]
    return Snapshot(
        id=records.snapshot_id(table),
        table_uri=table.uri,
        table_id=table.table_id,
        version=table.version,
        committed_at=table.committed_at,
        num_rows=records.num_rows(table),
        num_files=len(files),
        bytes=sum(file.size for file in files),
        protection=Protection.REFERENCE.value,
        name=found.name,
        origin=found.origin,
        schema_json=table.schema_json,
        partition_columns=table.partition_columns,
        reader_features=table.reader_features,
        column_mapping=table.column_mapping,
        kind="table" if found.folder is None else KIND,
        _engine=engine,
        _files=tuple(PinnedFile(file) for file in table.files),
        _options=table.storage_options,
        _contents=None if found.folder is None else found.folder.files,
    )


def _as_folder(snapshot: Snapshot) -> Contents | None:
    return Contents(snapshot.contents, False, _nothing) if snapshot.kind == KIND else None
