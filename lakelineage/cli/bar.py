"""A bar on stderr while something takes long, where somebody sees it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lakelineage.cli.output import make_console
from lakelineage.cli.session import Session


@contextmanager
def bar(session: Session, what: str, total: int | None) -> Iterator[Callable[[int], None] | None]:
    """What to tell the progress to; None where nobody looks.

    Args:
        session: the call.
        what: is done.
        total: how much there is; None if nobody knows.
    """
    console = make_console(sys.stderr)
    if session.as_json or not console.is_terminal:
        yield None
        return
    from rich import progress as bars

    shown = (bars.TextColumn(what), bars.BarColumn(), bars.TaskProgressColumn(), bars.TimeRemainingColumn())
    with bars.Progress(*shown, console=console, transient=True) as drawn:
        task = drawn.add_task(what, total=total)
        yield lambda done: drawn.update(task, completed=done)


@contextmanager
def phases(session: Session) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """What to tell, of work in several parts: what is done now, how far, and of how much; None where nobody looks.

    Args:
        session: the call.
    """
    console = make_console(sys.stderr)
    if session.as_json or not console.is_terminal:
        yield None
        return
    from rich import progress as bars

    shown = (bars.TextColumn("{task.description}"), bars.BarColumn(), bars.MofNCompleteColumn())
    with bars.Progress(*shown, console=console, transient=True) as drawn:
        task = drawn.add_task("", total=None)
        yield lambda what, done, total: drawn.update(task, description=what, completed=done, total=total)
