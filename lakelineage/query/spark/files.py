"""Parquet files of a pinned version as a Spark DataFrame."""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lakelineage.errors import MissingExtra

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

#: Partition column → value as the table's log has it: text, or None for null.
PartitionValues = tuple[tuple[str, str | None], ...]

_GLOB = str.maketrans({character: f"\\{character}" for character in "\\{}[]*?"})


def read_files(spark: "SparkSession", schema_json: str, files: Mapping[PartitionValues, Sequence[str]]) -> "DataFrame":
    """The rows of some files, with the pinned schema; Spark reads them when asked.

    Args:
        spark: the user's session.
        schema_json: Delta schema of the version. Its format is that of Spark's ``StructType`` (Delta transaction log
            protocol, "Schema Serialization Format").
        files: local paths by the partition values that their rows have.

    Returns:
        All columns in the order of the schema; the order of rows is Spark's.

    Raises:
        MissingExtra: ``pyspark`` is not installed.
    """
    try:
        from pyspark.sql.types import StructType
    except ImportError as error:
        raise MissingExtra('Spark is not installed: pip install "lakelineage[spark]"') from error

    schema = StructType.fromJson(json.loads(schema_json))
    parts = [_part(spark, schema, values, paths) for values, paths in files.items()]
    return functools.reduce(lambda one, other: one.union(other), parts, spark.createDataFrame([], schema))


def _part(spark: "SparkSession", schema: object, values: PartitionValues, paths: Sequence[str]) -> "DataFrame":
    """Files of one partition: what their folders are called says nothing, the log's values are put in."""
    from pyspark.sql import functions as f
    from pyspark.sql.types import StructType

    assert isinstance(schema, StructType)
    known = dict(values)
    stored = StructType([field for field in schema.fields if field.name not in known])
    escaped = [path.translate(_GLOB) for path in paths]
    rows = spark.read.schema(stored).option("recursiveFileLookup", "true").parquet(*escaped)
    return rows.select(
        [
            f.lit(known[field.name]).cast(field.dataType).alias(field.name)
            if field.name in known
            else f.col(f"`{field.name.replace('`', '``')}`")
            for field in schema.fields
        ]
    )
