"""What a work tree has that its commit has not, as a patch for ``git apply``. The repository is not touched."""

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lakelineage.tracking import git

#: Bytes of a patch. A longer one is not kept: it is data, not code.
LONGEST_DIFF = 10 << 20
#: Bytes of an untracked file that goes into the patch, and of all of them together. What is beyond is listed.
LONGEST_UNTRACKED = 1 << 20
ALL_UNTRACKED = 5 << 20
#: Seconds for all questions together. Training does not wait for them, but the end of a run does.
TIMEOUT = 5.0
#: The user's settings must not change the form of the patch, nor what git writes.
_SETTINGS = {
    "core.quotePath": "true",
    "core.safecrlf": "false",
    "core.splitIndex": "false",
    "core.untrackedCache": "false",
    "diff.mnemonicPrefix": "false",
    "diff.noprefix": "false",
    "diff.orderFile": os.devnull,
    "gc.auto": "0",
}
_OPTIONS = [option for name, value in _SETTINGS.items() for option in ("-c", f"{name}={value}")]
_FORM = ["--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color"]
_FORM += ["--submodule=short", "--ignore-submodules=dirty", "--src-prefix=a/", "--dst-prefix=b/"]


@dataclass(frozen=True, slots=True)
class Uncommitted:
    """What is not committed.

    Attributes:
        diff: the patch; None where nothing is uncommitted, or it could not be had.
        left_out: untracked files that are not in it, for their size, with their sizes in bytes; folders that are
            repositories themselves have the size 0.
        failure: why there is no patch, though there is something uncommitted.
    """

    diff: bytes | None = None
    left_out: tuple[tuple[str, int], ...] = ()
    failure: str | None = None

    @property
    def remark(self) -> str | None:
        """What a reader of the run must know; None if the patch is whole."""
        if self.failure is not None:
            return f"not kept: {self.failure}"
        if not self.left_out:
            return None
        named = ", ".join(f"{name} ({size:,} bytes)" for name, size in self.left_out[:20])
        more = f" and {len(self.left_out) - 20:,} more" if len(self.left_out) > 20 else ""
        return f"without large untracked files: {named}{more}"[:4_000]


def uncommitted(folder: Path, commit: str, dirty: bool, timeout: float = TIMEOUT) -> Uncommitted:
    """What the work tree that holds a folder has beyond a commit: changed, deleted and new files, but no ignored ones.

    Applied to a clean checkout of the commit (``git apply``), the patch gives the work tree again, byte for byte, but
    for what ``left_out`` names.

    Args:
        folder: in the work tree.
        commit: full id.
        dirty: whether tracked files are known to differ.
        timeout: seconds for all of it.
    """
    deadline = time.monotonic() + timeout
    try:
        top, index, objects = _places(folder, deadline)
        untracked, unmerged = _listed(top, deadline)
        embedded, left_out = _chosen(top, untracked)
        if not (dirty or embedded or unmerged):
            return Uncommitted(left_out=left_out)
        # Not TemporaryDirectory: in a forked child that exits, its finalizer would remove the parent's folder.
        scratch = Path(tempfile.mkdtemp(prefix="lakelineage-git-"))
        try:
            env = _scratch(scratch, index, objects)
            if embedded or unmerged:
                feed = b"".join(path + b"\0" for path in (*embedded, *unmerged))
                git.ask(
                    top,
                    [*_OPTIONS, "update-index", "--add", "--remove", "--replace", "-z", "--stdin"],
                    deadline,
                    env,
                    feed=feed,
                )
            arguments = [*_OPTIONS, "diff", *_FORM, commit, "--"]
            found = git.ask(top, arguments, deadline, env, longest=LONGEST_DIFF)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except (git.GitFailed, OSError) as error:
        return Uncommitted(failure=str(error))
    return Uncommitted(found or None, left_out)


def committed(folder: Path, commit: str, path: Path, timeout: float = TIMEOUT) -> bytes | None:
    """A file as a commit has it; None if the commit, or the file in it, is not here.

    Args:
        folder: in the work tree.
        commit: full id.
        path: absolute path of the file.
        timeout: seconds.
    """
    try:
        relative = os.path.relpath(path, folder)
        return git.ask(folder, ["cat-file", "blob", f"{commit}:./{relative}"], time.monotonic() + timeout)
    except git.GitFailed:
        return None


def _places(folder: Path, deadline: float) -> tuple[Path, Path, Path]:
    """Top of the work tree, its index, and the folder of the repository's objects."""
    arguments = [
        "rev-parse",
        "--path-format=absolute",
        "--show-toplevel",
        "--git-path",
        "index",
        "--git-path",
        "objects",
    ]
    lines = os.fsdecode(git.ask(folder, arguments, deadline)).removesuffix("\n").split("\n")
    if len(lines) != 3:
        raise git.GitFailed("the paths of the repository cannot be read")
    return Path(lines[0]), Path(lines[1]), Path(lines[2])


def _listed(top: Path, deadline: float) -> tuple[list[bytes], list[bytes]]:
    """Paths of untracked files that are not ignored, and of those that a merge left in conflict."""
    arguments = [*_OPTIONS, "ls-files", "-z", "-t", "--others", "--unmerged", "--exclude-standard"]
    entries = git.ask(top, arguments, deadline).split(b"\0")
    untracked = [entry[2:] for entry in entries if entry.startswith(b"? ")]
    unmerged = {entry.split(b"\t", 1)[1]: None for entry in entries if entry.startswith(b"M ")}
    return untracked, list(unmerged)


def _chosen(top: Path, untracked: Sequence[bytes]) -> tuple[list[bytes], tuple[tuple[str, int], ...]]:
    """Untracked files for the patch, the smallest first, and those that are too large for it."""
    sizes = {path: _size(os.path.join(os.fsencode(top), path)) for path in untracked}
    room = ALL_UNTRACKED
    embedded: list[bytes] = []
    left_out: list[tuple[str, int]] = []
    for path, size in sorted(((p, s) for p, s in sizes.items() if s is not None), key=lambda found: found[1]):
        if path.endswith(b"/"):
            left_out.append((path.decode(errors="replace"), 0))
        elif size <= LONGEST_UNTRACKED and size <= room:
            embedded.append(path)
            room -= size
        else:
            left_out.append((path.decode(errors="replace"), size))
    return embedded, tuple(sorted(left_out))


def _size(path: bytes) -> int | None:
    """Bytes of what a path holds; None if it went away meanwhile or cannot be read."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_size if stat.S_ISLNK(found.st_mode) or os.access(path, os.R_OK) else None


def _scratch(scratch: Path, index: Path, objects: Path) -> dict[str, str]:
    """An index and a store of objects that git may write to, in place of the user's."""
    if index.exists():
        shutil.copyfile(index, scratch / "index")
    (scratch / "objects").mkdir()
    others = os.environ.get("GIT_ALTERNATE_OBJECT_DIRECTORIES")
    quoted = '"' + str(objects).replace("\\", "\\\\").replace('"', '\\"') + '"'  # it may have a colon
    return {
        "GIT_INDEX_FILE": str(scratch / "index"),
        "GIT_OBJECT_DIRECTORY": str(scratch / "objects"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": quoted + (os.pathsep + others if others else ""),
    }
