"""What a run captures by itself: who, where, which code and which packages. Gathered once per process."""

import functools
import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lakelineage.model.ids import digest
from lakelineage.tracking import git
from lakelineage.tracking.source import main_source

if TYPE_CHECKING:
    import subprocess

_DIST_INFO = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)\.dist-info")


@dataclass(frozen=True, slots=True)
class Environment:
    """Python and what is installed.

    Attributes:
        environment_id: digest of the rest: 32 hex digits, the same on every machine where the rest is.
        python: version, such as ``3.11.7``.
        platform: operating system, machine and C library.
        packages: (name, version) of every installed distribution, sorted. Names are in the form of PEP 503.
    """

    environment_id: str
    python: str
    platform: str
    packages: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Captured:
    """Where a run comes from.

    Attributes:
        user: login name, ``LAKELINEAGE_USER`` where that is set (a service's user, say), ``uid:…`` where there is no
            name.
        host: name of the machine.
        source: absolute path of the program's main file or notebook; None at a prompt, or if it cannot be found.
        git_commit: revision of the repository that holds ``source`` (or else the working directory); None outside one.
        git_branch: branch of it; None outside one, or when no branch is checked out.
        git_dirty: whether tracked files differ from that revision; None outside one.
        environment: Python and packages.
        source_type: script, module, notebook or console (a prompt, ``-c``, standard input).
        source_hash: SHA-256 of the main file's content as it was at the first run; None where there is no file.
    """

    user: str
    host: str
    source: str | None
    git_commit: str | None
    git_branch: str | None
    git_dirty: bool | None
    environment: Environment
    source_type: str
    source_hash: str | None


@functools.cache
def capture() -> Captured:
    """Where runs of this process come from: gathered at the first call, and the same object ever after.

    A forked child has its parent's. Nothing here raises: what cannot be found out is None.
    """
    import platform

    main = main_source()
    # git works while we read the packages.
    asked = _start_git(main.folder)
    environment = _environment()
    commit, branch, dirty = _git_state(_finish(asked))
    return Captured(
        user=current_user(),
        host=platform.node(),
        source=None if main.path is None else str(main.path),
        git_commit=commit,
        git_branch=branch,
        git_dirty=dirty,
        environment=environment,
        source_type=main.type,
        source_hash=main.sha256,
    )


def current_user() -> str:
    """Who is at work: ``LAKELINEAGE_USER`` (a service's user, say), else the login name, else the numeric user id."""
    import getpass

    named = os.environ.get("LAKELINEAGE_USER")
    if named:
        return named
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        # A container may run as a user id that no passwd file knows.
        return f"uid:{os.getuid()}"


def _start_git(folder: Path) -> "subprocess.Popen[bytes] | None":
    """One git process that tells all at once; None if it is not installed."""
    command = ["status", "--porcelain=v2", "--branch", "--no-ahead-behind", "--untracked-files=no"]
    try:
        return git.start(folder, [*command, "--ignore-submodules=dirty"])
    except git.GitFailed:
        return None


def _finish(asked: "subprocess.Popen[bytes] | None") -> str | None:
    """What git said; None if it is not installed, failed, or took too long."""
    if asked is None:
        return None
    try:
        return git.finish(asked, time.monotonic() + git.GIT_TIMEOUT).decode(errors="replace")
    except git.GitFailed:
        return None


def _git_state(status: str | None) -> tuple[str | None, str | None, bool | None]:
    """Commit, branch and dirty flag, from ``git status --porcelain=v2 --branch``."""
    if status is None:
        return None, None, None
    lines = status.splitlines()
    header = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# ") and line.count(" ") >= 2)
    commit, branch = header.get("branch.oid"), header.get("branch.head")
    return (
        None if commit == "(initial)" else commit,
        None if branch == "(detached)" else branch,
        any(not line.startswith("#") for line in lines),
    )


def _environment() -> Environment:
    import platform

    packages = _packages()
    python, system = platform.python_version(), platform.platform()
    parts = [python, system, *(part for package in packages for part in package)]
    return Environment(digest(parts), python, system, packages)


def _packages() -> tuple[tuple[str, str], ...]:
    """Installed distributions. What comes first on ``sys.path`` hides what comes later, as for imports."""
    found: dict[str, str] = {}
    for folder in sys.path:
        for name, version in _distributions(Path(folder or ".")):
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), version)
    return tuple(sorted(found.items()))


def _distributions(folder: Path) -> Iterator[tuple[str, str]]:
    """Distributions of one folder, from the names of their ``.dist-info`` folders.

    Those names hold name and version ("Recording installed projects", PyPA). Reading every METADATA file, as
    ``importlib.metadata`` does, takes tens of times as long; only older forms need it.
    """
    try:
        entries = [entry.name for entry in os.scandir(folder)]
    except OSError:
        # sys.path may name zip files and folders that do not exist.
        return
    for entry in entries:
        match = _DIST_INFO.fullmatch(entry)
        if match:
            yield match["name"], match["version"]
        elif entry.endswith((".dist-info", ".egg-info")):
            yield from _from_metadata(folder / entry)


def _from_metadata(path: Path) -> Iterator[tuple[str, str]]:
    from importlib.metadata import Distribution

    metadata = Distribution.at(path).metadata
    # What an uninstall left behind may be an empty folder.
    if "Name" in metadata and "Version" in metadata:
        yield metadata["Name"], metadata["Version"]
