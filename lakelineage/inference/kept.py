"""Temporary folders that live as long as what was loaded from them."""

import os
import shutil
import tempfile
import weakref
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType


class KeptFolder(AbstractContextManager["KeptFolder"]):
    """A temporary folder that goes with the block, or else with the last who knows this object, or the process.

    Unlike ``tempfile.TemporaryDirectory`` it warns of neither: a model keeps its files for as long as it is there. A
    forked child that ends leaves the folder to its parent.

    Attributes:
        path: the folder.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="lakelineage-"))
        self._remove = weakref.finalize(self, _remove, self.path, os.getpid())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
