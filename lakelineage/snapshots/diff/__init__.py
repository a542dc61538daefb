"""Diffs: what differs between two pinned versions, by schema, by row and by column."""

from lakelineage.snapshots.diff.columns import SchemaChange
from lakelineage.snapshots.diff.compute import diff
from lakelineage.snapshots.diff.result import Counts, Diff, Read

__all__ = ["Counts", "Diff", "Read", "SchemaChange", "diff"]
