"""Bringing a lake of an older format up to the present one. The rules are in docs/decisions/010-formats.md.

One file per step. A step may be done twice, or by two processes at once, and may stop anywhere: ``lake.json`` names the
new format only after all of it is done, so that whoever opens the lake next does what is left.
"""

from collections.abc import Callable
from pathlib import Path

from lakelineage.errors import ConcurrentWrite
from lakelineage.migrations import to_2, to_3, to_4, to_5
from lakelineage.settings import FORMAT, Settings, load_or_create, mark
from lakelineage.store import faults
from lakelineage.store.delta import DeltaStore
from lakelineage.store.locks import Lease
from lakelineage.store.root import Root

#: Format → what makes it of the one before.
STEPS: dict[int, Callable[[DeltaStore], None]] = {2: to_2.upgrade, 3: to_3.upgrade, 4: to_4.upgrade, 5: to_5.upgrade}
#: Seconds to wait for another process of this host that is upgrading the lake.
_TIMEOUT = 60.0
_ATTEMPTS = 20


def upgrade(root: Root, store: DeltaStore, spool: Path) -> Settings:
    """Bring a lake up to the format of this version.

    Args:
        root: where the lake is.
        store: its tables.
        spool: folder of its journals on this host, where the lease of upgrades is.

    Returns:
        What ``lake.json`` says afterwards.

    Raises:
        ConcurrentWrite: another process is upgrading it, or kept changing its tables; trying again is safe.
        StorageFailed: the lake cannot be written.
    """
    lease = Lease(spool / "upgrade.lock")
    if not lease.acquire(_TIMEOUT):
        raise ConcurrentWrite(f"another process has been upgrading the lake {root.uri} for {_TIMEOUT:.0f} s; try again")
    try:
        settings = load_or_create(root, create=False, protection=None)  # another process may have done it meanwhile
        for number in range(settings.format + 1, FORMAT + 1):
            faults.reach("upgrade.before")
            _steadily(STEPS[number], store)
            faults.reach("upgrade.before_mark")
            settings = mark(root, number)
            faults.reach("upgrade.after")
        return settings
    finally:
        lease.release()


def _steadily(step: Callable[[DeltaStore], None], store: DeltaStore) -> None:
    """Do a step; again where another host was at it at the same time."""
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

    attempts = Retrying(
        retry=retry_if_exception_type(ConcurrentWrite),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.01, max=1.0),
        reraise=True,
    )
    attempts(step, store)


__all__ = ["STEPS", "upgrade"]
