"""The lake in Spark: every table as a view, under the names and columns that it has in DuckDB."""

from lakelineage.spark.register import register
from lakelineage.spark.translate import translate

__all__ = ["register", "translate"]
