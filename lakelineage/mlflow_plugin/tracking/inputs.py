"""Datasets and models that runs use."""

from lakelineage.mlflow_plugin.tracking.part import StorePart


class InputsPart(StorePart):
    """Datasets and models that runs use."""
