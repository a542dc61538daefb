"""From what people type to node ids that the graph knows."""

import difflib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakelineage.errors import ArtifactNotFound, InvalidInput, ModelNotFound, NotFound, RunNotFound
from lakelineage.model import nodes
from lakelineage.model.nodes import Node
from lakelineage.tracking import logged_models
from lakelineage.tracking.ids import completed

if TYPE_CHECKING:
    from lakelineage.engine import Reads

#: Names that a message about an unknown node chooses its suggestions from: the newest so many.
_POOL = 2_000


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a question is about.

    Attributes:
        node: node id, with the table id in place of a URI and the version in place of an alias.
        starts: node ids in the graph that it stands for: itself, or each version there is.
    """

    node: str
    starts: tuple[str, ...]


def resolve(engine: "Reads", asked: Node | str) -> Resolved:
    """Find a node.

    Args:
        engine: the open lake.
        asked: a node or node id; or ``dataset:<uri>[@version]``, or only the table's path or URI; or
            ``model:<name>@<alias>``. Without version, all versions are meant. A text names a model by its name, and
            only else by its id; a ``Node`` the other way round.

    Raises:
        InvalidInput: it is no node.
        NotFound: the lake knows nothing by this name (RunNotFound, ModelNotFound, ArtifactNotFound by kind). The
            message names what comes near.
    """
    node = asked if isinstance(asked, Node) else _parse(asked)
    if node.kind == "dataset":
        return _dataset(engine, node)
    if node.kind == "model":
        return _model(engine, node, by_id=isinstance(asked, Node))
    if node.kind == "run":
        return _run(engine, node)
    if node.kind == "artifact":
        return _artifact(engine, node)
    return _column(engine, node)


def _parse(text: object) -> Node:
    if not isinstance(text, str) or not text.strip():
        raise InvalidInput(f"{text!r} is no lineage node; give a node id, or a table's path or URI")
    kind, _, _ = text.partition(":")
    known = kind in ("run", "model", "artifact", "column", "dataset")
    if not known:
        return _place(text)
    # A URI is taken as typed: only node ids are percent-encoded, and they never hold a slash.
    return _place(text.removeprefix("dataset:")) if kind == "dataset" and "/" in text else nodes.parse(text)


def _place(text: str) -> Node:
    """A table by place, with the version after the last @ if that is a number."""
    name, _, version = text.rpartition("@")
    return Node("dataset", name, version) if name and version.isdecimal() else Node("dataset", text)


def _dataset(engine: "Reads", node: Node) -> Resolved:
    if node.part is not None and not node.part.isdecimal():
        raise InvalidInput(f"{node}: the version after @ must be a number, not {node.part!r}")
    table_ids = _table_ids(engine, node.name)
    found = {table_id: _versions(engine, Node("dataset", table_id, node.part)) for table_id in table_ids}
    known = {table_id: versions for table_id, versions in found.items() if versions}
    if not known:
        raise NotFound(f"nothing in this lake used or made the table {_typed(node)}{_near_tables(engine, node)}")
    if len(known) > 1 and node.part is not None:
        choices = ", ".join(str(Node("dataset", table_id, node.part)) for table_id in sorted(known))
        raise InvalidInput(f"{node.name} was dropped and made again; say which table's version {node.part}: {choices}")
    single = next(iter(known)) if len(known) == 1 else node.name
    return Resolved(str(Node("dataset", single, node.part)), tuple(sorted({v for vs in known.values() for v in vs})))


def _typed(node: Node) -> str:
    return node.name if node.part is None else f"{node.name}@{node.part}"


def _table_ids(engine: "Reads", name: str) -> list[str]:
    """Tables that have this id, or were at this place, or were made from the file at this place."""
    at_place = "list_contains($places, table_uri) OR list_contains($places, origin)"
    sql = f"SELECT DISTINCT table_id FROM snapshots WHERE {at_place}"
    rows = engine.query(sql, {"places": _spellings(name)}).column("table_id").to_pylist()
    return rows or [name]


def _spellings(name: str) -> list[str]:
    """The ways in which a place may have been stored: as typed, and as snapshots store it."""
    from lakelineage.store.source import absolute

    return sorted({name, absolute(name)})


def _versions(engine: "Reads", node: Node) -> list[str]:
    """Node ids of a table or model in the graph or among the pins: the one version, or all there are."""
    sql = """
        SELECT DISTINCT node FROM (
          SELECT source AS node FROM lineage UNION ALL SELECT target FROM lineage
          UNION ALL SELECT 'dataset:' || url_encode(table_id) || '@' || version FROM snapshots
          UNION ALL SELECT 'model:' || url_encode(registered_model_id) || '@' || version FROM model_versions
        ) WHERE node = $node OR ($any AND starts_with(node, $node || '@')) ORDER BY node
    """
    rows = engine.query(sql, {"node": str(node), "any": node.part is None}).column("node").to_pylist()
    return [str(row) for row in rows]


def _near_tables(engine: "Reads", node: Node) -> str:
    if node.part is not None:
        others = [v for table_id in _table_ids(engine, node.name) for v in _versions(engine, Node("dataset", table_id))]
        if others:
            known = sorted({int(nodes.parse(v).part or -1) for v in others} - {-1})
            return f"; versions known: {', '.join(map(str, known[-10:]))}"
    sql = f"SELECT table_uri, max(ingested_at) FROM snapshots GROUP BY table_uri ORDER BY 2 DESC LIMIT {_POOL}"
    return _suggest_places(node.name, engine.query(sql).column(0).to_pylist())


def _suggest_places(asked: str, there_is: list[str]) -> str:
    """Places whose last part is alike, then those alike as a whole: people type the name of a table alone."""
    by_part: dict[str, list[str]] = {}
    for place in there_is:
        by_part.setdefault(_last_part(place), []).append(place)
    parts = difflib.get_close_matches(_last_part(asked), by_part, n=3, cutoff=0.6)
    whole = difflib.get_close_matches(asked, there_is, n=3, cutoff=0.5)
    near = list(dict.fromkeys([*(place for part in parts for place in by_part[part]), *whole]))[:3]
    return f"; did you mean {' or '.join(near)}?" if near else _suggest(asked, there_is)


def _last_part(place: str) -> str:
    return place.rstrip("/").rpartition("/")[2]


def _model(engine: "Reads", asked: Node, by_id: bool) -> Resolved:
    """A model by name, as people type it, else by id, as the graph tells it; or the other way round."""
    ids = [*_ids(engine, asked.name), asked.name]
    for model_id in ids[::-1] if by_id else ids:
        with suppress(ModelNotFound):
            return _model_of_id(engine, Node("model", model_id, asked.part))
    return _model_of_id(engine, asked)


def _ids(engine: "Reads", name: str) -> list[str]:
    """Id of the model that has a name now, or else of the newest that had it when it was deleted."""
    sql = """
        SELECT registered_model_id FROM registered_models WHERE name = $name
        ORDER BY lifecycle_stage <> 'active', updated_at DESC LIMIT 1
    """
    found: list[str] = engine.query(sql, {"name": name}).column(0).to_pylist()
    return [each for each in found if each != name]


def _model_of_id(engine: "Reads", node: Node) -> Resolved:
    if node.part is not None and not node.part.isdecimal():
        node = _of_alias(engine, node)
    starts = _versions(engine, node)
    if not starts:
        raise ModelNotFound(f"no registered model or version is called {_typed(node)}{_near_models(engine, node)}")
    return Resolved(str(node), tuple(starts))


def _of_alias(engine: "Reads", node: Node) -> Node:
    sql = "SELECT version FROM model_versions WHERE registered_model_id = $name AND list_contains(aliases, $alias)"
    found = engine.query(sql, {"name": node.name, "alias": node.part}).column("version").to_pylist()
    if not found:
        raise ModelNotFound(f"model {node.name} has no alias {node.part!r}{_near_models(engine, node)}")
    return nodes.model(node.name, found[0])


def _near_models(engine: "Reads", node: Node) -> str:
    sql = f"SELECT name, version, aliases FROM model_versions ORDER BY updated_at DESC LIMIT {_POOL}"
    rows = engine.query(sql).to_pylist()
    own = [row for row in rows if row["name"] == node.name]
    if own:
        return "; there is " + ", ".join(_version_text(row) for row in own[:10])
    return _suggest(node.name, [row["name"] for row in rows])


def _version_text(row: dict[str, Any]) -> str:
    aliases = f" ({', '.join(row['aliases'])})" if row["aliases"] else ""
    return f"version {row['version']}{aliases}"


def _run(engine: "Reads", node: Node) -> Resolved:
    node = Node("run", completed(engine, node.name))
    sql = "SELECT 1 FROM runs_history WHERE run_id = $id LIMIT 1"
    if not engine.query(sql, {"id": node.name}).num_rows and not _in_graph(engine, node):
        raise RunNotFound(f"no run has the id {node.name}{_near_runs(engine, node.name)}")
    return Resolved(str(node), (str(node),))


def _near_runs(engine: "Reads", text: str) -> str:
    """Runs whose id begins so, or whose name is so, or else ids alike."""
    sql = """
        SELECT DISTINCT run_id, name FROM runs_history
        WHERE name = $text OR starts_with(run_id, $text) ORDER BY run_id DESC LIMIT 5
    """
    rows = engine.query(sql, {"text": text}).to_pylist()
    if rows:
        return "; did you mean " + ", ".join(f"run:{row['run_id']} ({row['name']})" for row in rows) + "?"
    sql = f"SELECT DISTINCT run_id FROM runs_history ORDER BY run_id DESC LIMIT {_POOL}"
    return _suggest(text, engine.query(sql).column(0).to_pylist())


def _artifact(engine: "Reads", node: Node) -> Resolved:
    if node.part is None:
        return _logged_model(engine, node)
    sql = "SELECT 1 FROM artifacts WHERE run_id = $id AND (path = $path OR starts_with(path, $path || '/')) LIMIT 1"
    there = node.part and engine.query(sql, {"id": node.name, "path": node.part}).num_rows
    if not there and not _in_graph(engine, node):
        sql = f"SELECT DISTINCT path FROM artifacts WHERE run_id = $id ORDER BY path LIMIT {_POOL}"
        near = _suggest(node.part or "", engine.query(sql, {"id": node.name}).column(0).to_pylist())
        raise ArtifactNotFound(f"run {node.name} has no artifact {node.part!r}{near}")
    return Resolved(str(node), (str(node),))


def _logged_model(engine: "Reads", node: Node) -> Resolved:
    """A logged model stands for its files, which may be among those of its run."""
    found = logged_models.find(engine, node.name)
    if found is None and not _in_graph(engine, node):
        sql = f"SELECT model_id FROM logged_models ORDER BY created_at DESC LIMIT {_POOL}"
        near = _suggest(node.name, engine.query(sql).column(0).to_pylist())
        raise ModelNotFound(f"no logged model has the id {node.name!r}{near}")
    files = node if found is None else found.node
    return Resolved(str(files), (str(files),))


def _column(engine: "Reads", node: Node) -> Resolved:
    if not _in_graph(engine, node):
        raise NotFound(f"no edge names the column {node}; ask for its table instead")
    return Resolved(str(node), (str(node),))


def _in_graph(engine: "Reads", node: Node) -> bool:
    sql = "SELECT 1 FROM lineage WHERE source = $node OR target = $node LIMIT 1"
    return bool(engine.query(sql, {"node": str(node)}).num_rows)


def _suggest(asked: str, there_is: Iterable[str]) -> str:
    pool = list(dict.fromkeys(there_is))
    near = difflib.get_close_matches(asked, pool, n=3, cutoff=0.5) or pool[:3]
    return f"; did you mean {' or '.join(near)}?" if near else "; there is none yet"
