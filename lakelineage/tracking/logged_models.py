"""Logged models: files that a run made, with params, tags and metrics, before (or without) being registered."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lakelineage.engine import Engine, Reads
from lakelineage.errors import InvalidInput, ModelNotFound, ParamConflict
from lakelineage.model import nodes, validate
from lakelineage.model.changes import Change, Row, Rows
from lakelineage.model.clock import wall_clock
from lakelineage.model.ids import new_id
from lakelineage.model.nodes import Node
from lakelineage.model.values import Lifecycle, ModelStatus, Relation
from lakelineage.tables import (
    LINEAGE,
    LOGGED_MODEL_PARAMS,
    LOGGED_MODEL_TAGS_HISTORY,
    LOGGED_MODELS_HISTORY,
    RUN_MODELS,
)

#: The longest key and value of a param or tag, in characters. MLflow has no limit here.
_LONGEST = 1 << 20
_TIMES = ("created_at", "last_updated_at")
_TEXTS = ", ".join(name for name in LOGGED_MODELS_HISTORY.names if name not in _TIMES)
_PLACE = "epoch_us(ingested_at) AS seen, writer, seq"
#: All that was said of one model, in the order of the lake. The table ``logged_models`` would be quicker to ask where
#: nothing has changed, and is derived as a whole where something has.
_SAID = f"""
SELECT {_TEXTS}, {", ".join(f"epoch_us({name}) AS {name}" for name in _TIMES)}, {_PLACE}
FROM logged_models_history WHERE model_id = $id
UNION ALL BY NAME SELECT 'param' AS kind, key, value, {_PLACE} FROM logged_model_params WHERE model_id = $id
UNION ALL BY NAME SELECT 'tag' AS kind, key, value, {_PLACE} FROM logged_model_tags_history WHERE model_id = $id
ORDER BY seen, writer, seq
"""


@dataclass(frozen=True, slots=True)
class LoggedModelState:
    """A logged model as it was when it was read.

    Attributes:
        model_id: ``m-`` and 32 hex digits.
        experiment_id: experiment that it belongs to.
        name: for people; need not be unique.
        artifact_location: where its files are: ``artifacts/<id>[/<path>]`` in the lake, or a URI elsewhere.
        created_at: µs since 1970, UTC.
        last_updated_at: µs since 1970, UTC; params and tags do not count.
        status: PENDING, READY or FAILED.
        lifecycle_stage: active, deleted or purged.
        source_run_id: run that made it.
        model_type: kind of model, as the logger said.
        status_message: why it has this status.
        params: param → value.
        tags: tag → value.
    """

    model_id: str
    experiment_id: str
    name: str
    artifact_location: str
    created_at: int
    last_updated_at: int
    status: ModelStatus = ModelStatus.PENDING
    lifecycle_stage: Lifecycle = Lifecycle.ACTIVE
    source_run_id: str | None = None
    model_type: str | None = None
    status_message: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def node(self) -> Node:
        """Its node in the lineage graph: its files."""
        return node_of(self.model_id, self.artifact_location)

    def row(self) -> Row:
        """As a row of ``logged_models_history``."""
        return tuple(getattr(self, name) for name in LOGGED_MODELS_HISTORY.names)


def new_model_id() -> str:
    """An id for a new logged model, in MLflow's form. It begins with the time, so look-ups by it are quick."""
    return f"m-{new_id()}"


def is_model_id(owner: str) -> bool:
    """Whether the owner of artifacts is a logged model, not a run."""
    return owner.startswith("m-")


def node_of(model_id: str, artifact_location: str | None = None) -> Node:
    """The node of a logged model: of its files, if a run has them among its own, else of its id."""
    root, _, place = (artifact_location or "").partition("/")
    owner, _, path = place.partition("/")
    return nodes.artifact(owner, path) if root == "artifacts" and owner else nodes.artifact(model_id)


def created(
    experiment_id: str,
    name: str,
    *,
    model_id: str | None = None,
    artifact_location: str | None = None,
    source_run_id: str | None = None,
    model_type: str | None = None,
    status: ModelStatus = ModelStatus.PENDING,
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> tuple[LoggedModelState, Change]:
    """A new logged model, and the rows that make it: its state, params, tags and, if a run made it, their edge.

    Args:
        experiment_id: experiment; the caller has checked it.
        name: for people.
        model_id: of :func:`new_model_id`, if the caller needed it before.
        artifact_location: default ``artifacts/<model id>``, in the lake.
        source_run_id: run that makes it.
        model_type: kind of model.
        status: PENDING while its files are being written.
        params: param → value.
        tags: tag → value.

    Raises:
        InvalidInput: a key or value cannot be kept.
    """
    model_id = model_id or new_model_id()
    now = wall_clock()
    state = LoggedModelState(
        model_id=model_id,
        experiment_id=experiment_id,
        name=validate.text(name, "model name"),
        artifact_location=artifact_location or f"artifacts/{model_id}",
        created_at=now,
        last_updated_at=now,
        status=status,
        source_run_id=source_run_id,
        model_type=None if model_type is None else validate.text(model_type, "model type"),
        params=_checked(params, "param"),
        tags=_checked(tags, "tag"),
    )
    change = [
        Rows(LOGGED_MODELS_HISTORY.name, (state.row(),)),
        Rows(LOGGED_MODEL_PARAMS.name, tuple((model_id, *entry) for entry in state.params.items())),
        Rows(LOGGED_MODEL_TAGS_HISTORY.name, tuple((model_id, *entry) for entry in state.tags.items())),
    ]
    if source_run_id is not None:
        change.append(Rows(LINEAGE.name, (edge(source_run_id, state.node, "output"),)))
    return state, tuple(rows for rows in change if rows.rows)


def find(engine: Reads, model_id: str) -> LoggedModelState | None:
    """A logged model in whatever stage but purged; None if there is none."""
    said = engine.query(_SAID, {"id": model_id}).to_pylist()
    states = [row for row in said if row["kind"] is None]
    if not states or states[-1]["lifecycle_stage"] == Lifecycle.PURGED:
        return None
    if isinstance(engine, Engine):
        engine.journal.witness(said[-1]["seen"])  # what we say of it from now on comes after
    values = {name: states[-1][name] for name in LOGGED_MODELS_HISTORY.names}
    values["status"] = ModelStatus(values["status"])
    values["lifecycle_stage"] = Lifecycle(values["lifecycle_stage"])
    params = {row["key"]: row["value"] for row in reversed(said) if row["kind"] == "param"}  # the first holds
    tags = {row["key"]: row["value"] for row in said if row["kind"] == "tag"}
    return LoggedModelState(
        **values,
        params=dict(sorted(params.items())),
        tags={key: value for key, value in sorted(tags.items()) if value is not None},
    )


def get(engine: Reads, model_id: str) -> LoggedModelState:
    """A logged model that is not deleted.

    Raises:
        ModelNotFound: there is none of this id.
    """
    found = find(engine, validate.text(model_id, "model id"))
    if found is None or found.lifecycle_stage is not Lifecycle.ACTIVE:
        raise ModelNotFound(f"no logged model has the id {model_id!r}; the table logged_models lists those there are")
    return found


def of_run(engine: Reads, run_id: str, name: str) -> LoggedModelState | None:
    """The newest logged model of a name that a run made; None if there is none."""
    rows = engine.query(
        "SELECT model_id FROM logged_models WHERE source_run_id = ? AND name = ? AND lifecycle_stage = 'active' "
        "ORDER BY created_at DESC, model_id DESC LIMIT 1",
        [run_id, name],
    ).to_pylist()
    return find(engine, rows[0]["model_id"]) if rows else None


def finalize(engine: Engine, state: LoggedModelState, status: ModelStatus | str) -> LoggedModelState:
    """Set the status of a logged model.

    Of a remote lake, it returns after all that this host has logged is in the object store, so that whoever is told
    that the model is ready can load it.

    Raises:
        InvalidInput: no such status.
    """
    if status not in set(ModelStatus):
        raise InvalidInput(f"status {status!r} is unknown; choose one of {', '.join(ModelStatus)}")
    changed = _changed(engine, replace(state, status=ModelStatus(status)))
    if engine.root.local is None:
        engine.flush()
    return changed


def set_stage(engine: Engine, state: LoggedModelState, stage: Lifecycle) -> LoggedModelState:
    """Delete a logged model, or (purged) delete it for good; its files stay."""
    return _changed(engine, replace(state, lifecycle_stage=stage))


def _changed(engine: Engine, state: LoggedModelState) -> LoggedModelState:
    state = replace(state, last_updated_at=max(wall_clock(), state.last_updated_at))
    engine.append((Rows(LOGGED_MODELS_HISTORY.name, (state.row(),)),))
    return state


def log_params(engine: Engine, state: LoggedModelState, params: Mapping[str, str]) -> LoggedModelState:
    """Add params, all or none. A param is written once.

    Raises:
        ParamConflict: a key has a value already.
        InvalidInput: a key or value cannot be kept.
    """
    given = _checked(params, "param")
    taken = sorted(given.keys() & state.params.keys())
    if taken:
        raise ParamConflict(
            f"logged model {state.model_id} has the params {taken} already, and they are written once; use a tag for "
            "what changes"
        )
    if given:
        rows = tuple((state.model_id, key, value) for key, value in given.items())
        engine.append((Rows(LOGGED_MODEL_PARAMS.name, rows),))
    return replace(state, params={**state.params, **given})


def set_tags(engine: Engine, state: LoggedModelState, tags: Mapping[str, str | None]) -> LoggedModelState:
    """Set tags, all or none; each replaces the value that it had, and None takes a tag off.

    Raises:
        InvalidInput: a key or value cannot be kept.
    """
    kept = _checked({key: value for key, value in tags.items() if value is not None}, "tag")
    given: dict[str, str | None] = {**{key: None for key, value in tags.items() if value is None}, **kept}
    if given:
        rows = tuple((state.model_id, key, value) for key, value in given.items())
        engine.append((Rows(LOGGED_MODEL_TAGS_HISTORY.name, rows),))
    left = {**state.tags, **given}
    return replace(state, tags={key: value for key, value in left.items() if value is not None})


def deleted_before(engine: Reads, moment: int) -> list[str]:
    """Ids of logged models that are deleted, and were last changed at a moment (µs since 1970, UTC) or before."""
    rows = engine.query(
        "SELECT model_id FROM logged_models WHERE lifecycle_stage = 'deleted' AND epoch_us(last_updated_at) <= ? "
        "ORDER BY model_id",
        [moment],
    )
    return [str(model_id) for model_id in rows.column("model_id").to_pylist()]


def uses(engine: Reads, run_id: str, model_ids: Iterable[str]) -> Change:
    """The rows that say that a run used logged models; what is said already is left out."""
    return _links(engine, run_id, dict.fromkeys(model_ids), "input")


def makes(engine: Reads, run_id: str, steps: Mapping[str, int]) -> Change:
    """The rows that say that a run made logged models; what is said already is left out.

    Args:
        engine: the open lake.
        run_id: the run.
        steps: model id → step of the run at which it was made.
    """
    return _links(engine, run_id, steps, "output")


def _links(engine: Reads, run_id: str, steps: Mapping[str, int | None], direction: str) -> Change:
    if not steps:
        return ()
    known = engine.query(
        "SELECT model_id FROM run_models WHERE run_id = ? AND direction = ?", [run_id, direction]
    ).column("model_id")
    fresh = {model_id: step for model_id, step in steps.items() if model_id not in set(known.to_pylist())}
    if not fresh:
        return ()
    rows = [RUN_MODELS.row(run_id=run_id, model_id=m, direction=direction, step=step) for m, step in fresh.items()]
    models = {model_id: find(engine, model_id) for model_id in fresh}
    edges = [
        edge(run_id, node_of(model_id) if state is None else state.node, direction)
        for model_id, state in models.items()
        if not (direction == "output" and state is not None and state.source_run_id == run_id)  # told when it was made
    ]
    change = (Rows(RUN_MODELS.name, tuple(rows)), Rows(LINEAGE.name, tuple(edges)))
    return tuple(part for part in change if part.rows)


def edge(run_id: str, model: Node, direction: str) -> Row:
    """A row of ``lineage``: a run used a logged model (``input``), or made it (``output``)."""
    run = str(nodes.run(run_id))
    if direction == "output":
        return LINEAGE.row(source=run, target=str(model), relation=Relation.GENERATED.value, run_id=run_id)
    return LINEAGE.row(source=str(model), target=run, relation=Relation.USED.value, run_id=run_id)


def _checked(entries: Mapping[str, Any] | None, what: str) -> dict[str, str]:
    given = {key: value if isinstance(value, str) else str(value) for key, value in (entries or {}).items()}
    return {
        validate.text(key, f"{what} key", _LONGEST): validate.text(value, f"{what} {key!r}", _LONGEST)
        for key, value in given.items()
    }
