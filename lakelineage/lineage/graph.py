"""Lineage of one thing: the public face of this room."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakelineage.lineage import traverse, tree
from lakelineage.lineage.labels import labels
from lakelineage.lineage.resolve import resolve
from lakelineage.lineage.traverse import Direction, Found
from lakelineage.lineage.tree import LineageTree
from lakelineage.model import nodes
from lakelineage.model.nodes import Node

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Reads


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Impact:
    """All that something touched.

    Attributes:
        node: node id that was asked about.
        counts: kind (dataset, run, model, artifact, column) → how many of it, most first.
        frame: what was touched, as :meth:`Lineage.downstream` gives it.
    """

    node: str
    counts: Mapping[str, int]
    frame: "pa.Table"

    def __str__(self) -> str:
        told = ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in self.counts.items())
        return f"{self.node} touched {told or 'nothing'}"

    def __repr__(self) -> str:
        return f"<Impact: {self}>"


class Lineage:
    """What came before something and what came of it. Every answer is fresh to the last row of this host.

    Args:
        engine: the open lake.
        node: a node or node id; ``dataset:<uri>[@version]`` or only a table's path or URI; ``model:<name>@<alias>``.
            Without version, all versions are meant.

    Attributes:
        node: node id, with the table id in place of a URI and the version in place of an alias.
        starts: node ids that it stands for: itself, or each version there is.

    Raises:
        InvalidInput: it is no node.
        NotFound: the lake knows nothing by this name.
    """

    def __init__(self, engine: "Reads", node: Node | str) -> None:
        self._engine = engine
        found = resolve(engine, node)
        self.node = found.node
        self.starts = found.starts

    def __repr__(self) -> str:
        return f"Lineage({self.node!r})"

    def _repr_html_(self) -> str:
        from lakelineage.display import graph

        return graph.lineage(self)

    def __str__(self) -> str:
        return f"upstream of {self.tree('upstream')}\n\ndownstream of {self.tree('downstream')}"

    def upstream(self, depth: int | None = None) -> "pa.Table":
        """What it came of: nearest first, each node once, at its least depth.

        Args:
            depth: at most so many edges away; all if not given.

        Returns:
            Columns ``depth`` (int64, at least 1), ``node`` (node id), ``kind``, ``label`` (for people), ``relation``
            and ``via`` (the neighbour, one edge nearer, that it was reached through, and the relation between the two).
        """
        return self._frame(traverse.reach(self._engine, self.starts, "upstream", depth))

    def downstream(self, depth: int | None = None) -> "pa.Table":
        """What came of it: columns and order as of :meth:`upstream`."""
        return self._frame(traverse.reach(self._engine, self.starts, "downstream", depth))

    def impact(self) -> Impact:
        """All that it touched, counted by kind: what a change or a fault of it concerns."""
        frame = self.downstream()
        counts = Counter(frame.column("kind").to_pylist())
        return Impact(self.node, dict(counts.most_common()), frame)

    def path(self, to: Node | str) -> "pa.Table":
        """The shortest path to another node, down or else up the stream; of two as short, the one down.

        Args:
            to: as for :class:`Lineage`; without version, the nearest version.

        Returns:
            Edges in the order of the way from here to there: ``step`` (int64, from 1), ``source``, ``target``,
            ``relation``, ``source_label``, ``target_label``. An edge keeps its own direction. No rows: the two do not
            hang together, or are the same.
        """
        goals = set(resolve(self._engine, to).starts)
        if goals & set(self.starts):
            return self._edges([], "downstream")
        down, up = (self._way(goals, direction) for direction in _DIRECTIONS)
        return (
            self._edges(up, "upstream") if up and (not down or len(up) < len(down)) else self._edges(down, "downstream")
        )

    def edges(self) -> "pa.Table":
        """All edges of the walks up and down the stream: the graph around it, each edge once.

        Returns:
            ``source``, ``target`` (node ids), ``relation``, ``source_label``, ``target_label``, ordered by source and
            target.
        """
        up = traverse.links(self._engine, self.starts, "upstream")
        down = traverse.links(self._engine, self.starts, "downstream")
        found = {(link.far, link.near): link.relation for link in up}
        found |= {(link.near, link.far): link.relation for link in down}
        names = labels(self._engine, {end for edge in found for end in edge} | set(self.starts))
        rows = [(*edge, found[edge], names[edge[0]], names[edge[1]]) for edge in sorted(found)]
        columns = ("source", "target", "relation", "source_label", "target_label")
        return _table(None, columns, rows)

    def tree(self, direction: Direction = "upstream", depth: int | None = None) -> LineageTree:
        """The walk as a tree, for people; ``str()`` draws it.

        Args:
            direction: "upstream" or "downstream".
            depth: at most so many edges away; all if not given.
        """
        links = traverse.links(self._engine, self.starts, direction, depth)
        names = {self.node, *self.starts, *(link.far for link in links)}
        return tree.build(self.node, self.starts, links, labels(self._engine, names))

    def _way(self, goals: set[str], direction: Direction) -> list[Found]:
        """Nodes from the first step to the nearest goal."""
        found = traverse.reach(self._engine, self.starts, direction)
        by_node = {item.node: item for item in found}
        item = next((item for item in found if item.node in goals), None)
        way: list[Found] = []
        while item is not None:
            way.append(item)
            item = by_node.get(item.via)
        return way[::-1]

    def _frame(self, found: Sequence[Found]) -> "pa.Table":
        names = labels(self._engine, (item.node for item in found))
        rows = [(f.depth, f.node, nodes.parse(f.node).kind, names[f.node], f.relation, f.via) for f in found]
        return _table("depth", ("node", "kind", "label", "relation", "via"), rows)

    def _edges(self, way: Sequence[Found], direction: Direction) -> "pa.Table":
        names = labels(self._engine, {end for item in way for end in (item.via, item.node)})
        rows = []
        for step, item in enumerate(way, start=1):
            source, target = (item.via, item.node) if direction == "downstream" else (item.node, item.via)
            rows.append((step, source, target, item.relation, names[source], names[target]))
        return _table("step", ("source", "target", "relation", "source_label", "target_label"), rows)


_DIRECTIONS: tuple[Direction, Direction] = ("downstream", "upstream")


def _table(number: str | None, texts: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> "pa.Table":
    """An Arrow table of one int64 column, if it is named, and string columns."""
    import pyarrow as pa

    numbers = [] if number is None else [(number, pa.int64())]
    schema = pa.schema([*numbers, *((name, pa.string()) for name in texts)])
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
