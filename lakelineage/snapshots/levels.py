"""Levels of protection of a pin: which one is wanted, whether a snapshot has it already, and reaching it."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lakelineage.errors import SnapshotLost
from lakelineage.model.values import Protection, checked_protection
from lakelineage.snapshots import archive, folders, places, records
from lakelineage.snapshots.archive import Source, Wanted
from lakelineage.snapshots.folders import archive as folder_archive
from lakelineage.snapshots.places import PinnedFile
from lakelineage.store import files, locks
from lakelineage.tracking.experiments import PROTECTION_TAG

if TYPE_CHECKING:
    from lakelineage.engine import Engine
    from lakelineage.snapshots.snapshot import Snapshot

#: Kept files of a known snapshot that are looked at when it is pinned again. All of them: ``lakelineage verify``.
_SAMPLE = 64
#: Lock file, beside the journals of this host, of those who keep files and those who remove what nobody needs.
LOCK = "archive.lock"
#: Levels at which files stay where they are, and only there.
_IN_PLACE = (Protection.REFERENCE, Protection.PROTECTED)


@contextmanager
def keeping(engine: "Engine") -> Iterator[None]:
    """Keep the removal of unused files away until what is kept in the block is recorded.

    Other hosts leave young objects of a remote lake alone, and keeping one again makes it young.
    """
    with locks.shared(engine.spool / LOCK):
        yield


@dataclass(frozen=True, slots=True)
class Level:
    """A level that is wanted.

    Attributes:
        protection: which; None: the best that is free.
    """

    protection: Protection | None = None


def chosen(engine: "Engine", asked: str | None, run_id: str | None = None) -> Level:
    """The level of a pin: what was asked for, else the default of the run's experiment, else that of the lake.

    Raises:
        InvalidInput: there is no such level.
    """
    if asked is not None:
        return Level(checked_protection(asked))
    given = None if run_id is None else _of_experiment(engine, run_id)
    given = given or engine.settings.protection
    return Level(None if given is None else checked_protection(given))


def _of_experiment(engine: "Engine", run_id: str) -> str | None:
    found = engine.query(
        "select e.tags[$tag] as level from experiments e join runs_history r using (experiment_id) "
        "where r.run_id = $run limit 1",
        {"run": run_id, "tag": PROTECTION_TAG},
    ).to_pylist()
    return found[0]["level"] if found else None


def suffices(engine: "Engine", known: "Snapshot", level: Level) -> bool:
    """Whether a snapshot that is recorded has the level already, as far as a sample of its kept files tells."""
    if level.protection in _IN_PLACE or not known.num_files:
        return True
    if known.kind == folders.KIND:
        return False  # its files have been looked at already, and to keep what is kept costs little
    if known.protection == Protection.ARCHIVED:
        return _sample_is_kept(engine, known)
    return level.protection is None and not _may_link(engine, known.table_uri)


def _sample_is_kept(engine: "Engine", known: "Snapshot") -> bool:
    pins = records.some_kept_files(engine, known.id, _SAMPLE)
    return bool(pins) and all(place is not None for place in places.kept_places(engine.root, known.pinned(pins), pins))


def _may_link(engine: "Engine", uri: str) -> bool:
    """Whether hard links from the archive to a table may be possible."""
    if engine.root.local is None or "://" in uri:
        return False
    try:
        return os.stat(engine.root.local).st_dev == os.stat(uri).st_dev
    except FileNotFoundError:
        return False


def reach(
    engine: "Engine",
    snapshot: "Snapshot",
    before: Sequence[PinnedFile],
    level: Level,
    told: Callable[[int], Any] = lambda _: None,
) -> "Snapshot":
    """The snapshot with its files at the level wanted, as far as that is possible.

    Args:
        engine: the lake.
        snapshot: as its table's log tells.
        before: its files as they are recorded already; empty if they are not.
        level: which.
        told: is called with the bytes that are archived.

    Raises:
        SnapshotLost: files are gone or altered, and not archived.
        StorageFull: no space for copies.
    """
    known = {pin.file.path: pin for pin in before}
    pinned = snapshot.pinned(tuple(known.get(pin.file.path, pin) for pin in snapshot.files))
    there = files.states(snapshot.table_uri, snapshot._options, [pin.file.path for pin in pinned.files])
    kept = _kept_before(engine, pinned)
    lost = tuple(
        pin.file.path
        for pin, state in zip(pinned.files, there, strict=True)
        if pin.file.path not in kept and (state is None or state.size != pin.file.size)
    )
    if lost:
        raise SnapshotLost(
            f"version {snapshot.version} of {snapshot.table_uri} cannot be pinned: {len(lost)} of its "
            f"{snapshot.num_files} files are missing or altered ({', '.join(lost[:5])}); restore them, or pin another "
            "version",
            lost,
        )
    found = tuple(
        pin
        if pin.file.path in kept or state is None
        else PinnedFile(pin.file, None, state.modified, state.etag, pin.sha256, pin.vector_kept_as)
        for pin, state in zip(pinned.files, there, strict=True)
    )
    if level.protection not in _IN_PLACE:
        wanted = [
            Wanted(pin.file.path, pin.file.size, state)
            for pin, state in zip(found, there, strict=True)
            if pin.file.path not in kept
        ]
        found = _archived(engine, snapshot, found, wanted, level.protection is Protection.ARCHIVED, told)
        found = _with_vectors(engine, snapshot, found, level.protection is Protection.ARCHIVED)
    is_kept = all(_is_kept(pin) for pin in found) and bool(found)
    reached = Protection.ARCHIVED if is_kept else Protection.REFERENCE
    reached_of = replace(snapshot, protection=reached.value, _files=found)
    return reached_of if snapshot.kind == "table" else _with_contents(engine, reached_of, level, told)


def _with_contents(engine: "Engine", snapshot: "Snapshot", level: Level, told: Callable[[int], Any]) -> "Snapshot":
    """The snapshot of a folder, whose list of files is at the level wanted, with the files at that level too."""
    contents = folder_archive.keep(engine, snapshot, level.protection, told)
    all_kept = all(pin.kept_as is not None for pin in contents)
    reached = snapshot.protection if all_kept else Protection.REFERENCE.value
    return replace(snapshot, protection=reached, _contents=contents)


def _kept_before(engine: "Engine", pinned: places.Pinned) -> set[str]:
    """Paths of files whose kept copy is there and intact."""
    pins = [pin for pin in pinned.files if pin.kept_as is not None]
    found = places.kept_places(engine.root, pinned, pins)
    return {pin.file.path for pin, place in zip(pins, found, strict=True) if place is not None}


def _is_kept(pin: PinnedFile) -> bool:
    return pin.kept_as is not None and (pin.vector_kept_as is not None or places.vector_of(pin) is None)


def _with_vectors(
    engine: "Engine", snapshot: "Snapshot", pins: tuple[PinnedFile, ...], copy: bool
) -> tuple[PinnedFile, ...]:
    """The files with their deletion vectors kept; several vectors are in one file."""
    paths = sorted({path for pin in pins if pin.vector_kept_as is None and (path := places.vector_of(pin)) is not None})
    if not paths:
        return pins
    there = files.states(snapshot.table_uri, snapshot._options, paths)
    wanted = [Wanted(path, 0 if state is None else state.size, state) for path, state in zip(paths, there, strict=True)]
    source = Source(snapshot.table_uri, snapshot._options, snapshot.table_id)
    made = archive.keep(engine.root, source, wanted, copy) or {}
    return tuple(
        replace(pin, vector_kept_as=made[path].kept_as) if (path := places.vector_of(pin)) in made and path else pin
        for pin in pins
    )


def _archived(
    engine: "Engine",
    snapshot: "Snapshot",
    pins: tuple[PinnedFile, ...],
    wanted: Sequence[Wanted],
    copy: bool,
    told: Callable[[int], Any],
) -> tuple[PinnedFile, ...]:
    source = Source(snapshot.table_uri, snapshot._options, snapshot.table_id)
    made = archive.keep(engine.root, source, wanted, copy, told) or {}
    return tuple(
        PinnedFile(pin.file, kept.kept_as, pin.modified, pin.etag, kept.sha256 or pin.sha256, pin.vector_kept_as)
        if (kept := made.get(pin.file.path)) is not None
        else pin
        for pin in pins
    )
