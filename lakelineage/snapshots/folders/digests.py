"""SHA-256 of the files of a folder. What has not changed since the last pin on this host is not read again.

The digests that were found are kept in the host's cache, as git keeps those of a work tree in its index
(git's ``Documentation/technical/racy-git``): a digest counts while size, inode and both times of the file are as they
were, and a file that was written within the clock's tick before it was read is not remembered at all.
"""

import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from lakelineage.model import ids
from lakelineage.snapshots.folders.scan import Seen, changed, of_stat
from lakelineage.store.cache import HostCache
from lakelineage.store.root import Root, storage_errors

_log = logging.getLogger(__name__)

#: The coarsest clock of a file system in use (FAT), ns.
_TICK = 2_000_000_000
_CHUNK = 1 << 20
#: A thread takes so many files or bytes at a time.
_FILES_AT_ONCE, _BYTES_AT_ONCE = 256, 32 << 20
_THREADS = min(8, (os.cpu_count() or 1) + 2)
_COLUMNS = ("path", "size", "modified_ns", "changed_ns", "inode", "etag")


@dataclass(frozen=True)
class Digests:
    """Digests of the files of one folder.

    Attributes:
        by_file: what each file is → its SHA-256.
        fresh: whether some had to be read for it.
        started_ns: when reading began, ns since 1970 UTC.
    """

    by_file: Mapping[Seen, str]
    fresh: bool
    started_ns: int


def find(
    cache: HostCache,
    folder: str,
    options: Mapping[str, str] | None,
    files: Sequence[Seen],
    told: Callable[[int], Any] = lambda _: None,
) -> Digests:
    """The digest of each file, read only where it is not known.

    Args:
        cache: of this host.
        folder: absolute path or object-store URI.
        options: storage options.
        files: as they were seen.
        told: is called with the bytes that are done.

    Raises:
        ConcurrentWrite: a file is not what was seen any more.
        StorageFailed: a file cannot be read.
    """
    started = time.time_ns()
    known = _load(_place(cache, folder))
    found = {seen: known[seen] for seen in files if seen in known}
    told(sum(seen.size for seen in found))
    missing = [seen for seen in files if seen not in found]
    digest = _remote_digest(Root(folder, options), folder) if "://" in folder else _local_digest(folder)

    def several(some: Sequence[Seen]) -> list[str]:
        return [digest(seen) for seen in some]

    with ThreadPoolExecutor(_THREADS) as pool:
        batches = list(_batches(missing))
        for batch, digests in zip(batches, pool.map(several, batches), strict=True):
            found.update(zip(batch, digests, strict=True))
            told(sum(seen.size for seen in batch))
    return Digests(found, bool(missing), started)


def _batches(files: Iterable[Seen]) -> Iterator[list[Seen]]:
    batch: list[Seen] = []
    size = 0
    for seen in files:
        batch.append(seen)
        size += seen.size
        if len(batch) >= _FILES_AT_ONCE or size >= _BYTES_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _local_digest(folder: str) -> Callable[[Seen], str]:
    def digest(seen: Seen) -> str:
        with storage_errors(f"reading {folder}/{seen.path}"):
            try:
                with open(f"{folder}/{seen.path}", "rb", buffering=0) as file:
                    found = _read_as_seen(file, seen)
            except FileNotFoundError:
                found = None
        if found is None:
            raise changed(folder, seen.path)
        return found

    return digest


def _read_as_seen(file: FileIO, seen: Seen) -> str | None:
    """The digest; None if the open file (its name may be another's by now) is not what was seen, before or after."""
    if of_stat(seen.path, os.fstat(file.fileno())) != seen:
        return None
    found = hashlib.sha256()
    while chunk := file.read(min(_CHUNK, seen.size + 1)):
        found.update(chunk)
    return found.hexdigest() if of_stat(seen.path, os.fstat(file.fileno())) == seen else None


def _remote_digest(root: Root, folder: str) -> Callable[[Seen], str]:
    def digest(seen: Seen) -> str:
        found, size = hashlib.sha256(), 0
        try:
            for chunk in root.chunks(seen.path):
                found.update(chunk)
                size += len(chunk)
            now = root.state(seen.path)
        except FileNotFoundError as error:
            raise changed(folder, seen.path) from error
        if now is None or now.etag != seen.etag or size != seen.size:
            raise changed(folder, seen.path)
        return found.hexdigest()

    return digest


def remember(cache: HostCache, folder: str, digests: Digests) -> None:
    """Keep digests for the next pin of the folder.

    Files are looked at once more: hard links to them, which archives are made of, change one of their times.
    """
    kept = [(_now(folder, seen), sha256) for seen, sha256 in digests.by_file.items()]
    settled = [(s, d) for s, d in kept if s is not None and (s.etag or s.modified_ns < digests.started_ns - _TICK)]
    try:
        _save(_place(cache, folder), settled)
    except OSError as error:  # the pin is made; only the next one will be slower
        _log.warning("the digests of %s were not kept for the next pin: %s", folder, error)


def _now(folder: str, seen: Seen) -> Seen | None:
    """A file as it is now, if its content is what it was."""
    if "://" in folder:
        return seen
    try:
        now = of_stat(seen.path, os.stat(f"{folder}/{seen.path}"))
    except OSError:
        return None
    same = (now.size, now.modified_ns, now.inode) == (seen.size, seen.modified_ns, seen.inode)
    return now if same else None


def _place(cache: HostCache, folder: str) -> Path:
    return cache.folder("folders") / f"{ids.digest((folder,))}.arrow"


def _load(place: Path) -> dict[Seen, str]:
    """What was kept; nothing where that cannot be read."""
    import pyarrow as pa

    try:
        with pa.OSFile(str(place), "rb") as file:
            table = pa.ipc.open_file(file).read_all()
        columns = [table.column(name).to_pylist() for name in (*_COLUMNS, "sha256")]
    except (OSError, pa.ArrowInvalid, KeyError):
        return {}
    *seen, digests = columns
    return dict(zip(map(Seen, *seen), digests, strict=True))


def _save(place: Path, rows: Sequence[tuple[Seen, str]]) -> None:
    import pyarrow as pa

    columns: dict[str, list[Any]] = {name: [getattr(seen, name) for seen, _ in rows] for name in _COLUMNS}
    types = [pa.string(), pa.int64(), pa.int64(), pa.int64(), pa.uint64(), pa.string(), pa.string()]
    schema = pa.schema(list(zip((*_COLUMNS, "sha256"), types, strict=True)))
    table = pa.table({**columns, "sha256": [digest for _, digest in rows]}, schema=schema)
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=place.parent)
    os.close(handle)
    try:
        with pa.OSFile(temporary, "wb") as out, pa.ipc.new_file(out, schema) as writer:
            writer.write_table(table)
        os.replace(temporary, place)
    finally:
        Path(temporary).unlink(missing_ok=True)
