"""Metrics and their histories."""

from lakelineage.mlflow_plugin.tracking.part import StorePart


class MetricsPart(StorePart):
    """Metrics and their histories."""
