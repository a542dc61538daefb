"""Why a run failed: the traceback of the exception that ended it."""

import logging
import traceback
from typing import TYPE_CHECKING

from lakelineage.model.values import RunStatus
from lakelineage.tracking import termination

if TYPE_CHECKING:
    from lakelineage.tracking.active import ActiveRun

_log = logging.getLogger(__name__)

#: Artifact with the whole traceback.
PATH = "error/traceback.txt"
#: Tag with its last line, such as ``ValueError: message``, to search by.
TAG = "lakelineage.error"
#: Characters of that line that the tag keeps; the artifact is whole.
_TAG_LENGTH = 500


def status_after(error: BaseException | None) -> RunStatus:
    """The status of a run whose block an exception left.

    ``sys.exit(0)`` and the closing of a generator are no failure. A ``sys.exit`` after SIGTERM arrived is how programs
    obey it: the run was killed.
    """
    if error is None or isinstance(error, GeneratorExit):
        return RunStatus.FINISHED
    if isinstance(error, SystemExit):
        if termination.arrived():
            return RunStatus.KILLED
        return RunStatus.FINISHED if error.code in (None, 0) else RunStatus.FAILED
    return RunStatus.FAILED


def end_after(run: "ActiveRun", error: BaseException) -> None:
    """End a run that an exception ended, with its traceback. Nothing raised here hides that exception."""
    status = status_after(error)
    try:
        if status is RunStatus.FAILED:
            _keep(run, error)
    except Exception as trouble:  # noqa: BLE001 - whatever it is, the user's exception matters more
        _log.warning("the traceback of run %s could not be kept: %s", run.id, trouble)
    try:
        run.end(status)
    except Exception as trouble:  # noqa: BLE001 - the same
        _log.warning("run %s could not be ended as %s: %s", run.id, status, trouble)


def _keep(run: "ActiveRun", error: BaseException) -> None:
    told = traceback.TracebackException.from_exception(error)
    run.set_tag(TAG, _storable("".join(told.format_exception_only()).strip())[:_TAG_LENGTH])
    run.log_text(_storable("".join(told.format())), PATH)


def _storable(text: str) -> str:
    """Text with what no store holds written out: lone surrogates and NUL."""
    return text.encode(errors="backslashreplace").decode().replace("\x00", "\\x00")
