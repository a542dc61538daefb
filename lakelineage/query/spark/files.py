"""Parquet files of a pinned version as a Spark DataFrame."""

import functools
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakelineage.errors import MissingExtra

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame, SparkSession

#: Partition column → value as text that Spark casts to the column's type, or None for null.
PartitionValues = tuple[tuple[str, str | None], ...]

_GLOB = str.maketrans({character: f"\\{character}" for character in "\\{}[]*?"})
_NAME = "delta.columnMapping.physicalName"


@dataclass(frozen=True)
class SparkFile:
    """A file.

    Attributes:
        place: absolute path on this machine.
        values: of its rows.
        hidden: positions, from 0, of rows that the table does not have; None: there are none.
    """

    place: str
    values: PartitionValues
    hidden: "NDArray[np.int64] | None" = None


def read_files(spark: "SparkSession", schema_json: str, files: Sequence[SparkFile]) -> "DataFrame":
    """The rows of some files, with the pinned schema; Spark reads them when asked.

    Args:
        spark: the user's session.
        schema_json: Delta schema of the version. Its format is that of Spark's ``StructType`` (Delta transaction log
            protocol, "Schema Serialization Format").
        files: those of the version, which store columns under the physical names of the schema, if it has such.

    Returns:
        All columns in the order of the schema; the order of rows is Spark's.

    Raises:
        MissingExtra: ``pyspark`` is not installed.
    """
    try:
        from pyspark.sql.types import StructType
    except ImportError as error:
        raise MissingExtra('Spark is not installed: pip install "lakelineage[spark]"') from error

    asked = json.loads(schema_json)
    schema = StructType.fromJson(_without_metadata(asked))
    stored = StructType.fromJson(_without_metadata(_as_stored(asked)))
    names = {field.name: there.name for field, there in zip(schema.fields, stored.fields, strict=True)}
    ordered = sorted(files, key=lambda file: (repr(file.values), file.hidden is not None))
    parts = [
        _part(spark, schema, stored, names, list(run))
        for _, run in itertools.groupby(ordered, key=lambda file: (file.values, file.hidden is not None))
    ]
    if not parts:
        return spark.createDataFrame([], schema)
    return functools.reduce(lambda one, other: one.union(other), parts)


def _as_stored(kind: Any) -> Any:
    """A schema with the names that files have."""
    if isinstance(kind, list):
        return [_as_stored(one) for one in kind]
    if not isinstance(kind, dict):
        return kind
    renamed = {key: value if key == "metadata" else _as_stored(value) for key, value in kind.items()}
    return renamed | {"name": kind["metadata"][_NAME]} if _NAME in (kind.get("metadata") or {}) else renamed


def _without_metadata(kind: Any) -> Any:
    """What Delta notes of fields is nothing that Spark should act on: it would make defaults and ids of it."""
    if isinstance(kind, list):
        return [_without_metadata(one) for one in kind]
    if not isinstance(kind, dict):
        return kind
    return {key: {} if key == "metadata" else _without_metadata(value) for key, value in kind.items()}


def _part(
    spark: "SparkSession", schema: Any, stored: Any, names: Mapping[str, str], files: Sequence[SparkFile]
) -> "DataFrame":
    """Files of one partition: what their folders are called says nothing, the log's values are put in."""
    from pyspark.sql import functions as f
    from pyspark.sql.types import StructType

    known = dict(files[0].values)
    there = StructType(
        [field for field, named in zip(stored.fields, schema.fields, strict=True) if named.name not in known]
    )
    escaped = [file.place.translate(_GLOB) for file in files]
    rows = spark.read.schema(there).option("recursiveFileLookup", "true").parquet(*escaped)
    if files[0].hidden is not None:
        rows = _visible(spark, rows, files)
    return rows.select(
        [
            f.lit(known[field.name]).cast(field.dataType).alias(field.name)
            if field.name in known
            # Casts of structs go by position: parts of nested columns get their names, too.
            else f.col(quoted(names[field.name])).cast(field.dataType).alias(field.name)
            for field in schema.fields
        ]
    )


def _visible(spark: "SparkSession", rows: "DataFrame", files: Sequence[SparkFile]) -> "DataFrame":
    """Without the hidden rows. Spark tells of each row its file, as an encoded URI, and its position there."""
    import numpy as np
    import pyarrow as pa
    from pyspark.sql import functions as f

    counts = [0 if file.hidden is None else len(file.hidden) for file in files]
    places = pa.array([file.place for file in files]).take(pa.array(np.repeat(np.arange(len(files)), counts)))
    positions = np.concatenate([file.hidden for file in files if file.hidden is not None])
    hidden = spark.createDataFrame(pa.table({"place": places, "position": positions}))
    uri = f.replace(f.col("_metadata.file_path"), f.lit("+"), f.lit("%2B"))
    place = f.regexp_replace(f.url_decode(uri), "^file:/*", "/")
    there = (place == hidden["place"]) & (f.col("_metadata.row_index") == hidden["position"])
    return rows.join(f.broadcast(hidden), there, "left_anti")


def quoted(name: str) -> str:
    """A column's name in Spark's quotes."""
    return f"`{name.replace('`', '``')}`"
