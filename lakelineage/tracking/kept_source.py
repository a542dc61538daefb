"""The code of runs as artifacts below ``source/``, so that it can be looked at for ever.

Kept are: what is not committed (``uncommitted.diff``), the main file where the commit does not have it as it is, and
of a notebook the file and the cells that were executed. The variable ``LAKELINEAGE_CAPTURE_DIFF=0`` leaves the diff
out, ``LAKELINEAGE_CAPTURE_SOURCE=0`` all of it: for code that must not leave its repository.

Git is asked once per process, by a thread that the first run starts: training does not wait for it. The end of a run
does, so that a run that has ended has its code. Nothing here makes a run fail: what cannot be kept is logged, and said
in the tag ``lakelineage.source.diff``.
"""

import hashlib
import logging
import os
import sysconfig
import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from lakelineage.engine import Engine
from lakelineage.errors import InvalidInput, LakelineageError
from lakelineage.model import validate
from lakelineage.model.changes import Rows
from lakelineage.tables import ARTIFACTS, TAGS_HISTORY
from lakelineage.tracking import diff, notebooks
from lakelineage.tracking.capture import capture
from lakelineage.tracking.source import MainSource, main_source

_log = logging.getLogger(__name__)

#: Folder of the code among a run's artifacts.
FOLDER = "source"
DIFF = f"{FOLDER}/uncommitted.diff"
#: Cells of a notebook's kernel, at the end of the run.
EXECUTED = f"{FOLDER}/executed.py"
#: Tag that says what the diff lacks, and why.
REMARK = "lakelineage.source.diff"


class _File:
    """One file of code, and where lakes have it already."""

    def __init__(self, path: str, content: bytes) -> None:
        self.path = path
        self.content = content
        self.sha256 = hashlib.sha256(content).hexdigest()
        #: By lake: a local file with the content, and what tells that nobody has changed it.
        self._copies: dict[str, tuple[Path, tuple[int, int, int]]] = {}

    def put(self, engine: Engine, run_id: str) -> tuple[object, ...]:
        """Have it among the artifacts of a run, and return its row."""
        place = f"artifacts/{run_id}/{self.path}"
        if not self._linked(engine, place):
            engine.root.write(place, self.content)
            if engine.root.local is not None:
                file = engine.root.local / place
                self._copies[engine.root.uri] = (file, _identity(file))
        return ARTIFACTS.row(run_id=run_id, path=self.path, size=len(self.content), sha256=self.sha256)

    def _linked(self, engine: Engine, place: str) -> bool:
        file, identity = self._copies.get(engine.root.uri, (None, None))
        try:
            unchanged = file is not None and _identity(file) == identity
        except OSError:
            unchanged = False  # that run's artifacts were taken away
        return unchanged and file is not None and engine.root.link(file, place, sync=engine.durability == "power")


def _identity(file: Path) -> tuple[int, int, int]:
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


@dataclass(frozen=True, slots=True)
class _Code:
    """The code of this process, as its runs keep it."""

    files: tuple[_File, ...] = ()
    remark: str | None = None

    def put(self, engine: Engine, run_id: str) -> tuple[Rows, ...]:
        """Have it among the artifacts of a run, and return the rows that say so."""
        rows = tuple(file.put(engine, run_id) for file in self.files)
        found = [Rows(ARTIFACTS.name, rows)] if rows else []
        if self.remark is not None:
            found.append(Rows(TAGS_HISTORY.name, ((run_id, REMARK, self.remark),)))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A run whose code is not among its artifacts yet."""

    engine: "weakref.ref[Engine]"
    notebook: _File | None


@dataclass
class _Keeper:
    """What this process knows of its code, and the runs that wait for it."""

    code: _Code | None = None
    #: Runs that the thread works for, the oldest first.
    waiting: dict[str, _Waiting] = field(default_factory=dict)
    #: Runs that only their end works for: those of the parent, in a forked child, and those of a lake that was closed.
    left: dict[str, _Waiting] = field(default_factory=dict)
    #: Runs of a notebook, whose cells are kept at their end.
    with_cells: set[str] = field(default_factory=set)
    #: Held while code is gathered and kept.
    work: threading.Lock = field(default_factory=threading.Lock)
    #: Held for a moment, to begin or end the thread.
    starting: threading.Lock = field(default_factory=threading.Lock)
    thread: threading.Thread | None = None


_keeper = _Keeper()


def wanted(what: str = "SOURCE") -> bool:
    """Whether code may be kept."""
    return os.environ.get(f"LAKELINEAGE_CAPTURE_{what}", "1").strip().lower() not in ("0", "false", "no", "off")


def at_start(engine: Engine, run_id: str, main: MainSource) -> tuple[Rows, ...] | None:
    """Keep what is known of the code at the start of a run.

    Args:
        engine: the open lake.
        run_id: the run; it is not journaled yet.
        main: its program.

    Returns:
        Rows for the change that starts it; None if that takes longer, and :func:`later` is to do it.
    """
    if not wanted():
        return ()
    code = _keeper.code
    if code is None or main.type == "notebook":
        return None  # git is not done, or the file of the notebook is another each time
    if engine.root.local is None and (code.files or code.remark):
        return None
    try:
        return code.put(engine, run_id)
    except LakelineageError as error:
        _tell(run_id, error)
        return ()


def later(engine: Engine, run_id: str, main: MainSource) -> None:
    """Have the thread keep the code of a run, whose start is journaled."""
    notebook = None
    if main.type == "notebook":
        _keeper.with_cells.add(run_id)
        if main.path is not None and main.content is not None:
            notebook = _File(main_place(main.path), main.content)
    _keeper.waiting[run_id] = _Waiting(weakref.ref(engine), notebook)
    with _keeper.starting:
        if _keeper.thread is None:
            thread = threading.Thread(target=_keep_waiting, name="lakelineage-source", daemon=True)
            with suppress(RuntimeError):  # the program is ending: the end of the run will do it
                thread.start()
                _keeper.thread = thread


def at_end(engine: Engine, run_id: str) -> None:
    """Return when the code of a run is among its artifacts. No error: what cannot be kept is logged."""
    if run_id in _keeper.waiting or run_id in _keeper.left:
        with _keeper.work:
            found = _keeper.waiting.pop(run_id, None) or _keeper.left.pop(run_id, None)
            if found is not None:
                _keep(engine, run_id, found.notebook)
    if run_id in _keeper.with_cells:
        _keeper.with_cells.discard(run_id)
        cells = _File(EXECUTED, notebooks.executed().encode(errors="replace"))
        _put(engine, run_id, _Code((cells,)))


def _keep_waiting() -> None:
    """Keep the code of the runs that wait, until none does."""
    while True:
        with _keeper.starting:
            if not _keeper.waiting:
                _keeper.thread = None
                return
        with _keeper.work:
            run_id, found = next(iter(list(_keeper.waiting.items())), ("", None))
            engine = None if found is None else found.engine()
            if found is not None and engine is not None:
                if engine.closed:
                    _keeper.left[run_id] = found
                else:
                    _keep(engine, run_id, found.notebook)
            _keeper.waiting.pop(run_id, None)
            del engine  # the lake may be let go of while this thread waits


def _keep(engine: Engine, run_id: str, notebook: _File | None) -> None:
    if _keeper.code is None:
        _keeper.code = _gather()
    code = _keeper.code
    _put(engine, run_id, code if notebook is None else replace(code, files=(*code.files, notebook)))


def _put(engine: Engine, run_id: str, code: _Code) -> None:
    try:
        rows = code.put(engine, run_id)
        if rows:
            engine.append(rows)
    except (LakelineageError, OSError) as error:
        _tell(run_id, error)


def _tell(run_id: str, error: Exception) -> None:
    _log.warning("the code of run %s is not among its artifacts: %s", run_id, error)


def _gather() -> _Code:
    """The code of this process, by what git says."""
    captured, main = capture(), main_source()
    found = diff.Uncommitted()
    if captured.git_commit is not None and wanted("DIFF"):
        found = diff.uncommitted(main.folder, captured.git_commit, bool(captured.git_dirty))
    files = [] if found.diff is None else [_File(DIFF, found.diff)]
    if main.type != "notebook" and main.path is not None and main.content is not None:
        in_git = captured.git_commit is not None and (
            diff.committed(main.folder, captured.git_commit, main.path) == main.content
        )
        if not in_git and not _installed(main.path):
            files.append(_File(main_place(main.path), main.content))
    return _Code(tuple(files), found.remark)


def _installed(path: Path) -> bool:
    """Whether a file belongs to an installed package, which the environment tells: a command, or a module of it."""
    places = {sysconfig.get_path(name) for name in ("scripts", "purelib", "platlib", "stdlib")}
    return any(path.is_relative_to(place) for place in places if place)


def main_place(path: Path) -> str:
    """Where a main file is among the artifacts."""
    try:
        return validate.artifact_path(f"{FOLDER}/{path.name}")
    except InvalidInput:
        return f"{FOLDER}/main{path.suffix}"  # such as a name that is no Unicode


def _after_fork() -> None:
    """In a forked child: the thread is not here, and may have held the locks. The parent keeps the code of its runs."""
    _keeper.work, _keeper.starting, _keeper.thread = threading.Lock(), threading.Lock(), None
    _keeper.left.update(_keeper.waiting)
    _keeper.waiting.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
