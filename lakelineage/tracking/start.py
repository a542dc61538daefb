"""Starting and resuming runs."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from lakelineage.engine import Engine
from lakelineage.errors import Conflict, RunFinished, RunNotFound
from lakelineage.model import nodes, validate
from lakelineage.model.changes import Row, Rows
from lakelineage.model.clock import wall_clock
from lakelineage.model.ids import new_id
from lakelineage.model.values import Lifecycle, Relation, RunStatus
from lakelineage.tables import ENVIRONMENTS, LINEAGE, RUNS_HISTORY, TAGS_HISTORY
from lakelineage.tracking import failure, kept_source, source
from lakelineage.tracking.active import RunState, handles_of, tag_rows
from lakelineage.tracking.capture import Captured, capture
from lakelineage.tracking.ids import run_id_of
from lakelineage.tracking.metric_table import microseconds


def new_run(
    engine: Engine, experiment_id: str, name: str | None, tags: Mapping[str, Any] | None, parent_run_id: str | None
) -> RunState:
    """Journal a new run, with what is captured by itself, as one change.

    Raises:
        InvalidInput: a name or tag cannot be kept.
    """
    captured = capture()
    main = source.current()
    state = RunState(
        run_id=new_id(),
        experiment_id=experiment_id,
        name=None if name is None else validate.key(name, "run name"),
        status=RunStatus.RUNNING,
        start_time=wall_clock(),
        parent_run_id=None if parent_run_id is None else run_id_of(parent_run_id),
        user_id=captured.user,
        host=captured.host,
        source=captured.source,
        git_commit=captured.git_commit,
        git_branch=captured.git_branch,
        git_dirty=captured.git_dirty,
        environment_id=captured.environment.environment_id,
        source_type=captured.source_type,
        source_hash=main.sha256,
    )
    change = [*begun(state, tag_rows(state.run_id, tags or {})), *environment_rows(engine, captured)]
    code = kept_source.at_start(engine, state.run_id, main)
    engine.append((*change, *(code or ())))
    if code is None:
        kept_source.later(engine, state.run_id, main)
    return state


def begun(state: RunState, tags: tuple[Row, ...]) -> list[Rows]:
    """What begins a run: its state, its tags, and the edge from the run that it is part of."""
    change = [Rows(RUNS_HISTORY.name, (state.row(),))]
    if tags:
        change.append(Rows(TAGS_HISTORY.name, tags))
    if state.parent_run_id is not None:
        change.append(Rows(LINEAGE.name, (_parent_edge(state.parent_run_id, state.run_id),)))
    return change


def _parent_edge(parent_run_id: str, run_id: str) -> Row:
    return LINEAGE.row(
        source=str(nodes.run(parent_run_id)),
        target=str(nodes.run(run_id)),
        relation=Relation.GENERATED,
        run_id=run_id,
    )


def environment_rows(engine: Engine, captured: Captured) -> list[Rows]:
    """The environment, once per process and lake: rows of the same id say the same."""
    environment = captured.environment
    if environment.environment_id in engine.known_environments:
        return []
    engine.known_environments.add(environment.environment_id)
    row = ENVIRONMENTS.row(
        environment_id=environment.environment_id,
        python=environment.python,
        platform=environment.platform,
        packages=list(environment.packages),
    )
    return [Rows(ENVIRONMENTS.name, (row,))]


def load_state(engine: Engine, run_id: str) -> tuple[RunState, dict[str, str]]:
    """A run as it is now, deleted or not, and its params.

    Raises:
        RunNotFound: there is no such run.
    """
    columns = ", ".join(RUNS_HISTORY.names)
    found = engine.query(f"SELECT {columns}, params, updated_at FROM runs WHERE run_id = ?", [run_id]).to_pylist()
    if not found:
        raise RunNotFound(f"no run has the id {run_id}; `lakelineage runs` lists those of the lake {engine.root.uri}")
    engine.journal.witness(microseconds(found[0]["updated_at"]))  # what we log of it from now on comes after
    values = {name: found[0][name] for name in RUNS_HISTORY.names}
    for name in ("start_time", "end_time"):
        values[name] = microseconds(values[name]) if isinstance(values[name], datetime) else None
    values["status"] = RunStatus(values["status"])
    values["lifecycle_stage"] = Lifecycle(values["lifecycle_stage"])
    return RunState(**values), dict(found[0]["params"])


def resumed(engine: Engine, run_id: str, reopen: bool) -> tuple[RunState, dict[str, str], bool]:
    """Make a run active again and journal that, unless it is active. Why it failed before is no longer told.

    Returns:
        The run, its params, and whether it had ended.

    Raises:
        RunNotFound: there is no such run.
        Conflict: it is deleted.
        RunFinished: it has ended, and is not to be reopened.
    """
    state, params = load_state(engine, run_id)
    if state.lifecycle_stage is Lifecycle.DELETED:
        raise Conflict(f"run {run_id} is deleted; `lake.restore_run({run_id!r})` brings it back")
    if state.status.ended and not reopen:
        raise RunFinished(
            f"run {run_id} has ended ({state.status}); `lake.resume_run({run_id!r})` makes it active again"
        )
    had_ended = state.status.ended
    if had_ended:
        change = [Rows(RUNS_HISTORY.name, (replace(state, status=RunStatus.RUNNING, end_time=None).row(),))]
        if state.status is RunStatus.FAILED:
            change.append(Rows(TAGS_HISTORY.name, ((run_id, failure.TAG, None),)))
        engine.append(tuple(change))
        state = replace(state, status=RunStatus.RUNNING, end_time=None)
    return state, params, had_ended


def set_stage(engine: Engine, run_id: str, stage: Lifecycle) -> None:
    """Delete a run, or bring it back; no error if it is so already.

    Handles of this process follow. Another process that is logging the run writes its own state when it ends it, and
    so brings it back.

    Raises:
        RunNotFound: there is no such run.
    """
    state, _ = load_state(engine, run_id)
    if state.lifecycle_stage is not stage:
        engine.append((Rows(RUNS_HISTORY.name, (replace(state, lifecycle_stage=stage).row(),)),))
    for handle in handles_of(engine, run_id):
        handle.follow(stage)
