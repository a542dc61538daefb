"""The code of a run, looked at later."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lakelineage.engine import Reads
from lakelineage.tracking import artifacts, notebooks
from lakelineage.tracking import diff as diffs
from lakelineage.tracking.artifact import Artifact
from lakelineage.tracking.kept_source import DIFF, EXECUTED, FOLDER, main_place


def files(engine: Reads, run_id: str) -> tuple[str, ...]:
    """Paths of the artifacts that hold code."""
    paths = artifacts.listing(engine, run_id).column("path").to_pylist()
    return tuple(path for path in paths if path.startswith(f"{FOLDER}/"))


def code(engine: Reads, row: Mapping[str, Any]) -> str | None:
    """The main file of a run; of a notebook, its cells in percent format.

    Args:
        engine: the open lake.
        row: the run, as in the table ``runs``.
    """
    content = main_file(engine, row)
    if row["source_type"] != "notebook":
        return None if content is None else content.decode(errors="replace")
    if content is not None:
        try:
            return notebooks.as_percent(content)
        except ValueError:
            return content.decode(errors="replace")
    # The notebook could not be found, but its kernel knew what it did.
    known = EXECUTED in files(engine, row["run_id"])
    return Artifact(engine, row["run_id"], EXECUTED).read_text() if known else None


def main_file(engine: Reads, row: Mapping[str, Any]) -> bytes | None:
    """The main file of a run, byte for byte, from its artifacts or else from the repository of this machine."""
    if row["source"] is None:
        return None
    source = Path(row["source"])
    place = main_place(source)
    if place in files(engine, row["run_id"]):
        return Artifact(engine, row["run_id"], place).read_bytes()
    folder = next((parent for parent in source.parents if parent.is_dir()), None)
    if row["git_commit"] is None or folder is None:
        return None
    found = diffs.committed(folder, row["git_commit"], source)
    # Runs of the first versions have no hash: where files were changed, the commit may not have what ran.
    known = row["source_hash"]
    as_it_was = hashlib.sha256(found or b"").hexdigest() == known if known else not row["git_dirty"]
    return found if as_it_was else None


def diff(engine: Reads, run_id: str) -> str | None:
    """The patch that a run kept, as text; signs that are no UTF-8 are replaced."""
    known = DIFF in files(engine, run_id)
    return Artifact(engine, run_id, DIFF).read_bytes().decode(errors="replace") if known else None
