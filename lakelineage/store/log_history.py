"""What a table's log tells of files that are gone: which commit removed them, and which vacuum deleted them.

Source: Delta transaction log protocol, "Add File and Remove File", "Commit Provenance Information" and "Checkpoints".
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote
from uuid import UUID

from lakelineage.store.source import Options, filesystem

if TYPE_CHECKING:
    import pyarrow.fs as pafs

#: In the commit information of a commit by which ``lakelineage vacuum`` tells what it did, as JSON.
VACUUM_KEY = "lakelineage.vacuum"
_COMMIT = re.compile(r"^(\d{20})\.json$")
_CHECKPOINT = re.compile(r"^(\d{20})\.checkpoint\..*(parquet|json)$")
#: Columns of checkpoints that tell which files there are; statistics are left alone, they are large.
_COLUMNS = (
    "add.path",
    "add.deletionVector",
    "remove.path",
    "remove.deletionTimestamp",
    "remove.deletionVector",
    "sidecar",
)
#: Commits that are looked at for what became of a file, from the newest on.
_FAR = 1_000
#: ZeroMQ's variant of base 85, in which the log writes the ids of deletion vectors.
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_ENCODED_UUID = 20


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit, as far as it tells what became of files.

    Attributes:
        version: Delta version.
        at: when, µs since 1970 UTC.
        info: its ``commitInfo``.
        removed: paths that it removed, as :func:`plain` spells them.
        changes: paths of its change data files, spelled so.
    """

    version: int
    at: int
    info: Mapping[str, Any]
    removed: frozenset[str]
    changes: frozenset[str]

    @property
    def operation(self) -> str:
        """DELETE, MERGE, VACUUM END, …; what made it, where it does not say."""
        return "VACUUM" if VACUUM_KEY in self.info else str(self.info.get("operation") or "an unnamed operation")

    @property
    def by(self) -> str | None:
        """Who: a user if one is told, else the engine."""
        found = self.info.get("userName") or self.info.get("userId") or self.info.get("engineInfo")
        return None if found is None else str(found)


@dataclass(frozen=True, slots=True)
class Files:
    """The files that a version of a table needs, and those that younger versions needed.

    Attributes:
        active: data files of the version and their deletion vectors, as :func:`plain` spells them.
        removed: files that were removed, and their deletion vectors → when, µs since 1970 UTC (0: not told).
    """

    active: frozenset[str]
    removed: Mapping[str, int]


def plain(uri: str, path: str) -> str:
    """Path of a file below its table, without escapes; what lies elsewhere keeps its full name.

    Args:
        uri: of the table, absolute.
        path: as in the log.
    """
    text = unquote(path) if "%" in path else path
    text = text.removeprefix("file://") if text.startswith("file:///") else text
    return text.removeprefix(f"{uri}/")


def vector_path(descriptor: Mapping[str, Any] | None) -> str | None:
    """Path of the file that holds a deletion vector, as a log names files; None if there is no such file."""
    if descriptor is None or descriptor["storageType"] not in ("u", "p"):
        return None
    text = str(descriptor["pathOrInlineDv"])
    if descriptor["storageType"] == "p":
        return text
    prefix, encoded = text[:-_ENCODED_UUID], text[-_ENCODED_UUID:]
    name = f"deletion_vector_{UUID(bytes=base85(encoded))}.bin"
    return f"{quote(prefix)}/{name}" if prefix else name


def base85(text: str) -> bytes:
    """What a text in ZeroMQ's variant of base 85 stands for: four bytes for each five signs."""
    data = bytearray()
    for start in range(0, len(text), 5):
        number = 0
        for digit in text[start : start + 5]:
            number = number * 85 + _DIGITS.index(digit)
        data += number.to_bytes(4, "big")
    return bytes(data)


def newest_first(uri: str, options: Options, after: int = -1, most: int = _FAR) -> Iterator[Commit]:
    """Commits that the log still tells of, the newest first.

    Args:
        uri: of the table, absolute.
        options: storage options.
        after: only later versions.
        most: greatest number of commits.
    """
    fs = filesystem(uri, options)
    versions = sorted((v for v, _ in _named(fs, _COMMIT) if v > after), reverse=True)
    for version in versions[:most]:
        yield _commit(fs, uri, version)


def files(uri: str, options: Options, version: int) -> Files:
    """The files of a version, and what its log still tells of removed ones.

    Args:
        uri: of the table, absolute.
        options: storage options.
        version: one that the log can still build.
    """
    fs = filesystem(uri, options)
    checkpoints = [(v, name) for v, name in _named(fs, _CHECKPOINT) if v <= version]
    start = max((v for v, _ in checkpoints), default=-1)
    active: dict[str, str | None] = {}
    removed: dict[str, int] = {}
    for _, name in (c for c in checkpoints if c[0] == start):
        _replay(uri, _checkpoint(fs, f"_delta_log/{name}"), active, removed)
    for v, name in sorted(_named(fs, _COMMIT)):
        if start < v <= version:
            _replay(uri, _lines(fs, f"_delta_log/{name}", ("add", "remove")), active, removed)
    vectors = {vector for vector in active.values() if vector is not None}
    kept = frozenset(active) | vectors
    return Files(kept, {path: at for path, at in removed.items() if path not in kept})


def _replay(
    uri: str, actions: Iterable[Mapping[str, Any]], active: dict[str, str | None], gone: dict[str, int]
) -> None:
    for action in actions:
        add, remove = action.get("add"), action.get("remove")
        if remove is not None:
            path = plain(uri, remove["path"])
            active.pop(path, None)
            for each in (path, _vector(uri, remove)):
                if each is not None:
                    gone[each] = int(remove.get("deletionTimestamp") or 0) * 1000
        if add is not None:
            path = plain(uri, add["path"])
            active[path] = _vector(uri, add)
            gone.pop(path, None)


def _vector(uri: str, action: Mapping[str, Any]) -> str | None:
    path = vector_path(action.get("deletionVector"))
    return None if path is None else plain(uri, path)


def _named(fs: "pafs.FileSystem", pattern: re.Pattern[str]) -> list[tuple[int, str]]:
    import pyarrow.fs as pafs

    names = (info.base_name for info in fs.get_file_info(pafs.FileSelector("_delta_log", allow_not_found=True)))
    return [(int(found[1]), found[0]) for name in names if (found := pattern.match(name))]


def _commit(fs: "pafs.FileSystem", uri: str, version: int) -> Commit:
    info: Mapping[str, Any] = {}
    removed, changes = set(), set()
    for action in _lines(fs, f"_delta_log/{version:020d}.json", ("commitInfo", "remove", "cdc")):
        info = action.get("commitInfo") or info
        if "remove" in action:
            removed.add(plain(uri, action["remove"]["path"]))
        if "cdc" in action:
            changes.add(plain(uri, action["cdc"]["path"]))
    at = int(info.get("inCommitTimestamp", info.get("timestamp")) or 0) * 1000
    return Commit(version, at, info, frozenset(removed), frozenset(changes))


def _lines(fs: "pafs.FileSystem", path: str, kinds: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    """Actions of some kinds; the others are not even parsed: a commit may add a hundred thousand files."""
    wanted = tuple(f'"{kind}"'.encode() for kind in kinds)
    with fs.open_input_file(path) as file:
        for line in bytes(file.read()).split(b"\n"):
            if any(kind in line[:40] for kind in wanted):
                yield json.loads(line)


def _checkpoint(fs: "pafs.FileSystem", path: str) -> Iterator[Mapping[str, Any]]:
    parquet = not path.endswith(".json")
    actions = _rows(fs, path) if parquet else _lines(fs, path, ("add", "remove", "sidecar"))
    for action in actions:
        sidecar = action.get("sidecar")
        if sidecar is None:
            yield action
        else:
            name = sidecar["path"]
            yield from _rows(fs, name if "/" in name else f"_delta_log/_sidecars/{name}")


def _rows(fs: "pafs.FileSystem", path: str) -> Iterator[Mapping[str, Any]]:
    import pyarrow.parquet as pq

    with fs.open_input_file(path) as source:
        for batch in pq.ParquetFile(source).iter_batches(columns=list(_COLUMNS)):
            for row in batch.to_pylist():
                if row.get("add") or row.get("remove") or row.get("sidecar"):
                    yield row
