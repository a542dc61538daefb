"""Tables with one row per mutable thing as it is now. They derive from the facts and can be rebuilt at any time."""

from lakelineage.tables.declare import Column, Table
from lakelineage.tables.facts import (
    EXPERIMENTS_HISTORY,
    LOGGED_MODELS_HISTORY,
    MODEL_VERSIONS_HISTORY,
    REGISTERED_MODELS_HISTORY,
    RUNS_HISTORY,
)

_SEEN = Column("updated_at", "timestamp", "newest row that it derives from: hybrid logical clock, µs, UTC")

EXPERIMENTS = Table(
    "experiments",
    "an experiment",
    (*EXPERIMENTS_HISTORY.columns, _SEEN),
    key=("experiment_id",),
    is_fact=False,
)

RUNS = Table(
    "runs",
    "a run, with its params, its tags and the latest value of each metric",
    (
        *RUNS_HISTORY.columns,
        Column("params", "text_map", "param → value"),
        Column("metrics", "number_map", "metric → value of the greatest (step, timestamp, order of the lake)"),
        Column("tags", "text_map", "tag → value"),
        _SEEN,
        Column("metric_steps", "integer_map", "metric → step of that value"),
        Column("metric_timestamps", "integer_map", "metric → when that value was measured: µs since 1970, UTC"),
    ),
    key=("run_id",),
    is_fact=False,
)

#: Columns of ``runs`` that a search tells: all but where in its history the latest value of each metric stands.
RUN_COLUMNS: tuple[str, ...] = tuple(name for name in RUNS.names if name not in ("metric_steps", "metric_timestamps"))

LOGGED_MODELS = Table(
    "logged_models",
    "a logged model, with its params and tags; its metrics are the rows of metrics that have its model_id",
    (
        *LOGGED_MODELS_HISTORY.columns,
        Column("params", "text_map", "param → value"),
        Column("tags", "text_map", "tag → value"),
        _SEEN,
    ),
    key=("model_id",),
    is_fact=False,
)

REGISTERED_MODELS = Table(
    "registered_models",
    "a registered model",
    (
        *REGISTERED_MODELS_HISTORY.columns,
        Column("aliases", "text_map", "alias → version"),
        _SEEN,
    ),
    key=("registered_model_id",),
    is_fact=False,
)

MODEL_VERSIONS = Table(
    "model_versions",
    "a version of a registered model",
    (
        *MODEL_VERSIONS_HISTORY.columns,
        Column("aliases", "strings", "aliases that name it, sorted"),
        _SEEN,
    ),
    key=("registered_model_id", "version"),
    is_fact=False,
)
