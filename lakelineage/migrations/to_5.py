"""Format 5: rules, requests and checks of registered models are new tables.

Nothing of the older tables changes. The format has a number of its own because code of format 4 would move versions
against the rules.
"""

from lakelineage.store.delta import DeltaStore


def upgrade(_: DeltaStore) -> None:
    """There is nothing to do: a table is made when its first row is written."""
