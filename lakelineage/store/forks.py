"""Guards the Delta engine against forks.

The engine's runtime does not survive a fork: once a process has used it, any call in a forked child panics
(measured, see FACTS in the design notes and decisions/003). So every use is announced here first, and a child
that inherited a used engine gets an error it can act on.
"""

import os

from lakelineage.errors import ForkedProcess

_used_by: int | None = None


def usable() -> bool:
    """Whether this process may use the Delta engine."""
    return _used_by in (None, os.getpid())


def guard() -> None:
    """Announce a use of the Delta engine.

    Raises:
        ForkedProcess: this process was forked from one that had used it.
    """
    global _used_by
    if not usable():
        raise ForkedProcess(
            f"process {os.getpid()} was forked from {_used_by}, which had used the Delta engine; logging works here, "
            "but reading, pinning and registering do not: do those in the parent, or start workers with the "
            "'spawn' or 'forkserver' method"
        )
    _used_by = os.getpid()
