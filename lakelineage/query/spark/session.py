"""What a Spark session of this process knows of tables. Nothing is imported where there is none."""

import sys
from typing import Any


def active() -> Any:
    """The session in use (``pyspark.sql.SparkSession``); None if there is none."""
    module = sys.modules.get("pyspark.sql")
    return None if module is None else module.SparkSession.getActiveSession()


def location_of(table_name: str) -> str | None:
    """Where the Delta table of a name is; None if no session is in use, or it knows no such Delta table."""
    session = active()
    if session is None:
        return None
    from pyspark.errors import PySparkException

    quoted = ".".join(part if part.startswith("`") else f"`{part}`" for part in table_name.split("."))
    try:
        row = session.sql(f"DESCRIBE DETAIL {quoted}").select("location", "format").head()
    except PySparkException:
        return None
    return str(row["location"]) if row is not None and row["format"] == "delta" else None


def tells_versions() -> bool:
    """Whether Delta Lake's own classes are there to ask for the newest version of a table."""
    session = active()
    machine = getattr(session, "_jvm", None)  # Spark Connect has none
    if machine is None:
        return False
    return type(machine.io.delta.tables.DeltaTable).__name__ == "JavaClass"  # else a package, as Py4J has it
