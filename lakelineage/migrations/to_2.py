"""Format 2: runs tell what kind of program started them, and the hash of its code."""

from lakelineage.store import faults
from lakelineage.store.delta import DeltaStore
from lakelineage.tables import RUNS, RUNS_HISTORY, Column

_COLUMNS = (
    Column("source_type", "string", "script, module, notebook or console"),
    Column("source_hash", "string", "SHA-256 of the content of the source file"),
)


def upgrade(store: DeltaStore) -> None:
    """Append the columns to the states of runs and to the published runs."""
    store.add_columns(RUNS_HISTORY, _COLUMNS)
    faults.reach("upgrade.between_tables")
    store.add_columns(RUNS, _COLUMNS)
