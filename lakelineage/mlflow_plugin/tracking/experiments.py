"""Experiments."""

from lakelineage.mlflow_plugin.tracking.part import StorePart


class ExperimentsPart(StorePart):
    """Experiments."""
