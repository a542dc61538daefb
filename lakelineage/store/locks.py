"""Leases of one host: whoever holds one, holds it until it lets go or dies."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self


def is_held(path: Path) -> bool:
    """Whether some process holds the lease on a file. Looks only: it makes no file and needs no right to write.

    It is asked by a shared lock of an instant. Who tries for the lease in that instant takes it for held, which every
    caller of :meth:`Lease.acquire` puts up with.
    """
    import fcntl

    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Keep a lease on a file from being taken in the block; any number of processes may at once. Waits for a holder.

    Args:
        path: lock file; it is created and stays.
    """
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)  # not only closed: a child forked meanwhile has it open too
        os.close(fd)


class Lease:
    """An advisory lock on a file, released by the operating system when its holder dies.

    A forked child does not hold its parent's leases. Two leases on one file exclude each other within a process too.

    Args:
        path: lock file; it is created and stays.
    """

    def __init__(self, path: Path) -> None:
        from filelock import FileLock

        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path, thread_local=False, fallback_to_soft=False, preserve_lock_file=True)

    def acquire(self, timeout: float = 0.0) -> bool:
        """Take the lease.

        Args:
            timeout: seconds to wait for another holder; 0 asks once.

        Returns:
            Whether it is ours now.
        """
        from filelock import Timeout

        try:
            self._lock.acquire(timeout=timeout)
        except Timeout:
            return False
        return True

    def release(self) -> None:
        """Let go."""
        self._lock.release()

    def __enter__(self) -> Self:
        self._lock.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
