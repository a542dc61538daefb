"""SIGTERM: what schedulers send before they kill. It ends the runs of this process as KILLED.

The handler runs in the main thread between two bytecodes, and that thread may hold any lock at that moment: of a run,
of the journal, of the reader. So the work is done by a thread of its own, and the main thread waits for it only for a
while. If it does not get on, the main thread holds what it needs: it goes on, lets go, and is stopped as soon as it
would log to a run that has ended. When all is done, or after a period of grace, the process is sent SIGTERM again, with
the default action in place: it ends with the status of SIGTERM, whatever its main thread is doing.

A handler of the user's stays: it is called after the signal was noted here, and what it does decides. Python runs
handlers only when the main thread is back from a long call into C; until then nothing of this happens.
"""

import _thread
import atexit
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

_log = logging.getLogger(__name__)

#: Seconds that the main thread waits for its runs to be ended, and then for the lakes to be closed.
_WAIT_ENDED, _WAIT_CLOSED = 0.5, 5.0
#: Seconds after which the process ends although lakes are not closed. Kubernetes sends SIGKILL 30 s after SIGTERM.
_GRACE = 20.0

_arrived = False
_dying = False
_worker: int | None = None


def arrived() -> bool:
    """Whether this process was sent SIGTERM, since its first run was started."""
    return _arrived


def hold() -> None:
    """While this process ends because of SIGTERM: wait for its end, in every thread but the one that is ending it."""
    while _dying and _thread.get_ident() != _worker:
        time.sleep(_GRACE)


def watch(end_runs: Callable[[], None], close_lakes: Callable[[], None]) -> None:
    """Be told of SIGTERM from now on, unless the program ignores it or this is not the main thread.

    Args:
        end_runs: ends the runs of this process.
        close_lakes: commits what they logged.
    """
    current = signal.getsignal(signal.SIGTERM)
    if isinstance(current, _OnSigterm) or current is None or current is signal.SIG_IGN:
        return
    if threading.current_thread() is threading.main_thread():  # no other may; its next run does it
        signal.signal(signal.SIGTERM, _OnSigterm(current, end_runs, close_lakes))


@dataclass(frozen=True, slots=True, eq=False)
class _OnSigterm:
    """The handler. Args are those of :func:`watch`, and the handler that this one replaced."""

    previous: Any
    end_runs: Callable[[], None]
    close_lakes: Callable[[], None]

    def __call__(self, number: int, frame: FrameType | None) -> None:
        global _arrived, _dying
        _arrived = True
        if callable(self.previous):
            self.previous(number, frame)
            return
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whoever sends another does not want to wait
        _dying = True
        atexit.register(hold)
        ended, closed = _thread.allocate_lock(), _thread.allocate_lock()
        ended.acquire()
        closed.acquire()
        # Not threading.Thread: its start waits for the new thread, which waits for locks that we may hold.
        _thread.start_new_thread(_end, (self.end_runs, self.close_lakes, ended, closed))
        _thread.start_new_thread(_end_at_last, ())
        if ended.acquire(timeout=_WAIT_ENDED):
            closed.acquire(timeout=_WAIT_CLOSED)


def _end(
    end_runs: Callable[[], None], close_lakes: Callable[[], None], ended: _thread.LockType, closed: _thread.LockType
) -> None:
    global _worker
    _worker = _thread.get_ident()
    try:
        end_runs()
        ended.release()
        close_lakes()
    except Exception:  # noqa: BLE001 - nobody is left to catch it
        _log.exception("SIGTERM: what was logged is safe in the journal, but the lakes could not be closed")
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        closed.release()


def _end_at_last() -> None:
    time.sleep(_GRACE)
    os.kill(os.getpid(), signal.SIGTERM)


def _forget_in_child() -> None:
    """A forked child has no runs of its own yet: it gets back the handler that was there before ours."""
    global _arrived, _dying
    _arrived = _dying = False
    current = signal.getsignal(signal.SIGTERM)
    if isinstance(current, _OnSigterm):
        signal.signal(signal.SIGTERM, current.previous)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
