"""Rows to a file, in bounded memory."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput, InvalidPath, StorageFailed

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.snapshots import Snapshot


def write_rows(pin: "Snapshot", target: Path, columns: Sequence[str] | None, where: str | None) -> int:
    """Write rows to a Parquet or CSV file, as its name ends; whole or not at all.

    Args:
        pin: what to read.
        target: ``.parquet`` or ``.csv``; its folder is made, a file there is replaced.
        columns: default those of the pin.
        where: SQL condition, default that of the pin.

    Returns:
        Number of rows.

    Raises:
        InvalidPath: the name is that of an input with a folder step in it, or a folder.
        StorageFailed: the disk refuses.
        InvalidInput: columns that CSV cannot hold.
    """
    import pyarrow as pa

    known = [name for name in columns or () if name in pin.table_schema.names]
    schema = pin.schema if columns is None else pa.schema([pin.table_schema.field(name) for name in known])
    return write_batches(target, schema, pin.to_batches(columns=columns, where=where))


def write_batches(target: Path, schema: "pa.Schema", batches: "Iterable[pa.RecordBatch]") -> int:
    """Write batches to a Parquet or CSV file, as its name ends; whole or not at all. Errors as in :func:`write_rows`.

    Args:
        target: ``.parquet`` or ``.csv``; its folder is made, a file there is replaced.
        schema: of the batches.
        batches: the rows.

    Returns:
        Number of rows.
    """
    if target.is_dir():
        raise InvalidPath(f"{target} is a folder; name a file in it")
    rows = 0
    with _replacing(target) as temporary, _writer(temporary, target.suffix, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise StorageFailed(
            f"cannot write {target}: {error.strerror or error}; choose another place with -o"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _writer(path: Path, suffix: str, schema: "pa.Schema") -> Any:
    import pyarrow as pa

    if suffix == ".parquet":
        from pyarrow import parquet

        return parquet.ParquetWriter(path, schema)
    from pyarrow import csv

    nested = [field.name for field in schema if pa.types.is_nested(field.type)]
    if nested:
        raise InvalidInput(
            f"CSV cannot hold the nested columns {nested}; write .parquet, or leave them out with --columns"
        )
    return csv.CSVWriter(path, schema)
