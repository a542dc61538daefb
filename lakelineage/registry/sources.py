"""Where the files of a model are: in this lake, as a node of its graph, or elsewhere, as a URI."""

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from lakelineage.errors import ArtifactNotFound, InvalidInput, RunNotFound
from lakelineage.model import nodes, validate
from lakelineage.model.nodes import Node
from lakelineage.registry.names import ModelUri, RunUri, parse_uri
from lakelineage.tracking import logged_models
from lakelineage.tracking.ids import completed

if TYPE_CHECKING:
    from lakelineage.engine import Engine, Reads

_ID = re.compile(r"(m-)?[0-9a-f]{32}")
_BY_ID = re.compile(r"models:/+(m-[0-9a-f]{32})/?")
_RUN = """
    select exists(select 1 from runs_history where run_id = ?) as run,
      exists(select 1 from artifacts where run_id = ? and (path = ? or starts_with(path, ?))) as file
"""


@dataclass(frozen=True, slots=True)
class Source:
    """What a version is made of: columns of ``model_versions_history``.

    Attributes:
        source: node id of its files, ``artifact:<run or logged model>/<path>``, or their URI.
        run_id: run that made them, if that is known.
        model_id: logged model, if it is one.
        storage_location: path in the lake, or URI, of the files, where ``source`` does not say it.
        source_uri: as the user wrote it, where that is to be kept.
    """

    source: str
    run_id: str | None = None
    model_id: str | None = None
    storage_location: str | None = None
    source_uri: str | None = None


def given(engine: "Engine", source: Any, path: str, run_id: str | None) -> Source:
    """What a user of the native verbs means.

    Args:
        engine: the open lake.
        source: a run, its id, a logged model, ``runs:/…``, ``models:/m-…``, or a folder or URI outside the lake.
        path: where in the run's artifacts the model is, if ``source`` does not tell.
        run_id: run that made it, of what is outside the lake.

    Raises:
        InvalidInput: it is none of these.
        RunNotFound, ArtifactNotFound, ModelNotFound: it is not there.
    """
    uri = source if isinstance(source, str) else getattr(source, "uri", None)
    if isinstance(source, os.PathLike) or (isinstance(uri, str) and "/" in uri):
        text = os.fspath(source) if isinstance(source, os.PathLike) else str(uri)
        found = _of_uri(engine, text)
    else:
        own = source if isinstance(source, str) else getattr(source, "id", None)
        if not isinstance(own, str) or not own:
            raise InvalidInput(f"{source!r} is no run, run id, logged model, folder, URI or runs:/RUN_ID/PATH")
        found = _of_run(engine, RunUri(own, validate.artifact_path(path)))
    if run_id is None or found.run_id == run_id:
        return found
    if found.run_id is not None:
        raise InvalidInput(f"{source!r} was made by run {found.run_id}; run_id={run_id!r} contradicts it")
    return Source(found.source, validate.key(run_id, "run id"), found.model_id, found.storage_location)


def _of_uri(engine: "Engine", text: str) -> Source:
    by_id = _BY_ID.fullmatch(text)
    if by_id is not None:
        return of_logged(engine, by_id[1])
    if text.startswith(("runs:/", "models:/")):
        parsed = parse_uri(text)
        if isinstance(parsed, ModelUri):
            raise InvalidInput(f"{text!r} is registered already; register a run, a logged model or runs:/RUN_ID/PATH")
        return _of_run(engine, parsed)
    place = text if "://" in text else os.path.abspath(os.path.expanduser(text))
    location = location_of(engine, validate.text(place, "URI of the model"))
    node = node_at(engine, location)
    return Source(place) if node is None else Source(str(node), maker(engine, node))


def _of_run(engine: "Engine", place: RunUri) -> Source:
    run_id = completed(engine, place.run_id)
    found = engine.query(_RUN, (run_id, run_id, place.path, f"{place.path}/")).to_pylist()[0]
    if not found["run"]:
        raise RunNotFound(f"no run has the id {run_id!r}; lake.search_runs() lists the runs there are")
    if not found["file"]:
        raise ArtifactNotFound(
            f"run {run_id} logged nothing at {place.path!r}; log it with run.log_model(model, {place.path!r})"
        )
    return Source(str(nodes.artifact(run_id, place.path)), run_id)


def of_logged(engine: "Engine", model_id: str) -> Source:
    """A logged model, to be registered.

    Raises:
        ModelNotFound: there is none of this id.
    """
    found = logged_models.get(engine, model_id)
    return Source(str(found.node), found.source_run_id, model_id, found.artifact_location)


def location_of(engine: "Reads", uri: str) -> str:
    """A path in the lake, ``artifacts/<run or logged model>[/<path>]``, for files there; else the URI as it is."""
    root, place = engine.root.child("artifacts"), uri
    if engine.root.local is not None:
        if uri.startswith("file:"):
            place = unquote(uri.removeprefix("file://").removeprefix("file:"))
        elif "://" in uri:
            return uri
        root, place = os.path.realpath(root), os.path.realpath(place)
    inside = place.removeprefix(f"{root.rstrip('/')}/")
    return uri if inside == place else f"artifacts/{inside.strip('/')}"


def node_at(engine: "Reads", location: str) -> Node | None:
    """Node of files in the lake; None if the location is elsewhere, or its owner unknown."""
    folder, _, rest = location.partition("/")
    owner, _, path = rest.partition("/")
    known = folder == "artifacts" and bool(_ID.fullmatch(owner)) and _is_owner(engine, owner)
    return nodes.artifact(owner, path) if known else None


def _is_owner(engine: "Reads", owner: str) -> bool:
    table, column = ("logged_models_history", "model_id") if owner.startswith("m-") else ("runs_history", "run_id")
    return bool(engine.query(f"select 1 from {table} where {column} = ? limit 1", (owner,)).num_rows)


def maker(engine: "Reads", node: Node) -> str | None:
    """The run that made files of this lake: their owner, or that of the logged model that owns them."""
    if not logged_models.is_model_id(node.name):
        return node.name
    found = logged_models.find(engine, node.name)
    return None if found is None else found.source_run_id
