"""Runs as users hold them: tracking, put together with snapshots and models."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from lakelineage.errors import InvalidInput
from lakelineage.tracking import failure, start, started
from lakelineage.tracking.active import ActiveRun
from lakelineage.tracking.recorded import RecordedRun

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine
    from lakelineage.inference.models import LoggedModel
    from lakelineage.snapshots import Snapshot
    from lakelineage.snapshots.retention import Until


class Run(ActiveRun):
    """A run that is being logged.

    As a context manager it ends as FINISHED, or as FAILED, with its traceback, if an exception leaves the block
    (``sys.exit(0)`` is none), or as KILLED if SIGTERM arrived. A forked child that leaves the block of its parent ends
    nothing.
    """

    def start_child(self, name: str | None = None, *, tags: Mapping[str, Any] | None = None) -> "Run":
        """Start a run that is part of this one, in the same experiment. It has an end of its own.

        Args:
            name: name for people.
            tags: tags to begin with.

        Raises:
            RunFinished: this run has ended.
            InvalidInput: a name or tag cannot be kept.
        """
        self._check_active()
        return begin(self._engine, self.experiment_id, name, tags, self.id)

    def use(
        self,
        source: Any,
        version: int | None = None,
        as_of: datetime | str | None = None,
        *,
        name: str | None = None,
        context: str = "training",
        columns: Sequence[str] | None = None,
        where: str | None = None,
        protection: str | None = None,
        until: "Until | None" = None,
        progress: bool | Callable[[int], None] | None = None,
    ) -> "Snapshot":
        """Pin an input of this run at one version, and record that the run used it.

        Args:
            source: Delta table (path or URI), CSV, Parquet or JSON file, folder of files (images, say), Arrow, Polars
                or pandas table, or a snapshot.
            version: Delta version; default the newest.
            as_of: point in time instead of a version (ISO 8601 or datetime; naive means UTC).
            name: name of the input in this run; default the last part of the path.
            context: what it is used for: training, validation, test, …
            columns: columns to read; default all.
            where: rows to read, as a SQL condition; default all.
            protection: ``reference`` or ``archived``; default that of the experiment, else of the lake, else archived
                where hard links make it free.
            until: when the pin ends by itself: a moment, a duration such as ``"90d"``, ``"while registered"``, or
                ``"90d, while registered"``; see :mod:`lakelineage.snapshots.retention`. Default: it does not.
            progress: True shows a bar; a function is called with the number of bytes hashed (of a folder) and archived.

        Returns:
            The snapshot, to be read as Polars, pandas, Arrow or in DuckDB. The rows of a folder are the list of its
            files; ``read``, ``open`` and ``download`` give the files themselves.

        Raises:
            TableNotFound: the source is no Delta table and no file that can be converted.
            VersionNotFound: it has no such version.
            RunFinished: the run has ended.
        """
        from lakelineage import snapshots

        self._check_active()
        return snapshots.use(
            self._engine,
            self.id,
            source,
            version=version,
            as_of=as_of,
            name=name,
            context=context,
            columns=columns,
            where=where,
            protection=protection,
            until=until,
            progress=progress,
        )

    def log_model(
        self, model: Any, path: str = "model", *, signature: Any = None, input_example: Any = None
    ) -> "LoggedModel":
        """Keep a model as an artifact, in the MLflow Models format (extra ``mlflow``).

        Args:
            model: scikit-learn estimator, model of XGBoost, LightGBM, ONNX (``ModelProto``) or PyTorch, Python callable
                of a data frame, or ``mlflow.pyfunc.PythonModel``.
            path: folder in the run's artifacts.
            signature: MLflow signature; default inferred from the example.
            input_example: some rows of input.

        Raises:
            MissingExtra: ``mlflow`` is not installed.
            RunFinished: the run has ended.
        """
        from lakelineage.inference import models

        self._check_active()
        return models.log_model(self._engine, self.id, model, path, signature=signature, input_example=input_example)

    def _repr_html_(self) -> str:
        return PastRun(self._engine, self.id)._repr_html_()

    def __reduce__(self) -> str:
        raise InvalidInput(
            f"a run cannot be sent to another process; send its id ({self.id}) and call lake.resume_run there, "
            "or fork: a forked child may log with the handle it inherits"
        )

    def __enter__(self) -> Self:
        started.add(self)
        started.enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ours = started.leave(self)
        if not ours or self.status.ended:
            return
        if error is None:
            self.end()
        else:
            failure.end_after(self, error)


def begin(
    engine: "Engine", experiment_id: str, name: str | None, tags: Mapping[str, Any] | None, parent_id: str | None
) -> Run:
    """Start a run that this process has to end. See :meth:`lakelineage.Lake.start_run`."""
    run = Run(engine, start.new_run(engine, experiment_id, name, tags, parent_id), {})
    started.add(run)
    return run


def resume(engine: "Engine", run_id: str, reopen: bool) -> Run:
    """Go on with a run. See :meth:`lakelineage.Lake.resume_run`."""
    state, params, had_ended = start.resumed(engine, run_id, reopen)
    run = Run(engine, state, params)
    if had_ended:  # this process made it active, so this process has to end it
        started.add(run)
    return run


def active_run() -> Run | None:
    """The innermost run whose ``with`` block the caller is in; None outside of any.

    Each thread has blocks of its own: a new thread is in none. A coroutine has those of the task that it runs in, and
    a forked child those that its parent was in.
    """
    run = started.innermost()
    assert run is None or isinstance(run, Run)
    return run


class PastRun(RecordedRun):
    """A run as it was when it was looked up, with what it read."""

    @property
    def inputs(self) -> "Mapping[str, Snapshot]":
        """Name → snapshot that the run used under it."""
        from lakelineage import snapshots

        return snapshots.inputs_of(self._engine, self.id)

    @property
    def logged_models(self) -> "pa.Table":
        """Models that it logged and that are not deleted, the oldest first: rows of the table ``logged_models``."""
        return self._engine.query(
            "SELECT * FROM logged_models WHERE source_run_id = ? AND lifecycle_stage = 'active' "
            "ORDER BY created_at, model_id",
            [self.id],
        )

    def _repr_html_(self) -> str:
        from lakelineage.display import things

        return things.run(self, self._engine)
