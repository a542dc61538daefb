"""The writing end of the journal: a call returns when its record is written (and synced, if asked for)."""

import errno
import mmap
import os
import struct
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from lakelineage.errors import StorageFailed, StorageFull
from lakelineage.journal.lanes import Lane, take
from lakelineage.journal.segment import MAGIC, encode
from lakelineage.model.changes import Change, Rows, Stamp
from lakelineage.model.clock import HybridClock
from lakelineage.model.values import Durability
from lakelineage.store import faults
from lakelineage.store.root import sync_folder
from lakelineage.tables import BY_NAME

#: A segment longer than this is closed and the next one begun, so that the committer can release it.
SEGMENT_BYTES = 8 << 20


class _SharedReading:
    """Eight bytes that all processes of a host share: the greatest clock reading.

    Two processes may overwrite each other's reading; each still has its own, and writes it again with its next record.
    """

    def __init__(self, path: Path) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if os.fstat(fd).st_size < 8:
                os.pwrite(fd, bytes(8), 0)  # real bytes: writing to a hole of a full disk would kill the process
            self._map = mmap.mmap(fd, 8)
        finally:
            os.close(fd)

    def load(self) -> int:
        return int(struct.unpack_from("<q", self._map)[0])

    def store(self, reading: int) -> None:
        struct.pack_into("<q", self._map, 0, reading)


class Journal:
    """The journal of one process. Safe to share between threads; a forked child begins a lane of its own.

    Args:
        folder: folder of this host.
        durability: what a returned call promises.
        on_append: told of the bytes of every record, after it is durable.
    """

    def __init__(self, folder: Path, durability: Durability, on_append: Callable[[int], None]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._sync = durability == "power"
        self._on_append = on_append
        shared = _SharedReading(folder / "clock")
        self.clock = HybridClock(shared.load, shared.store)
        self._reset()
        _follow_forks()
        _journals.add(self)

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._lane: Lane | None = None
        self._next = 0
        self._fd = -1
        self._size = 0
        self._broken = False

    def append(self, change: Change) -> Stamp:
        """Write a change: as a whole, or not at all.

        Returns:
            Its place in the order of the lake.

        Raises:
            InvalidInput: a row could never be committed; nothing of the change was kept.
            StorageFull: no space; nothing of it was kept.
            StorageFailed: the disk failed; the change may or may not be kept.
        """
        count = 0
        for part in change:
            count += len(part)
            if isinstance(part, Rows):
                BY_NAME[part.table].check(part.rows)
        with self._lock:
            stamp = self._stamp(count)
            frame = encode(change, stamp.seq, stamp.ingested_at)
            self._write(frame, stamp.seq)
        self._on_append(len(frame))
        return stamp

    def stamp(self, count: int) -> Stamp:
        """A place in the order for rows that do not go through the journal (synchronous commits)."""
        with self._lock:
            return self._stamp(count)

    def witness(self, reading: int) -> None:
        """Take note of a place in the order that another host gave: all later ones of ours come after it."""
        with self._lock:  # no fork happens under it, so a child never inherits a clock that is being read
            self.clock.witness(reading)

    def _stamp(self, count: int) -> Stamp:
        if self._lane is None:
            self._lane = take(self._folder)
            self._next = self._lane.next_seq
        stamp = Stamp(self.clock.now(), self._lane.writer, self._next)
        self._next += count
        return stamp

    def _write(self, frame: bytes, seq: int) -> None:
        if self._fd < 0 or self._broken or self._size >= SEGMENT_BYTES:
            self._new_segment(seq)
        faults.reach("journal.before_write")
        self._broken = True  # until the frame is whole: nothing may follow one that an interrupt left in the middle
        try:
            written = os.write(self._fd, frame)
            while written < len(frame):
                written += os.write(self._fd, frame[written:])
        except OSError as error:
            self._take_back(error)
        self._size += len(frame)
        self._broken = False
        faults.reach("journal.after_write")
        if self._sync:
            self._synced()

    def _synced(self) -> None:
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            self._broken = True  # the kernel may have dropped the pages: nothing more goes into this segment
            raise StorageFailed(
                f"the disk under {self._folder} failed to sync ({error}); the last call may or may not be kept"
            ) from error
        faults.reach("journal.after_sync")

    def _take_back(self, error: OSError) -> None:
        """Cut off a frame that was written in part. Its numbers are not given again."""
        with suppress(OSError):  # then readers stop at the cut frame, and what follows goes to a new segment
            os.ftruncate(self._fd, self._size)
            self._broken = False
        kind = StorageFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageFailed
        raise kind(f"cannot write to the journal {self._folder}: {error}; nothing of the call was kept") from error

    def _new_segment(self, number: int) -> None:
        """Begin a segment; its name tells the number of its first row."""
        assert self._lane is not None
        path = self._folder / f"{self._lane.writer}.{number:020d}.seg"
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
            try:
                if os.write(fd, MAGIC) != len(MAGIC):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if self._sync:
                    os.fdatasync(fd)
                    sync_folder(self._folder)
            except OSError:
                os.close(fd)
                path.unlink()
                raise
        except OSError as error:
            kind = StorageFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageFailed
            raise kind(f"cannot begin a journal segment {path}: {error}; nothing of the call was kept") from error
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size, self._broken = fd, len(MAGIC), False
        faults.reach("journal.new_segment")

    def close(self) -> None:
        """Let go of the lane; the next append takes one again."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
            if self._lane is not None:
                self._lane.lease.release()
            self._reset()

    def _after_fork_in_child(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._reset()


_journals: "weakref.WeakSet[Journal]" = weakref.WeakSet()
_held: list[Journal] = []


def _before_fork() -> None:
    """No record is half written, and no number half given, while the process forks."""
    _held[:] = list(_journals)
    for journal in _held:
        journal._lock.acquire()


def _after_fork_in_parent() -> None:
    for journal in _held:
        journal._lock.release()
    _held.clear()


def _after_fork_in_child() -> None:
    for journal in _held:
        journal._after_fork_in_child()
    _held.clear()


@cache
def _follow_forks() -> None:
    """Register the hooks above, after those of filelock.

    Hooks run before a fork in reverse order: ours first, so that no thread waits for filelock's while it holds a
    journal that ours wait for.
    """
    import filelock  # noqa: F401 - registers its hooks

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
        )
