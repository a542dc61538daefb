"""Asking git: quietly, without a lock or a daemon, for a limited time, and about the repository that is meant."""

import os
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

#: Seconds that git may take where a run waits for it. A slow disk must not hold up training.
GIT_TIMEOUT = 2.0
#: Variables that point git at another repository than the one it is asked about (hooks set them, for one).
_MISLEADING = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_PREFIX",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_EXTERNAL_DIFF",
    "GIT_DIFF_OPTS",
)
#: A partial clone must not fetch from the network because somebody looks; paths are paths, whatever signs they have.
_QUIET = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_LITERAL_PATHSPECS": "1",
    "LC_ALL": "C",
}


class GitFailed(Exception):
    """Git is not installed, failed, took too long or said too much; the message says which.

    No part of the tree of errors: it never leaves tracking, for a run goes on without git.
    """


def start(
    folder: Path, arguments: Sequence[str], more: Mapping[str, str] | None = None, *, stdin: int = subprocess.DEVNULL
) -> "subprocess.Popen[bytes]":
    """Start git in a folder; its answer is to be read by :func:`finish`.

    Args:
        folder: where git looks for a repository.
        arguments: command and options.
        more: variables of the environment.
        stdin: what it reads; default nothing.

    Raises:
        GitFailed: it is not installed.
    """
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    env = {name: value for name, value in os.environ.items() if name not in _MISLEADING} | _QUIET | dict(more or {})
    try:
        return subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env)
    except OSError as error:
        raise GitFailed(f"git cannot be started: {error}") from error


def finish(
    git: "subprocess.Popen[bytes]", deadline: float, *, feed: bytes | None = None, longest: int | None = None
) -> bytes:
    """What git says.

    Args:
        git: as :func:`start` made it.
        deadline: reading of ``time.monotonic`` at which it is stopped.
        feed: what it reads.
        longest: bytes after which it is stopped; default any number.

    Raises:
        GitFailed: it failed, took too long or said more.
    """
    with git:
        try:
            if longest is None:
                out, _ = git.communicate(feed, timeout=max(0.0, deadline - time.monotonic()))
            else:
                out = _read(git, deadline, longest)
                git.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            git.kill()
            raise GitFailed("git took too long") from None
        except GitFailed:
            git.kill()
            raise
    if git.returncode != 0:
        raise GitFailed(f"git failed with exit code {git.returncode}")
    return out


def _read(git: "subprocess.Popen[bytes]", deadline: float, longest: int) -> bytes:
    assert git.stdout is not None
    parts: list[bytes] = []
    size = 0
    with selectors.DefaultSelector() as waiting:
        waiting.register(git.stdout, selectors.EVENT_READ)
        while True:
            if not waiting.select(max(0.0, deadline - time.monotonic())):
                raise subprocess.TimeoutExpired("git", 0)
            part = os.read(git.stdout.fileno(), 1 << 16)
            if not part:
                return b"".join(parts)
            parts.append(part)
            size += len(part)
            if size > longest:
                raise GitFailed(f"it is larger than {longest:,} bytes")


def ask(
    folder: Path,
    arguments: Sequence[str],
    deadline: float,
    more: Mapping[str, str] | None = None,
    *,
    feed: bytes | None = None,
    longest: int | None = None,
) -> bytes:
    """:func:`start`, then :func:`finish`."""
    stdin = subprocess.DEVNULL if feed is None else subprocess.PIPE
    return finish(start(folder, arguments, more, stdin=stdin), deadline, feed=feed, longest=longest)
