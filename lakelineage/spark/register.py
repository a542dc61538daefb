"""Putting the tables of a lake into a Spark session."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from lakelineage.errors import InvalidInput
from lakelineage.query.spark.views import create_view
from lakelineage.tables import BY_NAME

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakelineage.lake import Lake


def register(
    spark: "SparkSession", lake: "Lake", *, prefix: str = "", location: Callable[[str], str] | None = None
) -> tuple[str, ...]:
    """Make every table of a lake a temporary view of a Spark session, with the names and columns that DuckDB shows.

    What this host has logged is committed and published first. A view is read anew by each query: facts are as fresh as
    the last commit, current tables (``runs``, ``model_versions``, …) as the last publish, which happens at most about
    once a minute while something logs. Call it again to have all of now, and for tables that had no rows yet.

    Args:
        spark: a session with Delta Lake.
        lake: an open lake.
        prefix: of the names of the views: ``"lake_"`` for several lakes in one session.
        location: makes of a table's path or URI what Spark is to read; by default ``s3://`` becomes ``s3a://``.

    Returns:
        Names of the views.

    Raises:
        InvalidInput: the session has no Delta Lake, or refuses a table.
        ConcurrentWrite: other processes published all the while; trying again is safe.
    """
    if not isinstance(prefix, str):
        raise InvalidInput(f"prefix is a text, such as 'lake_', not {prefix!r}")
    lake.publish()
    place = location or _hadoop
    for table in BY_NAME.values():
        there = lake.engine.store.columns(table)
        uri = None if there is None else place(lake.engine.root.child("tables", table.name))
        create_view(spark, prefix + table.name, table.all_columns, uri, frozenset(there or ()))
    return tuple(prefix + name for name in BY_NAME)


def _hadoop(uri: str) -> str:
    """A URI as Hadoop's file systems are called: the S3 of its own is ``s3a``."""
    return f"s3a://{uri.removeprefix('s3://')}" if uri.startswith("s3://") else uri
