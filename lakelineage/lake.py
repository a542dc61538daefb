"""The public face of a lake: one object whose methods are the verbs."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from lakelineage.engine import Engine
from lakelineage.errors import InvalidInput
from lakelineage.maintenance.run import Maintained, Maintenance
from lakelineage.model.values import Durability, RunStatus
from lakelineage.run import PastRun, Run
from lakelineage.tracking import search, start
from lakelineage.tracking.experiments import DEFAULT_NAME, Experiments

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.inference.scoring import ScoreResult
    from lakelineage.lineage import Lineage
    from lakelineage.maintenance.doctor import Finding
    from lakelineage.registry import Models
    from lakelineage.snapshots import Snapshot


class Lake:
    """An open lake. Made by :func:`lakelineage.open`; safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._maintenance = Maintenance(engine)
        engine.after_drain = self._maintenance.after_drain
        engine.before_close = self._maintenance.before_close
        engine.at_exit = self._end_runs
        self._started: list[Run] = []
        self.experiments = Experiments(engine)

    @property
    def uri(self) -> str:
        """Folder or URI of the lake."""
        return self._engine.root.uri

    @property
    def id(self) -> str:
        """Id of the lake, wherever it is moved."""
        return self._engine.settings.lake_id

    def start_run(
        self,
        experiment: str = DEFAULT_NAME,
        name: str | None = None,
        *,
        tags: Mapping[str, Any] | None = None,
        parent: Run | str | None = None,
    ) -> Run:
        """Start a run.

        It ends with :meth:`Run.end`, with the ``with`` block, or at the latest when the program does.

        Args:
            experiment: name; the experiment is created if there is none.
            name: name for people.
            tags: tags to begin with.
            parent: run (or its id) that this one is part of.

        Raises:
            InvalidInput: a name or tag cannot be kept.
        """
        experiment_id = self.experiments.id_of(experiment)
        parent_id = parent.id if isinstance(parent, Run) else parent
        run = Run(self._engine, start.new_run(self._engine, experiment_id, name, tags, parent_id), {})
        self._started = [*(r for r in self._started if not r.status.ended), run]
        return run

    def _end_runs(self) -> None:
        """At the end of the program: end the runs that it started and forgot, as FAILED if an exception ended it."""
        failed = getattr(sys, "last_value", None) is not None and not hasattr(sys, "ps1")
        for run in self._started:
            if not run.status.ended:
                run.end(RunStatus.FAILED if failed else RunStatus.FINISHED)

    def resume_run(self, run_id: str) -> Run:
        """Go on logging to a run; one that had ended is active again.

        Raises:
            RunNotFound: there is no such run.
        """
        return Run(self._engine, *start.resumed(self._engine, start.run_id_of(run_id)))

    def run(self, run_id: str) -> PastRun:
        """A run as it is now.

        Raises:
            RunNotFound: there is no such run.
        """
        return PastRun(self._engine, run_id)

    def search_runs(
        self,
        filter: str = "",  # noqa: A002 - the word that users of search know
        *,
        experiments: Sequence[str] | str = (),
        order_by: Sequence[str] = (),
        limit: int | None = None,
    ) -> "pa.Table":
        """Runs that satisfy a filter, such as ``metrics.rmse < 70 and params.alpha = '0.01'``.

        Args:
            filter: conditions on metrics, params, tags and attributes; empty means all.
            experiments: name of an experiment, or names; none means all.
            order_by: such as ``["metrics.rmse", "start_time DESC"]``; nulls and NaN come last; default the newest
                first.
            limit: greatest number of runs.

        Returns:
            Rows of the table ``runs``.

        Raises:
            InvalidFilter: filter or order cannot be understood.
        """
        return search.search_runs(self._engine, filter, experiments=experiments, order_by=order_by, limit=limit)

    def sql(self, query: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> "pa.Table":
        """Answer SQL (DuckDB's dialect) over all tables of the lake, fresh to the last row of this host.

        Args:
            query: one statement.
            params: values for ``?`` or ``$name``.

        Raises:
            InvalidQuery: the statement is wrong.
        """
        return self._engine.query(query, params)

    def snapshot(
        self,
        source: Any,
        version: int | None = None,
        as_of: datetime | str | None = None,
        *,
        name: str | None = None,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        protection: str | None = None,
    ) -> "Snapshot":
        """Pin a table outside a run. See :meth:`lakelineage.Run.use`."""
        from lakelineage import snapshots

        return snapshots.pin(
            self._engine,
            source,
            version=version,
            as_of=as_of,
            name=name,
            columns=columns,
            where=where,
            protection=protection,
        )

    def load_snapshot(self, snapshot_id: str) -> "Snapshot":
        """A snapshot that was pinned before, by its id.

        Raises:
            SnapshotNotFound: there is none.
        """
        from lakelineage import snapshots

        return snapshots.load(self._engine, snapshot_id)

    @property
    def snapshots(self) -> "pa.Table":
        """All pinned snapshots."""
        from lakelineage import snapshots

        return snapshots.list_snapshots(self._engine)

    def lineage(self, node: str) -> "Lineage":
        """Questions about what a node descends from and what descends from it.

        Args:
            node: ``dataset:<path or id>[@version]``, ``run:<id>``, ``model:<name>[@version]`` or
                ``artifact:<run>/<path>``.

        Raises:
            NotFound: the lake knows no such node.
        """
        from lakelineage.lineage import Lineage

        return Lineage(self._engine, node)

    @property
    def models(self) -> "Models":
        """The registry of models."""
        from lakelineage.registry import Models

        return Models(self._engine)

    def load_model(self, uri: str) -> Any:
        """A model ready to predict, by ``models:/name/3``, ``models:/name@alias`` or ``runs:/id/path``."""
        from lakelineage.inference import models

        return models.load_model(self._engine, uri)

    def score(
        self,
        model: Any,
        input: Any,  # noqa: A002 - the word that users know
        output: str | os.PathLike[str],
        *,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        batch_size: int = 65_536,
        mode: Literal["append", "overwrite"] = "append",
        storage_options: Mapping[str, str] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> "ScoreResult":
        """Score a table in batches of bounded memory, as one commit of the output.

        Args:
            model: ``models:/name@alias``, ``models:/name/3``, ``runs:/<run id>/<path>``, a version or a logged model.
            input: Delta table (path or URI), snapshot, or anything that :meth:`Run.use` takes.
            output: path or URI of a Delta table; made if it is not there.
            version: of the input; default the newest.
            columns: what the model gets, in order; default those of its signature.
            batch_size: rows in memory at a time.
            mode: ``append``, or ``overwrite`` to replace what the output holds.
            storage_options: of the output; default those of the lake.
            progress: called with the number of rows done, after each batch.

        Raises:
            InvalidInput: the input does not fit the model's signature; nothing was written.
            ModelNotFound, ArtifactNotFound, TableNotFound, VersionNotFound: something named does not exist.
            MissingExtra: ``mlflow`` is not installed.
        """
        from lakelineage.inference import scoring

        return scoring.score(
            self._engine,
            model,
            input,
            output,
            version=version,
            columns=columns,
            batch_size=batch_size,
            mode=mode,
            storage_options=storage_options,
            progress=progress,
        )

    def trace_prediction(
        self, output: str | os.PathLike[str], where: str | None = None, *, limit: int = 1_000
    ) -> "pa.Table":
        """From rows of predictions back to model, run, data and code.

        Args:
            output: table that :meth:`score` wrote.
            where: rows of it, as a SQL condition; default any.
            limit: rows traced at most.
        """
        from lakelineage.inference.trace import trace_prediction

        return trace_prediction(self._engine, output, where, limit=limit)

    def flush(self) -> None:
        """Return when all that this host has logged is in the Delta tables.

        Raises:
            StorageFailed: the store cannot be reached; what was logged stays safe in the journal.
        """
        self._engine.flush()

    def maintain(self) -> Maintained:
        """Compact, publish and vacuum the lake's own tables now, rather than when they need it.

        Returns:
            What was done.

        Raises:
            ConcurrentWrite: another process is at it, or got in the way; trying again is safe.
        """
        self._engine.flush()
        return self._maintenance.run()

    def doctor(self, deep: bool = False) -> "list[Finding]":
        """Say what is wrong with the lake (journal, tables, files, runs, libraries, clock) and what to do.

        It looks, and changes nothing. A lake that others are writing to meanwhile is no fault.

        Args:
            deep: read all that is stored too: rows that are there twice, the content of every artifact.

        Returns:
            Findings, each with a ``severity`` (``ok``, ``note``, ``warning`` or ``error``), a ``message`` and
            ``advice``.
        """
        from lakelineage.maintenance import doctor

        return doctor.examine(self._engine, deep)

    def close(self) -> None:
        """Commit what this process logged and let go of the lake."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Lake {self.uri}>"


def open_lake(
    uri: str | os.PathLike[str] | None = None,
    storage_options: Mapping[str, str] | None = None,
    *,
    durability: Durability = "power",
    create: bool = True,
    protection: str | None = None,
) -> Lake:
    """Open a lake, and make it if there is none.

    Args:
        uri: folder, or ``s3://``, ``gs://``, ``az://`` URI; default the variable ``LAKELINEAGE_URI``.
        storage_options: credentials and endpoint, as deltalake takes them.
        durability: ``"power"``: a returned call survives loss of power; ``"process"``: a crash of the process only,
            and it is faster.
        create: make the lake if there is none.
        protection: default protection of pins in a new lake.

    Raises:
        InvalidInput: there is no lake and none is to be made, or the place holds something else.
        LakeTooNew: the lake was written by a newer version.
    """
    place = uri if uri is not None else os.environ.get("LAKELINEAGE_URI")
    if place is None:
        raise InvalidInput("no lake was named: pass a folder or URI, or set LAKELINEAGE_URI")
    return Lake(Engine(place, storage_options, durability=durability, create=create, protection=protection))
