"""Format 4: what MLflow knows of runs, models and datasets. Logged models and datasets are new tables."""

from lakelineage.store import faults
from lakelineage.store.delta import DeltaStore
from lakelineage.tables import (
    ALIASES_HISTORY,
    ARTIFACTS,
    EXPERIMENTS,
    EXPERIMENTS_HISTORY,
    METRICS,
    MODEL_VERSIONS,
    MODEL_VERSIONS_HISTORY,
    REGISTERED_MODELS,
    REGISTERED_MODELS_HISTORY,
    RUNS,
    RUNS_HISTORY,
    Column,
)

_UPDATED = Column("last_updated_at", "timestamp", "when it was last changed, UTC; null: when this state was ingested")
_REGISTERED = Column("registered_model_id", "string", "the model, whatever it is named; null: its name is its id")

_METRICS = (Column("dataset_digest", "string", "digest of that input, where a name alone does not tell"),)
_ARTIFACTS = (Column("deleted", "bool", "whether this row tells that the file was deleted; null: it was logged"),)
_RUNS_HISTORY = (Column("artifact_uri", "string", "where its artifacts are; null: in the lake"),)
_RUNS = (
    *_RUNS_HISTORY,
    Column("metric_steps", "integer_map", "metric → step of that value"),
    Column("metric_timestamps", "integer_map", "metric → when that value was measured: µs since 1970, UTC"),
)
_EXPERIMENTS = (
    Column("artifact_location", "string", "where MLflow puts artifacts of its runs; null: into the lake"),
    _UPDATED,
)
_MODELS = (_REGISTERED, _UPDATED)
_VERSIONS = (
    *_MODELS,
    Column("model_id", "string", "logged model that it is a version of"),
    Column("source_uri", "string", "source as it was given to MLflow; null: source says it"),
    Column("storage_location", "string", "URI of its files, resolved when it was registered; null: source says it"),
    Column("run_link", "string", "link to its run, where that is elsewhere"),
)


def upgrade(store: DeltaStore) -> None:
    """Append the columns to metrics, artifacts, experiments, runs and the registry."""
    store.add_columns(METRICS, _METRICS)
    faults.reach("upgrade.between_tables")
    for table, columns in (
        (ARTIFACTS, _ARTIFACTS),
        (EXPERIMENTS_HISTORY, _EXPERIMENTS),
        (EXPERIMENTS, _EXPERIMENTS),
        (RUNS_HISTORY, _RUNS_HISTORY),
        (RUNS, _RUNS),
        (REGISTERED_MODELS_HISTORY, _MODELS),
        (REGISTERED_MODELS, _MODELS),
        (MODEL_VERSIONS_HISTORY, _VERSIONS),
        (MODEL_VERSIONS, _VERSIONS),
        (ALIASES_HISTORY, (_REGISTERED,)),
    ):
        store.add_columns(table, columns)
