"""What people read instead of node ids: where a table is, what a run is called."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lakelineage.model import nodes
from lakelineage.model.nodes import Node
from lakelineage.tracking.logged_models import is_model_id

if TYPE_CHECKING:
    from lakelineage.engine import Reads

_URIS = """
    SELECT table_id, arg_max(table_uri, row(ingested_at, writer, seq)) AS label FROM snapshots
    WHERE list_contains($ids, table_id) GROUP BY table_id
"""
_NAMES = """
    SELECT run_id, arg_max(name, row(ingested_at, writer, seq)) AS label FROM runs_history
    WHERE list_contains($ids, run_id) GROUP BY run_id
"""


_REGISTERED = """
    SELECT registered_model_id, name AS label FROM registered_models WHERE list_contains($ids, registered_model_id)
"""
_MODELS = """
    SELECT model_id, arg_max(name, row(ingested_at, writer, seq)) AS label FROM logged_models_history
    WHERE list_contains($ids, model_id) GROUP BY model_id
"""


def labels(engine: "Reads", node_ids: Iterable[str]) -> dict[str, str]:
    """A label for each node: tables by place and version, runs and models by name, files by these and path.

    What has no name keeps its id. A table that moved has its newest place.
    """
    parsed = {node_id: nodes.parse(node_id) for node_id in node_ids}
    tables = {_table(node).name for node in parsed.values() if node.kind in ("dataset", "column")}
    runs = {node.name for node in parsed.values() if node.kind in ("run", "artifact")}
    models = {name for name in runs if is_model_id(name)}
    names = _lookup(engine, _URIS, tables) | _lookup(engine, _NAMES, runs - models) | _lookup(engine, _MODELS, models)
    registered = _lookup(engine, _REGISTERED, {node.name for node in parsed.values() if node.kind == "model"})
    return {node_id: _label(node, registered if node.kind == "model" else names) for node_id, node in parsed.items()}


def _lookup(engine: "Reads", sql: str, ids: set[str]) -> dict[str, str]:
    if not ids:
        return {}
    found, label = engine.query(sql, {"ids": sorted(ids)}).columns
    return {key: text for key, text in zip(found.to_pylist(), label.to_pylist(), strict=True) if text is not None}


def _table(node: Node) -> Node:
    """The table of a dataset, or of a column (whose name is a dataset's node id, or what follows its ``dataset:``)."""
    if node.kind == "dataset":
        return node
    return nodes.parse(node.name if node.name.startswith("dataset:") else f"dataset:{node.name}")


def _label(node: Node, names: dict[str, str]) -> str:
    if node.kind in ("dataset", "column"):
        table = _table(node)
        place = names.get(table.name, table.name) + (f"@{table.part}" if table.part else "")
        return place if node.kind == "dataset" else f"{place}#{node.part}"
    name = names.get(node.name, node.name)
    separator = "/" if node.kind == "artifact" else "@"
    return name if node.part is None else f"{name}{separator}{node.part}"
