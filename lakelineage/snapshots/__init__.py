"""Pinned versions of tables: made by :func:`pin` and :func:`use`, read back through :class:`Snapshot`."""

from lakelineage.snapshots.pin_list import list_snapshots
from lakelineage.snapshots.pinning import pin, use
from lakelineage.snapshots.records import inputs_of, load
from lakelineage.snapshots.snapshot import Snapshot

__all__ = ["Snapshot", "inputs_of", "list_snapshots", "load", "pin", "use"]
