"""What runs used, as MLflow's datasets: those that were logged to it, and what was pinned natively."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from lakelineage.mlflow_plugin import delta_table_source
from lakelineage.mlflow_plugin.dataset_source import SOURCE_TYPE, DeltaSource
from lakelineage.snapshots import datasets
from lakelineage.snapshots.datasets import Described, Used

if TYPE_CHECKING:
    from lakelineage.engine import Engine

#: Types of Delta's schema (of primitives) → MLflow's. A decimal is what MLflow reads it as.
_TYPES = {
    "byte": "integer",
    "short": "integer",
    "integer": "integer",
    "long": "long",
    "float": "float",
    "double": "double",
    "string": "string",
    "binary": "binary",
    "boolean": "boolean",
    "date": "datetime",
    "timestamp": "datetime",
    "timestamp_ntz": "datetime",
}


def dataset_inputs_of(engine: "Engine", run_ids: Sequence[str]) -> dict[str, list[DatasetInput]]:
    """The datasets of some runs, in the order in which they were logged; runs without any are left out.

    What a native run pinned is told as a dataset with its snapshot id as digest.
    """
    found = datasets.of_runs(engine, run_ids)
    return {run_id: [_told(each) for each in used] for run_id, used in found.items()}


def _told(used: Described | Used) -> DatasetInput:
    if isinstance(used, Used):
        return _pinned(used)
    if used.source_type == delta_table_source.SOURCE_TYPE and used.snapshot_id is not None:
        delta_table_source.register()
    dataset = Dataset(used.name, used.digest, used.source_type, used.source, used.schema, used.profile)
    return DatasetInput(dataset, [InputTag(key, value) for key, value in used.tags])


def _pinned(used: Used) -> DatasetInput:
    source = DeltaSource(
        used.table_uri,
        used.version,
        used.table_id,
        used.snapshot_id,
        used.columns,
        used.where,
    )
    profile: dict[str, Any] = {"num_files": used.num_files, "bytes": used.bytes}
    if used.num_rows is not None and used.where is None:
        profile = {"num_rows": used.num_rows, **profile}
    if used.origin is not None:
        profile["origin"] = used.origin
    dataset = Dataset(
        used.name,
        used.snapshot_id,
        SOURCE_TYPE,
        source.to_json(),
        schema_of(used.schema_json, used.columns),
        json.dumps(profile),
    )
    return DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, used.context)])


@lru_cache(maxsize=256)
def schema_of(delta_schema: str, columns: tuple[str, ...] | None) -> str | None:
    """MLflow's schema of a Delta schema, as JSON; None where MLflow has no type for a column."""
    fields = {field["name"]: field for field in json.loads(delta_schema)["fields"]}
    try:
        told = [_column(fields[name]) for name in (fields if columns is None else columns)]
    except KeyError:
        return None
    return json.dumps({"mlflow_colspec": told})


def _column(field: Mapping[str, Any]) -> dict[str, Any]:
    return {**_type(field["type"]), "name": field["name"], "required": not field["nullable"]}


def _type(delta: Any) -> dict[str, Any]:
    """MLflow's type.

    Raises:
        KeyError: it has none.
    """
    if isinstance(delta, str):
        return {"type": "double" if delta.startswith("decimal") else _TYPES[delta]}
    if delta["type"] == "array":
        return {"type": "array", "items": _type(delta["elementType"])}
    if delta["type"] == "map":
        return {"type": "map", "values": _type(delta["valueType"])}
    fields = {f["name"]: {**_type(f["type"]), "required": not f["nullable"]} for f in delta["fields"]}
    return {"type": "object", "properties": fields}
