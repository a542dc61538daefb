"""Logged models."""

from lakelineage.mlflow_plugin.tracking.part import StorePart


class LoggedModelsPart(StorePart):
    """Logged models."""
