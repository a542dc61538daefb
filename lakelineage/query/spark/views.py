"""Delta tables of the lake as views of a Spark session."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lakelineage.errors import InvalidQuery
from lakelineage.query.spark.files import quoted
from lakelineage.tables.declare import Column, TypeName

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: Declared types as Spark SQL writes them.
_TYPES: dict[TypeName, str] = {
    "string": "STRING",
    "int64": "BIGINT",
    "double": "DOUBLE",
    "bool": "BOOLEAN",
    "timestamp": "TIMESTAMP",
    "strings": "ARRAY<STRING>",
    "text_map": "MAP<STRING, STRING>",
    "number_map": "MAP<STRING, DOUBLE>",
    "integer_map": "MAP<STRING, BIGINT>",
}


def create_view(
    spark: "SparkSession", name: str, columns: Sequence[Column], location: str | None, there: frozenset[str]
) -> None:
    """Make, or make anew, a temporary view. It is text: each query over it reads the table as it is then.

    Args:
        spark: the user's session, with Delta Lake.
        name: of the view.
        columns: in the order that they are to have.
        location: of the Delta table, as Spark knows it; None: there is none yet, and the view is empty.
        there: names of the columns that the table has; the others are null.

    Raises:
        InvalidQuery: Spark refused it; the message is Spark's.
    """
    from pyspark.errors import PySparkException

    wanted = ", ".join(
        quoted(each.name) if each.name in there else f"CAST(NULL AS {_TYPES[each.type]}) AS {quoted(each.name)}"
        for each in columns
    )
    source = "" if location is None else f" FROM delta.{quoted(location)}"
    nothing = " WHERE false" if location is None else ""
    try:
        spark.sql(f"CREATE OR REPLACE TEMPORARY VIEW {quoted(name)} AS SELECT {wanted}{source}{nothing}")
    except PySparkException as error:
        raise InvalidQuery(
            f"Spark refused the view {name}: {error}. Delta Lake has to be in the session (spark.jars.packages, "
            "spark.sql.extensions, spark.sql.catalog.spark_catalog)"
        ) from error
