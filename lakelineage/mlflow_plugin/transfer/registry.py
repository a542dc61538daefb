"""Registered models, their versions and aliases into a lake: numbers and times are kept."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING, Any

from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri

from lakelineage.mlflow_plugin.transfer.counts import Tally, contains, missing
from lakelineage.mlflow_plugin.transfer.source import Source
from lakelineage.model import nodes
from lakelineage.model.changes import Row, Stamp
from lakelineage.model.values import Lifecycle
from lakelineage.registry import activity, edges
from lakelineage.tables import ALIASES_HISTORY, MODEL_VERSIONS_HISTORY, REGISTERED_MODELS_HISTORY, Table
from lakelineage.tracking.metric_table import microseconds

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine

State = dict[str, Any]
_ACTIVE = Lifecycle.ACTIVE.value
#: Columns of a version that tell where its files are.
_PLACES = ("source", "source_uri", "storage_location")
#: Sources that name no place: they stay what they are wherever the files go.
_PLACELESS = ("models:/", "runs:/")


def take_over(
    engine: "Engine",
    source: Source,
    models: Sequence[RegisteredModel],
    versions: Sequence[ModelVersion],
    owners: Mapping[str, str],
    tally: Tally,
    *,
    copied: bool,
) -> None:
    """Add models, versions and aliases that the lake lacks, and what has changed in those it has.

    Args:
        engine: the open lake.
        source: where they are.
        models: which.
        versions: of these models.
        owners: URI of artifacts → run or logged model that was taken over.
        tally: counts.
        copied: whether the artifacts came into the lake.
    """
    written: list[tuple[Stamp, int]] = []
    ids = _models(engine, models, tally, written)
    says = {(each.name, int(each.version)): _version(source, each, owners, copied) for each in versions}
    _versions(engine, says, ids, tally, written)
    aliases = {(each.name, alias): int(number) for each in models for alias, number in each.aliases.items()}
    _aliases(engine, aliases, ids, tally, written)
    if written:
        activity.record(engine, written, "imported from MLflow")


def _write(
    engine: "Engine", table: Table, decide: "Callable[[pa.Table], list[Row]]", written: list[tuple[Stamp, int]]
) -> None:
    """Add rows, and note where they are."""
    sizes: list[int] = []

    def counted(rows: "pa.Table") -> list[Row]:
        wanted = decide(rows)
        sizes[:] = [len(wanted)]
        return wanted

    stamp = engine.exclusive(table, counted)
    if stamp is not None:
        written.append((stamp, sizes[0]))


def _models(
    engine: "Engine", told: Sequence[RegisteredModel], tally: Tally, written: list[tuple[Stamp, int]]
) -> dict[str, str]:
    """Name → id of the registered model in the lake."""
    says = {each.name: _model(each) for each in told}
    before = _newest(_history(engine, REGISTERED_MODELS_HISTORY), ())
    ids = _ids(says, before)
    if not tally.dry_run:

        def decide(rows: "pa.Table") -> list[Row]:
            states = _newest(rows.to_pylist(), ())
            ids.update(_ids(says, states))
            wanted = {(ids[name],): state for name, state in says.items()}
            return [
                REGISTERED_MODELS_HISTORY.row(**_merged(states.get(key, {}), state) | {"registered_model_id": key[0]})
                for key, state in missing(wanted, states, _within).items()
            ]

        _write(engine, REGISTERED_MODELS_HISTORY, decide, written)
    after = before if tally.dry_run else _newest(_history(engine, REGISTERED_MODELS_HISTORY), ())
    wanted = {(ids[name],): state for name, state in says.items()}
    tally.compare("registered models", wanted, before, after, _within)
    return ids


def _model(told: RegisteredModel) -> State:
    return {
        "name": told.name,
        "description": told.description or None,
        "lifecycle_stage": _ACTIVE,
        "created_at": (told.creation_timestamp or 0) * 1000,
        "last_updated_at": (told.last_updated_timestamp or 0) * 1000,
        "tags": sorted(told.tags.items()),
    }


def _ids(says: Mapping[str, State], states: Mapping[tuple[Any, ...], State]) -> dict[str, str]:
    """Name in the source → id in the lake: of its namesake, or of what was imported and renamed there since, or new."""
    active = {s["name"]: key[0] for key, s in states.items() if s["lifecycle_stage"] == _ACTIVE}
    renamed = {s["created_at"]: key[0] for key, s in states.items() if s["name"] not in says}
    ids: dict[str, str] = {}
    taken = {key[0] for key in states}
    for name, state in says.items():
        ids[name] = active.get(name) or renamed.get(state["created_at"]) or _free(name, taken)
        taken.add(ids[name])
    return ids


def _free(name: str, taken: Iterable[str]) -> str:
    """An id for a new model: its name, or ``<name>~2``, … where that was given before."""
    if name not in set(taken):
        return name
    return next(each for number in count(2) if (each := f"{name}~{number}") not in set(taken))


def _version(source: Source, told: ModelVersion, owners: Mapping[str, str], copied: bool) -> State:
    uri = source.client.get_model_version_download_uri(told.name, told.version)
    node = _node(told.source or "", owners) or _node(uri, owners)
    inside = copied and node is not None
    return {
        "run_id": told.run_id or None,
        "source": uri if node is None else str(node),
        "stage": told.current_stage or "None",
        "description": told.description or None,
        "lifecycle_stage": _ACTIVE,
        "created_at": told.creation_timestamp * 1000,
        "last_updated_at": (told.last_updated_timestamp or 0) * 1000,
        "user_id": told.user_id or None,
        "tags": sorted(told.tags.items()),
        "model_id": told.model_id or None,
        "source_uri": told.source if not inside or (told.source or "").startswith(_PLACELESS) else None,
        "storage_location": _location(node) if copied and node is not None else uri,
        "run_link": told.run_link or None,
    }


def _location(node: nodes.Node) -> str:
    """Where files are in the lake."""
    return "/".join(filter(None, ("artifacts", node.name, node.part)))


def _node(uri: str, owners: Mapping[str, str]) -> nodes.Node | None:
    """The node of files that came into the lake; None if these are none."""
    for scheme in _PLACELESS:
        owner, _, path = uri.removeprefix(scheme).strip("/").partition("/")
        if uri.startswith(scheme) and owner in owners.values():
            return _artifact(owner, path)
    whole = plain(uri)
    parts = whole.split("/")
    for end in range(len(parts), 0, -1):
        found = owners.get("/".join(parts[:end]))
        if found is not None:
            return _artifact(found, "/".join(parts[end:]))
    return None


def _artifact(owner: str, path: str) -> nodes.Node:
    return nodes.artifact(owner, path) if path else nodes.artifact(owner)


def plain(uri: str) -> str:
    """A URI of artifacts in one form: without a slash at its end, a local one as a path."""
    return (local_file_uri_to_path(uri) if is_local_uri(uri, is_tracking_or_registry_uri=False) else uri).rstrip("/")


def _versions(
    engine: "Engine",
    told: Mapping[tuple[str, int], State],
    ids: Mapping[str, str],
    tally: Tally,
    written: list[tuple[Stamp, int]],
) -> None:
    says = {
        (ids[name], number): state | {"name": name, "version": number, "registered_model_id": ids[name]}
        for (name, number), state in told.items()
    }
    before = _newest(_history(engine, MODEL_VERSIONS_HISTORY), ("version",))
    for key, state in says.items():
        there = before.get(key)
        if there is not None and (there["storage_location"] or "").startswith("artifacts/"):
            state.update({name: there[name] for name in _PLACES})  # they came into the lake before
    added: list[State] = []
    if not tally.dry_run:

        def decide(rows: "pa.Table") -> list[Row]:
            states = _newest(rows.to_pylist(), ("version",))
            # A number that the lake gave to a version of its own is not given again.
            lacking = {k: s for k, s in missing(says, states, _within).items() if not _other(s, states.get(k))}
            added[:] = [s for k, s in lacking.items() if k not in states or states[k]["source"] != s["source"]]
            return [MODEL_VERSIONS_HISTORY.row(**_merged(states.get(k, {}), s)) for k, s in lacking.items()]

        _write(engine, MODEL_VERSIONS_HISTORY, decide, written)
        _add_edges(engine, added)
    after = before if tally.dry_run else _newest(_history(engine, MODEL_VERSIONS_HISTORY), ("version",))
    tally.compare("model versions", says, before, after, _within)


def _other(told: State, there: State | None) -> bool:
    return there is not None and there["created_at"] != told["created_at"]


def _add_edges(engine: "Engine", added: Sequence[State]) -> None:
    for state in added:
        version = str(nodes.model(state["registered_model_id"], state["version"]))
        wanted = edges.of_version(version, state["source"])
        wanted += edges.of_run(engine, version, state["source"], state["run_id"])
        edges.add(engine, edges.missing(engine, wanted), state["run_id"])
    engine.flush()


def _aliases(
    engine: "Engine",
    told: Mapping[tuple[str, str], int],
    ids: Mapping[str, str],
    tally: Tally,
    written: list[tuple[Stamp, int]],
) -> None:
    says = {(ids[name], alias): {"name": name, "version": number} for (name, alias), number in told.items()}
    before = _newest(_history(engine, ALIASES_HISTORY), ("alias",))
    if not tally.dry_run:

        def decide(rows: "pa.Table") -> list[Row]:
            lacking = missing(says, _newest(rows.to_pylist(), ("alias",)), _same_version)
            return [
                ALIASES_HISTORY.row(registered_model_id=key[0], alias=key[1], **state) for key, state in lacking.items()
            ]

        _write(engine, ALIASES_HISTORY, decide, written)
    after = before if tally.dry_run else _newest(_history(engine, ALIASES_HISTORY), ("alias",))
    tally.compare("aliases", says, before, after, _same_version)


def _same_version(told: State, there: State) -> bool:
    return bool(told["version"] == there["version"])


def _history(engine: "Engine", table: Table) -> list[State]:
    rows: list[State] = engine.query(f"SELECT * FROM {table.name} ORDER BY ingested_at, writer, seq").to_pylist()
    return rows


def _newest(rows: Iterable[State], parts: Sequence[str]) -> dict[tuple[Any, ...], State]:
    """Id of the registered model (and version, or alias) → newest state, times in µs."""
    return {
        (row["registered_model_id"] or row["name"], *(row[part] for part in parts)): {
            key: microseconds(value) if isinstance(value, datetime) else value
            for key, value in row.items()
            if key not in ("ingested_at", "writer", "seq")
        }
        for row in rows
    }


def _within(told: State, there: State) -> bool:
    """Whether a state says all that the source tells; tags of the lake's own may be among its tags."""
    tags = dict(there["tags"] or ())
    return contains({k: v for k, v in told.items() if k != "tags"}, there) and contains(dict(told["tags"]), tags)


def _merged(there: State, told: State) -> State:
    return {**there, **told, "tags": sorted({**dict(there.get("tags") or ()), **dict(told["tags"])}.items())}
