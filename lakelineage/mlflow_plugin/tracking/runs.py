"""Runs: their states, params and tags."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from mlflow.entities import LifecycleStage, Metric, Param, Run, RunInfo, RunTag
from mlflow.entities import RunStatus as MlflowStatus
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, INTERNAL_ERROR, INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST
from mlflow.utils import validation
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_MODELS, MLFLOW_RUN_NAME, _get_run_name_from_tags
from mlflow.utils.name_utils import _generate_random_name
from mlflow.utils.uri import append_to_uri_path

from lakelineage.errors import ParamConflict, RunNotFound
from lakelineage.mlflow_plugin import places
from lakelineage.mlflow_plugin.tracking import model_links, run_entities
from lakelineage.mlflow_plugin.tracking.experiments import ExperimentsPart
from lakelineage.mlflow_plugin.tracking.surroundings import surroundings
from lakelineage.model.changes import Change, Row, Rows
from lakelineage.model.clock import wall_clock
from lakelineage.model.ids import new_id
from lakelineage.model.values import Lifecycle, RunStatus
from lakelineage.tables import METRICS, PARAMS, RUNS_HISTORY, TAGS_HISTORY
from lakelineage.tracking import start
from lakelineage.tracking.active import RunState
from lakelineage.tracking.experiments import Experiment
from lakelineage.tracking.known import KnownRun

_REWRITTEN = "Changing param values is not allowed. "


class RunsPart(ExperimentsPart):
    """Runs, as MLflow's SQL store has them: what is logged needs a run that is not deleted, ended or not."""

    def create_run(
        self,
        experiment_id: str,
        user_id: str,
        start_time: int,
        tags: Sequence[RunTag] | None,
        run_name: str | None,
    ) -> Run:
        """Begin a run."""
        experiment = self.active_experiment(experiment_id)
        for name, value in (("user_id", user_id), ("start_time", start_time)):
            if value is None:
                raise MlflowException(f"{name} cannot be None", INTERNAL_ERROR)
        given = list(tags or ())
        tagged_name = _get_run_name_from_tags(given)
        if run_name and tagged_name and run_name != tagged_name:
            raise MlflowException(
                "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with "
                f"different values (run_name='{run_name}', mlflow.runName='{tagged_name}').",
                INVALID_PARAMETER_VALUE,
            )
        kept = {tag.key: _text(tag.value) for tag in given}
        name = kept[MLFLOW_RUN_NAME] = run_name or tagged_name or _generate_random_name()
        run_id = new_id()
        around = surroundings(self.engine)
        uri = experiment.artifact_location
        state = RunState(
            run_id=run_id,
            experiment_id=experiment.id,
            status=RunStatus.RUNNING,
            start_time=start_time * 1000,
            artifact_uri=uri and append_to_uri_path(uri, run_id, "artifacts"),
            **{**around.columns, **run_entities.columns_of(kept), "user_id": user_id, "name": name},
        )
        rows = tuple((run_id, key, value) for key, value in kept.items())
        self.engine.append((*start.begun(state, rows), *around.rows))
        self.lake.known_runs.began(state)
        row = {**asdict(state), "tags": kept, "params": {}, "metrics": {}, "metric_steps": {}, "metric_timestamps": {}}
        return run_entities.run(self.info_of(row), run_entities.run_data(row))

    def info_of(self, row: dict[str, Any], experiments: Mapping[str, Experiment] | None = None) -> RunInfo:
        """Info of a row of ``runs`` or of a state: a run goes with its experiment.

        Args:
            row: see :func:`run_entities.run_info`.
            experiments: those there are, by id, if the caller has just looked.
        """
        stage = self._stage(row["lifecycle_stage"], row["experiment_id"], experiments)
        uri = row["artifact_uri"]
        if uri is None:
            location = f"{places.FOLDER}/{row['run_id']}"
            uri = places.artifact_uri_of(self.store_uri, row["experiment_id"], location)
        return run_entities.run_info(row, uri, stage)

    def _stage(self, own: str, experiment_id: str, experiments: Mapping[str, Experiment] | None = None) -> str:
        """Whether a run is there: it goes with its experiment."""
        experiment = (experiments or self.lake.experiments.states()).get(experiment_id)
        there = own == Lifecycle.ACTIVE and experiment is not None and experiment.is_active
        stage: str = LifecycleStage.ACTIVE if there else LifecycleStage.DELETED
        return stage

    def known(self, run_id: str) -> KnownRun:
        """A run, deleted or not.

        Raises:
            MlflowException: there is none.
        """
        try:
            return self.lake.known_runs.get(run_id)
        except RunNotFound as error:
            raise not_found(run_id) from error

    def checked_run(self, run_id: str) -> KnownRun:
        """A run that may be logged to.

        Raises:
            MlflowException: there is none, or it is deleted.
        """
        known = self.known(run_id)
        stage = self._stage(known.state.lifecycle_stage, known.state.experiment_id)
        if stage != LifecycleStage.ACTIVE:
            raise MlflowException(
                f"The run {run_id} must be in the 'active' state. Current state is {stage}.", INVALID_PARAMETER_VALUE
            )
        return known

    def update_run_info(
        self, run_id: str, run_status: int | None, end_time: int | None, run_name: str | None
    ) -> RunInfo:
        """Change status, end or name of a run."""
        state = self.checked_run(run_id).state
        if run_status is not None:
            state = replace(state, status=RunStatus(MlflowStatus.to_string(run_status)))
        if end_time is not None:
            state = replace(state, end_time=int(end_time) * 1000)
        tags: tuple[Row, ...] = ()
        if run_name:
            state, tags = replace(state, name=run_name), ((run_id, MLFLOW_RUN_NAME, run_name),)
        self._append_state(state, tags)
        return self.info_of(asdict(state))

    def _append_state(self, state: RunState, tags: tuple[Row, ...] = ()) -> None:
        change = [Rows(RUNS_HISTORY.name, (state.row(),))]
        if tags:
            change.append(Rows(TAGS_HISTORY.name, tags))
        self.engine.append(tuple(change))
        if state.status.ended and self.engine.root.local is None:
            self.engine.flush()

    def get_run(self, run_id: str) -> Run:
        """A run with its params, tags, latest metrics, inputs and outputs."""
        row = self.row_of(run_id)
        links = self.links_of([run_id])
        return run_entities.run(self.info_of(row), run_entities.run_data(row), *links[run_id])

    def row_of(self, run_id: str) -> dict[str, Any]:
        """A row of ``runs``.

        Raises:
            MlflowException: there is no such run.
        """
        row = self.engine.find_run(run_id)
        if row is None or row["lifecycle_stage"] == Lifecycle.PURGED:
            raise not_found(run_id)
        return row

    def links_of(self, run_ids: Sequence[str]) -> dict[str, tuple[Any, Any, Any]]:
        """Run id → datasets that it used, models that it used, models that it made."""
        models = model_links.links_of(self.engine, run_ids)
        return {run_id: ((), *models[run_id]) for run_id in run_ids}

    def delete_run(self, run_id: str) -> None:
        """Delete a run; it can be restored."""
        self._set_stage(self.known(run_id).state, Lifecycle.DELETED)

    def restore_run(self, run_id: str) -> None:
        """Bring a deleted run back."""
        self._set_stage(self.known(run_id).state, Lifecycle.ACTIVE)

    def _hard_delete_run(self, run_id: str) -> None:
        self._set_stage(self.known(run_id).state, Lifecycle.PURGED)

    def _set_stage(self, state: RunState, stage: Lifecycle) -> None:
        if state.lifecycle_stage is not stage:
            start.set_stage(self.engine, state.run_id, stage)

    def set_stage_of_runs(self, experiment_id: str, stage: Lifecycle) -> None:
        """Bring back, or purge, the runs of an experiment."""
        sql = "SELECT run_id FROM runs WHERE experiment_id = ? AND lifecycle_stage NOT IN (?, 'purged')"
        for run_id in self.engine.query(sql, [experiment_id, str(stage)]).column("run_id").to_pylist():
            start.set_stage(self.engine, run_id, stage)

    def _get_deleted_runs(self, older_than: int = 0) -> list[str]:
        """Ids of runs that were deleted, themselves or with their experiment, so many ms ago or earlier."""
        until = wall_clock() - int(older_than) * 1000
        found = self.engine.query(_DELETED_RUNS, [until, until])
        ids: list[str] = found.column("run_id").to_pylist()
        return ids

    def log_param(self, run_id: str, param: Param) -> None:
        """Log a param. The same value again is no error, another value is."""
        checked = validation._validate_param(param.key, param.value)
        self.checked_run(run_id)
        try:
            self._log(run_id, params=_with_values([checked]))
        except ParamConflict as error:
            old, new = error.conflicts[checked.key]
            raise MlflowException(
                f"{_REWRITTEN}Param with key='{checked.key}' was already logged with value='{old}' for run "
                f"ID='{run_id}'. Attempted logging new value '{new}'.",
                INVALID_PARAMETER_VALUE,
            ) from error

    def set_tag(self, run_id: str, tag: RunTag) -> None:
        """Set a tag; ``mlflow.runName`` renames the run."""
        try:
            checked = validation._validate_tag(tag.key, tag.value)
        except TypeError as error:  # as all that is not foreseen inside of a call to the SQL store
            raise MlflowException(str(error), INTERNAL_ERROR) from error
        self.checked_run(run_id)
        self._log(run_id, tags={checked.key: _text(checked.value)})

    def delete_tag(self, run_id: str, key: str) -> None:
        """Take a tag off."""
        self.checked_run(run_id)
        if key not in run_entities.all_tags(self.row_of(run_id)):
            raise MlflowException(f"No tag with name: {key} in run with id {run_id}", RESOURCE_DOES_NOT_EXIST)
        gone = run_entities.NO_NAME if key == MLFLOW_RUN_NAME else None
        change: list[Rows] = [Rows(TAGS_HISTORY.name, ((run_id, key, gone),))]
        column = run_entities.COLUMNS.get(key)
        if column not in (None, "name", "user_id"):
            empty: dict[str, Any] = {column: None}
            change.append(Rows(RUNS_HISTORY.name, (replace(self.known(run_id).state, **empty).row(),)))
        self.engine.append(tuple(change))

    def log_batch(
        self, run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: Sequence[RunTag]
    ) -> None:
        """Log metrics, params and tags: all of them or none."""
        validation._validate_run_id(run_id)
        metrics, params, tags = validation._validate_batch_log_data(metrics, params, tags)
        validation._validate_batch_log_limits(metrics, params, tags)
        validation._validate_param_keys_unique(params)
        self.checked_run(run_id)
        rows = self.metric_rows(run_id, metrics)
        try:
            self._log(run_id, _with_values(params), {t.key: _text(t.value) for t in tags}, rows)
        except ParamConflict as error:
            told = [{"key": k, "old_value": old, "new_value": new} for k, (old, new) in error.conflicts.items()]
            raise MlflowException(
                f"{_REWRITTEN}Params were already logged='{told}' for run ID='{run_id}'.", INVALID_PARAMETER_VALUE
            ) from error

    def metric_rows(self, run_id: str, metrics: Sequence[Metric]) -> tuple[Row, ...]:
        """Rows of ``metrics``, checked."""
        raise NotImplementedError

    def _log(
        self,
        run_id: str,
        params: dict[str, str] | None = None,
        tags: dict[str, str] | None = None,
        metrics: tuple[Row, ...] = (),
    ) -> None:
        """Append what is to be logged as one change, if there is anything.

        Raises:
            ParamConflict: a param has another value; nothing is appended then.
        """
        with self.lake.known_runs.new_params(run_id, params or {}) as fresh:
            parts = [Rows(METRICS.name, metrics), Rows(PARAMS.name, fresh), *self._tagged(run_id, tags or {})]
            change: Change = tuple(part for part in parts if len(part))
            if change:
                self.engine.append(change)

    def _tagged(self, run_id: str, tags: dict[str, str]) -> list[Rows]:
        """Tags, and the state of the run where they change it. An empty name is none."""
        tags = {key: value for key, value in tags.items() if value or key != MLFLOW_RUN_NAME}
        rows = [Rows(TAGS_HISTORY.name, tuple((run_id, key, value) for key, value in tags.items()))]
        told = run_entities.columns_of(tags)
        if told:
            state = replace(self.known(run_id).state, **told)
            rows.append(Rows(RUNS_HISTORY.name, (state.row(),)))
        return rows

    def record_logged_model(self, run_id: str, mlflow_model: Any) -> None:
        """Note a model in a tag of the run, as clients of MLflow before version 3 do."""
        from mlflow.models import Model

        if not isinstance(mlflow_model, Model):
            raise TypeError(f"Argument 'mlflow_model' should be mlflow.models.Model, got '{type(mlflow_model)}'")
        self.checked_run(run_id)
        before = json.loads(dict(self.row_of(run_id)["tags"]).get(MLFLOW_LOGGED_MODELS, "[]"))
        value = json.dumps([*before, mlflow_model.get_tags_dict()])
        validation._validate_tag(MLFLOW_LOGGED_MODELS, value)
        self._log(run_id, tags={MLFLOW_LOGGED_MODELS: value})


#: Deleted by themselves: since the first of their newest states that say so; or with their experiment.
_DELETED_RUNS = """
WITH living AS (
  SELECT run_id, max(ingested_at) AS at FROM runs_history WHERE lifecycle_stage <> 'deleted' GROUP BY run_id
),
died AS (
  SELECT h.run_id, min(h.ingested_at) AS at FROM runs_history h LEFT JOIN living l USING (run_id)
  WHERE h.lifecycle_stage = 'deleted' AND (l.at IS NULL OR h.ingested_at > l.at) GROUP BY h.run_id
)
SELECT r.run_id FROM runs r
LEFT JOIN died d ON d.run_id = r.run_id
LEFT JOIN experiments e ON e.experiment_id = r.experiment_id AND e.lifecycle_stage <> 'active'
WHERE r.lifecycle_stage <> 'purged' AND (
  (r.lifecycle_stage = 'deleted' AND epoch_us(d.at) <= ?)
  OR (e.experiment_id IS NOT NULL AND epoch_us(e.updated_at) <= ?)
)
ORDER BY r.run_id
"""


def _text(value: Any) -> str:
    """The value of a tag. None is an empty text, as in MLflow's REST API."""
    return "" if value is None else str(value)


def _with_values(params: Sequence[Param]) -> dict[str, str]:
    for param in params:
        if param.value is None:
            raise MlflowException(f"NOT NULL constraint failed: params.value of '{param.key}'", BAD_REQUEST)
    return {param.key: param.value for param in params}


def not_found(run_id: str) -> MlflowException:
    """The refusal of a run that is not there."""
    return MlflowException(f"Run with id={run_id} not found", RESOURCE_DOES_NOT_EXIST)
