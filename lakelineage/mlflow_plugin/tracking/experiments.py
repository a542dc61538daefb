"""Experiments."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from mlflow.entities import Experiment as MlflowExperiment
from mlflow.entities import ExperimentTag, LifecycleStage, ViewType
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    BAD_REQUEST,
    INVALID_PARAMETER_VALUE,
    INVALID_STATE,
    RESOURCE_ALREADY_EXISTS,
    RESOURCE_DOES_NOT_EXIST,
)
from mlflow.store.entities import PagedList
from mlflow.store.tracking import SEARCH_MAX_RESULTS_DEFAULT, SEARCH_MAX_RESULTS_THRESHOLD
from mlflow.utils import validation
from mlflow.utils.uri import append_to_uri_path, resolve_uri_if_local

from lakelineage.errors import AlreadyExists
from lakelineage.mlflow_plugin import places
from lakelineage.mlflow_plugin.tracking import experiment_search
from lakelineage.mlflow_plugin.tracking.part import StorePart
from lakelineage.model.values import Lifecycle
from lakelineage.tracking.experiments import DEFAULT_NAME, Experiment
from lakelineage.tracking.metric_table import microseconds

DEFAULT_ID = "0"


class ExperimentsPart(StorePart):
    """Experiments: their names, tags and lives, as MLflow's SQL store has them."""

    def ensure_default_experiment(self) -> None:
        """Make the experiment ``Default``, which has the id 0, if it never was there."""
        if DEFAULT_ID not in self.lake.experiments.states():
            self.lake.experiments.ensure(DEFAULT_NAME, self._artifact_location)

    def _artifact_location(self, experiment_id: str) -> str | None:
        """Where artifacts of an experiment go; None: into the lake."""
        if self.artifact_root is None:
            return None
        location: str = append_to_uri_path(self.artifact_root, experiment_id)
        return location

    def create_experiment(
        self, name: str, artifact_location: str | None = None, tags: Sequence[ExperimentTag] | None = None
    ) -> str:
        """Create an experiment, and give its id."""
        validation._validate_experiment_name(name)
        if artifact_location:
            artifact_location = resolve_uri_if_local(artifact_location)
            validation._validate_experiment_artifact_location_length(artifact_location)
        for tag in tags or ():
            validation._validate_experiment_tag(tag.key, tag.value)
        place = (lambda _: artifact_location) if artifact_location else self._artifact_location
        try:
            made = self.lake.experiments.add(name, {t.key: t.value for t in tags or ()}, place, deleted_too=True)
        except AlreadyExists as error:
            raise _name_taken(name, error) from error
        return made.id

    def get_experiment(self, experiment_id: str) -> MlflowExperiment:
        """An experiment, deleted or not."""
        return self.as_entity(self._stored(experiment_id))

    def get_experiment_by_name(self, experiment_name: str) -> MlflowExperiment | None:
        """The experiment of a name: the one that is active, else the one that was deleted last."""
        named = [e for e in self.lake.experiments.states().values() if e.name == experiment_name]
        found = next((e for e in named if e.is_active), named[-1] if named else None)
        return None if found is None else self.as_entity(found)

    def _stored(self, experiment_id: str | int | None) -> Experiment:
        """An experiment by its id, which MLflow may give as a number.

        Raises:
            MlflowException: there is none.
        """
        number = validation._parse_experiment_id(experiment_id or DEFAULT_ID)
        found = self.lake.experiments.states().get(str(number))
        return _not_found(number) if found is None else found

    def active_experiment(self, experiment_id: str | int | None) -> Experiment:
        """An experiment that is not deleted.

        Raises:
            MlflowException: there is none, or it is deleted.
        """
        found = self._stored(experiment_id)
        _check_active(found)
        return found

    def delete_experiment(self, experiment_id: str) -> None:
        """Delete an experiment; its runs go with it."""
        self._change(experiment_id, lambda e: replace(e, lifecycle_stage=Lifecycle.DELETED), stage=Lifecycle.ACTIVE)

    def restore_experiment(self, experiment_id: str) -> None:
        """Bring a deleted experiment back with all its runs, those too that were deleted before it was."""
        self._change(experiment_id, lambda e: replace(e, lifecycle_stage=Lifecycle.ACTIVE), stage=Lifecycle.DELETED)
        self.set_stage_of_runs(str(validation._parse_experiment_id(experiment_id)), Lifecycle.ACTIVE)

    def set_stage_of_runs(self, experiment_id: str, stage: Lifecycle) -> None:
        """Bring back, or purge, the runs of an experiment."""
        raise NotImplementedError

    def _hard_delete_experiment(self, experiment_id: str) -> None:
        self._change(experiment_id, lambda e: replace(e, lifecycle_stage=Lifecycle.PURGED), stage=Lifecycle.DELETED)
        self.set_stage_of_runs(str(validation._parse_experiment_id(experiment_id)), Lifecycle.PURGED)

    def rename_experiment(self, experiment_id: str, new_name: str) -> None:
        """Give an experiment another name."""
        validation._validate_experiment_name(new_name)

        def renamed(found: Experiment) -> Experiment:
            if not found.is_active:
                raise MlflowException("Cannot rename a non-active experiment.", INVALID_STATE)
            return replace(found, name=new_name)

        self._change(experiment_id, renamed)

    def set_experiment_tag(self, experiment_id: str, tag: ExperimentTag) -> None:
        """Set a tag of an experiment."""
        validation._validate_experiment_tag(tag.key, tag.value)

        def tagged(found: Experiment) -> Experiment:
            _check_active(found)
            return replace(found, tags={**found.tags, tag.key: tag.value})

        self._change(experiment_id, tagged)

    def delete_experiment_tag(self, experiment_id: str, key: str) -> None:
        """Take a tag off an experiment."""

        def untagged(found: Experiment) -> Experiment:
            _check_active(found)
            if key not in found.tags:
                raise MlflowException(
                    f"No tag with name: {key} in experiment with id {experiment_id}", RESOURCE_DOES_NOT_EXIST
                )
            return replace(found, tags={k: v for k, v in found.tags.items() if k != key})

        self._change(experiment_id, untagged)

    def _change(
        self,
        experiment_id: str | int | None,
        wanted: Callable[[Experiment], Experiment],
        stage: Lifecycle | None = None,
    ) -> None:
        """Change an experiment that is there (and, if a stage is given, is in it)."""
        number = validation._parse_experiment_id(experiment_id or DEFAULT_ID)

        def decide(found: Experiment | None, states: Mapping[str, Experiment]) -> Experiment:
            if found is None or found.lifecycle_stage == Lifecycle.PURGED or stage not in (None, found.lifecycle_stage):
                return _not_found(number)
            to_be = wanted(found)
            others = (e for e in states.values() if e.id != found.id and e.lifecycle_stage != Lifecycle.PURGED)
            clash = to_be.name != found.name or (to_be.is_active and not found.is_active)
            if clash and any(e.name == to_be.name for e in others):
                raise MlflowException(f"another experiment is named {to_be.name!r}", BAD_REQUEST)
            return to_be

        self.lake.experiments.change(str(number), decide)

    def search_experiments(
        self,
        view_type: int = ViewType.ACTIVE_ONLY,
        max_results: int = SEARCH_MAX_RESULTS_DEFAULT,
        filter_string: str | None = None,
        order_by: Sequence[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[MlflowExperiment]:
        """Experiments that satisfy a filter, a page of them."""
        check_max_results(max_results)
        stages = LifecycleStage.view_type_to_stages(view_type)
        known = [self.as_entity(e) for e in self.lake.experiments.states().values() if e.lifecycle_stage in stages]
        return experiment_search.page(known, max_results, filter_string, order_by, page_token)

    def as_entity(self, found: Experiment) -> MlflowExperiment:
        """An experiment as MLflow's."""
        return MlflowExperiment(
            experiment_id=found.id,
            name=found.name,
            artifact_location=found.artifact_location or places.experiment_uri_of(self.store_uri, found.id),
            lifecycle_stage=str(found.lifecycle_stage),
            tags=[ExperimentTag(key, value) for key, value in found.tags.items()],
            creation_time=microseconds(found.created_at) // 1000,
            last_update_time=microseconds(found.last_updated_at or found.created_at) // 1000,
        )


def _not_found(number: int) -> NoReturn:
    raise MlflowException(f"No Experiment with id={number} exists", RESOURCE_DOES_NOT_EXIST)


def _name_taken(name: str, reason: object) -> MlflowException:
    return MlflowException(f"Experiment(name={name}) already exists. Error: {reason}", RESOURCE_ALREADY_EXISTS)


def _check_active(found: Experiment) -> None:
    if not found.is_active:
        raise MlflowException(
            f"The experiment {found.id} must be in the 'active' state. Current state is {found.lifecycle_stage}.",
            INVALID_PARAMETER_VALUE,
        )


def check_max_results(max_results: Any, allow_null: bool = False) -> None:
    """The size of a page, as MLflow limits it.

    Raises:
        MlflowException: it is not positive, or too great.
    """
    if max_results is None and allow_null:
        return
    if max_results is None or max_results < 1:
        what = "a positive integer"
    elif max_results > SEARCH_MAX_RESULTS_THRESHOLD:
        what = f"at most {SEARCH_MAX_RESULTS_THRESHOLD}"
    else:
        return
    raise MlflowException(
        f"Invalid value {max_results} for parameter 'max_results' supplied. It must be {what}", INVALID_PARAMETER_VALUE
    )
