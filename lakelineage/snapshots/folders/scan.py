"""Which files a folder has, on this machine or on an object store.

Links are followed: what they lead to is the content of the folder. A folder without files in it leaves no trace.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from lakelineage.errors import ConcurrentWrite, InvalidInput
from lakelineage.store.root import Root, storage_errors

_Identity = tuple[int, int]


class Seen(NamedTuple):
    """A file, as its store tells of it. Two that are equal have the same content, but for what was just written.

    Attributes:
        path: relative to the folder, with ``/``.
        size: bytes.
        modified_ns: when its content was changed last, ns since 1970 UTC.
        changed_ns: on a disk, when anything of it was changed last, ns since 1970 UTC.
        inode: on a disk, its number.
        etag: version that an object store gave it; None on a disk.
    """

    path: str
    size: int
    modified_ns: int
    changed_ns: int = 0
    inode: int = 0
    etag: str | None = None


def of_stat(path: str, found: os.stat_result) -> Seen:
    """A file on a disk."""
    return Seen(path, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def scan(folder: str, options: Mapping[str, str] | None, lake: Root) -> list[Seen]:
    """Every file below a folder, sorted by path.

    Args:
        folder: absolute path, or object-store URI.
        options: storage options.
        lake: which must not be inside of the folder, nor the folder in it (but for artifacts).

    Raises:
        InvalidInput: what is there cannot be pinned as files; the message names it.
        ConcurrentWrite: the folder changed meanwhile.
        StorageFailed: it cannot be read.
    """
    _refuse_lake(folder, lake)
    if "://" in folder:
        return sorted(_remote(folder, options))
    forbidden = None if lake.local is None else _identity(os.stat(lake.local))
    with storage_errors(f"looking through {folder}"):
        return sorted(_local(folder, forbidden))


def _refuse_lake(folder: str, lake: Root) -> None:
    place = os.path.realpath(folder) if "://" not in folder else folder
    home = os.path.realpath(lake.local) if lake.local is not None else lake.uri.rstrip("/")
    if f"{home}/".startswith(f"{place}/"):
        raise InvalidInput(f"the lake {lake.uri} is inside of {folder}, so it cannot be pinned; name a folder below it")
    if place.startswith(f"{home}/") and not place.startswith(f"{home}/artifacts/"):
        raise InvalidInput(f"{folder} is a part of the lake itself; pin what it was made from, or a run's artifacts")


def _identity(found: os.stat_result) -> _Identity:
    return found.st_dev, found.st_ino


def _local(top: str, lake: _Identity | None) -> Iterator[Seen]:
    waiting: list[tuple[str, tuple[_Identity, ...]]] = [("", ())]
    while waiting:
        inside, above = waiting.pop()
        place = f"{top}/{inside}"
        try:
            here = _identity(os.stat(place))
            entries = list(os.scandir(place))
        except FileNotFoundError as error:
            raise changed(top, inside) from error
        if here in above:
            raise InvalidInput(f"{place} is a link to a folder that it is in itself; remove the link")
        if here == lake:
            raise InvalidInput(
                f"the lake is inside of {top} (as {inside}), so it cannot be pinned; name another folder"
            )
        for entry in entries:
            path = _name(top, inside, entry.name)
            found = _stat(top, path, entry)
            if stat.S_ISDIR(found.st_mode):
                _refuse_table(top, inside, entry.name)
                waiting.append((f"{path}/", (*above, here)))
            elif stat.S_ISREG(found.st_mode):
                yield of_stat(path, found)
            else:
                raise InvalidInput(f"{top}/{path} is neither a file nor a folder; remove it, or pin a folder below")


def _name(top: str, inside: str, name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"the name {os.fsencode(name)!r} in {top}/{inside} is not UTF-8; rename the file") from None
    return inside + name


def _stat(top: str, path: str, entry: "os.DirEntry[str]") -> os.stat_result:
    try:
        return entry.stat()
    except FileNotFoundError as error:
        if entry.is_symlink():
            raise InvalidInput(f"{top}/{path} is a link to nothing; remove it, or restore what it leads to") from error
        raise changed(top, path) from error


def _refuse_table(top: str, inside: str, name: str) -> None:
    if name == "_delta_log":
        raise InvalidInput(
            f"{top} has the Delta table {inside.rstrip('/')!r} in it; pin tables by their own paths, and folders of "
            "files beside them"
        )


def changed(folder: str, path: str) -> ConcurrentWrite:
    """The error that says that somebody is at work in a folder."""
    return ConcurrentWrite(
        f"{path!r} in {folder} changed while the folder was pinned, so nothing was; try again when nobody writes to it"
    )


def _remote(folder: str, options: Mapping[str, str] | None) -> Iterator[Seen]:
    listed = Root(folder, options).walk("")
    folders = {str(parent) for entry in listed for parent in Path(entry.path).parents}
    for entry in listed:
        if not entry.size and (entry.path in folders or not entry.path):
            continue  # an object that stands for a folder, as consoles make them
        if "_delta_log" in entry.path.split("/")[:-1]:
            _refuse_table(folder, entry.path.partition("_delta_log")[0], "_delta_log")
        yield Seen(entry.path, entry.size, int(entry.changed * 1_000_000) * 1000, etag=entry.etag)
