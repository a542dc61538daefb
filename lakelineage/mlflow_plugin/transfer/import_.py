"""Everything that an MLflow store has into a lake."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lakelineage.mlflow_plugin.transfer import artifacts as artifact_files
from lakelineage.mlflow_plugin.transfer import experiments as experiment_rows
from lakelineage.mlflow_plugin.transfer import histories, models, registry, runs
from lakelineage.mlflow_plugin.transfer.counts import Progress, Tally, Transferred
from lakelineage.mlflow_plugin.transfer.source import Source, talking

if TYPE_CHECKING:
    from lakelineage.lake import Lake


def import_mlflow(
    lake: "Lake",
    source: str,
    *,
    registry_uri: str | None = None,
    experiments: Sequence[str] | None = None,
    artifacts: bool = True,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Transferred:
    """Take over what an MLflow store has: ids, times, histories and artifacts are kept.

    What the lake has already is left as it is, so an import that was interrupted goes on where it was, and importing
    again adds what is new or has changed in the source. Where both sides changed a run, the source's status, name,
    stage and tags win; what was added in the lake stays. What was taken off in the source stays, too.

    Args:
        lake: where to.
        source: tracking URI: ``sqlite:///mlflow.db``, ``http://server:5000``, ``./mlruns``, a lake.
        registry_uri: of the source's model registry; default as ``source``.
        experiments: names of those to take over; default all. Registered models come along if a version of them is of
            a run of these.
        artifacts: whether artifacts come into the lake; else runs and models name the place where they are.
        dry_run: write nothing, tell what would be.
        progress: told what is being done, how many so far, and of how many.

    Returns:
        Counts of both sides, and what differs.

    Raises:
        InvalidInput: nothing is at ``source``.
        ExperimentNotFound: it has no experiment of a name.
        StorageFailed: it cannot be read. What was taken over so far is kept.
    """
    tally = Tally(dry_run, progress or (lambda *_: None))
    with talking(f"importing from {source}"):
        _Import(lake, Source(source, registry_uri), tally, artifacts).run(experiments)
    return tally.result()


class _Import:
    def __init__(self, lake: "Lake", source: Source, tally: Tally, copying: bool) -> None:
        self._engine = lake.engine
        self._source = source
        self._tally = tally
        self._copying = copying

    def run(self, names: Sequence[str] | None) -> None:
        told = self._source.experiments(names)
        ids = experiment_rows.take_over(self._engine, told, self._tally)
        logged = self._source.logged_models(list(ids))
        models.take_over(self._engine, logged, ids, self._tally, copying=self._copying)
        measured = histories.measured_on(logged, limitless=self._source.kind in ("sql", "http"))
        places = [(each.model_id, each.artifact_location) for each in logged]
        whole = bool(logged) or names is not None
        done = 0
        for page in self._source.runs(list(ids)):
            self._tally.progress("runs", done, None)
            found = [self._source.client.get_run(run.info.run_id) for run in page] if whole else page
            runs.take_over(self._engine, self._source, found, ids, measured, self._tally, copying=self._copying)
            places += [(run.info.run_id, run.info.artifact_uri) for run in page]
            done += len(page)
        places = [(owner, uri) for owner, uri in places if uri]
        if self._copying:
            artifact_files.copy(self._engine, self._source, places, self._tally)
        self._take_registry({registry.plain(uri): owner for owner, uri in places}, every=names is None)

    def _take_registry(self, owners: dict[str, str], every: bool) -> None:
        """Registered models; unless all are wanted, those that have a version of what was taken over."""
        self._tally.progress("registered models", 0, None)
        found, versions = self._source.registered_models(), self._source.versions()
        if not every:
            ours = set(owners.values())
            names = {each.name for each in versions if {each.run_id, each.model_id} & ours}
            found = [each for each in found if each.name in names]
        wanted = {each.name for each in found}
        versions = [each for each in versions if each.name in wanted]
        registry.take_over(self._engine, self._source, found, versions, owners, self._tally, copied=self._copying)
