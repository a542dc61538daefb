"""Artifacts of runs and logged models into an MLflow store."""

import posixpath
import tempfile
from collections.abc import Iterator

from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from lakelineage.errors import StorageFailed
from lakelineage.mlflow_plugin.transfer.artifacts import fetched, fits, walk
from lakelineage.mlflow_plugin.transfer.pair import Pair


def copy(pair: Pair) -> None:
    """Copy artifacts that the target lacks, or has with another size."""
    for done, (owner, mine, theirs) in enumerate(_places(pair)):
        if not done % 100:
            pair.tally.progress("artifacts", done, len(pair.runs) + len(pair.models))
        try:
            _copy(pair, owner, mine, theirs)
        except OSError as error:
            raise StorageFailed(f"the artifacts of {owner} cannot be copied to {theirs}: {error}") from error


def _places(pair: Pair) -> Iterator[tuple[str, str, str | None]]:
    """Run or logged model, with the URIs of its artifacts in the lake and in the target."""
    for page in pair.source.runs(pair.given):
        for run in page:
            found = pair.runs.get(run.info.run_id)
            target = None if found is None else pair.client.get_run(found).info.artifact_uri
            yield run.info.run_id, run.info.artifact_uri, target
    for model in pair.source.logged_models(pair.given):
        found = pair.models.get(model.model_id)
        target = None if found is None else pair.client.get_logged_model(found).artifact_location
        yield model.model_id, model.artifact_location, target


def _copy(pair: Pair, owner: str, mine: str, theirs: str | None) -> None:
    source = get_artifact_repository(mine, tracking_uri=pair.source.uri)
    told = dict(walk(source, ""))
    target = None if theirs is None or not told else get_artifact_repository(theirs, tracking_uri=pair.target.uri)
    before = {} if target is None else dict(walk(target, ""))
    after = before
    if target is not None and not pair.tally.dry_run:
        lacking = [path for path, size in told.items() if not fits(size, before.get(path, -1))]
        _give(source, target, lacking)
        after = dict(walk(target, "")) if lacking else before
    all_told, all_before, all_after = (
        {(owner, path): size for path, size in files.items()} for files in (told, before, after)
    )
    pair.tally.compare("artifacts", all_told, all_before, all_after, fits)
    sizes = {path: size or 0 for path, size in told.items()}
    old, new = (sum(sizes[p] for p in sizes if fits(told[p], files.get(p, -1))) for files in (before, after))
    pair.tally.add("bytes of artifacts", sum(sizes.values()), new, sum(sizes.values()) - old)


def _give(source: ArtifactRepository, target: ArtifactRepository, paths: list[str]) -> None:
    for path in paths:
        with tempfile.TemporaryDirectory() as folder:
            target.log_artifact(str(fetched(source, path, folder)), posixpath.dirname(path) or None)
