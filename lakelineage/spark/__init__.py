"""The lake in Spark: every table as a view, under the names and columns that it has in DuckDB."""

from lakelineage.query.spark.translate import translate
from lakelineage.spark.register import register

__all__ = ["register", "translate"]
