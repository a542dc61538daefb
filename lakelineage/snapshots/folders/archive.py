"""Kept files of pinned folders: ``archive/<2 hex>/<SHA-256>`` below the lake, each content once.

Unlike data files of tables, these are known by their content, for every byte was read at the pin. And unlike those
they are rewritten in place (a script that saves its images again does so), which reaches hard links. So links are made
only where nobody asked for anything; what is asked to be archived is copied.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakelineage.errors import SnapshotLost
from lakelineage.model import ids
from lakelineage.model.values import Protection
from lakelineage.snapshots.archive import FOLDER, NO_LINKS, states
from lakelineage.snapshots.folders.content import Source
from lakelineage.snapshots.places import PinnedFile
from lakelineage.store import files
from lakelineage.store.files import FileState
from lakelineage.store.root import Root, storage_errors, sync_folder

if TYPE_CHECKING:
    from lakelineage.engine import Engine
    from lakelineage.snapshots.snapshot import Snapshot

_THREADS = 8
#: Time of modification of copies that were verified when they were made; a link has that of the user's file.
_VERIFIED_NS = 0


def address(sha256: str) -> str:
    """Where a content is kept below the lake."""
    return f"{FOLDER}/{sha256[:2]}/{sha256}"


def keep(
    engine: "Engine", snapshot: "Snapshot", level: Protection | None, told: Callable[[int], Any] = lambda _: None
) -> tuple[PinnedFile, ...]:
    """Keep the files of a pinned folder, as far as the level asks for it.

    What is kept already is not copied again, so an interrupted call goes on where it stopped.

    Args:
        engine: the lake.
        snapshot: of a folder.
        level: ``archived`` copies; None makes hard links, if every file can have one.
        told: is called with the bytes that are done.

    Returns:
        The files, with the places where they are kept.

    Raises:
        SnapshotLost: files are gone or altered, and not kept.
        StorageFull: no space for copies.
    """
    root, pins = engine.root, snapshot.contents
    if level is Protection.REFERENCE:
        return pins
    source = Source.of(snapshot)
    by_content = {str(pin.sha256): pin for pin in pins}
    there = dict(zip(by_content, states(root, [address(sha256) for sha256 in by_content]), strict=True))
    stays = _is_verified_copy if root.local is not None else _staying(engine)
    wanted = [pin for sha256, pin in by_content.items() if not stays(pin, there[sha256])]
    told(sum(pin.file.size for pin in pins) - sum(pin.file.size for pin in wanted))
    if level is Protection.ARCHIVED:
        _copy_all(root, source, snapshot, wanted, told)
    elif not _link_all(root, source, snapshot, wanted, there, told):
        return pins
    return tuple(pin if pin.kept_as is not None else _kept(pin) for pin in pins)


def _kept(pin: PinnedFile) -> PinnedFile:
    return replace(pin, kept_as=address(str(pin.sha256)))


def _is_verified_copy(pin: PinnedFile, state: FileState | None) -> bool:
    """Whether a kept file is a copy that nobody can reach by another name."""
    same_size = state is not None and state.size == pin.file.size
    return same_size and state is not None and state.links == 1 and state.changed_ns == _VERIFIED_NS


def _staying(engine: "Engine") -> Callable[[PinnedFile, FileState | None], bool]:
    """Whether a kept file of a remote lake is there and stays: no sweep of another host is about to remove it."""
    from lakelineage.snapshots import sweep

    needed = set(engine.query(sweep.NEEDED, {"now": engine.now, "grace": 0}).column("path").to_pylist())
    young = time.time() * 1e6 - sweep.GRACE * 1e6 / 2

    def stays(pin: PinnedFile, state: FileState | None) -> bool:
        if state is None or state.size != pin.file.size:
            return False
        return state.modified > young or address(str(pin.sha256)) in needed

    return stays


def _link_all(
    root: Root,
    source: Source,
    snapshot: "Snapshot",
    wanted: Sequence[PinnedFile],
    there: dict[str, FileState | None],
    told: Callable[[int], Any],
) -> bool:
    """Link to every file; says whether that was possible."""
    if root.local is None or not source.is_local:
        return not wanted
    lost: list[str] = []
    with _durable_folders(root.local) as target_of:
        for pin in wanted:
            place, kept = source.place(pin), there[str(pin.sha256)]
            state = files.local_state(place)
            if state is None or (state.size, state.modified) != (pin.file.size, pin.modified):
                if kept is None or kept.size != pin.file.size:
                    lost.append(pin.file.path)
            elif (kept is None or kept.inode != state.inode) and not _linked(place, target_of(pin)):
                return False
            told(pin.file.size)
    if lost:
        raise _cannot_keep(snapshot, lost)
    return True


def _linked(place: str, target: str) -> bool:
    """Make the link, in place of what is there: a link to a file that may have been altered by its other name."""
    place = os.path.realpath(place) if os.path.islink(place) else place
    with storage_errors(f"archiving {place}"):
        try:
            try:
                os.link(place, target)
            except FileExistsError:
                if not os.path.samefile(place, target):
                    _replace_by_link(place, target)
        except OSError as error:
            if error.errno in NO_LINKS:
                return False
            raise
    return True


def _replace_by_link(place: str, target: str) -> None:
    temporary = f"{os.path.dirname(target)}/.new-{ids.new_id()}"
    os.link(place, temporary)
    os.replace(temporary, target)


def _copy_all(
    root: Root, source: Source, snapshot: "Snapshot", wanted: Sequence[PinnedFile], told: Callable[[int], Any]
) -> None:
    local = root.local is not None
    with _durable_folders(Path(root.local or "")) as target_of, ThreadPoolExecutor(_THREADS) as pool:
        targets = [target_of(pin) for pin in wanted] if local else [""] * len(wanted)

        def copied(pin: PinnedFile, target: str) -> bool:
            return _copied(root, source, pin, target) if local else _uploaded(root, source, pin)

        lost: list[str] = []
        # Threads, since most of the time is spent on waiting for disks and stores.
        for pin, done in zip(wanted, pool.map(copied, wanted, targets), strict=True):
            told(pin.file.size)
            if not done:
                lost.append(pin.file.path)
    if lost:
        raise _cannot_keep(snapshot, lost)


def _copied(root: Root, source: Source, pin: PinnedFile, target: str) -> bool:
    """Copy a content into a local lake, whole or not at all; says whether it is to be had."""
    with storage_errors(f"archiving {pin.file.path}"):
        handle, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=".new-")
        try:
            with open(handle, "w+b") as out:
                if not source.copy_verified(root, _kept(pin), out):
                    return False
                out.flush()
                os.utime(out.fileno(), ns=(_VERIFIED_NS, _VERIFIED_NS))
                os.fchmod(out.fileno(), 0o444)
                os.fsync(out.fileno())
            os.replace(temporary, target)
        finally:
            Path(temporary).unlink(missing_ok=True)
    return True


def _uploaded(root: Root, source: Source, pin: PinnedFile) -> bool:
    """Copy a content into a remote lake; inside of its store where it has not changed since it was hashed there."""
    name = address(str(pin.sha256))
    if not source.is_local and pin.etag is not None:
        state = source.state(pin)
        if state is not None and state.etag == pin.etag and root.copy_inside(source.uri, pin.file.path, name):
            now = source.state(pin)
            if now is not None and now.etag == pin.etag:
                return True
    with tempfile.TemporaryDirectory(prefix="lakelineage-") as scratch:
        copy = Path(scratch, "file")
        with copy.open("w+b") as out:
            if not source.copy_verified(root, pin, out):
                return False
        root.upload(copy, name)
    return True


@contextmanager
def _durable_folders(lake: Path) -> Iterator[Callable[[PinnedFile], str]]:
    """Makes the folders that kept files go to, and makes their entries durable at the end."""
    touched: set[str] = set()

    def target_of(pin: PinnedFile) -> str:
        folder, _, name = f"{lake}/{address(str(pin.sha256))}".rpartition("/")
        if folder not in touched:
            with storage_errors(f"making {folder}"):
                os.makedirs(folder, exist_ok=True)
            touched.add(folder)
        return f"{folder}/{name}"

    yield target_of
    with storage_errors("making the archive durable"):
        for folder in touched:
            sync_folder(Path(folder))


def _cannot_keep(snapshot: "Snapshot", lost: Sequence[str]) -> SnapshotLost:
    shown = ", ".join(map(repr, lost[:5])) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
    return SnapshotLost(
        f"{len(lost)} files of {snapshot.origin} cannot be archived, since they are gone or were altered after they "
        f"were hashed: {shown}. Restore them, or pin the folder as it is now",
        tuple(lost),
    )
