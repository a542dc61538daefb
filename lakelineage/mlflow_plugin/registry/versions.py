"""Versions of registered models: where they come from, their stages and tags."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from mlflow.entities.model_registry import ModelVersion, ModelVersionTag
from mlflow.entities.model_registry.model_version_stages import (
    ALL_STAGES,
    DEFAULT_STAGES_FOR_GET_LATEST_VERSIONS,
    get_canonical_stage,
)
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST
from mlflow.store.entities import PagedList
from mlflow.store.model_registry import (
    SEARCH_MODEL_VERSION_MAX_RESULTS_DEFAULT,
    SEARCH_MODEL_VERSION_MAX_RESULTS_THRESHOLD,
)
from mlflow.utils.search_utils import SearchUtils
from mlflow.utils.validation import (
    _REGISTERED_MODEL_ALIAS_LATEST,
    _validate_model_alias_name,
    _validate_model_name,
    _validate_model_version,
    _validate_model_version_tag,
    _validate_tag_name,
)

from lakelineage.mlflow_plugin import uris
from lakelineage.mlflow_plugin.registry import search
from lakelineage.mlflow_plugin.registry.entities import VERSIONS, Row, download_uri, version_entity
from lakelineage.mlflow_plugin.registry.models import ModelsPart
from lakelineage.mlflow_plugin.registry.part import now
from lakelineage.mlflow_plugin.registry.sources import Resolver
from lakelineage.model import nodes
from lakelineage.registry import direct, write
from lakelineage.registry.models import with_tags, without_tag

if TYPE_CHECKING:
    from lakelineage.registry.write import Changes


class VersionsPart(ModelsPart):
    """Versions, as MLflow's SQL store has them."""

    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: list[ModelVersionTag] | None = None,
        run_link: str | None = None,
        description: str | None = None,
        local_model_path: str | None = None,  # noqa: ARG002 - for stores that copy files; this one, as SQL, does not
        model_id: str | None = None,
    ) -> ModelVersion:
        """Give files the next version number of a model, and tell the graph what they came of."""
        _validate_model_name(name)
        for tag in tags or ():
            _validate_model_version_tag(tag.key, tag.value)
        resolver = Resolver(self.engine, self.store_uri, self.tracking_uri, self._download)
        found, copied = resolver.resolved(source, run_id, model_id)
        self.required_model(name)
        values = asdict(found) | {
            "run_link": run_link,
            "description": description,
            "tags": [*{tag.key: tag.value for tag in tags or ()}.items()],
        }
        made = write.add_version(self.engine, name, values, now(), copied=copied, tell_run=True)
        times = {"created": made["created_at"] // 1000, "updated": made["last_updated_at"] // 1000}
        return self._entity(made | times, aliases=False)

    def _download(self, name: str | None, version: str | None) -> tuple[str, str, str | None]:
        """Where the files of a version are, its node, and the logged model that it is."""
        row = self._version_row(name, version)
        return self._download_uri(row), str(nodes.model(row["registered_model_id"], row["version"])), row["model_id"]

    def _version_row(self, name: str | None, version: int | str | None) -> Row:
        number = self.required_version(name, version)
        sql = f"SELECT * FROM ({VERSIONS}) WHERE registered_model_id = ? AND version = ?"
        rows = self.engine.query(sql, [self.required_model(name), number]).to_pylist()
        if not rows:  # another process has just deleted it
            self.required_version(name, version)
        row: Row = rows[0]
        return row

    def _entity(self, row: Row, *, aliases: bool = True) -> ModelVersion:
        return version_entity(self.engine, self.store_uri, row, aliases=aliases)

    def get_model_version(self, name: str, version: int | str) -> ModelVersion:
        """A version by number."""
        return self._entity(self._version_row(name, version))

    def get_model_version_download_uri(self, name: str, version: int | str) -> str:
        """Where the files of a version are."""
        return self._download_uri(self._version_row(name, version))

    def _download_uri(self, row: Row) -> str:
        return download_uri(self.engine, self.store_uri, row)

    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion:
        """The version that an alias names; "latest" is the one of the greatest number."""
        _validate_model_name(name)
        _validate_model_alias_name(alias)
        if alias.lower() == _REGISTERED_MODEL_ALIAS_LATEST:
            versions = self.get_latest_versions(name)
            if not versions:
                raise MlflowException(f"Latest version not found for model {name}.", RESOURCE_DOES_NOT_EXIST)
            return max(versions, key=lambda version: int(version.version))
        sql = f"SELECT * FROM ({VERSIONS}) WHERE registered_model_id = ? AND list_contains(aliases, ?)"
        rows = self.engine.query(sql, [self.required_model(name), alias]).to_pylist()
        if not rows:
            raise MlflowException(f"Registered model alias {alias} not found.", INVALID_PARAMETER_VALUE)
        return self._entity(rows[0])

    def get_latest_versions(self, name: str, stages: list[str] | None = None) -> list[ModelVersion]:
        """The newest version of each stage."""
        found = self.latest_of(name)
        wanted = {get_canonical_stage(stage) for stage in stages or ALL_STAGES}
        return [version for version in found if version.current_stage in wanted]

    def update_model_version(self, name: str, version: int | str, description: str | None = None) -> ModelVersion:
        """Change the description of a version."""
        number = self.required_version(name, version)
        changes: Changes = {"description": description, "last_updated_at": now()}
        write.change_version(self.engine, name, number, lambda _: changes)
        return self.get_model_version(name, number)

    def transition_model_version_stage(
        self, name: str, version: int | str, stage: str, archive_existing_versions: bool
    ) -> ModelVersion:
        """Move a version to a stage, and the others of that stage to the archive if that is wanted."""
        chosen = get_canonical_stage(stage)
        if archive_existing_versions and chosen not in DEFAULT_STAGES_FOR_GET_LATEST_VERSIONS:
            raise MlflowException(
                "Model version transition cannot archive existing model versions "
                f"because '{stage}' is not an Active stage. Valid stages are {DEFAULT_STAGES_FOR_GET_LATEST_VERSIONS}"
            )
        number = self.required_version(name, version)
        direct.set_stage(self.engine, name, number, chosen, bool(archive_existing_versions), now())
        return self.get_model_version(name, number)

    def delete_model_version(self, name: str, version: int | str) -> None:
        """Delete a version, and the aliases that name it."""
        _validate_model_version(version)
        number = self.required_version(name, version)
        write.delete_version(self.engine, name, number, now())

    def set_model_version_tag(self, name: str, version: int | str, tag: ModelVersionTag) -> None:
        """Set a tag of a version."""
        _validate_model_name(name)
        number: int = _validate_model_version(version)
        _validate_model_version_tag(tag.key, tag.value)
        self.required_version(name, number)
        write.change_version(self.engine, name, number, with_tags({tag.key: tag.value}))

    def delete_model_version_tag(self, name: str, version: int | str, key: str) -> None:
        """Take a tag off a version; no error if it has none of this name."""
        _validate_model_name(name)
        number: int = _validate_model_version(version)
        _validate_tag_name(key)
        self.required_version(name, number)
        write.change_version(self.engine, name, number, without_tag(key))

    def search_model_versions(
        self,
        filter_string: str | None = None,
        max_results: int = SEARCH_MODEL_VERSION_MAX_RESULTS_DEFAULT,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[ModelVersion]:
        """A page of versions that a filter fits."""
        if not isinstance(max_results, int) or max_results < 1:
            raise MlflowException(
                f"Invalid value for max_results. It must be a positive integer, but got {max_results}",
                INVALID_PARAMETER_VALUE,
            )
        if max_results > SEARCH_MODEL_VERSION_MAX_RESULTS_THRESHOLD:
            raise MlflowException(
                "Invalid value for request parameter max_results. It must be at most "
                f"{SEARCH_MODEL_VERSION_MAX_RESULTS_THRESHOLD}, but got value {max_results}",
                INVALID_PARAMETER_VALUE,
            )
        question = search.versions_question(filter_string, order_by)
        offset = SearchUtils.parse_start_offset_from_page_token(page_token)
        sql = question.sql(self._with_sources(), max_results + 1, offset)
        rows = self.engine.query(sql, question.values).to_pylist()
        token = SearchUtils.create_page_token(offset + max_results) if len(rows) > max_results else None
        return PagedList([self._entity(row, aliases=False) for row in rows[:max_results]], token)

    def _with_sources(self) -> str:
        """Versions with their sources as MLflow shows them."""
        artifacts = f"{uris.plain(self.store_uri)}/artifacts/".replace("'", "''")
        native = f"'{artifacts}' || url_decode(substr(source, {len('artifact:') + 1}))"
        return f"SELECT *, coalesce(source_uri, {native}) AS shown_source FROM ({VERSIONS})"

    def _await_model_version_creation(self, mv: ModelVersion, await_creation_for: int) -> None:
        """Return at once: a version is ready when it is there."""
