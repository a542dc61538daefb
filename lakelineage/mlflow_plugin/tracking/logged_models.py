"""Logged models, and which runs used and made them."""

from collections.abc import Sequence
from typing import Any

from mlflow.entities import (
    LoggedModel,
    LoggedModelOutput,
    LoggedModelParameter,
    LoggedModelStatus,
    LoggedModelTag,
    Metric,
)
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST
from mlflow.store.entities import PagedList
from mlflow.utils import validation
from mlflow.utils.name_utils import _generate_random_name
from mlflow.utils.search_utils import SearchLoggedModelsPaginationToken
from mlflow.utils.uri import append_to_uri_path

from lakelineage.errors import ParamConflict
from lakelineage.mlflow_plugin import places
from lakelineage.mlflow_plugin.tracking import model_links, model_search
from lakelineage.mlflow_plugin.tracking.runs import RunsPart
from lakelineage.model.clock import wall_clock
from lakelineage.model.values import Lifecycle, ModelStatus
from lakelineage.tables import LOGGED_MODELS_HISTORY
from lakelineage.tracking import logged_models
from lakelineage.tracking.logged_models import LoggedModelState

_TIMES = ("created_at", "last_updated_at")
_COLUMNS = ", ".join(
    [f"m.{name}" for name in LOGGED_MODELS_HISTORY.names if name not in _TIMES]
    + [f"epoch_us(m.{name}) AS {name}" for name in _TIMES]
    + ["m.params", "m.tags"]
)
#: Values measured of logged models; one of the same run, name, time and step is one value.
_METRICS = """
SELECT model_id, key, value, epoch_us(timestamp) // 1000 AS timestamp, step, dataset, dataset_digest, run_id
FROM metrics WHERE model_id IN ({ids})
QUALIFY row_number() OVER (
  PARTITION BY model_id, key, epoch_us(timestamp) // 1000, step, run_id ORDER BY ingested_at, writer, seq
) = 1
ORDER BY ingested_at, writer, seq
"""


class LoggedModelsPart(RunsPart):
    """Logged models, as MLflow's SQL store has them."""

    def create_logged_model(
        self,
        experiment_id: str,
        name: str | None = None,
        source_run_id: str | None = None,
        tags: list[LoggedModelTag] | None = None,
        params: list[LoggedModelParameter] | None = None,
        model_type: str | None = None,
    ) -> LoggedModel:
        """Make a logged model, whose files are to come."""
        validation._validate_logged_model_name(name)
        experiment = self.active_experiment(experiment_id)
        model_id = logged_models.new_model_id()
        place = experiment.artifact_location
        state, change = logged_models.created(
            experiment.id,
            name or _generate_random_name(),
            model_id=model_id,
            artifact_location=place and append_to_uri_path(place, "models", model_id, "artifacts"),
            source_run_id=source_run_id,
            model_type=model_type,
            params=_unique(params, "param"),
            tags=_unique(tags, "tag"),
        )
        self.engine.append(change)
        return self._model_entity(state, [])

    def log_logged_model_params(self, model_id: str, params: list[LoggedModelParameter]) -> None:
        """Add params to a logged model; each is written once."""
        state = self._state_of(model_id)
        try:
            logged_models.log_params(self.engine, state, _unique(params, "param"))
        except ParamConflict as error:
            raise MlflowException(str(error), BAD_REQUEST) from error

    def _state_of(self, model_id: str, *, deleted: bool = True) -> LoggedModelState:
        """A logged model.

        Raises:
            MlflowException: there is none; or it is deleted, and that is not to be.
        """
        found = logged_models.find(self.engine, model_id)
        if found is None or not (deleted or found.lifecycle_stage is Lifecycle.ACTIVE):
            raise MlflowException(f"Logged model with ID '{model_id}' not found.", RESOURCE_DOES_NOT_EXIST)
        return found

    def get_logged_model(self, model_id: str, allow_deleted: bool = False) -> LoggedModel:
        """A logged model with its params, tags and metrics."""
        return self._whole(self._state_of(model_id, deleted=allow_deleted))

    def _whole(self, state: LoggedModelState) -> LoggedModel:
        return self._model_entity(state, self._model_metrics([state.model_id])[state.model_id])

    def delete_logged_model(self, model_id: str) -> None:
        """Delete a logged model; its files stay until ``mlflow gc``."""
        logged_models.set_stage(self.engine, self._state_of(model_id), Lifecycle.DELETED)

    def _hard_delete_logged_model(self, model_id: str) -> None:
        logged_models.set_stage(self.engine, self._state_of(model_id), Lifecycle.PURGED)

    def _get_deleted_logged_models(self, older_than: int = 0) -> list[str]:
        """Ids of logged models that were deleted so many ms ago or earlier."""
        return logged_models.deleted_before(self.engine, wall_clock() - int(older_than) * 1000)

    def finalize_logged_model(self, model_id: str, status: LoggedModelStatus) -> LoggedModel:
        """Say that the files of a logged model are there, or that they failed to come."""
        state = self._state_of(model_id)
        return self._whole(logged_models.finalize(self.engine, state, LoggedModelStatus(status).value))

    def set_logged_model_tags(self, model_id: str, tags: list[LoggedModelTag]) -> None:
        """Set tags of a logged model; of one that is given twice, the last holds."""
        given = {tag.key: tag.value for tag in tags}
        _refuse_nulls(given, "tag")
        logged_models.set_tags(self.engine, self._state_of(model_id), given)

    def delete_logged_model_tag(self, model_id: str, key: str) -> None:
        """Take a tag off a logged model."""
        state = self._state_of(model_id)
        if key not in state.tags:
            raise MlflowException(
                f"No tag with key {key!r} found for model with ID {model_id!r}.", RESOURCE_DOES_NOT_EXIST
            )
        logged_models.set_tags(self.engine, state, {key: None})

    def search_logged_models(
        self,
        experiment_ids: list[str],
        filter_string: str | None = None,
        datasets: list[dict[str, Any]] | None = None,
        max_results: int | None = None,
        order_by: list[dict[str, Any]] | None = None,
        page_token: str | None = None,
    ) -> PagedList[LoggedModel]:
        """Logged models that satisfy a filter, a page of them."""
        from mlflow.store.tracking import SEARCH_LOGGED_MODEL_MAX_RESULTS_DEFAULT

        if datasets and not all(dataset.get("dataset_name") for dataset in datasets):
            raise MlflowException("`dataset_name` in the `datasets` clause must be specified.", INVALID_PARAMETER_VALUE)
        offset = _offset(page_token, experiment_ids, filter_string, order_by)
        size = max_results or SEARCH_LOGGED_MODEL_MAX_RESULTS_DEFAULT
        query = model_search.compiled(experiment_ids, filter_string, datasets, order_by)
        rows = self.engine.query(*query.sql(_COLUMNS, size + 1, offset)).to_pylist()
        page, token = rows[:size], None
        if len(rows) > size:
            token = SearchLoggedModelsPaginationToken(experiment_ids, filter_string, order_by, offset + size).encode()
        metrics = self._model_metrics([row["model_id"] for row in page])
        return PagedList([self._model_entity(_state(row), metrics[row["model_id"]]) for row in page], token)

    def _model_metrics(self, model_ids: Sequence[str]) -> dict[str, list[Metric]]:
        """Model id → all that was measured of it."""
        metrics: dict[str, list[Metric]] = {model_id: [] for model_id in model_ids}
        if metrics:
            rows = self.engine.query(_METRICS.format(ids=", ".join("?" * len(metrics))), list(metrics))
            for model_id, key, value, timestamp, step, name, digest, run_id in zip(
                *(column.to_pylist() for column in rows.columns), strict=True
            ):
                metrics[model_id].append(Metric(key, value, timestamp, step, model_id, name, digest, run_id))
        return metrics

    def _model_entity(self, state: LoggedModelState, metrics: list[Metric]) -> LoggedModel:
        """A logged model as MLflow's."""
        return LoggedModel(
            experiment_id=state.experiment_id,
            model_id=state.model_id,
            name=state.name,
            artifact_location=places.artifact_uri_of(self.store_uri, state.experiment_id, state.artifact_location),
            creation_timestamp=state.created_at // 1000,
            last_updated_timestamp=state.last_updated_at // 1000,
            model_type=state.model_type,
            source_run_id=state.source_run_id,
            status=LoggedModelStatus(state.status.value),
            status_message=state.status_message,
            tags=dict(state.tags) or None,
            params=dict(state.params) or None,
            metrics=metrics or None,
        )

    def log_outputs(self, run_id: str, models: list[LoggedModelOutput]) -> None:
        """Say that a run made logged models."""
        self.checked_run(run_id)
        change = model_links.model_outputs_change(self.engine, run_id, models)
        if change:
            self.engine.append(change)


def _state(row: dict[str, Any]) -> LoggedModelState:
    """A row of ``logged_models``."""
    row["status"], row["lifecycle_stage"] = ModelStatus(row["status"]), Lifecycle(row["lifecycle_stage"])
    row["params"], row["tags"] = dict(row["params"]), dict(row["tags"])
    return LoggedModelState(**row)


def _unique(entries: Sequence[LoggedModelParameter | LoggedModelTag] | None, what: str) -> dict[str, Any]:
    """Key → value.

    Raises:
        MlflowException: a key comes twice, or has no value.
    """
    given = {entry.key: entry.value for entry in entries or ()}
    if len(given) < len(entries or ()):
        raise MlflowException(
            f"A {what} key of a logged model is given twice: {[e.key for e in entries or ()]}", BAD_REQUEST
        )
    _refuse_nulls(given, what)
    return given


def _refuse_nulls(given: dict[str, Any], what: str) -> None:
    missing = [key for key, value in given.items() if value is None]
    if missing:
        raise MlflowException(f"The {what}s {missing} of a logged model have no value", BAD_REQUEST)


def _offset(
    token: str | None, experiment_ids: list[str], filter_string: str | None, order_by: list[dict[str, Any]] | None
) -> int:
    if not token:
        return 0
    try:
        found = SearchLoggedModelsPaginationToken.decode(token)
    except ValueError as error:  # of base64 and of UTF-8; MLflow tells of JSON alone
        raise MlflowException.invalid_parameter_value(f"Invalid page token: {token}. {error}") from error
    found.validate(experiment_ids, filter_string, order_by)
    return found.offset
