"""The public face of a lake: one object whose methods are the verbs."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Self, TypeVar, overload

from lakelineage.engine import Engine
from lakelineage.errors import InvalidInput
from lakelineage.maintenance.run import Maintained, Maintenance
from lakelineage.model.clock import wall_clock
from lakelineage.model.moments import parse_time
from lakelineage.model.values import Durability, Lifecycle
from lakelineage.run import Run, active_run, begin, resume
from lakelineage.tracking import ids, start
from lakelineage.tracking import system_metrics as sampling
from lakelineage.tracking.experiments import DEFAULT_NAME, Experiments
from lakelineage.tracking.known import KnownRuns
from lakelineage.view import LakeAt, LakeView

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.display.progress import Progress
    from lakelineage.erasure.forget import Forgotten, Mode
    from lakelineage.inference.scoring import ScoreResult
    from lakelineage.maintenance.doctor import Finding
    from lakelineage.registry import Models
    from lakelineage.registry.audit import Audit
    from lakelineage.snapshots import Snapshot
    from lakelineage.snapshots.pins import Pins
    from lakelineage.snapshots.retention import Until
    from lakelineage.snapshots.vacuum import Vacuumed
    from lakelineage.snapshots.verify import Depth, Verified

P = ParamSpec("P")
T = TypeVar("T")


class Lake(LakeView):
    """An open lake. Made by :func:`lakelineage.open`; safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._engine = engine
        self._maintenance = Maintenance(engine)
        engine.after_drain = self._maintenance.after_drain
        engine.before_close = self._maintenance.before_close
        self.experiments = Experiments(engine)
        self.known_runs = KnownRuns(engine)

    @property
    def engine(self) -> Engine:
        """What the verbs build on. Its interface may change from version to version."""
        return self._engine

    def at(self, moment: datetime | str) -> LakeAt:
        """The lake as it was at a moment, for search, SQL, runs, comparisons, plots and lineage.

        What counts is when a row was logged (``ingested_at``), so compaction and vacuum of the lake take nothing away.

        Args:
            moment: datetime or ISO 8601, such as ``"2026-11-01"`` (its first moment); without a zone it means UTC.

        Raises:
            InvalidInput: it is no moment, or in the future.
        """
        micros = parse_time(moment)
        if micros > wall_clock():
            raise InvalidInput(f"as_of {moment!r} is in the future; the lake can be read as it was, or as it is now")
        return LakeAt(self._engine.at(micros), datetime.fromtimestamp(micros / 1e6, UTC))

    def start_run(
        self,
        experiment: str = DEFAULT_NAME,
        name: str | None = None,
        *,
        tags: Mapping[str, Any] | None = None,
        parent: Run | str | None = None,
        system_metrics: bool | float | None = None,
    ) -> Run:
        """Start a run.

        It ends with :meth:`Run.end`, with the ``with`` block, or at the latest when the program does: FINISHED, FAILED
        with the traceback if an exception ends it, or KILLED by SIGTERM. The first run that the main thread starts
        installs a handler for that signal; one that the program installed itself is kept and called.

        Its code is kept below ``source/`` in its artifacts: what git has not committed, and the program where git does
        not have it. The variables ``LAKELINEAGE_CAPTURE_DIFF=0`` and ``LAKELINEAGE_CAPTURE_SOURCE=0`` (not even the
        program) turn that off.

        Args:
            experiment: name; the experiment is created if there is none, or if the one of this name was deleted.
            name: name for people.
            tags: tags to begin with.
            parent: run (or its id, or a unique beginning of it) that this one is part of.
            system_metrics: True samples CPU, memory, disk, network and (extra ``gpu``) NVIDIA GPUs of the machine every
                10 s, a number every so many seconds; False does not; default what the variable
                ``LAKELINEAGE_SYSTEM_METRICS`` says (true, false, or seconds). Metrics have MLflow's names.

        Raises:
            InvalidInput: a name or tag cannot be kept.
            RunNotFound: no run has an id that begins as ``parent`` does; a full id is taken as it is.
        """
        seconds = sampling.interval(system_metrics)
        experiment_id = self.experiments.id_of(experiment)
        parent_id = parent.id if isinstance(parent, Run) else parent and ids.full_id(self._engine, parent)
        run = begin(self._engine, experiment_id, name, tags, parent_id)
        if seconds is not None:
            sampling.start(run, seconds)
        return run

    @overload
    def track(self, function: Callable[P, T], /) -> Callable[P, T]: ...

    @overload
    def track(
        self,
        *,
        experiment: str = ...,
        name: str | None = ...,
        tags: Mapping[str, Any] | None = ...,
        log_args: bool | Sequence[str] = ...,
    ) -> Callable[[Callable[P, T]], Callable[P, T]]: ...

    def track(
        self,
        function: Callable[..., Any] | None = None,
        *,
        experiment: str = DEFAULT_NAME,
        name: str | None = None,
        tags: Mapping[str, Any] | None = None,
        log_args: bool | Sequence[str] = True,
    ) -> Any:
        """Make each call of a function a run: ``@lake.track`` or ``@lake.track(experiment="diabetes")``.

        The arguments of the call, defaults included, become params (strings as they are, everything else as its
        ``repr``; not ``self`` and ``cls``). A parameter named ``run`` receives the :class:`Run`, unless the caller
        passes one. A call inside the ``with`` block or tracked call of another run of this lake is a child of that run.
        The function may be ``async``; a generator is refused.

        Args:
            function: the function, where the decorator has no arguments.
            experiment: name; created if there is none.
            name: of the runs; default that of the function.
            tags: of every run.
            log_args: whether arguments become params, or the names of those that do.

        Returns:
            The function with the same signature, or a decorator that makes it.

        Raises:
            InvalidInput: the function is a generator; or, when it is called, an argument cannot be kept as a param
                (it is longer than 8,000 characters, say): nothing is started then.
        """
        from lakelineage.tracking.decorate import tracked

        if function is not None and not callable(function):
            raise InvalidInput(f"{function!r} is no function; write @lake.track(experiment={function!r})")

        def begin_call(of: str) -> Run:
            outer = active_run()
            parent = outer if outer is not None and outer._engine is self._engine else None
            return self.start_run(experiment, name or of, tags=tags, parent=parent)

        decorate = partial(tracked, start=begin_call, log_args=log_args)
        return decorate if function is None else decorate(function)

    def resume_run(self, run_id: str, *, reopen: bool = True) -> Run:
        """Go on logging to a run. One that had ended is ended again at the latest when this program ends.

        Args:
            run_id: its id, or a unique beginning of it.
            reopen: make a run that has ended active again; False refuses it.

        Raises:
            RunNotFound: there is no such run.
            RunFinished: it has ended, and is not to be reopened.
            Conflict: it is deleted.
        """
        return resume(self._engine, ids.full_id(self._engine, run_id), reopen)

    def delete_run(self, run_id: str) -> None:
        """Delete a run: searches no longer show it, ``lake.run`` and SQL do. Its children stay; so do its files.

        Deleting it again is no error. A run that *another* process is logging comes back when that process ends it.

        Args:
            run_id: its id, or a unique beginning of it.

        Raises:
            RunNotFound: there is no such run.
        """
        start.set_stage(self._engine, ids.full_id(self._engine, run_id), Lifecycle.DELETED)

    def restore_run(self, run_id: str) -> None:
        """Bring a deleted run back. No error if it is not deleted.

        Args:
            run_id: its id, or a unique beginning of it.

        Raises:
            RunNotFound: there is no such run.
        """
        start.set_stage(self._engine, ids.full_id(self._engine, run_id), Lifecycle.ACTIVE)

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
        until: "Until | None" = None,
        progress: bool | Callable[[int], None] | None = None,
    ) -> "Snapshot":
        """Pin a table, file or folder outside a run. See :meth:`lakelineage.Run.use`."""
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
            until=until,
            progress=progress,
        )

    @property
    def pins(self) -> "Pins":
        """What is pinned: until when, by whom, whether it can be read back; archive it, release it."""
        from lakelineage.snapshots.pins import Pins

        return Pins(self._engine)

    def verify(
        self,
        snapshots: "Sequence[Snapshot | str] | None" = None,
        *,
        depth: "Depth" = "rows",
        sample: int | None = None,
    ) -> "Iterator[Verified]":
        """Read back what is pinned, and tell of each snapshot whether it is what was pinned.

        Args:
            snapshots: snapshots or ids; default all that have a pin.
            depth: ``files`` (they are there, unchanged by size and time, and have the rows), ``rows`` (every row is
                read), ``checksums`` (besides, every byte; files without a checksum get theirs now).
            sample: only so many of them, chosen at random.

        Returns:
            An iterator: each snapshot is read when it is asked for.

        Raises:
            SnapshotNotFound: there is no such snapshot.
            InvalidInput: no such depth, or a sample that is not positive.
        """
        from lakelineage.snapshots.verify import verify

        return verify(self._engine, snapshots, depth=depth, sample=sample)

    def forget(
        self,
        table: str | os.PathLike[str],
        where: str,
        *,
        mode: "Mode" = "rewrite",
        dry_run: bool = True,
        comment: str | None = None,
        progress: "Progress" = None,
    ) -> "Forgotten":
        """Find rows in all that was ever pinned of a table and, with ``dry_run=False``, forget them.

        Archived files and managed versions that hold such rows are rewritten without them, or dropped. Reading a
        snapshot that lost rows raises ``SnapshotErased`` from then on; in mode ``rewrite`` another snapshot has what is
        left. What was done is recorded in the table ``erasures``, with the runs and models concerned. The table itself
        is its owner's: ``plan.in_table`` names its files that hold such rows.

        Args:
            table: path or URI of the table, of the file that it was made from, or its id.
            where: rows, as a SQL condition.
            mode: ``rewrite`` keeps what is left of each snapshot as another one; ``drop`` keeps nothing of it.
            dry_run: only tell what would be done.
            comment: why, such as the number of the request. The condition itself is not kept: it may name somebody.
            progress: True for a bar; or a function that is told how many snapshots are done.

        Raises:
            TableNotFound: nothing was ever pinned of it.
            InvalidInput: the condition cannot be understood.
            ConcurrentWrite: other processes of this host keep pinning; trying again is safe.
        """
        from lakelineage.erasure import forget

        return forget(
            self._engine,
            os.fspath(table),
            where,
            mode=mode,
            dry_run=dry_run,
            comment=comment,
            progress=progress,
        )

    def vacuum(
        self,
        table: str | os.PathLike[str],
        *,
        retention_hours: float | None = None,
        dry_run: bool = True,
        enforce_retention_duration: bool = True,
        storage_options: Mapping[str, str] | None = None,
        progress: bool | Callable[[int], None] | None = None,
        comment: str | None = None,
    ) -> "Vacuumed":
        """VACUUM for a user's table that keeps what is pinned: files that neither the table nor a pin needs go.

        Kept besides what any VACUUM keeps: files and deletion vectors of versions that this lake pins, and change data
        between these versions as far as the log has it. What the archive has intact does not keep the original (but
        for pins that are ``protected``). Pins that other hosts have not committed yet are not seen: ``flush`` there
        first; nor are those of other lakes, and shallow clones of the table.

        Args:
            table: path or URI of the table.
            retention_hours: how long files stay that the table no longer needs, for readers of older versions; default
                the table's ``delta.deletedFileRetentionDuration``, which is 7 days if it is not set.
            dry_run: only tell what would be deleted.
            enforce_retention_duration: refuse a retention shorter than the table's own.
            storage_options: of the table; default those of the lake.
            progress: True for a bar; or a function that is told how many files are done.
            comment: why; kept in the table ``activity``.

        Raises:
            TableNotFound: there is no Delta table.
            InvalidInput: a retention that is too short, or one of the lake's own tables.
            ConcurrentWrite: processes of this host kept pinning all the time.
            StorageFailed: files could not be deleted; the others are, and another call goes on.
        """
        from lakelineage.snapshots.vacuum import vacuum

        return vacuum(
            self._engine,
            table,
            retention_hours=retention_hours,
            dry_run=dry_run,
            enforce_retention_duration=enforce_retention_duration,
            storage_options=storage_options,
            progress=progress,
            comment=comment,
        )

    @property
    def models(self) -> "Models":
        """The registry of models."""
        from lakelineage.registry import Models

        return Models(self._engine)

    def audit(self, model: str) -> "Audit":
        """Everything on record behind a version: run, code, environment, data, checks, requests, predictions, acts.

        The record of acts is verified on the way; ``audit.record.ok`` and the first lines of its text tell.

        Args:
            model: ``model:<name>@<version or alias>``, ``models:/<name>/3`` or ``models:/<name>@champion``.

        Raises:
            InvalidInput: it names no version of a model.
            ModelNotFound: there is no such version.
        """
        from lakelineage.registry.audit import audit

        return audit(self._engine, model)

    def load_model(self, uri: str, *, trust: bool | str | Iterable[str] | None = None) -> Any:
        """A model ready to predict, by ``models:/name/3``, ``models:/name@alias``, ``models:/m-…``, ``runs:/id/x``.

        Args:
            uri: which model.
            trust: what it may run when it is loaded, since loading some formats is running code: ``"pickle"``,
                ``"code"`` (Python source that it brings), the full name of a type in a skops file, several of these,
                or True for everything; default what the variable ``LAKELINEAGE_TRUST`` says. Models that run nothing
                (skops, ONNX, XGBoost, LightGBM) need none.

        Raises:
            NotTrusted: it would run something else; the message says what, in which file, and how to allow it.
            InvalidInput: no such URI or word of trust.
            ModelNotFound, ArtifactNotFound: it names nothing.
            LakeDamaged: a file is gone or is not what was logged.
            MissingExtra: ``mlflow``, or a package that the model needs, is not installed.
        """
        from lakelineage.inference import models

        return models.load_model(self._engine, uri, trust)

    def score(
        self,
        model: Any,
        input: Any,  # noqa: A002 - the word that users know
        output: str | os.PathLike[str],
        *,
        tables: Mapping[str, Any] | None = None,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        trust: bool | str | Iterable[str] | None = None,
        batch_size: int = 65_536,
        mode: Literal["append", "overwrite", "merge"] = "append",
        key: str | Sequence[str] | None = None,
        incremental: bool = False,
        on_new_model: Literal["rescore", "continue"] = "rescore",
        storage_options: Mapping[str, str] | None = None,
        progress: bool | Callable[[int], None] | None = None,
    ) -> "ScoreResult":
        """Score a table in batches of bounded memory, as one commit of the output.

        Args:
            model: ``models:/name@alias``, ``models:/name/3``, ``models:/m-…`` (a logged model's id),
                ``runs:/<run id>/<path>``, a version or a logged model.
            input: Delta table (path or URI), snapshot, or anything that :meth:`Run.use` takes; with ``tables`` a SELECT
                in DuckDB's dialect.
            output: path or URI of a Delta table; made if it is not there.
            tables: of the SELECT: name in it → table, snapshot or data. They are pinned; it can read nothing else.
            version: of the input; default the newest.
            columns: what the model gets, in order; default those of its signature.
            trust: what the model may run when it is loaded, as for :meth:`load_model`: ``"pickle"``, say.
            batch_size: rows in memory at a time.
            mode: ``append``; ``overwrite`` to replace what the output holds; or ``merge``: rows take the place of those
                with the same ``key``.
            key: columns that identify a row: of ``mode="merge"``, or so that ``incremental`` can apply updates and
                deletes.
            incremental: score what is new since this output was scored last, exactly once even if a job is killed: rows
                that were appended, and with ``key`` those that were updated; those that were deleted leave the output.
                The output then has each row of the input once, as it is now. Where what is new cannot be known, all
                rows are scored anew and replace the output. ``kind`` and ``reason`` of the result say which.
            on_new_model: with ``incremental``, when another model (or version) scored the output last: ``rescore`` all
                rows, or ``continue`` with those that are new.
            storage_options: of the output; default those of the lake.
            progress: True shows a bar, in terminals and notebooks; a function is called with the number of rows done,
                after each batch.

        Raises:
            InvalidInput: the input does not fit the model's signature, the options do not go together, or the output
                has rows of something else than ``incremental`` finds there; nothing was written.
            NotTrusted: the model would run something else than ``trust`` allows; nothing was loaded or written.
            ConcurrentWrite: another writer changed the output meanwhile; nothing was written.
            ModelNotFound, ArtifactNotFound, TableNotFound, VersionNotFound: something named does not exist.
            MissingExtra: ``mlflow`` is not installed.
        """
        from lakelineage.inference import scoring

        return scoring.score(
            self._engine,
            model,
            input,
            output,
            tables=tables,
            version=version,
            columns=columns,
            trust=trust,
            batch_size=batch_size,
            mode=mode,
            key=key,
            incremental=incremental,
            on_new_model=on_new_model,
            storage_options=storage_options,
            progress=progress,
        )

    def trace_prediction(
        self,
        output: str | os.PathLike[str],
        where: str | None = None,
        *,
        limit: int = 1_000,
        storage_options: Mapping[str, str] | None = None,
    ) -> "pa.Table":
        """From rows of predictions back to model, run, data and code.

        Args:
            output: table that :meth:`score` wrote.
            where: rows of it, as a SQL condition; default any.
            limit: rows traced at most.
            storage_options: of the output; the lake's own if not given.
        """
        from lakelineage.inference.trace import trace_prediction

        return trace_prediction(self._engine, output, where, limit=limit, storage_options=storage_options)

    def flush(self) -> None:
        """Return when all that this host has logged is in the Delta tables.

        Raises:
            StorageFailed: the store cannot be reached; what was logged stays safe in the journal.
        """
        self._engine.flush()

    def publish(self) -> int:
        """Bring ``runs`` and the other current tables up to all that is known, for engines that read them as they are.

        While a process logs, it does so by itself about once a minute.

        Returns:
            How many runs were published anew.

        Raises:
            ConcurrentWrite: other processes published all the while; trying again is safe.
        """
        self._engine.flush()
        return self._maintenance.publish()

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
        """Commit what this process logged and let go of the lake.

        A run that has not ended goes on; it ends at the latest when the program does. What is logged to it by then is
        in the journal, which the next process that opens the lake commits.
        """
        sampling.stop_all(self._engine)
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Lake {self.uri}>"

    def _repr_html_(self) -> str:
        from lakelineage.display import things

        return things.lake(self._engine)


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
