"""Logged models."""

from lakelineage.mlflow_plugin.tracking.runs import RunsPart


class LoggedModelsPart(RunsPart):
    """Logged models."""
