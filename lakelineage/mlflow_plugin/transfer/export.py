"""Everything that a lake has into an MLflow store, by what MLflow's client can do."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mlflow.entities import Experiment, LifecycleStage

from lakelineage.mlflow_plugin import lakes, uris
from lakelineage.mlflow_plugin.transfer import export_artifacts, export_models, export_registry, export_runs
from lakelineage.mlflow_plugin.transfer.counts import Progress, Tally, Transferred, contains
from lakelineage.mlflow_plugin.transfer.import_ import import_mlflow
from lakelineage.mlflow_plugin.transfer.pair import Pair
from lakelineage.mlflow_plugin.transfer.source import Source, kind_of, talking

if TYPE_CHECKING:
    from lakelineage.lake import Lake


def export_mlflow(
    lake: "Lake",
    target: str,
    *,
    registry_uri: str | None = None,
    experiments: Sequence[str] | None = None,
    artifacts: bool = True,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Transferred:
    """Give what the lake has to an MLflow store; to another lake, it is an import from this one.

    MLflow gives ids of its own to experiments, runs and logged models, and times of its own to all but runs. The id
    of a run or logged model in the lake becomes its tag ``lakelineage.run_id`` or ``lakelineage.model_id``, by which it
    is known again: an export that was interrupted goes on where it was, and exporting again adds what is new. Pins,
    lineage, and what else MLflow does not know, stay in the lake.

    Args:
        lake: from where.
        target: tracking URI of a store that is there: ``sqlite:///mlflow.db``, ``http://server:5000``, a lake.
        registry_uri: of the target's model registry; default as ``target``.
        experiments: names of those to give; default all. Registered models come along if a version of them is of a run
            of these.
        artifacts: whether to copy artifacts, too.
        dry_run: write nothing, tell what would be.
        progress: told what is being done, how many so far, and of how many.

    Returns:
        Counts of both sides, and what differs.

    Raises:
        InvalidInput: nothing is at ``target``.
        ExperimentNotFound: the lake has no experiment of a name.
        StorageFailed: the target cannot be read or written. What was given so far is kept.
    """
    lakes.share(lake)
    source = uris.of_place(lake.engine.root.uri)
    tally = Tally(dry_run, progress or (lambda *_: None))
    with talking(f"exporting to {target}"):
        if kind_of(target) == "lake":
            return import_mlflow(
                lakes.opened(target),
                source,
                experiments=experiments,
                artifacts=artifacts,
                dry_run=dry_run,
                progress=progress,
            )
        _run(Pair(Source(source), Source(target, registry_uri), tally), experiments, artifacts)
    return tally.result()


def _run(pair: Pair, names: Sequence[str] | None, artifacts: bool) -> None:
    """Runs come first, since models name them; then models, since metrics name these."""
    told = pair.source.experiments(names)
    _experiments(pair, told)
    export_runs.begin(pair)
    export_models.take_over(pair)
    export_runs.take_over(pair)
    if artifacts:
        export_artifacts.copy(pair)
    export_registry.take_over(pair, every=names is None)
    if not pair.tally.dry_run:
        for experiment_id in pair.deleted & pair.experiments.keys():
            pair.client.delete_experiment(pair.experiments[experiment_id])


def _experiments(pair: Pair, told: Sequence[Experiment]) -> None:
    """Make what the target lacks. What is deleted there is brought back until all of it is there."""
    pair.deleted.update(each.experiment_id for each in told if each.lifecycle_stage == LifecycleStage.DELETED)
    there = {each.name: each for each in pair.target.experiments()}
    names: set[str] = set()
    for each in sorted(told, key=lambda each: each.lifecycle_stage == LifecycleStage.DELETED):
        if each.name in names:
            pair.tally.differs(
                "experiments", f"experiments: another has the name of {each.name!r} (id {each.experiment_id})"
            )
            continue
        names.add(each.name)
        found = there.get(each.name)
        if not pair.tally.dry_run:
            pair.experiments[each.experiment_id] = _made(pair, each, found)
        elif found is not None:
            pair.experiments[each.experiment_id] = found.experiment_id
        else:
            pair.lacking.append(each.experiment_id)
    after = there.values() if pair.tally.dry_run else pair.target.experiments()
    wanted = [each for each in told if each.experiment_id in {*pair.experiments, *pair.lacking}]
    pair.tally.compare("experiments", _tags(wanted), _tags(there.values()), _tags(after), contains)


def _made(pair: Pair, told: Experiment, found: Experiment | None) -> str:
    if found is None:
        made: str = pair.client.create_experiment(told.name, tags=dict(told.tags))
        return made
    if found.lifecycle_stage == LifecycleStage.DELETED:
        pair.client.restore_experiment(found.experiment_id)
    for key, value in told.tags.items():
        if found.tags.get(key) != value:
            pair.client.set_experiment_tag(found.experiment_id, key, value)
    return str(found.experiment_id)


def _tags(experiments: Iterable[Experiment]) -> dict[str, dict[str, str]]:
    return {each.name: dict(each.tags) for each in experiments}
