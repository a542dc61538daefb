"""Searching runs."""

from lakelineage.mlflow_plugin.tracking.part import StorePart


class SearchPart(StorePart):
    """Searching runs."""
