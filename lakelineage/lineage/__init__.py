"""Graph questions over the ``lineage`` table: what came before, what came after, how two things hang together."""

from lakelineage.lineage.graph import Impact, Lineage
from lakelineage.lineage.impact import TableImpact
from lakelineage.lineage.tree import LineageTree

__all__ = ["Impact", "Lineage", "LineageTree", "TableImpact"]
