"""How a Delta table is, as its log tells: for checks that look only."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from lakelineage.store import forks
from lakelineage.store.delta import PROPERTIES, delta_errors
from lakelineage.store.root import Root

if TYPE_CHECKING:
    from deltalake import DeltaTable

_MANAGED = ("delta.", "lakelineage.")


@dataclass(frozen=True, slots=True)
class Health:
    """A table at its newest version.

    Attributes:
        version: Delta version.
        schema: column → Delta type, as JSON.
        files: active file, relative to the table → bytes.
        properties: of the table.
        features: what a reader or writer must know beyond the basics of Delta.
        checkpoint: version of the newest checkpoint; None if there is none.
        log_entries: files in the log.
        operations: what recent commits did, newest first, with who did it.
        deleted_rows: whether deletion vectors hide rows of its files.
    """

    version: int
    schema: Mapping[str, str]
    files: Mapping[str, int]
    properties: Mapping[str, str]
    features: tuple[str, ...]
    checkpoint: int | None
    log_entries: int
    operations: tuple[tuple[int, str, str], ...]
    deleted_rows: bool


def inspect(root: Root, folder: str, commits: int) -> Health | None:
    """Look at a table.

    Args:
        root: the lake.
        folder: of the table, relative to the lake.
        commits: how many of the newest commits to look at.

    Returns:
        None if there is no table.

    Raises:
        StorageFailed: it cannot be opened; the message says why.
    """
    forks.guard()
    from deltalake import DeltaTable
    from deltalake.exceptions import TableNotFoundError

    log = root.list(f"{folder}/_delta_log")
    if not log:
        return None
    with delta_errors(f"opening {root.child(folder)}"):
        try:
            delta = DeltaTable(root.child(folder), storage_options=root.storage_options)
        except TableNotFoundError:
            return None
        return _health(delta, root, folder, [path for path, _ in log], commits)


def _health(delta: "DeltaTable", root: Root, folder: str, log: list[str], commits: int) -> Health:
    import pyarrow as pa

    protocol = delta.protocol()
    actions = pa.RecordBatchReader.from_stream(delta.get_add_actions(flatten=True)).read_all()
    paths, sizes = actions.column("path").to_pylist(), actions.column("size_bytes").to_pylist()
    hidden = [name for name in actions.column_names if name.startswith(("deletionVector", "deletion_vector"))]
    return Health(
        version=delta.version(),
        schema={field.name: json.dumps(json.loads(field.to_json())["type"]) for field in delta.schema().fields},
        files=dict(zip(map(unquote, paths), sizes, strict=True)),
        properties=dict(delta.metadata().configuration),
        features=tuple(sorted({*(protocol.reader_features or ()), *(protocol.writer_features or ())})),
        checkpoint=_checkpoint(root, folder),
        log_entries=len(log),
        operations=tuple(_operations(root, log, commits)),
        deleted_rows=any(actions.column(name).null_count < actions.num_rows for name in hidden),
    )


def _checkpoint(root: Root, folder: str) -> int | None:
    path = f"{folder}/_delta_log/_last_checkpoint"
    return int(json.loads(root.read(path))["version"]) if root.exists(path) else None


def _operations(root: Root, log: list[str], commits: int) -> Iterator[tuple[int, str, str]]:
    """What the newest commits did. Not by ``DeltaTable.history``, which keeps other threads from running meanwhile."""
    for path in sorted((path for path in log if path.endswith(".json")), reverse=True)[:commits]:
        version = path.rpartition("/")[2].removesuffix(".json")
        try:
            lines = root.read(path).splitlines()
        except FileNotFoundError:
            continue  # cleaned up since it was listed
        info: dict[str, Any] = next(
            (entry["commitInfo"] for line in lines if "commitInfo" in (entry := json.loads(line))), {}
        )
        mode = str((info.get("operationParameters") or {}).get("mode", "")).strip('"').upper()
        operation = " ".join(filter(None, (str(info.get("operation", "")), mode)))
        who = str(info.get("engineInfo") or info.get("clientVersion") or "an unknown engine")
        if version.isdigit():
            yield int(version), operation, who


def unneeded(root: Root, folder: str, hours: int) -> list[str]:
    """Files in the folder of a table that no version of the last ``hours`` needs: what a full vacuum would delete."""
    forks.guard()
    from deltalake import DeltaTable

    with delta_errors(f"looking for unneeded files of {root.child(folder)}"):
        delta = DeltaTable(root.child(folder), storage_options=root.storage_options)
        return delta.vacuum(retention_hours=hours, dry_run=True, enforce_retention_duration=False, full=True)


def changed_properties(properties: Mapping[str, str]) -> dict[str, str | None]:
    """Properties of one of the lake's own tables that are not what they were made with → what they are now."""
    wrong: dict[str, str | None] = {k: properties.get(k) for k, v in PROPERTIES.items() if properties.get(k) != v}
    return wrong | {k: v for k, v in properties.items() if k not in PROPERTIES and k.startswith(_MANAGED)}
