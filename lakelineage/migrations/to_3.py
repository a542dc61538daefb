"""Format 3: pins end by date or rule, and pinned files are known by more than their size. Erasures are a new table."""

from lakelineage.store import faults
from lakelineage.store.delta import DeltaStore
from lakelineage.tables import PINS_HISTORY, SNAPSHOT_FILES, SNAPSHOTS, Column

_SNAPSHOTS = (
    Column("kind", "string", "table, or folder: its rows are a manifest of files; null means table"),
    Column("reader_features", "strings", "what the table's protocol asks of readers"),
    Column("column_mapping", "string", "how the table's files name columns: name or id; null: as the schema does"),
)
_SNAPSHOT_FILES = (
    Column("modified", "timestamp", "when the file was last changed, as its store told at the pin, UTC"),
    Column("etag", "string", "version that its object store gave the file, at the pin"),
    Column("sha256", "string", "hex digest of the content, once that was read"),
    Column("vector_archived_as", "string", "path of the kept copy of the file that holds its deletion vector"),
)
_PINS_HISTORY = (
    Column("until", "timestamp", "the pin ends then, UTC; null: it does not end by itself"),
    Column("rule", "string", "what decides when it ends, as it was given: a duration, or 'while registered'"),
    Column("user_id", "string", "who made this state of it"),
    Column("comment", "string", "why"),
)


def upgrade(store: DeltaStore) -> None:
    """Append the columns to snapshots, their files, and the states of pins."""
    store.add_columns(SNAPSHOTS, _SNAPSHOTS)
    faults.reach("upgrade.between_tables")
    store.add_columns(SNAPSHOT_FILES, _SNAPSHOT_FILES)
    store.add_columns(PINS_HISTORY, _PINS_HISTORY)
