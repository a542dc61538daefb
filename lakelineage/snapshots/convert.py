"""Sources that are not Delta: read them, and keep them as versions of a managed table.

- CSV and TSV: types are inferred from the whole file (integers, floats, booleans, else text; dates stay text).
- JSON: an array of objects, or one object per line; types are inferred from the whole file.
- Parquet files, Arrow data: as they are.
- pandas: the index is kept only if it has a name or is not the default range.

:data:`lakelineage.snapshots.types.RULES` says which types change on the way to Delta.
"""

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakelineage.errors import Conflict, InvalidInput, StorageFailed, TableNotFound
from lakelineage.model import ids
from lakelineage.snapshots import types
from lakelineage.store import source_write
from lakelineage.store.root import Root, storage_errors
from lakelineage.store.source import TableVersion
from lakelineage.store.source_write import Origin

if TYPE_CHECKING:
    import pyarrow as pa

#: Content is hashed in slices of this many rows, so that the hash does not depend on how the data was batched.
_SLICE = 65_536
FILE_KINDS = (".csv", ".tsv", ".parquet", ".pq", ".json", ".jsonl", ".ndjson")


@dataclass(frozen=True)
class Data:
    """Data with a schema, that is read as batches.

    Attributes:
        schema: as the source has it.
        batches: reads it from the start.
        repeatable: whether ``batches`` may be called again, and gives the same.
    """

    schema: "pa.Schema"
    batches: "Callable[[], Iterable[pa.RecordBatch]]"
    repeatable: bool


def keep(root: Root, name: str, data: Data, origin: Origin | None = None) -> TableVersion:
    """The version of the managed table ``datasets/<name>/`` that holds the data; a new one only for new content.

    Args:
        root: the lake.
        name: of the table.
        data: its content.
        origin: file that the data is read from. If the table of this name was made from another one, the name is
            followed by 8 hex digits that stand for this one.

    Raises:
        InvalidInput: types or values that a Delta table cannot hold exactly.
    """
    schema = types.storable(data.schema)
    with _repeatable(data) as stable:
        content = _hash(schema, _slices(schema, stable))
        return keep_content(root, name, content, schema, lambda: _slices(schema, stable), origin)


def keep_content(
    root: Root,
    name: str,
    content: str,
    schema: "pa.Schema",
    batches: "Callable[[], Iterable[pa.RecordBatch]]",
    origin: Origin | None,
) -> TableVersion:
    """What :func:`keep` does, where the hash of the content and the types of the table are known."""
    names = [name] if origin is None else [name, f"{name}-{ids.digest((origin.place,), 8)}"]
    for used in names:
        made = source_write.convert(root, f"datasets/{folder_name(used)}", content, schema, batches, origin)
        if made is not None:
            return made
    raise Conflict(f"the managed tables {names} were made from other places; give this input a name= of its own")


def folder_name(name: str) -> str:
    """Folder of a managed table: the name itself where that is safe.

    The Delta engine takes ``%41`` and a backslash in a path for something else, so names are not percent-encoded.
    """
    safe = re.sub(r"[^\w .=+-]", "_", name[:80]).strip()
    safe = re.sub(r"^\.", "_", safe)
    return safe if safe == name else f"{safe}-{ids.digest((name,), 8)}"


def _slices(schema: "pa.Schema", data: Data) -> "Iterator[pa.RecordBatch]":
    """The data in the stored types, in slices of ``_SLICE`` rows (the last may be shorter)."""
    import pyarrow as pa

    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in data.batches():
        waiting.append(types.cast(batch, schema))
        count += batch.num_rows
        while count >= _SLICE:
            table = pa.Table.from_batches(waiting, schema)
            yield _one_batch(table.slice(0, _SLICE))
            rest = table.slice(_SLICE)
            waiting, count = rest.to_batches(), rest.num_rows
    if count:
        yield _one_batch(pa.Table.from_batches(waiting, schema))


def _one_batch(table: "pa.Table") -> "pa.RecordBatch":
    import pyarrow as pa

    arrays = [pa.concat_arrays(column.chunks) for column in table.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=table.schema)


def _hash(schema: "pa.Schema", slices: "Iterable[pa.RecordBatch]") -> str:
    """SHA-256 over the schema and the slices in Arrow's IPC format, what lies under nulls made equal first."""
    digest = hashlib.sha256(schema.remove_metadata().serialize().to_pybytes())
    for batch in slices:
        digest.update(_canonical(batch).serialize())
    return digest.hexdigest()[:40]


def _canonical(batch: "pa.RecordBatch") -> "pa.RecordBatch":
    import pyarrow as pa

    arrays: list[Any] = []
    for array in batch.columns:
        if array.null_count and (pa.types.is_primitive(array.type) or pa.types.is_decimal(array.type)):
            zero = pa.scalar(False if pa.types.is_boolean(array.type) else 0, _plain(array.type)).cast(array.type)
            arrays.extend([array.is_null(), array.fill_null(zero)])
        else:
            arrays.append(array.take(pa.array(range(len(array)), pa.int64())) if array.null_count else array)
    return pa.RecordBatch.from_arrays(arrays, names=[str(i) for i in range(len(arrays))])


def _plain(kind: "pa.DataType") -> "pa.DataType":
    import pyarrow as pa

    if pa.types.is_date32(kind):
        return pa.int32()
    return pa.int64() if pa.types.is_timestamp(kind) else kind


@contextmanager
def _repeatable(data: Data) -> Iterator[Data]:
    """Data that can be read twice and is the same each time: streams and files are spooled to a temporary file."""
    import pyarrow as pa

    if data.repeatable:
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="lakelineage-") as scratch:
        spool = Path(scratch, "spool.arrow")
        with (
            storage_errors("spooling the data"),
            pa.OSFile(str(spool), "wb") as out,
            pa.ipc.new_stream(out, data.schema) as writer,
        ):
            for batch in data.batches():
                writer.write_batch(batch)
        yield Data(data.schema, lambda: pa.ipc.open_stream(pa.memory_map(str(spool))), True)


def of_object(source: Any) -> Data | None:
    """Data of an in-memory object or stream; None if it is nothing that is known."""
    package = type(source).__module__.split(".")[0]
    if package == "pyarrow":
        return _of_arrow(source)
    if package == "pandas" and type(source).__name__ == "DataFrame":
        return _of_pandas(source)
    if package == "polars" and type(source).__name__ == "DataFrame":
        return _of_table(source.to_arrow())
    if package == "polars" and type(source).__name__ == "LazyFrame":
        return _of_lazy(source)
    return None


def _of_arrow(source: Any) -> Data | None:
    import pyarrow as pa
    import pyarrow.dataset as ds

    if isinstance(source, pa.RecordBatch):
        return _of_table(pa.Table.from_batches([source]))
    if isinstance(source, pa.Table):
        return _of_table(source)
    if isinstance(source, pa.RecordBatchReader):
        return Data(source.schema, lambda: source, False)
    if isinstance(source, ds.Dataset):
        return Data(source.schema, source.to_batches, False)
    return None


def _of_table(table: "pa.Table") -> Data:
    return Data(table.schema, table.to_batches, True)


def _of_pandas(frame: Any) -> Data:
    import pyarrow as pa

    named = any(name is not None for name in frame.index.names)
    default = type(frame.index).__name__ == "RangeIndex" and frame.index.start == 0 and frame.index.step == 1
    try:
        return _of_table(pa.Table.from_pandas(frame, preserve_index=named or not default))
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
        raise InvalidInput(f"the data frame has a column of mixed types: {error}; give each column one type") from error


def _of_lazy(frame: Any) -> Data:
    empty: Any = frame.head(0).collect().to_arrow()
    return Data(empty.schema, lambda: _lazy_batches(frame, empty.schema), False)


def _lazy_batches(frame: Any, schema: "pa.Schema") -> "Iterator[pa.RecordBatch]":
    for part in frame.collect_batches(maintain_order=True, chunk_size=_SLICE):
        yield from part.to_arrow().cast(schema).to_batches()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn readers' refusals of a file into ours; they may come as late as the last row.

    Raises:
        InvalidInput: it cannot be read as what it says it is.
        StorageFailed: the disk refused.
    """
    import polars as pl
    import pyarrow as pa

    try:
        yield
    except (pl.exceptions.PolarsError, pa.ArrowInvalid) as error:
        first = str(error).strip().splitlines()[0]
        raise InvalidInput(f"{path} cannot be read as {path.suffix.lower()[1:]}: {first}") from error
    except OSError as error:
        raise StorageFailed(f"reading {path}: {error}") from error


def of_file(path: Path) -> Data:
    """Data of a CSV, TSV, Parquet or JSON file.

    Raises:
        TableNotFound: no such file.
    """
    if not path.is_file():
        raise TableNotFound(f"there is no file {path}; name a Delta table, or a file of {', '.join(FILE_KINDS)}")
    return _READERS[path.suffix.lower()](path)


def _of_csv(path: Path, separator: str = ",") -> Data:
    import polars as pl

    return _of_lazy(pl.scan_csv(path, separator=separator, infer_schema_length=None))


def _of_tsv(path: Path) -> Data:
    return _of_csv(path, "\t")


def _of_parquet(path: Path) -> Data:
    import pyarrow.dataset as ds

    return Data((dataset := ds.dataset(path, format="parquet")).schema, dataset.to_batches, False)


def _of_json(path: Path) -> Data:
    import polars as pl

    with path.open("rb") as file:
        is_array = file.read(4096).lstrip().startswith(b"[")
    if is_array:
        return _of_table(pl.read_json(path, infer_schema_length=None).to_arrow())
    return _of_lazy(pl.scan_ndjson(path, infer_schema_length=None))


_READERS: dict[str, Callable[[Path], Data]] = {
    ".csv": _of_csv,
    ".tsv": _of_tsv,
    ".parquet": _of_parquet,
    ".pq": _of_parquet,
    ".json": _of_json,
    ".jsonl": _of_json,
    ".ndjson": _of_json,
}
