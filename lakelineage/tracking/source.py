"""Which program a run comes from: a script, a module, a notebook, or what was typed at a prompt."""

import functools
import hashlib
import sys
from dataclasses import dataclass, field
from pathlib import Path

from lakelineage.tracking import notebooks

#: Bytes of a source file that are kept. What is longer was not written by a person, and is known by its hash only.
LONGEST_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class MainSource:
    """The program of this process.

    Attributes:
        type: script, module (``python -m``), notebook or console (a prompt, ``-c``, standard input).
        path: its main file, or the notebook; None where there is none, or it cannot be found.
        content: of the file; None where there is no file, it is too long or cannot be read.
        sha256: of that content, too long or not.
        folder: where its repository is looked for.
    """

    type: str
    path: Path | None = None
    content: bytes | None = None
    sha256: str | None = None
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", self.path.parent if self.path else Path.cwd())


def current() -> MainSource:
    """The program of this process. A notebook is read again: it goes on being written while its kernel runs."""
    main = main_source()
    if main.type != "notebook" or main.path is None:
        return main
    try:
        found = main.path.stat()
    except OSError:
        return main  # renamed meanwhile
    return _notebook(main.path, found.st_mtime_ns, found.st_size)


@functools.lru_cache(maxsize=1)
def _notebook(path: Path, changed_at: int, size: int) -> MainSource:  # noqa: ARG001 - they tell revisions apart
    return read("notebook", path, notebooks.LONGEST_NOTEBOOK)


@functools.cache
def main_source() -> MainSource:
    """The program of this process, as it was when this was first called.

    A file that is edited while it runs is not what runs, so it is read as early as a run is started.
    """
    if notebooks.in_kernel():
        return read("notebook", notebooks.path(), notebooks.LONGEST_NOTEBOOK)
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    path = Path(file).absolute() if file else None
    # Our own command line is nobody's training code: the folder that it was called in tells the revision.
    ours = path is not None and (path.name == "lakelineage" or path == Path(__file__).parents[1] / "__main__.py")
    if path is None or ours or not path.is_file():
        return MainSource("console")
    spec = getattr(main, "__spec__", None)
    # A folder or zip file that is run has a spec too, whose name is just this.
    as_module = spec is not None and spec.name != "__main__"
    return read("module" if as_module else "script", path, LONGEST_FILE)


def read(kind: str, path: Path | None, longest: int) -> MainSource:
    """A program and the content of its file.

    Args:
        kind: its type.
        path: its file, if it has one.
        longest: bytes that are held.
    """
    if path is None:
        return MainSource(kind)
    try:
        content = path.read_bytes()
    except OSError:
        return MainSource(kind, path)  # it may have been deleted while it runs
    return MainSource(kind, path, content if len(content) <= longest else None, hashlib.sha256(content).hexdigest())
