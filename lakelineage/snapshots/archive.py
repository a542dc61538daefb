"""Kept copies of pinned files: ``archive/<2 hex>/<digest>`` below the lake.

The digest names a file, not its bytes (pinning never reads them): table id, path, size and time of modification. So
a file that several snapshots share is kept once, and a file that was changed in place no longer answers to its name.
"""

import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from lakelineage.errors import SnapshotLost, StorageFailed
from lakelineage.model import ids
from lakelineage.store.root import Root, storage_errors, sync_folder

#: Refusals of a hard link that say "not here", as opposed to "something is wrong".
_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EACCES, errno.ENOSYS}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to keep.

    Attributes:
        path: as in the table's log.
        place: where it is on this machine.
        size: bytes.
    """

    path: str
    place: Path
    size: int


def keep(root: Root, table_id: str, files: list[Wanted], copy: bool) -> dict[str, str] | None:
    """Keep every file by a hard link.

    Args:
        root: the lake, on a local disk.
        table_id: of the table that the files belong to.
        files: what to keep.
        copy: copy where no link can be made; otherwise give up.

    Returns:
        Path in the log → path of the kept file below the lake; None if links cannot be made and ``copy`` is false.

    Raises:
        SnapshotLost: files are missing or have another size than the table's log says.
        StorageFull: no space for copies.
    """
    assert root.local is not None
    kept: dict[str, str] = {}
    lost: list[str] = []
    touched: set[Path] = set()
    for file in files:
        found = _stat(file.place)
        if found is None or found.st_size != file.size:
            lost.append(file.path)
            continue
        name = _name(table_id, file.path, found)
        target = root.local / name
        if not _place(file.place, target, found, touched, copy):
            return None
        kept[file.path] = name
    if lost:
        raise SnapshotLost(
            f"{len(lost)} files of the table are missing or altered, so it cannot be archived: {lost[:5]}; "
            "restore them, or pin another version",
            tuple(lost),
        )
    with storage_errors("making the archive durable"):
        for folder in touched:
            sync_folder(folder)
    return kept


def _name(table_id: str, path: str, found: os.stat_result) -> str:
    digest = ids.digest((table_id, path, str(found.st_size), str(found.st_mtime_ns)), 40)
    return f"archive/{digest[:2]}/{digest}"


def _stat(place: Path) -> os.stat_result | None:
    try:
        return place.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _place(source: Path, target: Path, found: os.stat_result, touched: set[Path], copy: bool) -> bool:
    if target.parent not in touched:
        with storage_errors(f"making {target.parent}"):
            target.parent.mkdir(parents=True, exist_ok=True)
        touched.add(target.parent)
    try:
        os.link(source, target)
        return True
    except FileExistsError:
        return True
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise StorageFailed(f"archiving {source}: {error}") from error
    if copy:
        _copy(source, target, found)
    return copy


def _copy(source: Path, target: Path, found: os.stat_result) -> None:
    temporary = target.with_name(f".new-{ids.new_id()}")
    with storage_errors(f"archiving {source}"):
        try:
            shutil.copyfile(source, temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.utime(temporary, ns=(found.st_atime_ns, found.st_mtime_ns))
            if temporary.stat().st_size != found.st_size:
                raise StorageFailed(f"archiving {source}: it changed while it was copied; try again")
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


def intact(root: Root, table_id: str, path: str, size: int, kept_as: str) -> bool:
    """Whether a kept file still is what was kept.

    A changed time of modification counts as a change only while the file has other names: only through those can it
    be written to. (A lake that was copied has new times, and one name for each file.)
    """
    assert root.local is not None
    found = _stat(root.local / kept_as)
    if found is None or found.st_size != size:
        return False
    return found.st_nlink == 1 or _name(table_id, path, found) == kept_as


def same(table_id: str, path: str, size: int, kept_as: str, place: Path) -> bool:
    """Whether the file at its original place still is the one that was kept."""
    found = _stat(place)
    return found is not None and found.st_size == size and _name(table_id, path, found) == kept_as
