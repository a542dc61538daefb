"""Scoring a table with a model: batch by batch, into one Delta commit, with the provenance of every row."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from lakelineage.display.progress import Progress, reporting
from lakelineage.errors import InvalidInput
from lakelineage.inference.mlflow_models import LoadedModel, predictions
from lakelineage.inference.models import Located, load_located, locate
from lakelineage.inference.trace import RESERVED
from lakelineage.model import nodes, validate
from lakelineage.model.changes import Rows
from lakelineage.model.values import Protection, Relation
from lakelineage.snapshots import Snapshot, pin
from lakelineage.snapshots.types import storable
from lakelineage.store import output as outputs
from lakelineage.store.output import Mode, Output
from lakelineage.tables import LINEAGE

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine

#: Rows that are in memory, predicted on and handed to the writer at a time.
BATCH_SIZE = 65_536


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
        input_version: Delta version of the input.
        seconds: wall-clock time, model loading included.
    """

    rows: int
    output_uri: str
    output_version: int
    model_name: str | None
    model_version: int | None
    run_id: str | None
    input_version: int
    seconds: float


def score(
    engine: "Engine",
    model: Any,
    input: Any,  # noqa: A002  the word that users know
    output: str | os.PathLike[str],
    *,
    version: int | None = None,
    columns: Sequence[str] | None = None,
    batch_size: int = BATCH_SIZE,
    mode: Mode = "append",
    storage_options: Mapping[str, str] | None = None,
    progress: Progress = None,
) -> ScoreResult:
    """Predict for every row of a table and write the rows with their predictions, as one Delta commit.

    Output rows have all columns of the input, ``prediction`` (or ``prediction_…``, several, if the model returns
    several), and ``_model_name``, ``_model_version`` (both null if the model was named by its run or id), ``_run_id``
    (the run that made the model), ``_input_version`` and ``_scored_at``. If anything fails, nothing is committed.

    Args:
        engine: the open lake.
        model: ``models:/name@alias``, ``models:/name/3``, ``models:/m-…``, ``runs:/<run id>/<path>``, a model version
            or a logged model.
        input: a Delta table's path or URI, a snapshot, or anything else that can be pinned (data frames become the
            managed table ``<output>_input``).
        output: path or URI of a Delta table; made if it is not there.
        version: of the input; the newest if not given.
        columns: what the model gets, in order; by default the columns of its signature, or all if it has none.
        batch_size: rows in memory at a time.
        mode: "append", or "overwrite" to replace what the output holds.
        storage_options: of the output; the lake's own if not given.
        progress: True shows a bar; a function is called with the number of rows done, after each batch.

    Raises:
        InvalidInput: columns are missing or of wrong types, a name is taken, or there are no rows; nothing was written.
        ModelNotFound, ArtifactNotFound, TableNotFound, VersionNotFound: something named does not exist.
        MissingExtra: mlflow, or a package that the model needs, is not installed.
        ConcurrentWrite: another writer changed the output meanwhile.
    """
    started = time.monotonic()
    if mode not in get_args(Mode):
        raise InvalidInput(f"mode={mode!r}: write 'append' or 'overwrite'")
    if validate.step(batch_size) < 1:
        raise InvalidInput(f"batch_size must be 1 row or more, not {batch_size!r}")
    place = locate(engine, model)
    uri = _absolute(output)
    snapshot = _pinned(engine, input, version, f"{Path(uri).name}_input")
    options = dict(engine.root.storage_options if storage_options is None else storage_options)
    _require_other_table(uri, outputs.describe(uri, options), snapshot)
    total = snapshot.num_rows if snapshot.where is None else None
    with reporting(progress, "scoring", total, " rows") as told:
        plan = Scoring(load_located(engine, place), place, snapshot, columns, batch_size, told)
        schema, batches = plan.start()
        written = outputs.write_stream(uri, options, schema, batches, mode)
    _add_edges(engine, place, snapshot, written)
    pin(engine, uri, version=written.version, protection=Protection.REFERENCE)  # so that the graph knows its place
    return ScoreResult(
        plan.rows,
        uri,
        written.version,
        place.name,
        place.version,
        place.run_id,
        snapshot.version,
        time.monotonic() - started,
    )


def _pinned(engine: "Engine", source: Any, version: int | None, name: str) -> Snapshot:
    """The input as a snapshot; data without a place becomes a managed table of the name."""
    if not isinstance(source, Snapshot):
        return pin(engine, source, version=version, name=None if isinstance(source, (str, os.PathLike)) else name)
    if version not in (None, source.version):
        raise InvalidInput(f"the input is a snapshot of version {source.version}; version={version} contradicts it")
    return source


def _absolute(output: str | os.PathLike[str]) -> str:
    text = validate.text(os.fspath(output), "output")
    if not text.strip():
        raise InvalidInput("the output is empty; give a path or URI of a Delta table")
    return text.rstrip("/") if "://" in text else os.path.abspath(os.path.expanduser(text))


def _require_other_table(uri: str, existing: Output | None, snapshot: Snapshot) -> None:
    if existing is not None and existing.table_id == snapshot.table_id:
        raise InvalidInput(f"{uri} is the input itself; write the predictions to another table")


def _add_edges(engine: "Engine", place: Located, snapshot: Snapshot, written: Output) -> None:
    target = str(nodes.dataset(written.table_id, written.version))
    data = str(nodes.dataset(snapshot.table_id, snapshot.version))
    pairs = ((place.node, Relation.GENERATED), (data, Relation.DERIVED_FROM))
    rows = tuple(
        LINEAGE.row(source=source, target=target, relation=relation.value, run_id=place.run_id)
        for source, relation in pairs
    )
    engine.append((Rows(LINEAGE.name, rows),))


class Scoring:
    """One scoring under way: checks first, then a stream of scored batches.

    Attributes:
        rows: rows done so far.
    """

    def __init__(
        self,
        model: LoadedModel,
        place: Located,
        snapshot: Snapshot,
        columns: Sequence[str] | None,
        batch_size: int,
        progress: Callable[[int], None] | None,
    ) -> None:
        self.rows = 0
        self._model = model
        self._place = place
        self._snapshot = snapshot
        self._columns = None if columns is None else list(columns)
        self._batch_size = batch_size
        self._progress = progress
        self._at = datetime.now(UTC)

    def start(self) -> "tuple[pa.Schema, Iterator[pa.RecordBatch]]":
        """Check the input and score its first batch, so that whatever is wrong shows before anything is written.

        Returns:
            Schema of the output, and its batches.
        """
        self._require_fit(self._snapshot.schema)
        source = self._batches()
        first = next(source, None)
        if first is None:
            raise InvalidInput(
                f"{self._snapshot.table_uri} has no rows at version {self._snapshot.version}; there is nothing to score"
            )
        scored = self._scored(first, None)
        return scored.schema, chain([self._done(scored)], self._rest(source, scored.schema))

    def _batches(self) -> "Iterator[pa.RecordBatch]":
        return (batch for batch in self._snapshot.to_batches(self._batch_size) if batch.num_rows)

    def _rest(self, source: "Iterable[pa.RecordBatch]", schema: "pa.Schema") -> "Iterator[pa.RecordBatch]":
        for batch in source:
            yield self._done(self._scored(batch, schema))

    def _done(self, batch: "pa.RecordBatch") -> "pa.RecordBatch":
        self.rows += batch.num_rows
        if self._progress is not None:
            self._progress(self.rows)
        return batch

    def _require_fit(self, schema: "pa.Schema") -> None:
        where = f"{self._snapshot.table_uri} at version {self._snapshot.version}"
        unknown = [name for name in self._columns or () if name not in schema.names]
        if unknown:
            raise InvalidInput(f"{where} has no columns {unknown}; it has {schema.names}")
        given = schema if self._columns is None else _subset(schema, self._columns)
        problems = self._model.problems(given)
        if problems:
            raise InvalidInput(f"{where} does not fit the model: {'; '.join(problems)}. Nothing was written")
        taken = sorted(RESERVED & set(schema.names))
        if taken:
            raise InvalidInput(f"{where} has columns {taken}, which the output needs; rename them in the input")

    def _features(self, batch: "pa.RecordBatch") -> Any:
        wanted = self._columns if self._columns is not None else self._model.inputs
        names = batch.schema.names if wanted is None else [name for name in wanted if name in batch.schema.names]
        return batch.select(names).to_pandas()

    def _scored(self, batch: "pa.RecordBatch", schema: "pa.Schema | None") -> "pa.RecordBatch":
        import pyarrow as pa

        named = predictions(self._model.predict(self._features(batch)), batch.num_rows)
        taken = sorted(named.keys() & set(batch.schema.names))
        if taken:
            raise InvalidInput(f"the input has columns {taken}, which the output needs; rename them in the input")
        kinds = None if schema is None else {name: schema.field(name).type for name in named if name in schema.names}
        columns = {name: _arrow(name, values, kinds) for name, values in named.items()}
        arrays = dict(zip(batch.schema.names, batch.columns, strict=True)) | columns | self._provenance(batch.num_rows)
        return pa.RecordBatch.from_pydict(arrays)

    def _provenance(self, rows: int) -> "dict[str, pa.Array]":
        import pyarrow as pa

        values = {
            "_model_name": pa.scalar(self._place.name, pa.string()),
            "_model_version": pa.scalar(self._place.version, pa.int64()),
            "_run_id": pa.scalar(self._place.run_id, pa.string()),
            "_input_version": pa.scalar(self._snapshot.version, pa.int64()),
            "_scored_at": pa.scalar(self._at, pa.timestamp("us", "UTC")),
        }
        return {name: pa.repeat(value, rows) for name, value in values.items()}


def _subset(schema: "pa.Schema", names: Sequence[str]) -> "pa.Schema":
    import pyarrow as pa

    return pa.schema([schema.field(name) for name in names])


def _arrow(name: str, values: Any, kinds: "Mapping[str, pa.DataType] | None") -> "pa.Array":
    """Predictions as Arrow, in a type that Delta has; later batches in the type of the first.

    Raises:
        InvalidInput: a later batch does not fit the first.
    """
    import pyarrow as pa

    if kinds is not None and name not in kinds:
        raise InvalidInput(f"the model returned {name!r} for a later batch but not for the first; nothing was written")
    try:
        array = pa.array(values, from_pandas=False)
        wanted = _storable(array.type) if kinds is None else kinds[name]
        if kinds is not None and not (_alike(array.type, wanted) or array.null_count == len(array)):
            raise InvalidInput(f"{name!r} was {wanted} in the first batch and is {array.type} in a later one")
        return array.cast(wanted)
    except pa.ArrowException as error:
        raise InvalidInput(f"{name!r} does not fit into one column: {error}; nothing was written") from error


def _alike(kind: "pa.DataType", wanted: "pa.DataType") -> bool:
    """Whether one column may hold both: numbers of any width, or the same type. Arrow would turn numbers into text."""
    import pyarrow as pa

    stored = _storable(kind)
    numbers = [pa.types.is_integer(each) or pa.types.is_floating(each) for each in (stored, wanted)]
    return stored == wanted or all(numbers)


def _storable(kind: "pa.DataType") -> "pa.DataType":
    """The Delta type for an Arrow type; predictions that are all null count as numbers."""
    import pyarrow as pa

    if pa.types.is_null(kind):
        return pa.float64()
    return storable(pa.schema([("prediction", kind)])).field(0).type
