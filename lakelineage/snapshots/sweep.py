"""Removing from the archive what no pin needs any more."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakelineage.errors import ConcurrentWrite
from lakelineage.snapshots import archive, levels, states
from lakelineage.store.locks import Lease

if TYPE_CHECKING:
    from lakelineage.engine import Engine

#: Seconds that a file of a remote lake stays after it was written, and after its last pin ended: other hosts may keep
#: it by now in journals that are not committed yet. Processes of this host are kept off by a lock.
GRACE = 86_400.0
#: Seconds after which what an interrupted copy left is removed.
_UNFINISHED = 3_600.0
_TIMEOUT = 60.0

#: Files of snapshots that have a pin; also of snapshots that lakes of old formats have without one.
NEEDED = f"""
select unnest([archived_as, vector_archived_as]) as path from snapshot_files
where snapshot_id not in (
  select snapshot_id from ({states.STATES}) group by snapshot_id
  having bool_and(state <> '{states.PINNED}')
    and max(if(state = '{states.RELEASED}', ingested_at, until)) < make_timestamp($now - $grace) at time zone 'UTC'
)
"""


@dataclass(frozen=True, slots=True)
class Swept:
    """What was removed from the archive.

    Attributes:
        files: how many.
        bytes: their size; what hard links shared with a table is not freed before the table lets go of it, too.
    """

    files: int = 0
    bytes: int = 0


def sweep(engine: "Engine") -> Swept:
    """Remove the kept files that belong to no pinned snapshot.

    Raises:
        ConcurrentWrite: processes of this host kept pinning all the time.
    """
    lease = Lease(engine.spool / levels.LOCK)
    if not lease.acquire(_TIMEOUT):
        raise ConcurrentWrite("other processes keep pinning; the archive is swept another time")
    try:
        return _sweep(engine)
    finally:
        lease.release()


def _sweep(engine: "Engine") -> Swept:
    local = engine.root.local is not None
    present = engine.root.walk(archive.FOLDER)
    if not present:
        return Swept()
    grace = 0 if local else int(GRACE * 1e6)
    found = engine.query(NEEDED, {"now": engine.now, "grace": grace}).column("path")
    needed = set(found.to_pylist())
    files = size = 0
    for entry in present:
        age = time.time() - entry.changed
        unfinished = entry.path.rpartition("/")[2].startswith(".new-")
        if entry.path in needed or (unfinished and age < _UNFINISHED) or (not local and age < GRACE):
            continue
        engine.root.remove(entry.path)
        files, size = files + 1, size + entry.size
    return Swept(files, size)
