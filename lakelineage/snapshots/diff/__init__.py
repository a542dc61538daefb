"""Diffs: what differs between two pinned versions, by schema, by row and by column."""

from lakelineage.snapshots.diff.columns import SchemaChange
from lakelineage.snapshots.diff.compute import diff, full_id
from lakelineage.snapshots.diff.result import Counts, Diff, Read

__all__ = ["Counts", "Diff", "Read", "SchemaChange", "diff", "full_id"]
