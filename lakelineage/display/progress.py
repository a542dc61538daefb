"""A bar for what takes long, in a terminal or a notebook."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: What a verb takes as ``progress``: a function that is told how much is done, or whether to show a bar.
Progress = bool | Callable[[int], None] | None


@contextmanager
def reporting(progress: Progress, what: str, total: int | None, unit: str) -> Iterator[Callable[[int], None] | None]:
    """What to tell the progress to.

    Args:
        progress: a function; True for a bar (on stderr, or a widget in a notebook that has ipywidgets); False or None
            for nothing.
        what: is done.
        total: how much there is; None if nobody knows.
        unit: of it.
    """
    if progress is None or progress is False:
        yield None
        return
    if progress is not True:
        yield progress
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that ipywidgets is missing: a bar of text does as well
        from tqdm.auto import tqdm
    with tqdm(desc=what, total=total, unit=unit, unit_scale=True) as bar:

        def tell(done: int) -> None:
            bar.update(done - bar.n)

        yield tell
