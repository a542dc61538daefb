"""The Delta tables of a lake, each declared once: columns, types, nullability and meaning."""

from lakelineage.tables.current import EXPERIMENTS, LOGGED_MODELS, MODEL_VERSIONS, REGISTERED_MODELS, RUNS
from lakelineage.tables.declare import Column, Table
from lakelineage.tables.facts import (
    ACTIVITY,
    ALIASES_HISTORY,
    ARTIFACTS,
    DATASETS,
    ENVIRONMENTS,
    ERASURES,
    EXPERIMENTS_HISTORY,
    INPUTS,
    LINEAGE,
    LOGGED_MODEL_PARAMS,
    LOGGED_MODEL_TAGS_HISTORY,
    LOGGED_MODELS_HISTORY,
    METRICS,
    MODEL_VERSIONS_HISTORY,
    PARAMS,
    PINS_HISTORY,
    REGISTERED_MODELS_HISTORY,
    RUN_MODELS,
    RUNS_HISTORY,
    SNAPSHOT_FILES,
    SNAPSHOTS,
    TAGS_HISTORY,
)

#: Append-only tables, in the order in which a batch of the journal is committed: what closes a run comes last.
FACTS: tuple[Table, ...] = (
    ENVIRONMENTS,
    METRICS,
    PARAMS,
    TAGS_HISTORY,
    ARTIFACTS,
    SNAPSHOT_FILES,
    SNAPSHOTS,
    INPUTS,
    DATASETS,
    LOGGED_MODEL_PARAMS,
    LOGGED_MODEL_TAGS_HISTORY,
    LOGGED_MODELS_HISTORY,
    RUN_MODELS,
    LINEAGE,
    PINS_HISTORY,
    ERASURES,
    ACTIVITY,
    EXPERIMENTS_HISTORY,
    REGISTERED_MODELS_HISTORY,
    MODEL_VERSIONS_HISTORY,
    ALIASES_HISTORY,
    RUNS_HISTORY,
)

#: One row per mutable thing as it is now, derived from the facts.
CURRENT: tuple[Table, ...] = (EXPERIMENTS, RUNS, LOGGED_MODELS, REGISTERED_MODELS, MODEL_VERSIONS)

BY_NAME: dict[str, Table] = {table.name: table for table in FACTS + CURRENT}

__all__ = [
    "ACTIVITY",
    "ALIASES_HISTORY",
    "ARTIFACTS",
    "BY_NAME",
    "CURRENT",
    "DATASETS",
    "ENVIRONMENTS",
    "ERASURES",
    "EXPERIMENTS",
    "EXPERIMENTS_HISTORY",
    "FACTS",
    "INPUTS",
    "LINEAGE",
    "LOGGED_MODELS",
    "LOGGED_MODELS_HISTORY",
    "LOGGED_MODEL_PARAMS",
    "LOGGED_MODEL_TAGS_HISTORY",
    "METRICS",
    "MODEL_VERSIONS",
    "MODEL_VERSIONS_HISTORY",
    "PARAMS",
    "PINS_HISTORY",
    "REGISTERED_MODELS",
    "REGISTERED_MODELS_HISTORY",
    "RUNS",
    "RUNS_HISTORY",
    "RUN_MODELS",
    "SNAPSHOTS",
    "SNAPSHOT_FILES",
    "TAGS_HISTORY",
    "Column",
    "Table",
]
