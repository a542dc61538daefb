"""Datasets and models that runs use."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlflow.entities import DatasetInput, LoggedModelInput
from mlflow.entities.dataset_summary import _DatasetSummary
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT
from mlflow.utils.validation import _parse_experiment_ids, _validate_dataset_inputs, _validate_run_id

from lakelineage.mlflow_plugin.tracking.dataset_inputs import dataset_inputs_of
from lakelineage.mlflow_plugin.tracking.model_links import model_inputs_change
from lakelineage.mlflow_plugin.tracking.pinnable import Place, place_of
from lakelineage.mlflow_plugin.tracking.runs import RunsPart
from lakelineage.model.changes import Change
from lakelineage.model.validate import MAX_KEY
from lakelineage.snapshots import datasets as described
from lakelineage.snapshots import pinning, records
from lakelineage.snapshots.datasets import Described

if TYPE_CHECKING:
    from lakelineage.engine import Engine
    from lakelineage.snapshots import Snapshot

_log = logging.getLogger(__name__)
#: As many as MLflow's SQL store gives.
_MOST_SUMMARIES = 1_000
#: The context of a pin where nobody said what the data is used for.
_NO_CONTEXT = "unspecified"


class InputsPart(RunsPart):
    """Datasets and models that runs use."""

    def log_inputs(
        self,
        run_id: str,
        datasets: list[DatasetInput] | None = None,
        models: list[LoggedModelInput] | None = None,
    ) -> None:
        """Log what a run uses.

        A dataset whose source is a Delta table that this process can read is pinned at its exact version: the same rows
        as those of ``run.use``. What cannot be pinned is logged all the same, and a warning tells why.

        Args:
            run_id: the run, which must be active.
            datasets: a dataset of the same name and digest as one that the run has adds nothing. In an experiment, name
                and digest stand for one dataset, described as it was first, unless another version is pinned now.
            models: logged models.

        Raises:
            MlflowException: no such active run, or something that MLflow does not keep.
        """
        _validate_run_id(run_id)
        if datasets is not None:
            if not isinstance(datasets, list):
                raise TypeError(f"Argument 'datasets' should be a list, got '{type(datasets)}'")
            _validate_dataset_inputs(datasets)
        experiment_id = self.checked_run(run_id).state.experiment_id
        rows = _log_datasets(self.engine, run_id, experiment_id, datasets) if datasets else ()
        rows = (*rows, *model_inputs_change(self.engine, run_id, models or []))
        if rows:
            self.engine.append(rows)

    def links_of(self, run_ids: Sequence[str]) -> dict[str, tuple[Any, Any, Any]]:
        """Run id → datasets that it used, models that it used, models that it made."""
        datasets = dataset_inputs_of(self.engine, run_ids)
        return {
            run_id: (datasets.get(run_id, ()), *models) for run_id, (_, *models) in super().links_of(run_ids).items()
        }

    def _search_datasets(self, experiment_ids: Sequence[str]) -> list[_DatasetSummary]:
        """Name, digest and context of the datasets of some experiments: at most 1,000, each once."""
        found = described.summaries(
            self.engine, [str(each) for each in _parse_experiment_ids(list(experiment_ids))], _MOST_SUMMARIES
        )
        return [_DatasetSummary(*each) for each in found]


def _log_datasets(engine: "Engine", run_id: str, experiment_id: str, inputs: Sequence[DatasetInput]) -> Change:
    """Pin what can be, each with its description in one change; returns the descriptions of all else."""
    given_first = {_key(given): given for given in reversed(inputs)}
    first, have = described.known_in_experiment(engine, experiment_id, run_id, list(given_first))
    new = [(key, given) for key, given in reversed(given_first.items()) if key not in have]
    if new:
        pinning.forget_inputs(engine, run_id)
    left = []
    for key, given in new:
        dataset = _described(given)
        if not _pinned(engine, run_id, given, dataset, first.get(key)):
            left.append(_as_first(dataset, first.get(key)))
    return (described.rows(run_id, left),) if left else ()


def _pinned(engine: "Engine", run_id: str, given: DatasetInput, dataset: Described, first: Described | None) -> bool:
    """Pin a dataset as an input of the run and log it in the same change; False: that is not possible."""
    try:
        place = place_of(given.dataset, engine.root)
        if place is None:
            return False
        _pin(engine, run_id, place, dataset, first)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a table, MLflow's call must not fail for it
        _log.warning(
            "dataset %r of run %s is logged, but not pinned, so it may not be there to be read again: %s",
            dataset.name,
            run_id,
            error,
        )
        return False
    return True


def _pin(engine: "Engine", run_id: str, place: Place, dataset: Described, first: Described | None) -> None:
    def also(snapshot: "Snapshot") -> Change:
        place.check(snapshot)
        exact = replace(dataset, source=place.exactly(snapshot), snapshot_id=snapshot.id)
        same = first is not None and first.snapshot_id == snapshot.id
        return (described.rows(run_id, [_as_first(exact, first) if same else exact]),)

    known = None if place.snapshot_id is None else records.find(engine, place.snapshot_id)
    context = (dataset.context or "").strip()[:MAX_KEY] or _NO_CONTEXT
    name = dataset.name.strip()[: MAX_KEY - 50] or None
    pinning.use(
        engine,
        run_id,
        place.path if known is None else known,
        version=place.version if known is None else None,
        name=name,
        context=context,
        other_names=() if name is None else (f"{name}:{context[:40]}", f"{name}@{dataset.digest}"),
        also=also,
    )


def _as_first(dataset: Described, first: Described | None) -> Described:
    """A dataset with the description that it got first in its experiment."""
    if first is None:
        return dataset
    return replace(
        dataset, source_type=first.source_type, source=first.source, schema=first.schema, profile=first.profile
    )


def _key(given: DatasetInput) -> described.Key:
    return given.dataset.name, given.dataset.digest


def _described(given: DatasetInput) -> Described:
    dataset = given.dataset
    tags = {tag.key: tag.value for tag in given.tags}
    return Described(
        dataset.name,
        dataset.digest,
        dataset.source_type,
        dataset.source,
        dataset.schema,
        dataset.profile,
        tags.get(MLFLOW_DATASET_CONTEXT),
        tuple(tags.items()),
    )
