"""Runs as users hold them: tracking, put together with snapshots and models."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from lakelineage.errors import InvalidInput
from lakelineage.model.values import RunStatus
from lakelineage.tracking.active import ActiveRun
from lakelineage.tracking.recorded import RecordedRun

if TYPE_CHECKING:
    from lakelineage.inference.models import LoggedModel
    from lakelineage.snapshots import Snapshot


class Run(ActiveRun):
    """A run that is being logged. As a context manager it ends as FINISHED, or as FAILED if an exception leaves it."""

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
    ) -> "Snapshot":
        """Pin an input of this run at one version, and record that the run used it.

        Args:
            source: Delta table (path or URI), CSV, Parquet or JSON file, Arrow, Polars or pandas table, or a snapshot.
            version: Delta version; default the newest.
            as_of: point in time instead of a version (ISO 8601 or datetime; naive means UTC).
            name: name of the input in this run; default the last part of the path.
            context: what it is used for: training, validation, test, …
            columns: columns to read; default all.
            where: rows to read, as a SQL condition; default all.
            protection: ``reference`` or ``archived``; default archived where hard links make it free, else reference.

        Returns:
            The snapshot, to be read as Polars, pandas, Arrow or in DuckDB.

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
        )

    def log_model(
        self, model: Any, path: str = "model", *, signature: Any = None, input_example: Any = None
    ) -> "LoggedModel":
        """Keep a model as an artifact, in the MLflow Models format (extra ``mlflow``).

        Args:
            model: scikit-learn estimator, Python callable, or ``mlflow.pyfunc.PythonModel``.
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

    def __reduce__(self) -> str:
        raise InvalidInput(
            f"a run cannot be sent to another process; send its id ({self.id}) and call lake.resume_run there, "
            "or fork: a forked child may log with the handle it inherits"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.status.ended:
            self.end(RunStatus.FAILED if kind is not None else RunStatus.FINISHED)


class PastRun(RecordedRun):
    """A run as it was when it was looked up, with what it read."""

    @property
    def inputs(self) -> "Mapping[str, Snapshot]":
        """Name → snapshot that the run used under it."""
        from lakelineage import snapshots

        return snapshots.inputs_of(self._engine, self.id)
