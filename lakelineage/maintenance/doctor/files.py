"""Files that nothing needs, and files that something needs and that are gone."""

import hashlib
import time
from collections.abc import Iterator
from typing import Any

from lakelineage.maintenance.doctor import finding
from lakelineage.maintenance.doctor.finding import Finding, Place, Severity, of_bytes, some
from lakelineage.store import health
from lakelineage.store.root import Entry
from lakelineage.tables import BY_NAME

#: Hours that a data file stays after no version needs it (as maintenance has it), and some for its next round.
_UNNEEDED_HOURS = 6
_TEMPORARY = (".new-",)
_SHA256_DIGITS = 64

_NEWEST = """
SELECT run_id, path, size, sha256 FROM artifacts
QUALIFY row_number() OVER (PARTITION BY run_id, path ORDER BY ingested_at DESC, writer DESC, seq DESC) = 1
AND deleted IS NOT TRUE
"""


def settled(entry: Entry) -> bool:
    """Whether nobody can still be at work on a file."""
    return time.time() - entry.changed > finding.SETTLED


def is_temporary(path: str) -> bool:
    """Whether a file is one that a writer replaces by the real one when it is whole."""
    name = path.rpartition("/")[2]
    return name.startswith(_TEMPORARY) or name.endswith(".json.tmp") or ".parquet#" in name


def unneeded(place: Place, deep: bool) -> Iterator[Finding]:  # noqa: ARG001 - checks are alike
    """Data files of the lake's own tables that no version needs."""
    count = 0
    for table in BY_NAME.values():
        if place.root.exists(f"tables/{table.name}/_delta_log/_last_checkpoint") or place.root.list(
            f"tables/{table.name}/_delta_log"
        ):
            count += len(health.unneeded(place.root, f"tables/{table.name}", _UNNEEDED_HOURS))
    if count:
        message = f"{count:,} data files are needed by no version for {_UNNEEDED_HOURS} hours or more"
        yield Finding("unneeded files", Severity.NOTE, message, "`lakelineage maintain` deletes them")


def artifacts(place: Place, deep: bool) -> Iterator[Finding]:
    """Artifacts that are recorded against those that are there."""
    before = {entry.path: entry for entry in place.root.walk("artifacts")}
    recorded = {f"artifacts/{row['run_id']}/{row['path']}": row for row in place.rows(_NEWEST)}
    after = {entry.path: entry for entry in place.root.walk("artifacts")}  # a recorded file is there already
    gone = sorted(recorded.keys() - after.keys())
    stray = [e for p, e in before.items() if p not in recorded and settled(e) and not is_temporary(p)]
    altered = [p for p, row in recorded.items() if _altered(place, after.get(p), row, deep)]
    yield from _lost("artifacts", "artifacts are recorded, but their files are gone", gone)
    yield from _lost("artifacts", "artifacts are not what was logged (another size or content)", sorted(altered))
    if stray:
        yield Finding(
            "artifacts",
            Severity.NOTE,
            f"{len(stray):,} files ({of_bytes(sum(e.size for e in stray))}) are recorded by no run: "
            f"{some([e.path for e in stray])}",
            "left by a process that died before it recorded them, or put there by hand; delete them if none is needed",
        )
    if not gone and not altered:
        looked = "and have the content that was logged" if deep else "and have the size that was logged"
        yield Finding("artifacts", Severity.OK, f"{len(recorded):,} artifacts are there {looked}")


def _altered(place: Place, entry: Entry | None, row: dict[str, Any], deep: bool) -> bool:
    if entry is None or not settled(entry):
        return False  # it may have been replaced a moment ago, and be recorded in the next
    if entry.size != row["size"]:
        return True
    return deep and _sha256(place, entry.path) != row["sha256"]


def _sha256(place: Place, path: str) -> str:
    if place.root.local is None:
        return hashlib.sha256(place.root.read(path)).hexdigest()
    with (place.root.local / path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lost(check: str, what: str, paths: list[str]) -> Iterator[Finding]:
    if paths:
        yield Finding(check, Severity.ERROR, f"{len(paths):,} {what}: {some(paths)}", "restore them from a backup")


def archive(place: Place, deep: bool) -> Iterator[Finding]:
    """Kept copies of pinned files against the snapshots that need them."""
    before = place.root.walk("archive")
    rows = place.rows("SELECT DISTINCT archived_as AS path, size FROM snapshot_files WHERE archived_as IS NOT NULL")
    needed = {row["path"]: row["size"] for row in rows}
    there = dict(place.root.list("archive"))
    gone = sorted(path for path, size in needed.items() if there.get(path) != size)
    altered = [p for p in sorted(needed) if deep and p not in gone and _is_not_its_name(place, p)]
    yield from _lost("archive", "kept files of pinned folders were altered (hard links, by their other name)", altered)
    stray = [e for e in before if e.path not in needed and settled(e) and not is_temporary(e.path)]
    if gone:
        yield Finding(
            "archive",
            Severity.ERROR,
            f"{len(gone):,} kept copies of pinned files are gone or have another size: {some(gone)}",
            "restore them from a backup; while the source still has the version, pin it again with "
            "protection='archived'",
        )
    if stray:
        yield Finding(
            "archive",
            Severity.NOTE,
            f"{len(stray):,} files ({of_bytes(sum(e.size for e in stray))}) are needed by no snapshot: "
            f"{some([e.path for e in stray])}",
            "left by a process that died before it recorded the pin; delete them",
        )
    if needed and not gone and not altered:
        yield Finding("archive", Severity.OK, f"{len(needed):,} kept copies are there")


def _is_not_its_name(place: Place, path: str) -> bool:
    """Whether a kept file that is named by its SHA-256 has another one. Those of tables are named otherwise."""
    name = path.rpartition("/")[2]
    return len(name) == _SHA256_DIGITS and _sha256(place, path) != name


def datasets(place: Place, deep: bool) -> Iterator[Finding]:  # noqa: ARG001 - checks are alike
    """Managed tables, whose every pinned version stays readable."""
    rows = place.rows(
        "SELECT DISTINCT s.table_uri, f.path, f.size FROM snapshots s JOIN snapshot_files f USING (snapshot_id) "
        "WHERE starts_with(s.table_uri, ?) AND f.archived_as IS NULL AND NOT starts_with(f.path, 'folder:')",
        [place.root.child("datasets") + "/"],
    )
    there = dict(place.root.list("datasets"))
    folders = sorted({path.split("/")[1] for path in there if path.count("/") > 1})
    lost = [
        p
        for row in rows
        if there.get(p := f"{row['table_uri'].removeprefix(place.root.uri + '/')}/{row['path']}") != row["size"]
    ]
    for name in folders:
        table = health.inspect(place.root, f"datasets/{name}", 1)
        lost += (
            []
            if table is None
            else [
                p
                for file, size in table.files.items()
                if there.get(p := f"datasets/{name}/{file}") != size and p not in lost
            ]
        )
    yield from _lost("datasets", "files of managed tables are gone or have another size", lost)
    if folders and not lost:
        yield Finding("datasets", Severity.OK, f"{len(folders):,} managed tables are whole")


def temporary(place: Place, deep: bool) -> Iterator[Finding]:  # noqa: ARG001 - checks are alike
    """What writers that died left half written."""
    folders = ("tables", "artifacts", "archive", "datasets")
    found = [e for folder in folders for e in place.root.walk(folder) if is_temporary(e.path) and settled(e)]
    if found:
        yield Finding(
            "temporary files",
            Severity.NOTE,
            f"{len(found):,} ({of_bytes(sum(e.size for e in found))}) were left by processes that died: "
            f"{some([e.path for e in found])}",
            "delete them: what was to come of them was never acknowledged",
        )
