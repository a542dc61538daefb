"""Artifacts into a lake, through MLflow's artifact repositories."""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from lakelineage.errors import InvalidPath, LakelineageError, StorageFailed
from lakelineage.mlflow_plugin.transfer.counts import Tally
from lakelineage.mlflow_plugin.transfer.source import Source
from lakelineage.model import validate
from lakelineage.tracking import artifacts

if TYPE_CHECKING:
    from lakelineage.engine import Engine

#: Runs and logged models whose artifacts are copied at a time; most of the time goes into waiting.
_AT_ONCE = 4
#: Runs and logged models whose artifacts the lake is asked for at a time.
_GROUP = 500
#: Bytes of one run that wait in a temporary folder for being recorded together.
_TOGETHER = 64 << 20

_KEPT = """
SELECT run_id, path, size FROM artifacts WHERE run_id IN (SELECT unnest($owners))
QUALIFY row_number() OVER (PARTITION BY run_id, path ORDER BY ingested_at DESC, writer DESC, seq DESC) = 1
AND deleted IS NOT TRUE
"""
#: Path → size in bytes.
Files = dict[str, int | None]


def copy(engine: "Engine", source: Source, owners: Sequence[tuple[str, str]], tally: Tally) -> None:
    """Copy artifacts that the lake lacks, or has with another size.

    Args:
        engine: the open lake.
        source: where they are.
        owners: runs and logged models, each with the URI of its artifacts.
        tally: counts.

    Raises:
        StorageFailed: artifacts cannot be read.
    """
    for start in range(0, len(owners), _GROUP):
        group = owners[start : start + _GROUP]
        tally.progress("artifacts", start, len(owners))
        before = _kept(engine, [owner for owner, _ in group])

        def one(
            place: tuple[str, str], before: dict[tuple[str, str], int | None] = before
        ) -> dict[tuple[str, str], int | None]:
            return _copy_of(engine, source, *place, before, tally.dry_run)

        told: dict[tuple[str, str], int | None] = {}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for files in pool.map(one, group):
                told.update(files)
        if not tally.dry_run:
            engine.flush()
        _count(told, before, before if tally.dry_run else _kept(engine, [owner for owner, _ in group]), tally)


def _kept(engine: "Engine", owners: Sequence[str]) -> dict[tuple[str, str], int | None]:
    rows = engine.query(_KEPT, {"owners": list(owners)}).to_pylist()
    return {(row["run_id"], row["path"]): row["size"] for row in rows}


def _count(
    told: dict[tuple[str, str], int | None],
    before: dict[tuple[str, str], int | None],
    after: dict[tuple[str, str], int | None],
    tally: Tally,
) -> None:
    tally.compare("artifacts", told, before, after, fits)
    sizes = {key: size or after.get(key) or 0 for key, size in told.items()}
    there = sum(size for key, size in sizes.items() if fits(told[key], after.get(key, -1)))
    old = sum(size for key, size in sizes.items() if fits(told[key], before.get(key, -1)))
    tally.add("bytes of artifacts", sum(sizes.values()), there, sum(sizes.values()) - old)


def fits(told: int | None, there: int | None) -> bool:
    """Whether a file is there with its size; some repositories tell none."""
    return there == told or (told is None and there != -1)


def _copy_of(
    engine: "Engine",
    source: Source,
    owner: str,
    uri: str,
    before: dict[tuple[str, str], int | None],
    dry_run: bool,
) -> dict[tuple[str, str], int | None]:
    """Copy what is lacking of one run or logged model; all that the source has."""
    try:
        repository = get_artifact_repository(uri, tracking_uri=source.uri)
        told = dict(walk(repository, ""))
        lacking = {path: size for path, size in told.items() if not fits(size, before.get((owner, path), -1))}
        if not dry_run:
            for some in _together(lacking):
                _take(engine, repository, owner, some)
    except LakelineageError:
        raise
    except Exception as error:
        raise StorageFailed(
            f"the artifacts of {owner} at {uri} cannot be read: {error}; see to it that this machine may read them, or "
            "leave them where they are with --no-artifacts. What was taken over is kept"
        ) from error
    return {(owner, path): size for path, size in told.items()}


def walk(repository: ArtifactRepository, folder: str) -> Iterator[tuple[str, int | None]]:
    """All files below a folder: path, and size in bytes where the repository tells it."""
    for found in repository.list_artifacts(folder or None):
        if found.is_dir:
            yield from walk(repository, found.path)
        else:
            yield found.path, found.file_size


def _together(files: Files) -> Iterator[Files]:
    """Files in groups that a temporary folder can hold."""
    group: Files = {}
    waiting = 0
    for path, size in files.items():
        group[path] = size
        waiting += size or 0
        if waiting >= _TOGETHER:
            yield group
            group, waiting = {}, 0
    if group:
        yield group


def _take(engine: "Engine", repository: ArtifactRepository, owner: str, files: Files) -> None:
    with tempfile.TemporaryDirectory() as folder:
        got = []
        for path, size in files.items():
            try:
                checked = validate.artifact_path(path)
            except InvalidPath:
                continue  # the counts tell that it is lacking
            file = fetched(repository, path, folder)
            if size is not None and file.stat().st_size != size:
                raise StorageFailed(f"{path} of {owner} came with {file.stat().st_size} bytes instead of {size}")
            got.append((file, checked))
        artifacts.keep_files(engine, owner, got, into_models=True)


def fetched(repository: ArtifactRepository, path: str, folder: str) -> Path:
    """A local file with the content; that of a local repository is read where it is."""
    if isinstance(repository, LocalArtifactRepository):
        return Path(repository.download_artifacts(path))
    return Path(repository.download_artifacts(path, dst_path=folder))
