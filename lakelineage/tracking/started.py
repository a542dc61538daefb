"""The runs of this process: which it has to end, and which is the innermost of the current block."""

import atexit
import logging
import os
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING

from lakelineage.engine import close_all
from lakelineage.errors import LakelineageError, RunFinished
from lakelineage.model.values import RunStatus
from lakelineage.tracking import failure, termination

if TYPE_CHECKING:
    from lakelineage.tracking.active import ActiveRun

_log = logging.getLogger(__name__)
_blocks: ContextVar[tuple["ActiveRun", ...]] = ContextVar("lakelineage_blocks", default=())
#: Runs that this process has to end, with the process that has to: a forked child inherits the list, not the duty.
_started: dict[tuple[int, str], tuple["ActiveRun", int]] = {}


def add(run: "ActiveRun") -> None:
    """This process started the run, or holds it in a ``with`` block: it ends at the latest with the process."""
    _started[id(run), run.id] = run, os.getpid()
    termination.watch(end_runs, close_all)


def discard(run: "ActiveRun") -> None:
    """The run has ended, or somebody else will end it."""
    _started.pop((id(run), run.id), None)


def enter(run: "ActiveRun") -> None:
    """The block of a run begins."""
    _blocks.set((*_blocks.get(), run))


def leave(run: "ActiveRun") -> bool:
    """The block of a run ends; says whether this process has to end the run."""
    _blocks.set(tuple(each for each in _blocks.get() if each is not run))
    return _started.get((id(run), run.id), (run, 0))[1] == os.getpid()


def innermost() -> "ActiveRun | None":
    """The innermost run of the ``with`` blocks around the caller that has not ended; None outside of any."""
    return next((run for run in reversed(_blocks.get()) if not run.status.ended), None)


def end_runs() -> None:
    """End the runs that this process has to end, because it ends; those of lakes that were closed before, too.

    KILLED after SIGTERM, FAILED after an exception that nobody caught, else FINISHED.
    """
    uncaught = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
    for run, process in list(_started.values()):
        if process != os.getpid() or run.status.ended:
            continue
        try:
            if termination.arrived() or uncaught is None:
                _end(run, RunStatus.KILLED if termination.arrived() else RunStatus.FINISHED)
            else:
                failure.end_after(run, uncaught)
        except LakelineageError as error:  # nobody is left to catch it, and other runs want ending too
            _log.warning("run %s could not be ended: %s", run.id, error)


def _end(run: "ActiveRun", status: RunStatus) -> None:
    try:
        run.end(status)
    except RunFinished:
        discard(run)  # its own thread was a moment faster


atexit.register(end_runs)  # after the engine, so that it comes before the lakes are closed
