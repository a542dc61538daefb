"""The thread that drains the journal while a process logs."""

import logging
import os
import threading
import time
from collections.abc import Callable

from lakelineage.errors import LakelineageError
from lakelineage.store import forks

_log = logging.getLogger(__name__)

#: Seconds between drains: at least, at most.
_SHORTEST, _LONGEST = 1.0, 30.0
#: A drain may take this share of the time; a slow store or many hosts make the interval longer.
_SHARE = 0.05
#: Bytes waiting in the journal that start a drain early.
_EARLY_BYTES = 8 << 20


class Flusher:
    """Calls ``drain`` some time after something was journaled.

    Args:
        drain: commits what is journaled; says whether it did, or another process was at it.
    """

    def __init__(self, drain: Callable[[], bool]) -> None:
        self._drain = drain
        self._interval = _SHORTEST
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._waiting = 0
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._early = threading.Event()
        self._stopped = False
        self._starting = threading.Lock()

    @property
    def waiting(self) -> int:
        """Bytes journaled by this process since the last drain began."""
        return self._waiting if self._pid == os.getpid() else 0

    def notify(self, size: int) -> None:
        """Take note that a record of so many bytes was journaled."""
        if self._pid != os.getpid():
            self._reset()
        self._waiting += size
        if self._thread is None:
            self._start()
        elif self._waiting >= _EARLY_BYTES:
            self._early.set()
        if not self._wake.is_set():
            self._wake.set()

    def _start(self) -> None:
        if self._stopped or not forks.usable():
            return  # a forked child logs; its parent, or the next process, commits
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="lakelineage-flusher", daemon=True)
                self._thread.start()

    def _loop(self) -> None:
        while True:
            self._wake.wait()
            self._early.wait(self._interval)
            if self._stopped:
                return
            self._wake.clear()
            self._early.clear()
            self._once()

    def _once(self) -> None:
        self._waiting = 0
        begun = time.monotonic()
        try:
            if not self._drain():
                self._wake.set()  # the other process may have looked before our last record: look again
        except Exception as error:  # noqa: BLE001 - were the thread to die, nothing more would reach the tables
            self._interval = min(_LONGEST, self._interval * 2)
            self._wake.set()
            known = isinstance(error, LakelineageError)
            _log.warning(
                "what was logged is safe in the journal but not yet in the tables; trying again: %s",
                error,
                exc_info=not known,
            )
            return
        took = time.monotonic() - begun
        self._interval = min(_LONGEST, max(_SHORTEST, took / _SHARE))

    def stop(self) -> None:
        """End the thread; a drain that is running is finished first."""
        if self._pid != os.getpid() or self._thread is None:
            self._stopped = True
            return
        self._stopped = True
        self._wake.set()
        self._early.set()
        if self._thread is not threading.current_thread():
            self._thread.join()
