"""What the Delta engine does not tell of a table's files, read from the log itself.

The engine's list of files makes the empty string and null one partition value, and does not show deletion vectors.
Source: Delta transaction log protocol, "Delta Log Entries", "Checkpoints" and "Sidecar Files".
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow.fs as pafs

Add = Mapping[str, Any]
#: Bytes at the beginning of a commit that are looked at before all of it is.
_HEAD = 1 << 16
_COMMIT = re.compile(r"^(\d{20})\.json$")
_CHECKPOINT = re.compile(r"^(\d{20})\.checkpoint\..*(parquet|json)$")


def adds(
    place: str,
    options: Mapping[str, str] | None,
    version: int,
    filesystem: "Callable[[str, Mapping[str, str] | None], pafs.FileSystem]",
) -> dict[str, Add]:
    """The last ``add`` action of each path up to a version: newest checkpoint, then the commits after it."""
    import pyarrow.fs as pafs

    fs = filesystem(place, options)
    names = [info.base_name for info in fs.get_file_info(pafs.FileSelector("_delta_log"))]
    commits = sorted((int(m[1]), m[0]) for name in names if (m := _COMMIT.match(name)) and int(m[1]) <= version)
    checkpoints = sorted((int(m[1]), m[0]) for name in names if (m := _CHECKPOINT.match(name)) and int(m[1]) <= version)
    start = checkpoints[-1][0] if checkpoints else -1
    found: dict[str, Add] = {}
    for _, name in (c for c in checkpoints if c[0] == start):
        found.update((add["path"], add) for add in _checkpoint_adds(fs, f"_delta_log/{name}"))
    for at, name in commits:
        if at > start:
            found.update((add["path"], add) for add in _json_actions(fs, f"_delta_log/{name}", "add"))
    return found


def commit_time(fs: "pafs.FileSystem", version: int) -> int | None:
    """When a version was committed, µs since 1970 UTC; None if its log entry was cleaned up.

    The engine's ``history`` is of no use: on an older version it gives the newest commits the wrong numbers.
    """
    import pyarrow.fs as pafs

    path = f"_delta_log/{version:020d}.json"
    entry = fs.get_file_info(path)
    if entry.type != pafs.FileType.File:
        return None
    info = _commit_info(fs, path) or {}
    millis = info.get("inCommitTimestamp", info.get("timestamp"))
    if millis is not None:
        return int(millis) * 1000
    return None if entry.mtime_ns is None else int(entry.mtime_ns) // 1000


def _commit_info(fs: "pafs.FileSystem", path: str) -> Add | None:
    """What a commit says of itself. That comes first most of the time, and the files of the commit can be many."""
    with fs.open_input_file(path) as file:
        first = bytes(file.read(_HEAD)).partition(b"\n")[0]
    try:
        found = json.loads(first).get("commitInfo")
    except ValueError:
        found = None  # the first line is longer
    return found if found is not None else next(_json_actions(fs, path, "commitInfo"), None)


def commit_times(fs: "pafs.FileSystem") -> list[tuple[int, int]]:
    """(version, µs since 1970 UTC) of every commit that the log still tells of, by version."""
    import pyarrow.fs as pafs

    names = sorted(info.base_name for info in fs.get_file_info(pafs.FileSelector("_delta_log")))
    versions = [int(m[1]) for name in names if (m := _COMMIT.match(name))]
    return [(version, time) for version in versions if (time := commit_time(fs, version)) is not None]


def deletion_vector(add: Add) -> str | None:
    """The descriptor of a file's deletion vector as JSON with sorted keys."""
    vector = add.get("deletionVector")
    if vector is None:
        return None
    return json.dumps({k: v for k, v in vector.items() if v is not None}, sort_keys=True)


def actions(fs: "pafs.FileSystem", path: str) -> Iterator[Mapping[str, Any]]:
    """The actions of a commit, each an object of one name: ``add``, ``remove``, ``cdc``, ``metaData`` and others."""
    with fs.open_input_file(path) as file:
        for line in bytes(file.read()).split(b"\n"):  # not str.splitlines, which also splits at U+0085 and others
            if line.strip():
                yield json.loads(line)


def _json_actions(fs: "pafs.FileSystem", path: str, kind: str) -> Iterator[Add]:
    return (action[kind] for action in actions(fs, path) if action.get(kind) is not None)


def _checkpoint_adds(fs: "pafs.FileSystem", path: str) -> Iterator[Add]:
    if path.endswith(".json"):
        yield from _json_actions(fs, path, "add")
        sidecars = [s["path"] for s in _json_actions(fs, path, "sidecar")]
    else:
        yield from _parquet_actions(fs, path, "add")
        sidecars = [s["path"] for s in _parquet_actions(fs, path, "sidecar")]
    for sidecar in sidecars:
        where = sidecar if "/" in sidecar else f"_delta_log/_sidecars/{sidecar}"
        yield from _parquet_actions(fs, where, "add")


def _parquet_actions(fs: "pafs.FileSystem", path: str, kind: str) -> Iterator[Add]:
    import pyarrow.parquet as pq

    with fs.open_input_file(path) as source:
        file = pq.ParquetFile(source)
        if kind not in file.schema_arrow.names:
            return
        for batch in file.iter_batches(columns=[kind]):
            yield from (row[kind] for row in batch.to_pylist() if row[kind] is not None)
