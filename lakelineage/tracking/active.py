"""A run that is being logged."""

import os
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lakelineage.engine import Engine
from lakelineage.errors import InvalidInput, ParamConflict, RunFinished
from lakelineage.model import validate
from lakelineage.model.changes import Row, Rows
from lakelineage.model.clock import wall_clock
from lakelineage.model.values import Lifecycle, RunStatus
from lakelineage.tables import METRICS, PARAMS, RUNS_HISTORY, TAGS_HISTORY
from lakelineage.tracking import kept_source, metric_table, started, system_metrics, termination
from lakelineage.tracking.artifact_verbs import ArtifactVerbs

#: Tag of a note, of a run or an experiment; the name is MLflow's, whose user interface shows it.
NOTE_TAG = "mlflow.note.content"


@dataclass(frozen=True, slots=True)
class RunState:
    """A row of ``runs_history``. Times are µs since 1970, UTC."""

    run_id: str
    experiment_id: str
    name: str | None
    status: RunStatus
    start_time: int
    end_time: int | None = None
    lifecycle_stage: Lifecycle = Lifecycle.ACTIVE
    parent_run_id: str | None = None
    user_id: str | None = None
    host: str | None = None
    source: str | None = None
    git_commit: str | None = None
    git_branch: str | None = None
    git_dirty: bool | None = None
    environment_id: str | None = None
    source_type: str | None = None
    source_hash: str | None = None
    artifact_uri: str | None = None

    def row(self) -> Row:
        """As a row of ``runs_history``."""
        return tuple(getattr(self, name) for name in RUNS_HISTORY.names)


class ActiveRun(ArtifactVerbs):
    """Logs to one run. Safe to share between threads; a forked child may go on logging with it.

    What a call checks (whether the run is active, whether a param is set otherwise) is what this process knows:
    the state that it loaded when the run was started or resumed, and what it logged since.

    Args:
        engine: the open lake.
        state: the run as it is.
        params: params that are set already.
    """

    def __init__(self, engine: Engine, state: RunState, params: Mapping[str, str]) -> None:
        self._engine = engine
        self._state = state
        self._params = dict(params)
        self._lock = threading.Lock()
        _runs.add(self)

    @property
    def id(self) -> str:
        """Run id: 32 hex digits."""
        return self._state.run_id

    @property
    def name(self) -> str | None:
        """Name for people."""
        return self._state.name

    @property
    def experiment_id(self) -> str:
        """Experiment that it belongs to."""
        return self._state.experiment_id

    @property
    def parent_id(self) -> str | None:
        """Run that this one is part of; None if there is none."""
        return self._state.parent_run_id

    @property
    def status(self) -> RunStatus:
        """Status as this process knows it."""
        return self._state.status

    def detach(self) -> str:
        """Leave the run active when this program ends; another goes on with it by ``lake.resume_run(id)``.

        Returns:
            Its id.
        """
        system_metrics.stop(self)
        started.discard(self)
        return self.id

    def follow(self, stage: Lifecycle) -> None:
        """Take note that the run was deleted or brought back, so that its end leaves it so."""
        with self._lock:
            self._state = replace(self._state, lifecycle_stage=stage)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}{f' {self.name!r}' if self.name else ''} {self.status}>"

    def _check_active(self) -> None:
        if self._state.status.ended:
            termination.hold()
            raise RunFinished(
                f"run {self.id} has ended ({self._state.status}); `lake.resume_run({self.id!r})` makes it active again"
            )

    def log_param(self, key: str, value: Any) -> None:
        """Log one param. See :meth:`log_params`."""
        self.log_params({key: value})

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log params, all or none. A param is written once; the same value again is no error.

        Args:
            params: key → value; values are kept as text.

        Raises:
            ParamConflict: a key has another value already.
            InvalidInput: a key or value cannot be kept.
            RunFinished: the run has ended.
        """
        given = {
            validate.key(key, "param key"): validate.param(value)
            for key, value in validate.mapping(params, "params").items()
        }
        with self._lock:
            self._check_active()
            for key, value in given.items():
                if self._params.get(key, value) != value:
                    raise ParamConflict(
                        f"param {key!r} of run {self.id} is {self._params[key]!r} and cannot become {value!r}; params "
                        "are written once: use a tag for what changes, or a new run"
                    )
            fresh = {key: value for key, value in given.items() if key not in self._params}
            if fresh:
                self._engine.append((Rows(PARAMS.name, tuple((self.id, k, v) for k, v in fresh.items())),))
                self._params.update(fresh)

    def log_metric(
        self,
        key: str,
        value: float,
        step: int = 0,
        timestamp: Any = None,
        *,
        model_id: str | None = None,
        dataset: str | None = None,
    ) -> None:
        """Log one value of a metric.

        Args:
            key: name.
            value: any real number; NaN and infinities are legal.
            step: any 64-bit integer; may be negative and may repeat.
            timestamp: datetime, or ms since 1970 UTC; default now.
            model_id: logged model that it measures.
            dataset: name of the input that it was measured on.

        Raises:
            InvalidInput: a value cannot be kept.
            RunFinished: the run has ended.
        """
        row = (
            self.id,
            validate.key(key, "metric key"),
            validate.step(step),
            wall_clock() if timestamp is None else metric_table.microseconds(timestamp),
            validate.number(value, f"metric {key!r}"),
            model_id if model_id is None else validate.key(model_id, "model id"),
            dataset if dataset is None else validate.key(dataset, "dataset name"),
            None,
        )
        self._check_active()
        self._engine.append((Rows("metrics", (row,)),))

    def log_metrics(
        self,
        metrics: Mapping[str, float],
        step: int = 0,
        timestamp: Any = None,
        *,
        model_id: str | None = None,
        dataset: str | None = None,
    ) -> None:
        """Log a value of several metrics at one step, all or none. See :meth:`log_metric`."""
        at = wall_clock() if timestamp is None else metric_table.microseconds(timestamp)
        step = validate.step(step)
        model_id = model_id if model_id is None else validate.key(model_id, "model id")
        dataset = dataset if dataset is None else validate.key(dataset, "dataset name")
        rows = tuple(
            (
                self.id,
                validate.key(k, "metric key"),
                step,
                at,
                validate.number(v, f"metric {k!r}"),
                model_id,
                dataset,
                None,
            )
            for k, v in validate.mapping(metrics, "metrics").items()
        )
        self._check_active()
        if rows:
            self._engine.append((Rows(METRICS.name, rows),))

    def log_metric_table(self, data: Any) -> int:
        """Log many metric values in one call, all or none.

        Args:
            data: Arrow, Polars or pandas table, dict of columns, or list of dicts: either long (columns ``key``,
                ``value`` and optionally ``step``, ``timestamp``, ``model_id``, ``dataset``) or wide (optionally
                ``step`` and ``timestamp``, and one numeric column per metric; nulls are left out).

        Returns:
            Number of values logged.

        Raises:
            InvalidInput: columns are missing or of a wrong type.
            RunFinished: the run has ended.
        """
        batch = metric_table.to_batch(self.id, data)
        self._check_active()
        if len(batch):
            self._engine.append((batch,))
        return len(batch)

    def set_tag(self, key: str, value: Any) -> None:
        """Set one tag; it replaces the value that it had."""
        self.set_tags({key: value})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags, all or none. Tags may be set on a run that has ended."""
        rows = tag_rows(self.id, tags)
        if rows:
            self._engine.append((Rows(TAGS_HISTORY.name, rows),))

    def delete_tag(self, key: str) -> None:
        """Take a tag off; no error if it was not set."""
        self._engine.append((Rows(TAGS_HISTORY.name, ((self.id, validate.key(key, "tag key"), None),)),))

    def set_note(self, text: str) -> None:
        """Set the note of the run (Markdown); it replaces the note that it had."""
        self.set_tag(NOTE_TAG, validate.text(text, "note"))

    def end(self, status: RunStatus | str = RunStatus.FINISHED) -> None:
        """End the run. Ending it again the same way is no error.

        It returns after the run's code is among its artifacts, and in a remote lake after all that the run logged
        from this host is in the object store.

        Raises:
            InvalidInput: the status is none that ends a run.
            RunFinished: it has ended otherwise.
        """
        wanted = _ending(status)
        system_metrics.stop(self)  # what it samples comes before the end
        with self._lock:
            if self._state.status is wanted:
                return
            self._check_active()
            kept_source.at_end(self._engine, self.id)
            ended = replace(self._state, status=wanted, end_time=wall_clock())
            self._engine.append((Rows(RUNS_HISTORY.name, (ended.row(),)),))
            self._state = ended
        started.discard(self)
        if self._engine.root.local is None:
            self._engine.flush()


_runs: "weakref.WeakSet[ActiveRun]" = weakref.WeakSet()


def handles_of(engine: Engine, run_id: str) -> list[ActiveRun]:
    """The handles that this process has of a run."""
    return [run for run in list(_runs) if run.id == run_id and run._engine is engine]


def _free_locks() -> None:
    """In a forked child: a thread of the parent, which does not exist here, may have held the lock of a run."""
    for run in list(_runs):
        run._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_locks)


def _ending(status: RunStatus | str) -> RunStatus:
    endings = [s for s in RunStatus if s.ended]
    if status not in endings:
        raise InvalidInput(f"status {status!r} does not end a run; choose one of {', '.join(endings)}")
    return RunStatus(status)


def checked_tags(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags as they are kept.

    Raises:
        InvalidInput: a key or value cannot be.
    """
    return {
        validate.key(k, "tag key"): validate.text(v if isinstance(v, str) else str(v), f"tag {k!r}")
        for k, v in validate.mapping(tags, "tags").items()
    }


def tag_rows(run_id: str, tags: Mapping[str, Any]) -> tuple[Row, ...]:
    """Rows of ``tags_history``, checked."""
    return tuple((run_id, key, value) for key, value in checked_tags(tags).items())
