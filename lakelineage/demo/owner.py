"""The owner of the source table, who knows nothing of lakelineage and does what owners do.

This is the one place outside the storage room that uses deltalake itself: the story needs somebody else's writes.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

if TYPE_CHECKING:
    import pyarrow as pa


def create(place: Path, rows: "pa.Table") -> None:
    """A new Delta table whose owner keeps nothing longer than needed."""
    keep = {"delta.logRetentionDuration": "interval 0 seconds"}
    write_deltalake(str(place), rows, configuration=keep)


def append(place: Path, rows: "pa.Table") -> int:
    """Add rows.

    Returns:
        The new version.
    """
    table = DeltaTable(str(place))
    write_deltalake(table, rows, mode="append")
    return table.version()


def update(place: Path, where: str, column: str, value: str) -> tuple[int, int]:
    """Set a column to an SQL expression; returns rows changed and the new version."""
    table = DeltaTable(str(place))
    done = table.update({column: value}, predicate=where)
    return int(done["num_updated_rows"]), table.version()


def delete(place: Path, where: str) -> tuple[int, int]:
    """Delete rows; returns their number and the new version."""
    table = DeltaTable(str(place))
    done = table.delete(where)
    return int(done["num_deleted_rows"] or 0), table.version()


def forget(place: Path) -> int:
    """VACUUM with zero retention, then clean the log: nothing but the newest version is left.

    Returns:
        Number of data files removed.
    """
    table = DeltaTable(str(place))
    removed = table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    table.create_checkpoint()
    table.cleanup_metadata()
    return len(removed)


def create_forgetful(place: Path, rows: "pa.Table") -> None:
    """A new Delta table whose properties let VACUUM and log clean-up take whatever the newest version does not need."""
    keep = {
        "delta.logRetentionDuration": "interval 0 seconds",
        "delta.deletedFileRetentionDuration": "interval 0 seconds",
    }
    write_deltalake(str(place), rows, configuration=keep)


def replace_all(place: Path, rows: "pa.Table") -> None:
    """Overwrite the table."""
    write_deltalake(str(place), rows, mode="overwrite")


def clean_log(place: Path) -> None:
    """Make a checkpoint, and remove what the table's properties let go of the log."""
    table = DeltaTable(str(place))
    table.create_checkpoint()
    table.cleanup_metadata()


def vacuum(place: Path) -> None:
    """VACUUM, as the table's properties say; like Spark's it removes every file that is old enough and not needed."""
    DeltaTable(str(place)).vacuum(dry_run=False, full=True)


def vacuum_at_once(place: Path) -> None:
    """VACUUM RETAIN 0 HOURS, whatever the properties say."""
    DeltaTable(str(place)).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)


def drop(place: Path) -> None:
    """Remove the table."""
    shutil.rmtree(place)


def time_travel(place: Path, version: int) -> str | None:
    """Try Delta's own time travel to a version.

    Returns:
        The error; None if it worked.
    """
    try:
        DeltaTable(str(place), version=version).to_pyarrow_table()
    except (DeltaError, OSError) as error:
        return str(error)
    return None
