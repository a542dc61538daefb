"""Deleting files that no version of a table needs any more, and that no pin needs.

What a vacuum may take is worked out here from the log and a listing, not by the Delta engine: its full vacuum takes
the change data and the deletion vectors of versions that it keeps, and its ``keep_versions`` fails for versions whose
log was cleaned up (deltalake 1.6.3). Source: Delta transaction log protocol, "Vacuum Protocol Check", "Reader
Requirements for Deletion Vectors", "Add CDC File".
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lakelineage.display.progress import Progress, reporting
from lakelineage.errors import ConcurrentWrite, InvalidInput
from lakelineage.model import nodes
from lakelineage.model.values import Protection
from lakelineage.registry import activity
from lakelineage.registry.activity import Act
from lakelineage.snapshots import levels, places, records, states
from lakelineage.store import files, log_history, source, table_properties, vacuum_log
from lakelineage.store.locks import Lease
from lakelineage.store.root import Entry, Root
from lakelineage.store.source import Options
from lakelineage.store.table_properties import FILES, Properties
from lakelineage.tracking.capture import current_user

if TYPE_CHECKING:
    import os

    from lakelineage.engine import Engine
    from lakelineage.snapshots.places import PinnedFile
    from lakelineage.snapshots.snapshot import Snapshot

CHANGE_DATA = "_change_data"
_TIMEOUT = 60.0
_AT_ONCE = 16
_HOUR_US = 3_600_000_000

#: Live pins of a table: one row per snapshot, and whether a pin relies on files in the table whatever is archived.
_PINNED = f"""
select p.snapshot_id, any_value(s.version) as version, bool_or(p.protection = '{Protection.PROTECTED}') as protected
from ({states.STATES}) p join ({records.DISTINCT}) s using (snapshot_id)
where p.state = '{states.PINNED}' and s.table_id = $table
group by p.snapshot_id order by version, p.snapshot_id
"""


@dataclass(frozen=True, slots=True)
class KeptFor:
    """What a pinned snapshot keeps of what a vacuum would take.

    Attributes:
        snapshot_id: the snapshot.
        version: its Delta version.
        files: files that it needs; several snapshots may need the same.
        bytes: their size.
    """

    snapshot_id: str
    version: int
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Vacuumed:
    """What a vacuum deleted, or would.

    Attributes:
        table_uri: the table.
        table_id: its id.
        version: newest version.
        retention_hours: how long files stay after they were removed from the table.
        dry_run: nothing was deleted.
        paths: files that were deleted, or would be, below the table; sorted.
        bytes: their size.
        kept_files: files that would go too, but for pins.
        kept_bytes: their size.
        kept_for: which pinned snapshots need how many of them.
        seconds: it took.
    """

    table_uri: str
    table_id: str
    version: int
    retention_hours: float
    dry_run: bool
    paths: tuple[str, ...]
    bytes: int
    kept_files: int
    kept_bytes: int
    kept_for: tuple[KeptFor, ...]
    seconds: float = 0.0

    @property
    def files(self) -> int:
        """How many files."""
        return len(self.paths)


def vacuum(
    engine: "Engine",
    table: "str | os.PathLike[str]",
    *,
    retention_hours: float | None = None,
    dry_run: bool = True,
    enforce_retention_duration: bool = True,
    storage_options: Options = None,
    progress: Progress = None,
    comment: str | None = None,
) -> Vacuumed:
    """Delete what neither the table nor a pin needs. See :meth:`lakelineage.Lake.vacuum`."""
    began = time.monotonic()
    place = source.absolute(str(table))
    options = storage_options if storage_options or source.is_local(place) else engine.root.storage_options or None
    _refuse_own(engine, place)
    lease = Lease(engine.spool / levels.LOCK)
    if not lease.acquire(_TIMEOUT):
        raise ConcurrentWrite("other processes keep pinning; try again")
    try:
        now = table_properties.read(place, options)
        hours = _retention(now, retention_hours, enforce_retention_duration)
        found = _planned(engine, now, options, hours)
        done = replace(found, dry_run=dry_run, seconds=time.monotonic() - began)
        if not dry_run and found.paths:
            _delete(place, options, found.paths, progress)
            done = replace(done, seconds=time.monotonic() - began)
            _tell(engine, done, options, comment)
    finally:
        lease.release()
    return done


def _refuse_own(engine: "Engine", place: str) -> None:
    if place.startswith(engine.root.child("tables", "")):
        raise InvalidInput(f"{place} belongs to the lake itself; `lakelineage maintain` vacuums it")


def _retention(now: Properties, asked: float | None, enforce: bool) -> float:
    """Hours that files stay after they were removed.

    Raises:
        InvalidInput: it is negative, or shorter than the table's own and that was not allowed.
    """
    own = now.interval(FILES)
    if own is None:
        raise InvalidInput(f"{FILES} of {now.uri} is {now.values[FILES]!r}, which cannot be understood; set it in days")
    hours = own.total_seconds() / 3600
    if asked is None:
        return hours
    if not 0 <= asked < float("inf"):
        raise InvalidInput(f"retention_hours must be 0 or more, not {asked!r}")
    if asked < hours and enforce:
        raise InvalidInput(
            f"{asked:g} hours are less than the {hours:g} for which {now.uri} keeps files ({FILES}): readers and "
            "writers that are at it now may fail. Allow it with enforce_retention_duration=False "
            "(--no-enforce-retention-duration)"
        )
    return asked


def _planned(engine: "Engine", now: Properties, options: Options, hours: float) -> Vacuumed:
    candidates = _candidates(engine, now, options, time.time_ns() // 1000 - int(hours * _HOUR_US))
    needs = _needs(engine, now, options, candidates)
    kept = set().union(*(paths for _, _, paths in needs))
    gone = sorted(candidates.keys() - kept)
    return Vacuumed(
        now.uri,
        now.table_id,
        now.version,
        hours,
        True,
        tuple(gone),
        sum(candidates[path] for path in gone),
        len(kept),
        sum(candidates[path] for path in kept),
        tuple(
            KeptFor(snapshot, version, len(paths), sum(candidates[path] for path in paths))
            for snapshot, version, paths in needs
            if paths
        ),
    )


def _candidates(engine: "Engine", now: Properties, options: Options, before: int) -> dict[str, int]:
    """Files that no version needs which is younger than ``before`` (µs since 1970 UTC) → size in bytes."""
    known = log_history.files(now.uri, options, now.version)
    young = {path for path, at in known.removed.items() if at >= before}
    listed = _own(engine, now.uri, Root(now.uri, options).walk(""))
    free = {e.path: e for e in listed if e.path not in known.active and e.path not in young}
    untold = [path for path in free if not known.removed.get(path)]
    for path, changed in _modified(now.uri, free, untold).items():
        if changed is None or changed >= before:
            del free[path]
    return {path: entry.size for path, entry in free.items()}


def _modified(uri: str, entries: Mapping[str, Entry], paths: Sequence[str]) -> dict[str, int | None]:
    """When files were last written, µs since 1970 UTC: a listing of a disk tells when they were last given a name."""
    if not source.is_local(uri):
        return {path: int(entries[path].changed * 1e6) for path in paths}
    stats = {path: files.local_state(f"{uri}/{path}") for path in paths}
    return {path: None if state is None else state.modified for path, state in stats.items()}


def _is_hidden(path: str) -> bool:
    """Whether engines leave a path alone; folders of a partition column may begin with an underscore."""
    parts = path.split("/")
    return any(part.startswith(("_", ".")) and "=" not in part and part != CHANGE_DATA for part in parts)


def _own(engine: "Engine", uri: str, listed: Sequence[Entry]) -> list[Entry]:
    """What belongs to the table itself: not its log, and not another table, or the lake, inside of its folder."""
    inner = {entry.path.partition("/_delta_log/")[0] for entry in listed if "/_delta_log/" in entry.path}
    if engine.root.uri.startswith(f"{uri}/"):
        inner.add(engine.root.uri.removeprefix(f"{uri}/"))
    others = tuple(f"{folder}/" for folder in inner)
    return [entry for entry in listed if not _is_hidden(entry.path) and not entry.path.startswith(others)]


def _needs(
    engine: "Engine", now: Properties, options: Options, candidates: Mapping[str, int]
) -> list[tuple[str, int, set[str]]]:
    """(snapshot, version, those of the candidates that it needs), for each snapshot that is pinned."""
    pinned = engine.query(_PINNED, {"now": engine.now, "table": now.table_id}).to_pylist()
    if not pinned or not candidates:
        return []
    needs = []
    for pin in pinned:
        snapshot = replace(records.load(engine, pin["snapshot_id"]), table_uri=now.uri, _options=options)
        needs.append((snapshot.id, snapshot.version, _needed(engine, snapshot, pin["protected"], candidates)))
    versions = [pin["version"] for pin in pinned]
    changes = _changes(now, options, min(versions), max(versions)) & candidates.keys()
    needs[-1][2].update(changes)
    return needs


def _needed(engine: "Engine", snapshot: "Snapshot", protected: bool, candidates: Mapping[str, int]) -> set[str]:
    """Those of the candidates that a snapshot is read from: what the archive has intact is read from there."""

    def own(paths: Iterable[str | None]) -> set[str]:
        return {log_history.plain(snapshot.table_uri, path) for path in paths if path} & candidates.keys()

    wanted: list[PinnedFile] = [pin for pin in snapshot.files if own([pin.file.path, places.vector_of(pin)])]
    kept = [pin for pin in wanted if pin.kept_as is not None and not protected]
    copies = places.kept_places(engine.root, snapshot.pinned(), kept)
    intact = {pin.file.path for pin, place in zip(kept, copies, strict=True) if place is not None}
    data = own(pin.file.path for pin in wanted if pin.file.path not in intact)
    return data | own(places.vector_of(pin) for pin in wanted if protected or pin.vector_kept_as is None)


def _changes(now: Properties, options: Options, first: int, last: int) -> set[str]:
    """Change data between two versions, as far as the log still has those commits: diffs read it."""
    if first >= last:
        return set()
    commits = log_history.newest_first(now.uri, options, after=first, most=now.version + 1)
    return {path for commit in commits if commit.version <= last for path in commit.changes}


def _delete(uri: str, options: Options, paths: Sequence[str], progress: Progress) -> None:
    root = Root(uri, options)
    with reporting(progress, "deleting", len(paths), "files") as told, ThreadPoolExecutor(_AT_ONCE) as pool:
        for done, _ in enumerate(pool.map(root.remove, paths), 1):
            if told is not None:
                told(done)


def _tell(engine: "Engine", done: Vacuumed, options: Options, comment: str | None) -> None:
    """Put on record who deleted what: in the lake, and in the table's log where that can be written."""
    user = current_user()
    facts: dict[str, Any] = {
        "retention_hours": done.retention_hours,
        "files": done.files,
        "bytes": done.bytes,
        "kept_files": done.kept_files,
        "lake_id": engine.settings.lake_id,
    }
    vacuum_log.tell(done.table_uri, options, facts, user)
    said = f"{done.files} files, {done.bytes} bytes, retention {done.retention_hours:g} hours; {done.kept_files} kept"
    table = str(nodes.dataset(done.table_id))
    activity.note(engine, Act(user, "vacuum", table, None, said, comment))
