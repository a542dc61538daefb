"""Predicting for rows, batch by batch, with the provenance of every row."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput
from lakelineage.inference.ahead import ahead
from lakelineage.inference.mlflow_models import LoadedModel, predictions
from lakelineage.inference.models import Located
from lakelineage.inference.source import Source
from lakelineage.inference.trace import RESERVED
from lakelineage.snapshots.types import storable

if TYPE_CHECKING:
    import pyarrow as pa


class Scorer:
    """One scoring under way: checks first, then a stream of scored batches.

    Attributes:
        rows: rows done so far.
    """

    def __init__(
        self,
        place: Located,
        source: Source,
        columns: Sequence[str] | None,
        batch_size: int,
        progress: Callable[[int], None] | None,
    ) -> None:
        self.rows = 0
        self._model: LoadedModel
        self._place = place
        self._source = source
        self._columns = None if columns is None else list(columns)
        self._batch_size = batch_size
        self._progress = progress
        self._at = datetime.now(UTC)

    def start(self, model: LoadedModel) -> "tuple[pa.Schema, Iterator[pa.RecordBatch]] | None":
        """Check the input and score its first batch, so that whatever is wrong shows before anything is written.

        Returns:
            Schema of the output, and its batches; None if there are no rows.
        """
        self._model = model
        self._require_fit(self._source.schema)
        rows = (batch for batch in self._source.batches(self._batch_size) if batch.num_rows)
        first = next(rows, None)
        if first is None:
            return None
        scored = self._scored(first, None)
        rest = (self._scored(batch, scored.schema) for batch in rows)
        return scored.schema, self._told(chain([scored], ahead(rest)))

    def _told(self, batches: "Iterable[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        for batch in batches:
            self.rows += batch.num_rows
            if self._progress is not None:
                self._progress(self.rows)
            yield batch

    def _require_fit(self, schema: "pa.Schema") -> None:
        where = self._source.label
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
            "_input_version": pa.scalar(self._source.version, pa.int64()),
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
