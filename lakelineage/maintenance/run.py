"""When to compact, publish and vacuum, and doing it.

All of it may run anywhere and at any time: Delta's conflict check keeps it right, the lease only saves work.
"""

import logging
import time

from lakelineage.engine import Engine
from lakelineage.errors import ConcurrentWrite, LakelineageError
from lakelineage.journal.committer import Drained
from lakelineage.maintenance.publish import Publisher
from lakelineage.store import faults
from lakelineage.store.locks import Lease
from lakelineage.tables import BY_NAME, CURRENT, FACTS, RUNS, Table

_log = logging.getLogger(__name__)

#: Active files of a table at which it is compacted: from there on appending gets slower (decisions/004).
MANY_FILES = 50
#: Size of compacted files, in bytes, first try; eight times as much while that leaves many.
_TARGET_BYTES = 8 << 20
_GREATEST_TARGET = 512 << 20
#: Hours that a file stays after no version needs it, for readers that are at it.
_VACUUM_HOURS = 3
#: Seconds between vacuums, and between publishes, of one process.
_VACUUM_EVERY = 3600.0
_PUBLISH_EVERY = 60.0
#: A process that ends publishes what it logged if nobody has for so many seconds.
_PUBLISH_AT_CLOSE = 5.0


class Maintenance:
    """Maintenance of one lake.

    Args:
        engine: the open lake.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._publisher = Publisher(engine)
        self._vacuumed = time.monotonic()
        self._published = time.monotonic()

    def after_drain(self, drained: Drained) -> None:
        """Do what a drain made necessary; nothing most of the time."""
        crowded = [t for t in map(BY_NAME.__getitem__, sorted(drained.tables)) if self._crowded(t)]
        publish = bool(crowded) or time.monotonic() - self._published > _PUBLISH_EVERY
        self._upkeep(crowded, publish)

    def before_close(self) -> None:
        """Publish what this process logged, unless somebody published a moment ago: short programs come in crowds."""
        age = self._engine.store.age_on_disk(RUNS)
        if age is None or abs(age) > _PUBLISH_AT_CLOSE:
            self._upkeep([], publish=True)

    def _upkeep(self, crowded: list[Table], publish: bool) -> None:
        vacuum = time.monotonic() - self._vacuumed > _VACUUM_EVERY
        if not (crowded or publish or vacuum):
            return
        try:
            self._leased([*FACTS, *CURRENT] if vacuum else crowded, publish, vacuum)
        except LakelineageError as error:  # what was drained is committed; only the upkeep has to wait
            _log.warning("maintenance failed and will be tried again: %s", error)

    def run(self) -> None:
        """Do all of it now.

        Raises:
            ConcurrentWrite: another process is at it, or got in the way; trying again is safe.
        """
        if not self._leased([*FACTS, *CURRENT], publish=True, vacuum=True, timeout=60.0):
            raise ConcurrentWrite("another process is maintaining the lake, or wrote at the same moment; try again")

    def _crowded(self, table: Table) -> bool:
        return len(self._engine.store.snapshot(table).files) >= MANY_FILES

    def _leased(self, tables: list[Table], publish: bool, vacuum: bool, timeout: float = 0.0) -> bool:
        """Do what is asked for, under the lease; says whether all of it was done."""
        lease = Lease(self._engine.host_folder.parent / "maintenance.lock")
        if not lease.acquire(timeout):
            return False  # another process of this host is at it
        try:
            if publish:
                self._published = time.monotonic()
                self._publisher.publish()
                tables = tables + [t for t in CURRENT if t not in tables and self._crowded(t)]
            for table in tables:
                self._compact(table)
            if publish:
                self._engine.reader.prepare()
            if vacuum:
                self._vacuumed = time.monotonic()
                for table in [*FACTS, *CURRENT]:
                    self._engine.store.vacuum(table, _VACUUM_HOURS)
        except ConcurrentWrite as error:
            _log.info("maintenance gave way to another writer: %s", error)
            return False
        else:
            return True
        finally:
            lease.release()

    def _compact(self, table: Table) -> None:
        target = _TARGET_BYTES
        while self._engine.store.compact(table, target) >= MANY_FILES // 2 and target < _GREATEST_TARGET:
            target *= 8
        faults.reach("compact.after")
