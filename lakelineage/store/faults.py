"""Named steps where a test may end the process, to prove that a crash there loses and doubles nothing.

A test starts a process with ``LAKELINEAGE_FAULT=<step>[:<n>]``; that process kills itself (SIGKILL) at the n-th
time it reaches the step. ``score.*`` is every step that begins so, ``*`` is each: a test that counts up goes through
all that a process does. Without the variable, :func:`reach` does nothing.
"""

import os
import signal
from fnmatch import fnmatchcase

_STEP, _, _COUNT = os.environ.get("LAKELINEAGE_FAULT", "").partition(":")
_left = int(_COUNT or 1)

#: Every step that code announces. Tests go through all of them.
STEPS = (
    "journal.before_write",
    "journal.after_write",
    "journal.after_sync",
    "journal.new_segment",
    "commit.before_append",
    "commit.after_append",
    "commit.between_tables",
    "commit.before_release",
    "commit.after_release",
    "compact.after",
    "publish.before",
    "publish.after",
    "exclusive.before",
    "exclusive.after",
    "upgrade.before",
    "upgrade.between_tables",
    "upgrade.before_mark",
    "upgrade.after",
    "forget.before_record",
    "forget.after_record",
    "approve.before_move",
    "approve.after_move",
    "score.batch",
    "score.after_rows",
    "score.after_commit",
    "score.after_pin",
)


def reach(step: str) -> None:
    """Say that this step is reached."""
    if _STEP and fnmatchcase(step, _STEP):
        _count_down()


def _count_down() -> None:
    global _left
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
