"""Registered models, their versions and aliases into a lake: numbers and times are kept."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING, Any

from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri

from lakelineage.mlflow_plugin.transfer.counts import Tally, contains, missing
from lakelineage.mlflow_plugin.transfer.source import Source
from lakelineage.model import nodes
from lakelineage.model.changes import Rows
from lakelineage.model.values import Lifecycle, Relation
from lakelineage.tables import ALIASES_HISTORY, LINEAGE, MODEL_VERSIONS_HISTORY, REGISTERED_MODELS_HISTORY, Table
from lakelineage.tracking.metric_table import microseconds

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine

State = dict[str, Any]
_ACTIVE = Lifecycle.ACTIVE.value
#: Sources that name no place: they stay what they are wherever the files go.
_PLACELESS = ("models:/", "runs:/")


def take_over(
    engine: "Engine",
    source: Source,
    models: Sequence[RegisteredModel],
    versions: Sequence[ModelVersion],
    owners: Mapping[str, str],
    tally: Tally,
) -> None:
    """Add models, versions and aliases that the lake lacks, and what has changed in those it has.

    Args:
        engine: the open lake.
        source: where they are.
        models: which.
        versions: of these models.
        owners: URI of artifacts that came into the lake → run or logged model.
        tally: counts.
    """
    ids = _models(engine, models, tally)
    says = {(each.name, int(each.version)): _version(source, each, owners) for each in versions}
    _versions(engine, says, ids, tally)
    _aliases(engine, {(m.name, a): int(v) for m in models for a, v in m.aliases.items()}, ids, tally)


def _models(engine: "Engine", told: Sequence[RegisteredModel], tally: Tally) -> dict[str, str]:
    """Name → id of the registered model in the lake."""
    says = {each.name: _model(each) for each in told}
    before = _newest(_history(engine, REGISTERED_MODELS_HISTORY), ())
    ids = _ids(says, before)
    if not tally.dry_run:

        def decide(rows: "pa.Table") -> list[tuple[Any, ...]]:
            states = _newest(rows.to_pylist(), ())
            ids.update(_ids(says, states))
            wanted = {(ids[name],): state for name, state in says.items()}
            return [
                REGISTERED_MODELS_HISTORY.row(**_merged(states.get(key, {}), state) | {"registered_model_id": key[0]})
                for key, state in missing(wanted, states, _within).items()
            ]

        engine.exclusive(REGISTERED_MODELS_HISTORY, decide)
    after = before if tally.dry_run else _newest(_history(engine, REGISTERED_MODELS_HISTORY), ())
    wanted = {(ids[name],): state for name, state in says.items()}
    tally.compare("registered models", wanted, before, after, _within)
    return ids


def _model(told: RegisteredModel) -> State:
    return {
        "name": told.name,
        "description": told.description or None,
        "lifecycle_stage": _ACTIVE,
        "created_at": told.creation_timestamp * 1000,
        "last_updated_at": told.last_updated_timestamp * 1000,
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


def _version(source: Source, told: ModelVersion, owners: Mapping[str, str]) -> State:
    uri = source.client.get_model_version_download_uri(told.name, told.version)
    node = _node(told.source or "", owners) or _node(uri, owners)
    placeless = (told.source or "").startswith(_PLACELESS)
    return {
        "run_id": told.run_id or None,
        "source": uri if node is None else str(node),
        "stage": told.current_stage or "None",
        "description": told.description or None,
        "lifecycle_stage": _ACTIVE,
        "created_at": told.creation_timestamp * 1000,
        "last_updated_at": told.last_updated_timestamp * 1000,
        "user_id": told.user_id or None,
        "tags": sorted(told.tags.items()),
        "model_id": told.model_id or None,
        "source_uri": told.source if placeless or node is None else None,
        "storage_location": uri if node is None else None,
        "run_link": told.run_link or None,
    }


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


def _versions(engine: "Engine", told: Mapping[tuple[str, int], State], ids: Mapping[str, str], tally: Tally) -> None:
    says = {
        (ids[name], number): state | {"name": name, "version": number, "registered_model_id": ids[name]}
        for (name, number), state in told.items()
    }
    before = _newest(_history(engine, MODEL_VERSIONS_HISTORY), ("version",))
    added: list[State] = []
    if not tally.dry_run:

        def decide(rows: "pa.Table") -> list[tuple[Any, ...]]:
            states = _newest(rows.to_pylist(), ("version",))
            # A number that the lake gave to a version of its own is not given again.
            lacking = {k: s for k, s in missing(says, states, _within).items() if not _other(s, states.get(k))}
            added[:] = [s for k, s in lacking.items() if k not in states or states[k]["source"] != s["source"]]
            return [MODEL_VERSIONS_HISTORY.row(**_merged(states.get(k, {}), s)) for k, s in lacking.items()]

        engine.exclusive(MODEL_VERSIONS_HISTORY, decide)
        _add_edges(engine, added)
    after = before if tally.dry_run else _newest(_history(engine, MODEL_VERSIONS_HISTORY), ("version",))
    tally.compare("model versions", says, before, after, _within)


def _other(told: State, there: State | None) -> bool:
    return there is not None and there["created_at"] != told["created_at"]


def _add_edges(engine: "Engine", added: Sequence[State]) -> None:
    rows = tuple(
        LINEAGE.row(
            source=state["source"],
            target=str(nodes.model(state["registered_model_id"], state["version"])),
            relation=Relation.DERIVED_FROM.value,
            run_id=state["run_id"],
        )
        for state in added
        if state["source"].startswith("artifact:")
    )
    if rows:
        engine.append((Rows(LINEAGE.name, rows),))
        engine.flush()


def _aliases(engine: "Engine", told: Mapping[tuple[str, str], int], ids: Mapping[str, str], tally: Tally) -> None:
    says = {(ids[name], alias): {"name": name, "version": number} for (name, alias), number in told.items()}
    before = _newest(_history(engine, ALIASES_HISTORY), ("alias",))
    if not tally.dry_run:

        def decide(rows: "pa.Table") -> list[tuple[Any, ...]]:
            lacking = missing(says, _newest(rows.to_pylist(), ("alias",)), _same_version)
            return [
                ALIASES_HISTORY.row(registered_model_id=key[0], alias=key[1], **state) for key, state in lacking.items()
            ]

        engine.exclusive(ALIASES_HISTORY, decide)
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
