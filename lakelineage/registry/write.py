"""What changes models and versions; ``moves`` has stages and aliases.

Names and tags are checked by the caller: MLflow allows more than we do.

Each change is one commit to the history that it is about, made on what that history says at that moment; then its act
is recorded. Where a model is told that a version of it moves or goes, this is told first: a process that dies between
leaves a time of change too many. That it has a new version, the version tells.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lakelineage.errors import AlreadyExists, ModelNotFound
from lakelineage.model import nodes
from lakelineage.model.changes import Stamp
from lakelineage.model.values import Lifecycle
from lakelineage.registry import activity, edges
from lakelineage.registry.states import ModelStates, State, VersionStates
from lakelineage.registry.values import NO_STAGE
from lakelineage.tables import MODEL_VERSIONS_HISTORY, REGISTERED_MODELS_HISTORY
from lakelineage.tracking.capture import current_user

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine

#: What a state changes to.
Changes = Mapping[str, Any]
#: Given a state, the columns to change; None changes nothing.
Change = Callable[[State], Changes | None]


def model_id(engine: "Engine", name: str) -> str:
    """Id of the registered model of a name.

    Raises:
        ModelNotFound: there is none.
    """
    return _required(ModelStates(engine.rows(REGISTERED_MODELS_HISTORY)), name)


def _required(states: ModelStates, name: str) -> str:
    found = states.id_of(name)
    if found is None:
        raise ModelNotFound(
            f"no model is registered as {name!r}; `lakelineage models` (in Python lake.models.list()) lists them"
        )
    return found


def _new_model(states: ModelStates, name: str, **values: Any) -> tuple[Any, ...]:
    return REGISTERED_MODELS_HISTORY.row(
        name=name,
        registered_model_id=states.free_id(name),
        lifecycle_stage=Lifecycle.ACTIVE.value,
        user_id=current_user(),
        **({"tags": []} | values),
    )


def create_model(engine: "Engine", name: str, description: str | None, tags: Mapping[str, str], at: int) -> None:
    """Take a name.

    Args:
        engine: the open lake.
        name: of the model.
        description: for people.
        tags: tag → value.
        at: when, µs since 1970 UTC.

    Raises:
        AlreadyExists: a model has this name.
    """

    def decide(rows: "pa.Table") -> list[tuple[Any, ...]]:
        states = ModelStates(rows)
        if states.id_of(name) is not None:
            raise AlreadyExists(f"a model is registered as {name!r} already; choose another name, or rename that one")
        told = {"description": description, "tags": [*tags.items()], "created_at": at, "last_updated_at": at}
        return [_new_model(states, name, **told)]

    record(engine, [(engine.exclusive(REGISTERED_MODELS_HISTORY, decide), 1)], None)


def change_model(engine: "Engine", name: str, change: Change, comment: str | None = None) -> None:
    """Change the state of a model.

    Args:
        engine: the open lake.
        name: of the model.
        change: of its state.
        comment: why.

    Raises:
        ModelNotFound: no model has this name.
    """

    def decide(rows: "pa.Table") -> list[tuple[Any, ...]]:
        states = ModelStates(rows)
        found = _required(states, name)
        changes = change(states.state(found))
        return [states.changed(found, **changes)] if changes else []

    record(engine, [(engine.exclusive(REGISTERED_MODELS_HISTORY, decide), 1)], comment)


def rename_model(engine: "Engine", name: str, new_name: str, at: int, comment: str | None = None) -> None:
    """Give a model another name.

    Raises:
        ModelNotFound: no model has the name.
        AlreadyExists: another model has the new name.
    """

    def decide(rows: "pa.Table") -> list[tuple[Any, ...]]:
        states = ModelStates(rows)
        found = _required(states, name)
        if states.id_of(new_name) not in (None, found):
            raise AlreadyExists(f"a model is registered as {new_name!r} already; choose another name")
        return [states.changed(found, name=new_name, last_updated_at=at)]

    record(engine, [(engine.exclusive(REGISTERED_MODELS_HISTORY, decide), 1)], comment)


def delete_model(engine: "Engine", name: str, at: int, comment: str | None = None) -> None:
    """Delete a model with its versions and aliases: its name is free again.

    Raises:
        ModelNotFound: no model has this name.
    """
    gone = {"lifecycle_stage": Lifecycle.DELETED.value, "last_updated_at": at}
    change_model(engine, name, lambda _: gone, comment)


def add_version(
    engine: "Engine",
    name: str,
    values: Changes,
    at: int,
    *,
    create: bool = False,
    copied: str | None = None,
    tell_run: bool = False,
    comment: str | None = None,
) -> State:
    """Take the next version number of a model.

    Args:
        engine: the open lake.
        name: of the model.
        values: columns of the version besides its name and number and the times.
        at: when, µs since 1970 UTC.
        create: make the model if there is none of this name.
        copied: node id of the version that it is a copy of.
        tell_run: let the graph know that its run made it, if nothing else said so.
        comment: why.

    Returns:
        The new state: columns of ``model_versions_history``, times in µs since 1970 UTC.

    Raises:
        ModelNotFound: no model has this name, and none is to be made.
    """
    found = _ensured(engine, name, at, create)
    told = {"stage": NO_STAGE, "lifecycle_stage": Lifecycle.ACTIVE.value, "user_id": current_user(), "tags": []}
    own = {"name": name, "registered_model_id": found, "created_at": at, "last_updated_at": at}
    state: State = dict.fromkeys(MODEL_VERSIONS_HISTORY.names) | told | dict(values) | own

    def decide(rows: "pa.Table") -> list[tuple[Any, ...]]:
        state["version"] = VersionStates(rows, found).next
        return [MODEL_VERSIONS_HISTORY.row(**state)]

    stamp = engine.exclusive(MODEL_VERSIONS_HISTORY, decide)
    node, source, run_id = str(nodes.model(found, state["version"])), state["source"], state["run_id"]
    made = edges.missing(engine, edges.of_run(engine, node, source, run_id)) if tell_run else []
    edges.add(engine, [*made, *edges.of_version(node, source, copied)], run_id)
    record(engine, [(stamp, 1)], comment)
    return state


def _ensured(engine: "Engine", name: str, at: int, create: bool) -> str:
    """Id of the model of a name; made if there is none and it is to be made."""
    known = ModelStates(engine.rows(REGISTERED_MODELS_HISTORY)).id_of(name)
    if known is not None:
        return known
    found: list[str] = []

    def decide(rows: "pa.Table") -> list[tuple[Any, ...]]:
        states = ModelStates(rows)
        there = states.id_of(name)
        if there is None and create:
            found[:] = [states.free_id(name)]
            return [_new_model(states, name, created_at=at)]
        found[:] = [_required(states, name)]
        return []

    engine.exclusive(REGISTERED_MODELS_HISTORY, decide)
    return found[0]


def tell(engine: "Engine", name: str, at: int) -> None:
    """Tell a model that a version of it changes."""

    def decide(rows: "pa.Table") -> list[tuple[Any, ...]]:
        states = ModelStates(rows)
        return [states.changed(_required(states, name), last_updated_at=at)]

    engine.exclusive(REGISTERED_MODELS_HISTORY, decide)


def required_version(states: VersionStates, name: str, version: int) -> State:
    """The state of a version.

    Raises:
        ModelNotFound: there is no such version.
    """
    found = states.state(version)
    if found is None:
        raise ModelNotFound(f"model {name!r} has no version {version}; `lakelineage models show` lists them")
    return found


def change_version(engine: "Engine", name: str, version: int, change: Change, comment: str | None = None) -> None:
    """Change the state of a version: as :func:`change_model`.

    Raises:
        ModelNotFound: there is no such model or version.
    """
    own = model_id(engine, name)

    def decide(rows: "pa.Table") -> list[tuple[Any, ...]]:
        states = VersionStates(rows, own)
        state = required_version(states, name, version)
        changes = change(state)
        return [states.changed(state, **changes, name=name)] if changes else []

    record(engine, [(engine.exclusive(MODEL_VERSIONS_HISTORY, decide), 1)], comment)


def delete_version(engine: "Engine", name: str, version: int, at: int, comment: str | None = None) -> None:
    """Delete a version; aliases name it no longer, and its number is not given again.

    Raises:
        ModelNotFound: there is no such model or version.
    """
    required_version(VersionStates(engine.rows(MODEL_VERSIONS_HISTORY), model_id(engine, name)), name, version)
    tell(engine, name, at)
    gone = {"lifecycle_stage": Lifecycle.DELETED.value, "last_updated_at": at}
    change_version(engine, name, version, lambda _: gone, comment)


def record(engine: "Engine", written: list[tuple[Stamp | None, int]], comment: str | None) -> None:
    """Record the acts of rows that were just written; None is the place of no rows."""
    placed = [(stamp, rows) for stamp, rows in written if stamp is not None]
    if placed:
        activity.record(engine, placed, comment)
