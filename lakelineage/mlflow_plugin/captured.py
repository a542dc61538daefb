"""Reads that were captured, as inputs of runs of MLflow: through its client, so a server will do."""

from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from lakelineage.mlflow_plugin.dataset_source import SOURCE_TYPE, DeltaSource
from lakelineage.mlflow_plugin.tracking.dataset_inputs import schema_of


def log(run_id: str, table: Any, name: str, digest: str, schema_json: str, context: str) -> None:
    """Log a version of a table as a dataset that a run uses.

    Args:
        run_id: the run.
        table: ``deltalake.DeltaTable`` at this version.
        name: of the dataset.
        digest: of the dataset.
        schema_json: Delta schema.
        context: training, validation, ….

    Raises:
        MlflowException: it cannot be logged.
    """
    source = DeltaSource._resolve(table)
    dataset = Dataset(name, digest, SOURCE_TYPE, source.to_json(), schema_of(schema_json, None), None)
    MlflowClient().log_inputs(run_id, [DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, context)])])
