"""The graph of a lineage, drawn from left to right."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lakelineage.display import pages
from lakelineage.display.layout import HEIGHT, WIDTH, layout
from lakelineage.model import nodes

if TYPE_CHECKING:
    from lakelineage.lineage import Lineage

#: Nodes of a graph that is drawn; of more, a tree is shown.
MOST_NODES = 100
#: Lines of that tree.
_MOST_LINES = 400
_COLOURS = {"dataset": "#3182bd", "run": "#31a354", "model": "#e6550d", "artifact": "#8a63d2", "column": "#888888"}
#: Characters of a label that fit into a node.
_FITTING = 26


def lineage(asked: "Lineage") -> str:
    """What something came of and what came of it, as a picture; as a tree where a picture would be too large."""
    edges = asked.edges().to_pylist()
    labels = {end["node"]: end["label"] for edge in edges for end in _ends(edge)}
    for start in asked.starts:
        if start not in labels:  # nothing hangs on it
            labels[start] = asked.tree("upstream", 0).label if len(asked.starts) == 1 else start
    pairs = [(edge["source"], edge["target"]) for edge in edges]
    ordered = sorted(labels, key=lambda node: (labels[node], node))
    placed = layout(ordered, pairs) if len(labels) <= MOST_NODES else None
    title = labels[asked.starts[0]] if len(asked.starts) == 1 else asked.node
    if placed is None:
        return pages.render("graph", title=title, tree=_tree(asked))
    drawn = [_node(node, labels[node], placed.corners[node], node in asked.starts) for node in ordered]
    lines = [
        {"path": _curve(way), "head": _head(way[-1]), "title": _told(edge)}
        for edge, way in zip(edges, placed.ways, strict=True)
    ]
    return pages.render(
        "graph", title=title, tree=None, width=placed.width, height=placed.height, nodes=drawn, edges=lines
    )


def _ends(edge: dict[str, str]) -> list[dict[str, str]]:
    return [{"node": edge[end], "label": edge[f"{end}_label"]} for end in ("source", "target")]


def _told(edge: dict[str, str]) -> str:
    return f"{edge['source_label']} — {edge['relation']} → {edge['target_label']}"


def _tree(asked: "Lineage") -> list[str]:
    lines = str(asked).splitlines()
    left = len(lines) - _MOST_LINES
    return lines if left <= 0 else [*lines[:_MOST_LINES], f"… {left:,} more lines; print(lineage) shows all"]


def _node(node: str, label: str, corner: tuple[int, int], asked: bool) -> dict[str, Any]:
    kind = nodes.parse(node).kind
    return {
        "kind": kind,
        "title": f"{kind} {label}\n{node}",
        "label": _short(label, kind),
        "x": corner[0],
        "y": corner[1],
        "width": WIDTH,
        "height": HEIGHT,
        "colour": _COLOURS[kind],
        "asked": asked,
    }


def _short(label: str, kind: str) -> str:
    """What fits: of a path its end, of a name its beginning."""
    if len(label) <= _FITTING:
        return label
    return "…" + label[1 - _FITTING :] if kind in ("dataset", "column", "artifact") else label[: _FITTING - 1] + "…"


def _curve(way: Sequence[tuple[int, int]]) -> str:
    told = [f"M{way[0][0]} {way[0][1]}"]
    for number, ((x1, y1), (x2, y2)) in enumerate(itertools.pairwise(way)):
        # Between layers a curve that leaves and arrives level; past a layer a straight line.
        middle = (x1 + x2) // 2
        told.append(f"L{x2} {y2}" if number % 2 else f"C{middle} {y1} {middle} {y2} {x2} {y2}")
    return " ".join(told)


def _head(tip: tuple[int, int]) -> str:
    x, y = tip
    return f"M{x} {y} L{x - 8} {y - 4} L{x - 8} {y + 4} Z"
