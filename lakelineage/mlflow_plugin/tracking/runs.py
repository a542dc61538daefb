"""Runs: their states, params and tags."""

from lakelineage.mlflow_plugin.tracking.part import StorePart


class RunsPart(StorePart):
    """Runs: their states, params and tags."""
