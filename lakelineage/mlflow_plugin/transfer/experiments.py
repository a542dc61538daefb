"""Experiments into a lake: ids are kept where they are free, and times always."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlflow.entities import Experiment

from lakelineage.mlflow_plugin.transfer.counts import Tally, contains
from lakelineage.model.values import Lifecycle
from lakelineage.tables import EXPERIMENTS_HISTORY
from lakelineage.tracking.metric_table import microseconds

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine

#: Tag of an experiment that could not keep its id: the id in the source, and when it was created there (ms).
ORIGIN_TAG = "lakelineage.imported_from"

#: A row of ``experiments_history`` by column; times in µs.
_State = dict[str, Any]
_ALL = f"SELECT {', '.join(EXPERIMENTS_HISTORY.names)} FROM experiments_history ORDER BY ingested_at, writer, seq"


def take_over(engine: "Engine", told: Sequence[Experiment], tally: Tally) -> dict[str, str]:
    """Add experiments that the lake lacks, and change those that were imported and have changed since.

    An experiment of the lake is one of the source's if it was imported from it, or if both are active and have the
    same name. Of the latter kind only tags are changed.

    Returns:
        Id in the source → id in the lake.
    """
    before = _states(engine.query(_ALL))
    plan = _plan(before, told)
    if not tally.dry_run:

        def decide(rows: "pa.Table") -> list[tuple[Any, ...]]:
            states = _states(rows)
            plan[:] = _plan(states, told)
            return [EXPERIMENTS_HISTORY.row(**to_be) for to_be in plan if states.get(to_be["experiment_id"]) != to_be]

        engine.exclusive(EXPERIMENTS_HISTORY, decide)
    ids = {each.experiment_id: to_be["experiment_id"] for each, to_be in zip(told, plan, strict=True)}
    after = before if tally.dry_run else _states(engine.query(_ALL))
    tally.compare(
        "experiments",
        {each.experiment_id: _flat(to_be) | _identity(each) for each, to_be in zip(told, plan, strict=True)},
        {each: _flat(before[mine]) for each, mine in ids.items() if mine in before},
        {each: _flat(after[mine]) for each, mine in ids.items() if mine in after},
        contains,
    )
    return ids


def _states(rows: "pa.Table") -> dict[str, _State]:
    """Id → newest state."""
    return {row["experiment_id"]: _plain(row) for row in rows.select(list(EXPERIMENTS_HISTORY.names)).to_pylist()}


def _plain(row: Mapping[str, Any]) -> _State:
    times = {key: microseconds(value) for key, value in row.items() if isinstance(value, datetime)}
    return {**row, **times, "tags": sorted(dict(row["tags"] or ()).items())}


def _plan(states: Mapping[str, _State], told: Sequence[Experiment]) -> list[_State]:
    """The state that each experiment of the source is to have."""
    states = dict(states)
    taken = {*states, *(each.experiment_id for each in told)}
    plan = []
    for each in told:
        found = _imported(states, each) or _namesake(states, each)
        if found is None:
            free = each.experiment_id not in states
            to_be = _new(each, each.experiment_id if free else _next_id(taken))
        else:
            to_be = _merged(found, each, states.values())
        taken.add(to_be["experiment_id"])
        states[to_be["experiment_id"]] = to_be
        plan.append(to_be)
    return plan


def _next_id(taken: Iterable[str]) -> str:
    return str(max(map(int, taken)) + 1)


def _origin(told: Experiment) -> str:
    return f"{told.experiment_id}@{told.creation_time}"


def _imported(states: Mapping[str, _State], told: Experiment) -> _State | None:
    """The experiment that was imported as this one."""
    same = states.get(told.experiment_id)
    if same is not None and same["created_at"] == (told.creation_time or 0) * 1000:
        return same
    return next((s for s in states.values() if dict(s["tags"]).get(ORIGIN_TAG) == _origin(told)), None)


def _namesake(states: Mapping[str, _State], told: Experiment) -> _State | None:
    """The active experiment of this name, for an active one."""
    if told.lifecycle_stage != Lifecycle.ACTIVE:
        return None
    return _holder(states.values(), told.name)


def _holder(states: Iterable[_State], name: str) -> _State | None:
    return next((s for s in states if s["name"] == name and s["lifecycle_stage"] == Lifecycle.ACTIVE), None)


def _new(told: Experiment, experiment_id: str) -> _State:
    origin = {} if experiment_id == told.experiment_id else {ORIGIN_TAG: _origin(told)}
    return {
        "experiment_id": experiment_id,
        "tags": sorted({**told.tags, **origin}.items()),
        "artifact_location": None,
        **_times(told),
        **_identity(told),
    }


def _identity(told: Experiment) -> _State:
    return {"name": told.name, "lifecycle_stage": str(told.lifecycle_stage)}


def _times(told: Experiment) -> _State:
    created = (told.creation_time or 0) * 1000
    updated = created if told.last_update_time is None else told.last_update_time * 1000
    return {"created_at": created, "last_updated_at": updated}


def _merged(found: _State, told: Experiment, states: Iterable[_State]) -> _State:
    to_be = {**found, "tags": sorted({**dict(found["tags"]), **told.tags}.items())}
    if found["created_at"] != _times(told)["created_at"]:
        return to_be  # the lake's own, of the same name
    holder = _holder(states, told.name)
    clash = told.lifecycle_stage == Lifecycle.ACTIVE and holder is not None and holder is not found
    return {**to_be, **_times(told), **({} if clash else _identity(told))}


def _flat(state: _State) -> dict[str, Any]:
    """A state with a key for each of its tags."""
    own = {key: value for key, value in state.items() if key != "tags"}
    return own | {f"tag {key}": value for key, value in state["tags"]}
