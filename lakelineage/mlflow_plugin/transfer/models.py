"""Logged models into a lake."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlflow.entities import LoggedModel

from lakelineage.mlflow_plugin.transfer.counts import Tally, contains, missing
from lakelineage.model.changes import Change, Rows
from lakelineage.model.values import Lifecycle
from lakelineage.tables import LINEAGE, LOGGED_MODEL_PARAMS, LOGGED_MODEL_TAGS_HISTORY, LOGGED_MODELS_HISTORY
from lakelineage.tracking import logged_models

if TYPE_CHECKING:
    from lakelineage.engine import Engine

State = dict[str, Any]
_TIMES = ("created_at", "last_updated_at")
_OF_MODELS = "model_id IN (SELECT unnest($ids))"
_NAMES = ", ".join(f"epoch_us({c}) AS {c}" if c in _TIMES else c for c in LOGGED_MODELS_HISTORY.names)
_STATES = (
    f"SELECT {_NAMES} FROM logged_models_history WHERE {_OF_MODELS} QUALIFY row_number() OVER "
    "(PARTITION BY model_id ORDER BY ingested_at DESC, writer DESC, seq DESC) = 1"
)
_PLACE = "row(ingested_at, writer, seq)"
_PARAMS = (
    f"SELECT model_id, key, arg_min(value, {_PLACE}) AS value FROM logged_model_params WHERE {_OF_MODELS} GROUP BY ALL"
)
_TAGS = (
    f"SELECT model_id, key, arg_max(struct_pack(v := value), {_PLACE}).v AS value FROM logged_model_tags_history "
    f"WHERE {_OF_MODELS} GROUP BY ALL"
)


@dataclass(slots=True)
class _Models:
    """Logged models: id → columns; (id, key) → value."""

    states: dict[str, State] = field(default_factory=dict)
    params: dict[tuple[str, str], str] = field(default_factory=dict)
    tags: dict[tuple[str, str], str] = field(default_factory=dict)


def take_over(
    engine: "Engine", told: Sequence[LoggedModel], experiments: Mapping[str, str], tally: Tally, *, copying: bool
) -> None:
    """Add logged models that the lake lacks, and what has changed in those it has. Their metrics come with the runs.

    Args:
        engine: the open lake.
        told: by the source.
        experiments: id in the source → id in the lake.
        tally: counts.
        copying: whether their files come into the lake.
    """
    ids = [each.model_id for each in told]
    before = _kept(engine, ids)
    says = _says(told, experiments, before, copying)
    if not tally.dry_run and told:
        for model_id in ids:
            change = _change(model_id, says, before)
            if change:
                engine.append(change)
        engine.flush()
    after = before if tally.dry_run else _kept(engine, ids)
    tally.compare("logged models", says.states, before.states, after.states, contains)
    tally.compare("params of logged models", says.params, before.params, after.params)
    tally.compare("tags of logged models", says.tags, before.tags, after.tags)


def _kept(engine: "Engine", ids: Sequence[str]) -> _Models:
    if not ids:
        return _Models()

    def rows(sql: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = engine.query(sql, {"ids": list(ids)}).to_pylist()
        return found

    return _Models(
        {row["model_id"]: row for row in rows(_STATES)},
        {(row["model_id"], row["key"]): row["value"] for row in rows(_PARAMS)},
        {(row["model_id"], row["key"]): row["value"] for row in rows(_TAGS) if row["value"] is not None},
    )


def _says(told: Sequence[LoggedModel], experiments: Mapping[str, str], before: _Models, copying: bool) -> _Models:
    says = _Models()
    for each in told:
        there = before.states.get(each.model_id)
        inside = copying or (there is not None and there["artifact_location"].startswith("artifacts/"))
        says.states[each.model_id] = {
            "model_id": each.model_id,
            "experiment_id": experiments[each.experiment_id],
            "name": each.name,
            "status": each.status.value,
            "lifecycle_stage": Lifecycle.ACTIVE.value,
            "created_at": each.creation_timestamp * 1000,
            "last_updated_at": each.last_updated_timestamp * 1000,
            "artifact_location": f"artifacts/{each.model_id}" if inside else each.artifact_location,
            "source_run_id": each.source_run_id or None,
            "model_type": each.model_type or None,
            "status_message": each.status_message or None,
        }
        says.params.update({(each.model_id, key): value for key, value in (each.params or {}).items()})
        says.tags.update({(each.model_id, key): value for key, value in (each.tags or {}).items()})
    return says


def _change(model_id: str, says: _Models, before: _Models) -> Change:
    """What the lake lacks of a model."""
    state, there = says.states[model_id], before.states.get(model_id)
    params = [(*k, v) for k, v in says.params.items() if k[0] == model_id and k not in before.params]
    tags = [(*k, v) for k, v in missing(says.tags, before.tags).items() if k[0] == model_id]
    change = [
        Rows(LOGGED_MODEL_PARAMS.name, tuple(params)),
        Rows(LOGGED_MODEL_TAGS_HISTORY.name, tuple(tags)),
    ]
    if there is None or not contains(state, there):
        change.append(Rows(LOGGED_MODELS_HISTORY.name, (LOGGED_MODELS_HISTORY.row(**state),)))
    if there is None and state["source_run_id"]:
        node = logged_models.node_of(model_id, state["artifact_location"])
        change.append(Rows(LINEAGE.name, (logged_models.edge(state["source_run_id"], node, "output"),)))
    return tuple(part for part in change if len(part))
