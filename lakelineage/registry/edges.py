"""Edges of the lineage graph that end at versions of models."""

from typing import TYPE_CHECKING

from lakelineage.model import nodes
from lakelineage.model.changes import Rows
from lakelineage.model.values import Relation
from lakelineage.tables import LINEAGE

if TYPE_CHECKING:
    from lakelineage.engine import Engine

Edge = tuple[str, str, Relation]


def of_version(version: str, source: str, copied: str | None = None) -> list[Edge]:
    """What a version came of.

    Args:
        version: node id of the version.
        source: node id of its files, or a URI: files outside the lake are no node.
        copied: node id of the version that it is a copy of.
    """
    origins = [source] if source.startswith("artifact:") else []
    return [(origin, version, Relation.DERIVED_FROM) for origin in (*origins, *([copied] if copied else ()))]


def of_run(engine: "Engine", version: str, source: str, run_id: str | None) -> list[Edge]:
    """What a run of this lake made: the files of a version, or, where these are elsewhere, the version."""
    if run_id is None:
        return []
    known = engine.query("select 1 from runs_history where run_id = ? limit 1", (run_id,)).num_rows
    made = source if source.startswith("artifact:") else version
    return [(str(nodes.run(run_id)), made, Relation.GENERATED)] if known else []


def missing(engine: "Engine", edges: list[Edge]) -> list[Edge]:
    """Those of some edges that the graph does not have."""
    if not edges:
        return []
    sql = "select distinct source, target from lineage where list_contains(?, target)"
    rows = engine.query(sql, ([target for _, target, _ in edges],)).to_pylist()
    there = {(row["source"], row["target"]) for row in rows}
    return [edge for edge in edges if edge[:2] not in there]


def add(engine: "Engine", edges: list[Edge], run_id: str | None) -> None:
    """Write edges to the graph."""
    rows = tuple(
        LINEAGE.row(source=source, target=target, relation=relation.value, run_id=run_id)
        for source, target, relation in edges
    )
    if rows:
        engine.append((Rows(LINEAGE.name, rows),))
