"""Breadth-first walks over the ``lineage`` table, as recursive SQL (DuckDB's dialect)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lakelineage.errors import InvalidInput

if TYPE_CHECKING:
    from lakelineage.engine import Reads

Direction = Literal["upstream", "downstream"]
#: Deeper than any graph: a walk ends when it finds nothing new.
_NO_LIMIT = 2**30

# Each round adds the neighbours of the nodes that the round before added, without those that are known: so a node is
# found once, at its least depth, and cycles end. Keyed recursion (`USING KEY`, DuckDB 1.3) makes the known ones visible
# as `recurring.reach`. Among several neighbours through which a node is reached in one round, the least name wins.
_REACH = """
WITH RECURSIVE
edge AS MATERIALIZED (SELECT {near} AS near, {far} AS far, relation FROM lineage),
reach(node, depth, via, relation) USING KEY (node) AS (
  SELECT DISTINCT start, 0, NULL::VARCHAR, NULL::VARCHAR FROM (SELECT unnest($starts::VARCHAR[]) AS start)
  UNION
  SELECT far, depth + 1, step.via, step.relation FROM (
    SELECT edge.far, min(reach.depth) AS depth, min(struct_pack(via := edge.near, relation := edge.relation)) AS step
    FROM reach JOIN edge ON edge.near = reach.node
    WHERE reach.depth < $depth AND NOT EXISTS (FROM recurring.reach AS known WHERE known.node = edge.far)
    GROUP BY edge.far
  )
)
"""
_FOUND = _REACH + "SELECT node, depth, via, relation FROM reach WHERE depth > 0 ORDER BY depth, node"
_LINKS = (
    _REACH
    + """
SELECT edge.near, edge.far, string_agg(DISTINCT edge.relation, ', ' ORDER BY edge.relation) AS relation,
       child.depth, child.via
FROM edge JOIN reach AS parent ON parent.node = edge.near JOIN reach AS child ON child.node = edge.far
WHERE parent.depth < $depth
GROUP BY edge.near, edge.far, child.depth, child.via
ORDER BY edge.near, edge.far
"""
)


@dataclass(frozen=True, slots=True)
class Found:
    """A node that a walk reached.

    Attributes:
        node: node id.
        depth: edges between it and the nearest start, at least 1.
        via: neighbour through which it was reached, one edge nearer to the start.
        relation: of the edge between the two.
    """

    node: str
    depth: int
    via: str
    relation: str


@dataclass(frozen=True, slots=True)
class Link:
    """Two nodes that a walk reached and that an edge (or several) joins.

    Attributes:
        near: node id of the end that the walk comes from.
        far: node id of the other end.
        relation: of the edge; several are joined by commas.
        depth: of ``far``.
        via: neighbour through which ``far`` was reached first; None for a start.
    """

    near: str
    far: str
    relation: str
    depth: int
    via: str | None


def limit(depth: int | None) -> int:
    """The depth to walk to.

    Raises:
        InvalidInput: not a count.
    """
    if depth is None:
        return _NO_LIMIT
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 0:
        raise InvalidInput(f"depth must be a number of edges, 0 or more, not {depth!r}; leave it out for no limit")
    return min(depth, _NO_LIMIT)


def reach(engine: "Reads", starts: Sequence[str], direction: Direction, depth: int | None = None) -> list[Found]:
    """Nodes that come before (upstream) or after the starts, nearest first; the starts themselves are left out."""
    rows = _ask(engine, _FOUND, starts, direction, depth)
    return [Found(**row) for row in rows]


def links(engine: "Reads", starts: Sequence[str], direction: Direction, depth: int | None = None) -> list[Link]:
    """Edges among the starts and what they reach."""
    return [Link(**row) for row in _ask(engine, _LINKS, starts, direction, depth)]


def _ask(
    engine: "Reads", sql: str, starts: Sequence[str], direction: Direction, depth: int | None
) -> list[dict[str, Any]]:
    if direction not in ("upstream", "downstream"):
        raise InvalidInput(f"direction {direction!r} is unknown; choose 'upstream' or 'downstream'")
    near, far = ("target", "source") if direction == "upstream" else ("source", "target")
    params = {"starts": list(starts), "depth": limit(depth)}
    return engine.query(sql.format(near=near, far=far), params).to_pylist()  # type: ignore[no-any-return]
