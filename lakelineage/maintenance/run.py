"""When to compact, publish and vacuum, and doing it.

All of it may run anywhere and at any time: Delta's conflict check keeps it right, the lease only saves work.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lakelineage.engine import Engine
from lakelineage.errors import ConcurrentWrite, LakelineageError
from lakelineage.journal.committer import Drained
from lakelineage.maintenance.publish import Publisher
from lakelineage.registry.upkeep import complete as complete_registry
from lakelineage.snapshots.sweep import sweep
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
#: So many times a publish that was asked for is tried when other processes get in the way.
_PUBLISH_ATTEMPTS = 8
#: A process that ends publishes what it logged if nobody has for so many seconds.
_PUBLISH_AT_CLOSE = 5.0


@dataclass(frozen=True, slots=True)
class Maintained:
    """What a round of maintenance did.

    Attributes:
        published: runs that were published anew for other engines.
        compacted: table → files that were merged away.
        removed: data files deleted, that no version needed any more.
        unpinned: files deleted from the archive, that no pin needed any more.
        unpinned_bytes: their size.
        completed: approved requests of models whose move was made now: the process that approved them had died.
    """

    published: int = 0
    compacted: Mapping[str, int] = field(default_factory=dict)
    removed: int = 0
    unpinned: int = 0
    unpinned_bytes: int = 0
    completed: int = 0


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

    def publish(self) -> int:
        """Publish now, and wait for others who are at it.

        Returns:
            How many runs were published anew.

        Raises:
            ConcurrentWrite: others were at it all the while; trying again is safe.
        """
        from tenacity import Retrying, retry_if_result, stop_after_attempt, wait_random_exponential

        retries = Retrying(
            retry=retry_if_result(lambda done: done is None),
            stop=stop_after_attempt(_PUBLISH_ATTEMPTS),
            wait=wait_random_exponential(0.1, 5),
            retry_error_callback=lambda _: None,
        )
        done: Maintained | None = retries(self._leased, [], publish=True, vacuum=False, timeout=60.0)
        if done is None:
            raise ConcurrentWrite("other processes are publishing the lake all the while; try again")
        return done.published

    def run(self) -> Maintained:
        """Do all of it now, with what processes that died left undone: moves in the registry, files without a commit.

        Raises:
            ConcurrentWrite: another process is at it, or got in the way; trying again is safe.
        """
        completed = complete_registry(self._engine)
        done = self._leased([*FACTS, *CURRENT], publish=True, vacuum=True, full=True, timeout=60.0)
        if done is None:
            raise ConcurrentWrite("another process is maintaining the lake, or wrote at the same moment; try again")
        done = replace(done, completed=completed)
        try:
            swept = sweep(self._engine)
        except ConcurrentWrite as error:  # a pin of many bytes takes its time; the rest is done
            _log.warning("the archive was not swept, and will be the next time: %s", error)
            return done
        return replace(done, unpinned=swept.files, unpinned_bytes=swept.bytes)

    def _crowded(self, table: Table) -> bool:
        return len(self._engine.store.snapshot(table).files) >= MANY_FILES

    def _leased(
        self, tables: list[Table], publish: bool, vacuum: bool, full: bool = False, timeout: float = 0.0
    ) -> Maintained | None:
        """Do what is asked for, under the lease; None if it was not all done."""
        lease = Lease(self._engine.host_folder.parent / "maintenance.lock")
        if not lease.acquire(timeout):
            return None  # another process of this host is at it
        published = removed = 0
        try:
            if publish:
                self._published = time.monotonic()
                published = self._publisher.publish()
                tables = tables + [t for t in CURRENT if t not in tables and self._crowded(t)]
            merged = {table.name: self._compact(table) for table in tables}
            if publish:
                self._engine.reader.prepare()
            if vacuum:
                self._vacuumed = time.monotonic()
                removed = sum(len(self._engine.store.vacuum(t, _VACUUM_HOURS, full)) for t in [*FACTS, *CURRENT])
        except ConcurrentWrite as error:
            _log.info("maintenance gave way to another writer: %s", error)
            return None
        else:
            return Maintained(published, {name: count for name, count in merged.items() if count > 0}, removed)
        finally:
            lease.release()

    def _compact(self, table: Table) -> int:
        """Merge small files; returns how many fewer there are."""
        before, target = len(self._engine.store.snapshot(table).files), _TARGET_BYTES
        while (left := self._engine.store.compact(table, target)) >= MANY_FILES // 2 and target < _GREATEST_TARGET:
            target *= 8
        faults.reach("compact.after")
        return before - left
