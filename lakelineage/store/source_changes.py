"""What the commits between two versions of a user's table did to its rows, as its log tells it.

Source: Delta transaction log protocol, "Add Change Data File" and "Add File and Remove File".
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakelineage.store import source_log
from lakelineage.store.source import DataFile, Options, filesystem, table_id_at

if TYPE_CHECKING:
    import pyarrow.fs as pafs


#: Bytes that are read in the time that opening a file takes, about.
OPENING = 1 << 18


@dataclass(frozen=True, slots=True)
class LoggedChanges:
    """Rows that came and went from one version to a later one; what only moved between files is in none of them.

    Attributes:
        added: files all of whose rows came.
        removed: files all of whose rows went.
        change_data: files of rows with the column ``_change_type``: ``insert``, ``delete``, ``update_preimage`` or
            ``update_postimage``.
        log_bytes: what was read of the log.
        commits: how many.
    """

    added: tuple[DataFile, ...]
    removed: tuple[DataFile, ...]
    change_data: tuple[DataFile, ...]
    log_bytes: int
    commits: int

    @property
    def files(self) -> tuple[DataFile, ...]:
        """All of them."""
        return (*self.added, *self.removed, *self.change_data)

    @property
    def bytes(self) -> int:
        """What must be read to know the rows, and was read to know the files."""
        return self.log_bytes + sum(file.size for file in self.files)

    @property
    def cost(self) -> int:
        """The same with the opening of files, as bytes."""
        return self.bytes + (len(self.files) + self.commits) * OPENING


def changes_between(
    uri: str, options: Options, table_id: str, first: int, last: int, schema_json: str, most: float
) -> LoggedChanges | None:
    """The changes that commits after version ``first`` up to ``last`` made.

    Args:
        uri: of the table.
        options: of its store.
        table_id: of the table; another one may be at the place now.
        first: a version.
        last: a later one.
        schema_json: of both; it must have been that of all versions between.
        most: give up where it would cost more than so many bytes.

    Returns:
        None where the log does not have all of these commits, the schema was another meanwhile, or it is too much.
    """
    import pyarrow.fs as pafs

    if (last - first) * OPENING > most:
        return None
    fs = filesystem(uri, options)
    names = [f"_delta_log/{version:020d}.json" for version in range(first + 1, last + 1)]
    entries = fs.get_file_info(names)
    if any(entry.type != pafs.FileType.File for entry in entries):
        return None
    log_bytes = sum(entry.size or 0 for entry in entries)
    if log_bytes > most or table_id_at(uri, options) != table_id:
        return None
    added: list[DataFile] = []
    removed: list[DataFile] = []
    change_data: list[DataFile] = []
    for name in names:
        commit = _commit(fs, name)
        if any(_other_schema(metadata, schema_json) for metadata in commit["metaData"]):
            return None
        if commit["cdc"]:
            change_data += map(_file, commit["cdc"])
        else:
            added += map(_file, (action for action in commit["add"] if action["dataChange"]))
            removed += map(_file, (action for action in commit["remove"] if action["dataChange"]))
    if any(file.size < 0 for file in removed):
        return None  # a remove need not tell the size of its file
    came, went = _without(added, removed), _without(removed, added)
    found = LoggedChanges(tuple(came), tuple(went), tuple(change_data), log_bytes, len(names))
    return found if found.cost <= most else None


def _commit(fs: "pafs.FileSystem", name: str) -> dict[str, list[Mapping[str, Any]]]:
    actions = source_log.actions(fs, name)
    found: dict[str, list[Mapping[str, Any]]] = {"add": [], "remove": [], "cdc": [], "metaData": []}
    for action in actions:
        for kind in found.keys() & action.keys():
            found[kind].append(action[kind])
    return found


def _other_schema(metadata: Mapping[str, Any], schema_json: str) -> bool:
    return bool(json.loads(metadata["schemaString"]) != json.loads(schema_json))


def _file(action: Mapping[str, Any]) -> DataFile:
    values = action.get("partitionValues") or {}
    stats = json.loads(action.get("stats") or "{}")
    return DataFile(
        action["path"],
        -1 if action.get("size") is None else action["size"],
        tuple(values.items()),
        source_log.deletion_vector(action),
        stats.get("numRecords"),
    )


def _without(files: Iterable[DataFile], others: Iterable[DataFile]) -> list[DataFile]:
    """Files less the others: what came in one commit and went in another left nothing. A restore brings files again."""
    gone = Counter((file.path, file.deletion_vector) for file in others)
    left = []
    for file in files:
        name = (file.path, file.deletion_vector)
        if gone[name]:
            gone[name] -= 1
        else:
            left.append(file)
    return left
