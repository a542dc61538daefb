"""Scoring a table with a model: batch by batch, into one Delta commit, with the provenance of every row."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from lakelineage.display.progress import Progress, reporting
from lakelineage.errors import InvalidInput
from lakelineage.inference import increment, marks
from lakelineage.inference.increment import Increment, Kind, OnNewModel
from lakelineage.inference.keys import require_fitting, require_key
from lakelineage.inference.marks import Mark
from lakelineage.inference.models import Located, load_located, locate
from lakelineage.inference.query_source import of_query
from lakelineage.inference.recorded import notes, record, record_missing
from lakelineage.inference.scorer import Scorer
from lakelineage.inference.source import Source, of_snapshot, pinned
from lakelineage.inference.trust import Trust, allowed
from lakelineage.inference.upsert import upsert
from lakelineage.model import validate
from lakelineage.store.output import Output, Record, Target

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine

#: Rows that are in memory, predicted on and handed to the writer at a time.
BATCH_SIZE = 65_536
#: What becomes of the rows that an output has.
Mode = Literal["append", "overwrite", "merge"]


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """What a scoring did.

    Attributes:
        rows: rows scored.
        output_uri: table written to.
        output_version: its Delta version that holds them.
        model_name: registered model; None if the model was named by its run.
        model_version: of the registered model.
        run_id: run that made the model; None if none is known.
        input_version: Delta version of the input; None for a query over several tables.
        seconds: wall-clock time, model loading included.
        kind: "full": all rows; "incremental": those that came or changed; "nothing": there were none of those, and
            nothing was committed.
        reason: why, in words.
        deleted: rows of the output that went since their rows of the input did.
    """

    rows: int
    output_uri: str
    output_version: int
    model_name: str | None
    model_version: int | None
    run_id: str | None
    input_version: int | None
    seconds: float
    kind: Kind = "full"
    reason: str = ""
    deleted: int = 0


@dataclass(frozen=True)
class _Job:
    """What is asked for, checked and found."""

    engine: "Engine"
    place: Located
    target: Target
    source: Source
    columns: Sequence[str] | None
    trusted: frozenset[str]
    batch_size: int
    mode: Mode
    key: tuple[str, ...]
    wanted: Mark | None


def score(
    engine: "Engine",
    model: Any,
    input: Any,  # noqa: A002  the word that users know
    output: str | os.PathLike[str],
    *,
    tables: Mapping[str, Any] | None = None,
    version: int | None = None,
    columns: Sequence[str] | None = None,
    trust: Trust = None,
    batch_size: int = BATCH_SIZE,
    mode: Mode = "append",
    key: str | Sequence[str] | None = None,
    incremental: bool = False,
    on_new_model: OnNewModel = "rescore",
    storage_options: Mapping[str, str] | None = None,
    progress: Progress = None,
) -> ScoreResult:
    """Predict for rows of a table and write them with their predictions, as one Delta commit.

    Output rows have all columns of the input, ``prediction`` (or ``prediction_…``, several, if the model returns
    several), and ``_model_name``, ``_model_version`` (both null if the model was named by its run or id), ``_run_id``
    (the run that made the model), ``_input_version`` and ``_scored_at``. If anything fails, nothing is committed.
    Options are those of :meth:`lakelineage.Lake.score`.

    Raises:
        InvalidInput: columns are missing or of wrong types, a name is taken, or there are no rows; nothing was written.
        NotTrusted: the model would run something else than ``trust`` allows; nothing was loaded or written.
        ModelNotFound, ArtifactNotFound, TableNotFound, VersionNotFound: something named does not exist.
        MissingExtra: mlflow, or a package that the model needs, is not installed.
        ConcurrentWrite: another writer changed the output meanwhile.
    """
    started = time.monotonic()
    keys, trusted = _checked(mode, key, incremental, on_new_model, batch_size), allowed(trust)
    if tables is not None and (incremental or version is not None):
        raise InvalidInput(
            "of the answer to a query nobody knows what is new, and its tables have versions of their own: with "
            "tables= leave incremental and version out (a snapshot in tables= is of the version that it has)"
        )
    place = locate(engine, model)
    uri = _absolute(output)
    name, source = f"{Path(uri).name}_input", None
    snapshot = pinned(engine, input, version, name) if tables is None else None
    source = of_query(engine, input, tables or {}, name) if snapshot is None else of_snapshot(snapshot)
    target = Target(uri, engine.root.storage_options if storage_options is None else storage_options)
    if target.existing is not None and target.existing.table_id in {pin.table_id for pin in source.pins}:
        raise InvalidInput(f"{uri} is the input itself; write the predictions to another table")
    wanted = None if snapshot is None else marks.mark(snapshot, place.node, columns)
    job = _Job(engine, place, target, source, columns, trusted, batch_size, mode, keys, wanted)
    if incremental and snapshot is not None and wanted is not None:
        record_missing(engine, target)
        change = increment.plan(engine, snapshot, target, wanted, keys, on_new_model)
    else:
        change = Increment("full", "all rows were asked for", source, merged=mode == "merge")
    try:
        rows, version_written, kind = _done(job, change, incremental, progress)
    finally:
        change.close()
    return ScoreResult(
        rows,
        uri,
        version_written,
        place.name,
        place.version,
        place.run_id,
        source.version,
        time.monotonic() - started,
        kind,
        change.reason if kind == change.kind else "no rows came, went or changed that are chosen",
        change.removed if kind == "incremental" else 0,
    )


def _checked(
    mode: Mode, key: str | Sequence[str] | None, incremental: bool, on_new_model: OnNewModel, batch_size: int
) -> tuple[str, ...]:
    """The key, if the options go together."""
    keys = (key,) if isinstance(key, str) else tuple(key or ())
    if mode not in get_args(Mode):
        raise InvalidInput(f"mode={mode!r}: write 'append', 'overwrite' or 'merge'")
    if on_new_model not in get_args(OnNewModel):
        raise InvalidInput(f"on_new_model={on_new_model!r}: write 'rescore' or 'continue'")
    if validate.step(batch_size) < 1:
        raise InvalidInput(f"batch_size must be 1 row or more, not {batch_size!r}")
    if incremental and mode != "append":
        raise InvalidInput(f"mode={mode!r} contradicts incremental=True, which finds out what to write; leave it out")
    if on_new_model != "rescore" and not incremental:
        raise InvalidInput(f"on_new_model={on_new_model!r} is for incremental=True; all rows are scored without that")
    if mode == "merge" and not keys:
        raise InvalidInput("mode='merge' needs key=, the columns that identify a row")
    if keys and mode != "merge" and not incremental:
        raise InvalidInput(f"key= is for mode='merge' and incremental=True; mode={mode!r} looks at no key")
    return keys


def _absolute(output: str | os.PathLike[str]) -> str:
    text = validate.text(os.fspath(output), "output")
    if not text.strip():
        raise InvalidInput("the output is empty; give a path or URI of a Delta table")
    return text.rstrip("/") if "://" in text else os.path.abspath(os.path.expanduser(text))


def _done(job: _Job, change: Increment, incremental: bool, progress: Progress) -> tuple[int, int, Kind]:
    """Score and write what there is.

    Returns:
        Rows scored, version of the output, and what was done in the end.
    """
    if change.kind == "nothing":
        return _nothing(job)
    if job.key:
        _require_keys(job, change)
    with reporting(progress, "scoring", change.source.total, " rows") as told:
        scorer = Scorer(job.place, change.source, job.columns, job.batch_size, told)
        begun = None
        if change.source.total != 0:
            begun = scorer.start(load_located(job.engine, job.place, job.trusted))
        if begun is None and not change.removed and _is_nothing(job, change, incremental):
            return _nothing(job)
        written, record_of = _written(job, change, incremental, begun)
    record(job.engine, job.target, written.table_id, written.version, record_of.notes)
    return scorer.rows, written.version, change.kind


def _require_keys(job: _Job, change: Increment) -> None:
    """Check that the output has one row for each key afterwards."""
    kept = change.merged or change.kind == "incremental"
    if kept and job.target.existing is not None and not job.target.existing.is_empty:
        require_fitting(job.engine, job.target, change, job.key, all_new=change.kind == "incremental")
    else:
        require_key(change.source, job.key)


def _is_nothing(job: _Job, change: Increment, incremental: bool) -> bool:
    """Whether there is nothing to write of no rows. An output of one input that became empty becomes empty, too.

    Raises:
        InvalidInput: there is no output that could be left as it is, or emptied.
    """
    existing = job.target.existing
    if not incremental or existing is None:
        raise InvalidInput(f"{change.source.label} has no rows; there is nothing to score")
    emptied = existing.is_empty and marks.read(job.target, job.source.pins[0].table_id) == job.wanted
    return change.kind == "incremental" or emptied


def _nothing(job: _Job) -> tuple[int, int, Kind]:
    assert job.target.existing is not None
    return 0, job.target.existing.version, "nothing"


def _written(
    job: _Job, change: Increment, incremental: bool, begun: "tuple[pa.Schema, Iterator[pa.RecordBatch]] | None"
) -> tuple[Output, Record]:
    existing = job.target.existing
    made = Record(_transactions(job, incremental), notes(job.engine, job.place, change.source.pins))
    if begun is None:
        assert existing is not None
        begun = existing.schema, iter(())
    schema, batches = begun
    if change.merged and existing is not None:
        return upsert(job.engine, job.target, schema, batches, change, job.key, made), made
    replaced = job.mode == "overwrite" or (incremental and change.kind == "full")
    return job.target.write(schema, batches, "overwrite" if replaced else "append", made), made


def _transactions(job: _Job, incremental: bool) -> dict[str, int]:
    table_id = job.source.pins[0].table_id
    if incremental or job.mode == "overwrite" or job.target.existing is None:
        return marks.transactions(job.wanted, table_id)
    # Plain appends may run side by side, so they leave transactions alone where there is no mark to take away.
    return {} if marks.read(job.target, table_id) is None else marks.transactions(None, table_id)
