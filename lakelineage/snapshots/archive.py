"""Kept copies of pinned files: ``archive/<2 hex>/<digest>`` below the lake.

The digest names a file, not its bytes (pinning never reads them): table id, path, size and time of modification. So
a file that several snapshots share is kept once, a file that was changed in place no longer answers to its name, and
what an interrupted archiving has kept is found again. Files whose bytes are read anyway get their SHA-256 recorded too.
"""

import errno
import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakelineage.errors import SnapshotLost, StorageFailed
from lakelineage.model import ids
from lakelineage.store import files
from lakelineage.store.files import FileState
from lakelineage.store.root import Root, storage_errors, sync_folder

#: Refusals of a hard link that say "not here", as opposed to "something is wrong".
NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EACCES, errno.ENOSYS}
#: From so many files on, a remote lake is asked for a listing instead of for each file.
_LIST_FROM = 32
FOLDER = "archive"


@dataclass(frozen=True, slots=True)
class Source:
    """Where files to keep come from.

    Attributes:
        uri: of the table or folder, absolute.
        options: storage options of it.
        table_id: id of the table that the files belong to.
    """

    uri: str
    options: Mapping[str, str] | None
    table_id: str

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return "://" not in self.uri


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to keep.

    Attributes:
        path: as in the table's log.
        size: bytes, as the log says.
        state: what the store says now; None if the file is not there.
    """

    path: str
    size: int
    state: FileState | None


@dataclass(frozen=True, slots=True)
class Kept:
    """A kept file.

    Attributes:
        kept_as: its path below the lake.
        sha256: hex digest of its content, if that was read.
    """

    kept_as: str
    sha256: str | None = None


def keep(
    root: Root, source: Source, wanted: Sequence[Wanted], copy: bool, told: Callable[[int], Any] = lambda _: None
) -> dict[str, Kept] | None:
    """Keep every file: by a hard link, by a copy inside the object store, or by a copy.

    Files that are kept already are not touched, so an interrupted call goes on where it stopped.

    Args:
        root: the lake.
        source: the table.
        wanted: what to keep.
        copy: copy where no link can be made; otherwise give up.
        told: is called with the bytes that are done, file by file or in pieces.

    Returns:
        Path in the log → what is kept of it; None if links cannot be made and ``copy`` is false.

    Raises:
        SnapshotLost: files are missing or have another size than the table's log says.
        StorageFull: no space for copies.
    """
    lost = tuple(file.path for file in wanted if file.state is None or file.state.size != file.size)
    if lost:
        raise SnapshotLost(
            f"{len(lost)} files of {source.uri} are missing or altered, so it cannot be archived: {list(lost[:5])}; "
            "restore them, or pin another version",
            lost,
        )
    if root.local is not None and source.is_local:
        return _keep_locally(root.local, source, wanted, copy, told)
    return {file.path: _transferred(root, source, file, told) for file in wanted} if copy else None


def _keep_locally(
    lake: Path, source: Source, wanted: Sequence[Wanted], copy: bool, told: Callable[[int], Any]
) -> dict[str, Kept] | None:
    kept: dict[str, Kept] = {}
    touched: set[str] = set()
    base = str(lake)
    for file in wanted:
        assert file.state is not None
        name = address(source.table_id, file.path, file.state)
        target = f"{base}/{name}"
        _made(target[: target.rindex("/")], touched)
        place = files.local_place(source.uri, file.path)
        linked = _linked(place, target, file.size)
        if not linked and not copy:
            return None
        digest = None if linked else _copied(place, target, file.state, told)
        if linked:
            told(file.size)
        kept[file.path] = Kept(name, digest)
    with storage_errors("making the archive durable"):
        for folder in touched:
            sync_folder(Path(folder))
    return kept


def address(table_id: str, path: str, state: FileState) -> str:
    """Where a file is kept below the lake."""
    parts = [table_id, path, str(state.size), str(state.changed_ns or state.modified)]
    digest = ids.digest([*parts, state.etag] if state.etag else parts, 40)
    return f"{FOLDER}/{digest[:2]}/{digest}"


def _made(folder: str, touched: set[str]) -> None:
    if folder not in touched:
        with storage_errors(f"making {folder}"):
            os.makedirs(folder, exist_ok=True)
        touched.add(folder)


def _linked(place: str, target: str, size: int) -> bool:
    """Make the link; False if this place has none. What is there and is not whole makes way."""
    try:
        os.link(place, target)
    except FileExistsError:
        if os.path.getsize(target) != size:
            with storage_errors(f"mending {target}"):
                os.unlink(target)
            return _linked(place, target, size)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise StorageFailed(f"archiving {place}: {error}") from error
        return os.path.exists(target)
    return True


def _copied(place: str, target: str, state: FileState, told: Callable[[int], Any]) -> str:
    """Copy a file of this machine, whole or not at all; returns the digest of what was copied."""
    digest = hashlib.sha256()
    with storage_errors(f"archiving {place}"):
        handle, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=".new-")
        try:
            with open(handle, "wb") as out:
                for chunk in files.local_chunks(place):
                    out.write(chunk)
                    digest.update(chunk)
                    told(len(chunk))
                out.flush()
                os.fsync(out.fileno())
            os.utime(temporary, ns=(state.changed_ns, state.changed_ns))
            if files.local_state(place) != state or os.path.getsize(temporary) != state.size:
                raise StorageFailed(f"archiving {place}: it changed while it was copied; try again")
            os.chmod(temporary, 0o444)
            os.replace(temporary, target)
        finally:
            Path(temporary).unlink(missing_ok=True)
    return digest.hexdigest()


def _transferred(root: Root, source: Source, file: Wanted, told: Callable[[int], Any]) -> Kept:
    """Keep a file where lake or table are in an object store."""
    assert file.state is not None
    name = address(source.table_id, file.path, file.state)
    if not source.is_local and root.copy_inside(source.uri, files.remote_path(source.uri, file.path), name):
        told(file.size)
        return Kept(name)
    there = states(root, [name])[0]
    if there is not None and there.size == file.size and root.local is not None:
        told(file.size)
        return Kept(name)
    with tempfile.TemporaryDirectory(prefix="lakelineage-") as scratch:
        copy, digest = Path(scratch, "file"), hashlib.sha256()
        with storage_errors(f"archiving {file.path}"), copy.open("wb") as out:
            for chunk in files.chunks(source.uri, source.options, file.path):
                out.write(chunk)
                digest.update(chunk)
                told(len(chunk))
        if copy.stat().st_size != file.size:
            raise StorageFailed(f"archiving {file.path} of {source.uri}: it changed while it was copied; try again")
        root.upload(copy, name)
    return Kept(name, digest.hexdigest())


def states(root: Root, kept_as: Sequence[str]) -> list[FileState | None]:
    """What is there of kept files; None for those that are not."""
    if root.local is not None:
        base = str(root.local)
        return [files.local_state(f"{base}/{name}") for name in kept_as]
    if len(kept_as) < _LIST_FROM:
        found = [root.state(name) for name in kept_as]
    else:
        listed = {entry.path: entry for entry in root.walk(FOLDER)}
        found = [listed.get(name) for name in kept_as]
    return [None if e is None else FileState(e.size, int(e.changed * 1_000_000), e.etag) for e in found]


def intact(table_id: str, path: str, size: int, kept_as: str, state: FileState | None) -> bool:
    """Whether a kept file still is what was kept.

    A changed time of modification counts as a change only while the file has other names: only through those can it
    be written to. (A lake that was copied has new times, and one name for each file.)

    Args:
        table_id: of the table that it belongs to.
        path: as in the table's log.
        size: bytes.
        kept_as: its path below the lake.
        state: what is there, as :func:`states` tells.
    """
    if state is None or state.size != size:
        return False
    return state.links == 1 or address(table_id, path, state) == kept_as
