"""Registered models: their names, tags and aliases."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from mlflow.entities.model_registry import ModelVersion, RegisteredModel, RegisteredModelTag
from mlflow.exceptions import MlflowException
from mlflow.prompt.registry_utils import handle_resource_already_exist_error, has_prompt_tag
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_ALREADY_EXISTS
from mlflow.store.entities import PagedList
from mlflow.store.model_registry import (
    SEARCH_REGISTERED_MODEL_MAX_RESULTS_DEFAULT,
    SEARCH_REGISTERED_MODEL_MAX_RESULTS_THRESHOLD,
)
from mlflow.utils.search_utils import SearchUtils
from mlflow.utils.validation import (
    _validate_model_alias_name,
    _validate_model_alias_name_reserved,
    _validate_model_name,
    _validate_model_renaming,
    _validate_registered_model_tag,
    _validate_tag_name,
)

from lakelineage.errors import AlreadyExists
from lakelineage.mlflow_plugin.registry import search
from lakelineage.mlflow_plugin.registry.entities import MODELS, VERSIONS, Row, model_entity, version_entity
from lakelineage.mlflow_plugin.registry.part import RegistryPart, now
from lakelineage.registry import direct, write
from lakelineage.registry.models import with_tags, without_tag

if TYPE_CHECKING:
    from lakelineage.registry.write import Changes

#: The newest version of each stage, in MLflow's order: of one model by the first version of the stage; of a search by
#: the name of the stage.
_LATEST = f"""
SELECT *, min(version) OVER (PARTITION BY registered_model_id, stage) AS first FROM ({VERSIONS})
WHERE list_contains(?, registered_model_id)
QUALIFY row_number() OVER (PARTITION BY registered_model_id, stage ORDER BY version DESC) = 1
"""


class ModelsPart(RegistryPart):
    """Registered models, as MLflow's SQL store has them."""

    def create_registered_model(
        self,
        name: str,
        tags: list[RegisteredModelTag] | None = None,
        description: str | None = None,
        deployment_job_id: str | None = None,  # noqa: ARG002 - of MLflow's interface; its SQL store keeps none either
    ) -> RegisteredModel:
        """Take a name."""
        _validate_model_name(name)
        for tag in tags or ():
            _validate_registered_model_tag(tag.key, tag.value)
        try:
            write.create_model(self.engine, name, description, {tag.key: tag.value for tag in tags or ()}, now())
        except AlreadyExists:
            self._refuse_taken(name, tags)
        return self.get_registered_model(name)

    def _refuse_taken(self, name: str, tags: list[RegisteredModelTag] | None) -> NoReturn:
        existing = self.get_registered_model(name)
        handle_resource_already_exist_error(name, has_prompt_tag(existing._tags), has_prompt_tag(tags))
        raise AssertionError("MLflow's handler raises")

    def update_registered_model(
        self,
        name: str,
        description: str | None,
        deployment_job_id: str | None = None,  # noqa: ARG002 - as above
    ) -> RegisteredModel:
        """Change the description of a model."""
        self.required_model(name)
        changes: Changes = {"description": description, "last_updated_at": now()}
        write.change_model(self.engine, name, lambda _: changes)
        return self.get_registered_model(name)

    def rename_registered_model(self, name: str, new_name: str) -> RegisteredModel:
        """Give a model another name; its versions and aliases go with it."""
        _validate_model_renaming(new_name)
        self.required_model(name)
        try:
            write.rename_model(self.engine, name, new_name, now())
        except AlreadyExists as error:
            raise MlflowException(
                f"Registered Model (name={new_name}) already exists. Error: {error}", RESOURCE_ALREADY_EXISTS
            ) from error
        return self.get_registered_model(new_name)

    def delete_registered_model(self, name: str) -> None:
        """Delete a model with its versions, tags and aliases; its name is free."""
        self.required_model(name)
        write.delete_model(self.engine, name, now())

    def get_registered_model(self, name: str) -> RegisteredModel:
        """A model by name."""
        row = self._model_row(name)
        return model_entity(row, [entity for _, entity in self._latest([row["registered_model_id"]], "first")])

    def _model_row(self, name: str) -> Row:
        model_id = self.required_model(name)
        rows = self.engine.query(f"SELECT * FROM ({MODELS}) WHERE registered_model_id = ?", [model_id]).to_pylist()
        if not rows:  # another process has just deleted it
            self.required_model(name)
        row: Row = rows[0]
        return row

    def _latest(self, ids: Sequence[str], order: str, *, aliases: bool = False) -> list[tuple[str, ModelVersion]]:
        rows = self.engine.query(f"{_LATEST} ORDER BY {order}", [list(ids)]).to_pylist()
        return [
            (row["registered_model_id"], version_entity(self.engine, self.store_uri, row, aliases=aliases))
            for row in rows
        ]

    def latest_of(self, name: str) -> list[ModelVersion]:
        """The newest version of each stage, with aliases."""
        return [entity for _, entity in self._latest([self.required_model(name)], "first", aliases=True)]

    def search_registered_models(
        self,
        filter_string: str | None = None,
        max_results: int = SEARCH_REGISTERED_MODEL_MAX_RESULTS_DEFAULT,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[RegisteredModel]:
        """A page of models that a filter fits."""
        if max_results > SEARCH_REGISTERED_MODEL_MAX_RESULTS_THRESHOLD:
            raise MlflowException(
                "Invalid value for request parameter max_results. It must be at most "
                f"{SEARCH_REGISTERED_MODEL_MAX_RESULTS_THRESHOLD}, but got value {max_results}",
                INVALID_PARAMETER_VALUE,
            )
        question = search.models_question(filter_string, order_by)
        offset = SearchUtils.parse_start_offset_from_page_token(page_token)
        rows = self.engine.query(question.sql(MODELS, max_results + 1, offset), question.values).to_pylist()
        found = rows[:max_results]
        latest: dict[str, list[ModelVersion]] = {}
        if found:
            for model_id, version in self._latest([row["registered_model_id"] for row in found], "stage"):
                latest.setdefault(model_id, []).append(version)
        token = SearchUtils.create_page_token(offset + max_results) if len(rows) > max_results else None
        return PagedList([model_entity(row, latest.get(row["registered_model_id"], [])) for row in found], token)

    def set_registered_model_tag(self, name: str, tag: RegisteredModelTag) -> None:
        """Set a tag of a model."""
        _validate_model_name(name)
        _validate_registered_model_tag(tag.key, tag.value)
        self.required_model(name)
        write.change_model(self.engine, name, with_tags({tag.key: tag.value}))

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        """Take a tag off a model; no error if it has none of this name."""
        _validate_model_name(name)
        _validate_tag_name(key)
        self.required_model(name)
        write.change_model(self.engine, name, without_tag(key))

    def set_registered_model_alias(self, name: str, alias: str, version: int | str) -> None:
        """Let an alias name a version."""
        _validate_model_name(name)
        _validate_model_alias_name(alias)
        _validate_model_alias_name_reserved(alias)
        direct.set_alias(self.engine, name, alias, self.required_version(name, version))

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Take an alias off; no error if there is none of this name."""
        _validate_model_name(name)
        _validate_model_alias_name(alias)
        self.required_model(name)
        direct.delete_alias(self.engine, name, alias)
