"""Datasets and models that runs use."""

from lakelineage.mlflow_plugin.tracking.runs import RunsPart


class InputsPart(RunsPart):
    """Datasets and models that runs use."""
