"""The files of a local table's log: made durable, and kept few. The Delta engine does neither."""

import json
import os
from pathlib import Path

from lakelineage.store.root import sync_folder

#: Commits whose log entries a local lake keeps behind the newest checkpoint (decisions/004).
_KEPT_COMMITS = 500


def sync_commits(folder: Path, first: int, last: int) -> None:
    """Make the commits of these versions, and the files that they add, durable."""
    log = folder / "_delta_log"
    for version in range(first, last + 1):
        entry = log / f"{version:020d}.json"
        if not entry.exists():
            continue
        for line in entry.read_bytes().split(b"\n"):
            added = json.loads(line or b"{}").get("add")
            if added and (folder / added["path"]).exists():
                _sync_path(folder / added["path"])
        _sync_path(entry)
    for each in (folder, log, folder.parent):
        sync_folder(each)


def sync_checkpoints(log: Path) -> None:
    """Make the newest checkpoint durable: the log before it is cleaned next."""
    found = sorted(log.glob("*.checkpoint*.parquet"))
    for path in [*found[-1:], log / "_last_checkpoint"]:
        _sync_path(path)
    sync_folder(log)


def trim_log(log: Path) -> None:
    """Delete what is older than the newest checkpoint by more than ``_KEPT_COMMITS``: each file left slows commits.

    Who is further behind than that opens the table anew. As-of questions never need the log.
    """
    newest = json.loads((log / "_last_checkpoint").read_bytes())["version"]
    for name in os.listdir(log):
        if name[:20].isdigit() and int(name[:20]) < newest - _KEPT_COMMITS:
            (log / name).unlink(missing_ok=True)


def _sync_path(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
