"""Files of users' tables and folders, wherever they are: what their store says of them, and their content."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lakelineage.errors import InvalidInput
from lakelineage.store.root import Root, storage_errors

#: From so many files on, an object store is asked for a listing instead of for each file.
_LIST_FROM = 32
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class FileState:
    """What a store says of a file.

    Attributes:
        size: bytes.
        modified: when it was last changed, µs since 1970 UTC.
        etag: version that an object store gave it; None on a disk.
        changed_ns: on a disk, the time of modification in full, ns since 1970 UTC.
        links: on a disk, the number of its names.
        inode: on a disk, its number.
    """

    size: int
    modified: int
    etag: str | None = None
    changed_ns: int = 0
    links: int = 1
    inode: int = 0


def local_place(uri: str, path: str) -> str:
    """Where a file of a local table is; logs percent-encode paths, and may name files elsewhere by absolute ones."""
    plain = urlsplit(path).path if path.startswith("file:") else path
    plain = unquote(plain) if "%" in plain else plain
    return plain if plain.startswith("/") else f"{uri}/{plain}"


def remote_path(uri: str, path: str) -> str:
    """Path of a file below its table on an object store.

    Raises:
        InvalidInput: it is elsewhere (a shallow clone).
    """
    plain = unquote(path) if "%" in path else path
    if "://" not in plain:
        return plain
    if not plain.startswith(f"{uri}/"):
        raise InvalidInput(f"{plain} is outside of its table {uri} (a shallow clone); copy the table, and use that")
    return plain.removeprefix(f"{uri}/")


def local_state(place: str | Path) -> FileState | None:
    """What the file system says of a file; None if there is none."""
    try:
        found = os.stat(place)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return FileState(found.st_size, found.st_mtime_ns // 1000, None, found.st_mtime_ns, found.st_nlink, found.st_ino)


def states(uri: str, options: Mapping[str, str] | None, paths: Sequence[str]) -> list[FileState | None]:
    """What the store says of files of a table; None for those that are not there.

    Args:
        uri: of the table, as :func:`lakelineage.store.source.absolute` spells it.
        options: storage options.
        paths: as in the table's log.

    Raises:
        StorageFailed: the store cannot be reached.
    """
    if "://" not in uri:
        with storage_errors(f"looking for the files of {uri}"):
            return [local_state(local_place(uri, path)) for path in paths]
    root = Root(uri, options)
    wanted = [remote_path(uri, path) for path in paths]
    if len(wanted) < _LIST_FROM:
        found = [root.state(path) for path in wanted]
    else:
        listed = {entry.path: entry for entry in root.walk("")}
        found = [listed.get(path) for path in wanted]
    return [None if e is None else FileState(e.size, int(e.changed * 1_000_000), e.etag) for e in found]


def chunks(uri: str, options: Mapping[str, str] | None, path: str) -> Iterator[bytes]:
    """The content of a file of a table.

    Raises:
        FileNotFoundError: there is none.
        StorageFailed: it cannot be read.
    """
    if "://" in uri:
        yield from Root(uri, options).chunks(remote_path(uri, path))
        return
    yield from local_chunks(local_place(uri, path))


def local_chunks(place: str | Path) -> Iterator[bytes]:
    """The content of a file on this machine."""
    with open(place, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def sha256(content: Iterator[bytes], told: Callable[[int], Any] = lambda _: None) -> str:
    """Hex digest of a content.

    Args:
        content: in chunks.
        told: is called with the size of each chunk.
    """
    digest = hashlib.sha256()
    for chunk in content:
        digest.update(chunk)
        told(len(chunk))
    return digest.hexdigest()
