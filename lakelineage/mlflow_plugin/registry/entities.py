"""Rows of the registry as MLflow's entities. The only place that makes them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlflow.entities.model_registry import (
    ModelVersion,
    ModelVersionTag,
    RegisteredModel,
    RegisteredModelAlias,
    RegisteredModelTag,
)

from lakelineage.mlflow_plugin import places
from lakelineage.model import nodes

if TYPE_CHECKING:
    from lakelineage.engine import Reads

_MILLIS = "epoch_us(coalesce({0}.last_updated_at, {0}.updated_at)) // 1000"
#: Registered models that are there. Registering a version changes the model too, in MLflow's eyes.
MODELS = f"""
SELECT name, registered_model_id, description, tags, aliases, epoch_us(m.created_at) // 1000 AS created,
  greatest({_MILLIS.format("m")}, coalesce(epoch_us(newest.at) // 1000, 0)) AS updated
FROM registered_models m LEFT JOIN (
  SELECT registered_model_id AS id, max(created_at) AS at FROM model_versions GROUP BY 1
) newest ON newest.id = m.registered_model_id
WHERE lifecycle_stage = 'active'
"""
#: Versions that are there. Renaming a model changes its versions too, in MLflow's eyes.
VERSIONS = f"""
SELECT v.* EXCLUDE (created_at, last_updated_at, updated_at), epoch_us(v.created_at) // 1000 AS created,
  greatest({_MILLIS.format("v")}, coalesce(epoch_us(renamed.at) // 1000, 0)) AS updated
FROM model_versions v LEFT JOIN (
  SELECT id, max(last_updated_at) AS at FROM (
    SELECT coalesce(registered_model_id, name) AS id, name, last_updated_at,
      lag(name) OVER (PARTITION BY coalesce(registered_model_id, name) ORDER BY ingested_at, writer, seq) AS before
    FROM registered_models_history
  ) WHERE name <> before GROUP BY id
) renamed ON renamed.id = v.registered_model_id
WHERE v.lifecycle_stage = 'active'
"""
Row = dict[str, Any]


def version_entity(reads: "Reads", store_uri: str, row: Row, *, aliases: bool) -> ModelVersion:
    """A row of ``VERSIONS`` as MLflow's entity.

    Args:
        reads: the open lake.
        store_uri: of the lake, as MLflow writes it.
        row: of the version.
        aliases: tell its aliases; MLflow's SQL store does so where one version was asked for.
    """
    return ModelVersion(
        row["name"],
        row["version"],
        row["created"],
        row["updated"],
        row["description"],
        None,  # who registered it is in the table activity; MLflow's SQL store does not keep it
        row["stage"],
        row["source_uri"] or uri_of(reads, store_uri, row["source"]),
        row["run_id"],
        tags=[ModelVersionTag(key, value) for key, value in row["tags"] or ()],
        run_link=row["run_link"],
        aliases=list(row["aliases"] or ()) if aliases else [],
    )


def model_entity(row: Row, latest: Sequence[ModelVersion]) -> RegisteredModel:
    """A row of ``MODELS`` as MLflow's entity.

    Args:
        row: of the model.
        latest: its newest version of each stage.
    """
    return RegisteredModel(
        row["name"],
        row["created"],
        row["updated"],
        row["description"],
        list(latest),
        [RegisteredModelTag(key, value) for key, value in row["tags"] or ()],
        [RegisteredModelAlias(alias, int(version)) for alias, version in row["aliases"] or ()],
    )


def download_uri(reads: "Reads", store_uri: str, row: Row) -> str:
    """Where a client of MLflow's finds the files of a version."""
    return uri_of(reads, store_uri, row["storage_location"] or row["source_uri"] or row["source"])


def uri_of(reads: "Reads", store_uri: str, place: str) -> str:
    """The URI that MLflow's clients get for a node of files, for a path in the lake, or for a URI."""
    if place.startswith("artifact:"):
        node = nodes.parse(place)
        place = places.Place(node.name, node.part or "").location
    found = places.of_location(place)
    if found is None:
        return place
    experiment = _experiment_of(reads, found.owner) if places.serves(store_uri) else ""
    return places.artifact_uri_of(store_uri, experiment, place)


def _experiment_of(reads: "Reads", owner: str) -> str:
    """Experiment of a run or logged model: part of the URI that a server gives to its clients."""
    table, column = ("logged_models_history", "model_id") if owner.startswith("m-") else ("runs_history", "run_id")
    rows = reads.query(f"SELECT experiment_id FROM {table} WHERE {column} = ? LIMIT 1", [owner]).to_pylist()
    return rows[0]["experiment_id"] if rows else "0"
