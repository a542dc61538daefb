"""Files that runs log, and those of logged models."""

import hashlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from lakelineage.engine import Engine, Reads
from lakelineage.errors import AlreadyExists, ArtifactNotFound, InvalidInput
from lakelineage.model import nodes, validate
from lakelineage.model.changes import Rows
from lakelineage.model.values import Relation
from lakelineage.tables import ARTIFACTS, LINEAGE
from lakelineage.tracking.artifact import Artifact
from lakelineage.tracking.logged_models import is_model_id

if TYPE_CHECKING:
    import pyarrow as pa

#: What makes a folder a model in the MLflow Models format.
MODEL_FILE = "MLmodel"


def folder(owner: str) -> str:
    """Where the artifacts of a run or logged model are in the lake."""
    return f"artifacts/{owner}"


def keep_files(engine: Engine, owner: str, files: Iterable[tuple[Path, str]], *, into_models: bool = False) -> None:
    """Copy files into the lake and then record them: a recorded artifact is always there.

    Args:
        engine: the open lake.
        owner: run or logged model.
        files: local file and (checked) path inside the artifacts.
        into_models: write below a logged model too, as MLflow does while it makes one.

    Raises:
        AlreadyExists: a path is below a logged model.
        InvalidInput: a file cannot be read.
    """
    files = list(files)
    if not into_models:
        refuse_models(engine, owner, [path for _, path in files])
    kept = []
    for source, path in files:
        try:
            with source.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
        except OSError as error:
            raise InvalidInput(f"artifact {str(source)!r} cannot be read: {error}") from error
        engine.root.upload(source, f"{folder(owner)}/{path}")
        kept.append((path, source.stat().st_size, digest))
    _record(engine, owner, kept)


def keep_bytes(engine: Engine, run_id: str, data: bytes, path: str) -> None:
    """Write one artifact and record it."""
    refuse_models(engine, run_id, [path])
    engine.root.write(f"{folder(run_id)}/{path}", data)
    _record(engine, run_id, [(path, len(data), hashlib.sha256(data).hexdigest())])


def refuse_models(engine: Engine, run_id: str, paths: Iterable[str]) -> None:
    """Refuse to write below a logged model: a version of it may be registered, and must stay what it was.

    Raises:
        AlreadyExists: one of the paths is below one.
    """
    parents = {str(parent) for path in paths for parent in PurePosixPath(path).parents if parent.parts}
    for parent in sorted(parents):
        if engine.root.exists(f"{folder(run_id)}/{parent}/{MODEL_FILE}"):
            raise AlreadyExists(f"{parent!r} is a model that run {run_id} logged; choose another artifact path")


def _record(engine: Engine, owner: str, kept: list[tuple[str, int, str]]) -> None:
    if not kept:
        return
    rows = tuple(ARTIFACTS.row(run_id=owner, path=path, size=size, sha256=digest) for path, size, digest in kept)
    change = [Rows(ARTIFACTS.name, rows)]
    if not is_model_id(owner):  # the node of a logged model stands for all its files
        source = str(nodes.run(owner))
        targets = [str(nodes.artifact(owner, path)) for path, _, _ in kept]
        edges = (
            LINEAGE.row(source=source, target=target, relation=Relation.GENERATED, run_id=owner) for target in targets
        )
        change.append(Rows(LINEAGE.name, tuple(edges)))
    engine.append(tuple(change))


def delete(engine: Engine, owner: str, path: str | None = None) -> int:
    """Delete an artifact, all below a folder of them, or (without a path) all. The history tells what there was.

    Returns:
        How many files; those of a call that died between are found by ``lakelineage doctor``.
    """
    inside = _inside(path)
    found = [row for row in listing(engine, owner).to_pylist() if _below(row["path"], inside)]
    if found:
        rows = tuple(ARTIFACTS.row(run_id=owner, **row, deleted=True) for row in found)
        engine.append((Rows(ARTIFACTS.name, rows),))
    for row in found:
        engine.root.remove(f"{folder(owner)}/{row['path']}")
    return len(found)


def _below(path: str, inside: str) -> bool:
    return not inside or path == inside or path.startswith(f"{inside}/")


#: The newest of each path, unless it says that the file was deleted.
_NEWEST = (
    "QUALIFY row_number() OVER (PARTITION BY path ORDER BY ingested_at DESC, writer DESC, seq DESC) = 1 "
    "AND deleted IS NOT TRUE"
)


def listing(engine: Reads, run_id: str) -> "pa.Table":
    """Artifacts of a run or logged model: path, size in bytes, sha256; the newest of each path, by path."""
    return engine.query(f"SELECT path, size, sha256 FROM artifacts WHERE run_id = ? {_NEWEST} ORDER BY path", [run_id])


def children(engine: Reads, run_id: str, path: str | None) -> "pa.Table":
    """What is directly in a folder of a run's artifacts; of a file, the file itself.

    Returns:
        path (whole), is_dir, size in bytes (null for a folder); by path.

    Raises:
        ArtifactNotFound: the run has nothing at the path.
    """
    inside = _inside(path)
    prefix = f"{inside}/" if inside else ""
    found = engine.query(
        f"WITH own AS (SELECT path, size FROM artifacts WHERE run_id = $run {_NEWEST}), "
        "below AS (SELECT substr(path, length($prefix) + 1) AS rest, size FROM own WHERE starts_with(path, $prefix)) "
        "SELECT $prefix || split_part(rest, '/', 1) AS path, bool_or(contains(rest, '/')) AS is_dir, "
        "CASE WHEN bool_or(contains(rest, '/')) THEN NULL ELSE max(size) END AS size FROM below GROUP BY 1 "
        "UNION ALL SELECT path, false, size FROM own WHERE path = $path ORDER BY path",
        {"run": run_id, "prefix": prefix, "path": inside},
    )
    if inside and not found.num_rows:
        raise _not_found(run_id, inside)
    return found


def _inside(path: str | None) -> str:
    """A path inside the artifacts, checked; empty for the top."""
    return "" if path is None or path in ("", ".", "/") else validate.artifact_path(path)


def _not_found(run_id: str, path: str) -> ArtifactNotFound:
    return ArtifactNotFound(
        f"run {run_id} has no artifact {path!r}; `lakelineage artifacts {run_id}` lists those it has"
    )


def download(engine: Reads, run_id: str, path: str | None, target: Path) -> Path:
    """Copy an artifact, all below a folder of them, or (without a path) all, to a local folder.

    Returns:
        The local file or folder.

    Raises:
        ArtifactNotFound: the run has nothing at the path.
        LakeDamaged: a file is gone or is not what was logged; those before it are copied.
    """
    inside = _inside(path)
    found = [row for row in listing(engine, run_id).to_pylist() if _below(row["path"], inside)]
    if inside and not found:
        raise _not_found(run_id, inside)
    for row in found:
        Artifact(engine, run_id, row["path"], (row["size"], row["sha256"])).copy_to(target / row["path"])
    target.mkdir(parents=True, exist_ok=True)
    return target / inside
