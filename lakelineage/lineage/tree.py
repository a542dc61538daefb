"""A walk as a tree, for people."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lakelineage.lineage.traverse import Link
from lakelineage.model import nodes

#: What follows the label of a node whose neighbours are shown at another place of the tree.
ELSEWHERE = "(shown elsewhere)"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class LineageTree:
    """A node and what hangs on it. A node that is reached in several ways has its children at one place only.

    Attributes:
        node: node id.
        kind: dataset, run, model, artifact or column.
        label: for people.
        relation: of the edge to the node above; None for the root, and for a version under a node that means them all.
        seen: whether it is shown, with its children, at another place: the one nearest to the root.
        children: neighbours one edge farther, ordered by label.
    """

    node: str
    kind: str
    label: str
    relation: str | None
    seen: bool
    children: tuple["LineageTree", ...]

    def __str__(self) -> str:
        """Drawn with lines, one node a line."""
        return "\n".join(prefix + tree.caption for prefix, tree in self.lines())

    def __repr__(self) -> str:
        return f"LineageTree({self.node!r}, {len(self.children)} children)"

    @property
    def caption(self) -> str:
        """Kind and label, with the relation before and a mark after where there are such."""
        relation = f"{self.relation} " if self.relation else ""
        return f"{relation}{self.kind} {self.label}" + (f" {ELSEWHERE}" if self.seen else "")

    def lines(self) -> Iterator[tuple[str, "LineageTree"]]:
        """Nodes from top to bottom, each with the lines to draw before it. A chain may be as long as it likes."""
        stack = [("", "", self)]
        while stack:
            prefix, below, tree = stack.pop()
            yield prefix, tree
            last = len(tree.children) - 1
            branches = [("└── ", "    ") if i == last else ("├── ", "│   ") for i in range(last + 1)]
            rows = [(below + own, below + next_, c) for (own, next_), c in zip(branches, tree.children, strict=True)]
            stack.extend(reversed(rows))


def build(root: str, starts: Sequence[str], links: Sequence[Link], labels: Mapping[str, str]) -> LineageTree:
    """Put the edges of a walk into a tree.

    Args:
        root: node id that was asked about.
        starts: node ids that it stands for: itself, or the versions there are.
        links: edges among what was reached.
        labels: node id → label, of the root too.
    """
    below = defaultdict(list)
    for link in links:
        below[link.near].append(link)
    full: dict[str, LineageTree] = {}
    for node in _deepest_first(starts, links):
        # Each far node was built before: its own place is one edge deeper. Everywhere else it is only named.
        children = [_child(link, full, labels) for link in below[node]]
        full[node] = _leaf(node, labels, children=tuple(sorted(children, key=_order)))
    versions = sorted((full[start] for start in starts if start != root), key=_order)
    own = full[root].children if root in full else ()
    return _leaf(root, labels, children=(*versions, *own))


def _deepest_first(starts: Sequence[str], links: Sequence[Link]) -> list[str]:
    depths = {link.far: link.depth for link in links} | dict.fromkeys(starts, 0)
    return sorted(depths, key=lambda node: -depths[node])


def _child(link: Link, full: Mapping[str, LineageTree], labels: Mapping[str, str]) -> LineageTree:
    if link.via != link.near:
        return _leaf(link.far, labels, link.relation, seen=True)
    return _leaf(link.far, labels, link.relation, children=full[link.far].children)


def _leaf(
    node: str,
    labels: Mapping[str, str],
    relation: str | None = None,
    seen: bool = False,
    children: tuple[LineageTree, ...] = (),
) -> LineageTree:
    return LineageTree(node, nodes.parse(node).kind, labels[node], relation, seen, children)


def _order(tree: LineageTree) -> tuple[str, str, str, str]:
    return tree.kind, tree.label, tree.node, tree.relation or ""
