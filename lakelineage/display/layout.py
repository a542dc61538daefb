"""Where the nodes of a graph are drawn: in layers from left to right (K. Sugiyama et al., 1981).

A node's layer is the length of the longest way to it. An edge over several layers bends at a place of its own in each
between them, and nodes are ordered in each layer by the mean place of their neighbours, so that few edges cross.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

WIDTH, HEIGHT = 196, 40
_GAP_X, _GAP_Y = 64, 16
_MARGIN = 8
#: Height of the place where an edge passes a layer.
_PASS = 10
_SWEEPS = 6

#: A node, or the place where the edge of a number passes a layer.
Place = str | tuple[int, int]


@dataclass(slots=True)
class Layout:
    """A drawing.

    Attributes:
        width: pixels.
        height: pixels.
        corners: node → (x, y) of its upper left corner.
        ways: for each edge, the points of its bends from one node's right side to the other's left side.
    """

    width: int
    height: int
    corners: dict[str, tuple[int, int]] = field(default_factory=dict)
    ways: list[list[tuple[int, int]]] = field(default_factory=list)


def layout(nodes: Iterable[str], edges: Sequence[tuple[str, str]]) -> Layout | None:
    """Lay out a graph; None if it goes in a circle.

    Args:
        nodes: all of them, in the order in which equals are drawn.
        edges: (from, to).
    """
    found = _layers(nodes, edges)
    if found is None:
        return None
    layers, chains = found
    _order(layers, chains)
    heights = [sum((_PASS if isinstance(p, tuple) else HEIGHT) + _GAP_Y for p in layer) for layer in layers]
    tallest = max(heights, default=0)
    made = Layout(2 * _MARGIN + len(layers) * (WIDTH + _GAP_X) - _GAP_X, 2 * _MARGIN + tallest - _GAP_Y)
    middles: dict[Place, tuple[int, int]] = {}
    for number, (layer, height) in enumerate(zip(layers, heights, strict=True)):
        x, y = _MARGIN + number * (WIDTH + _GAP_X), _MARGIN + (tallest - height) // 2
        for place in layer:
            own = _PASS if isinstance(place, tuple) else HEIGHT
            middles[place] = (x, y + own // 2)
            if isinstance(place, str):
                made.corners[place] = (x, y)
            y += own + _GAP_Y
    made.ways = [_way([middles[place] for place in chain]) for chain in chains]
    return made


def _way(middles: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    first, last = middles[0], middles[-1]
    bends = [point for x, y in middles[1:-1] for point in ((x, y), (x + WIDTH, y))]
    return [(first[0] + WIDTH, first[1]), *bends, last]


def _layers(
    nodes: Iterable[str], edges: Sequence[tuple[str, str]]
) -> tuple[list[list[Place]], list[list[Place]]] | None:
    """Layers, and the places that each edge goes through."""
    before: dict[str, set[str]] = {node: set() for node in nodes}
    for source, target in edges:
        before[target].add(source)
    sorter = TopologicalSorter(before)
    try:
        sorter.prepare()
    except CycleError:
        return None
    order = {node: number for number, node in enumerate(before)}
    layers: list[list[Place]] = []
    depth: dict[str, int] = {}
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=order.__getitem__)
        depth.update(dict.fromkeys(ready, len(layers)))
        layers.append(list(ready))
        sorter.done(*ready)
    chains: list[list[Place]] = []
    for number, (source, target) in enumerate(edges):
        passes: list[Place] = [(number, layer) for layer in range(depth[source] + 1, depth[target])]
        for place in passes:
            assert isinstance(place, tuple)
            layers[place[1]].append(place)
        chains.append([source, *passes, target])
    return layers, chains


def _order(layers: list[list[Place]], chains: Sequence[Sequence[Place]]) -> None:
    """Sort each layer by the mean place of the neighbours, sweeping right and left in turn."""
    left: dict[Place, list[Place]] = {place: [] for layer in layers for place in layer}
    right: dict[Place, list[Place]] = {place: [] for place in left}
    for chain in chains:
        for a, b in itertools.pairwise(chain):
            left[b].append(a)
            right[a].append(b)
    spot = {place: i / len(layer) for layer in layers for i, place in enumerate(layer)}
    for sweep in range(_SWEEPS):
        near = right if sweep % 2 else left
        for layer in reversed(layers) if sweep % 2 else layers:
            mean = {p: sum(spot[n] for n in near[p]) / len(near[p]) if near[p] else spot[p] for p in layer}
            layer.sort(key=mean.__getitem__)
            spot.update({place: i / len(layer) for i, place in enumerate(layer)})
