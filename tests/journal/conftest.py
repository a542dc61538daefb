"""What tests of crashes, races and forks share: real processes that run small programs on a lake."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts ``start(code, *args, **environment)`` as a process of its own; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []
    programs = tmp_path / "programs"
    programs.mkdir()

    def run(code: str, *args: object, **environment: str) -> "subprocess.Popen[str]":
        program = programs / f"program_{len(started)}.py"
        program.write_text(textwrap.dedent(code))
        process = subprocess.Popen(
            [sys.executable, str(program), *map(str, args)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finished(process: "subprocess.Popen[str]", timeout: float = 120.0) -> str:
    """Wait for a process that must succeed, and return what it printed."""
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, f"exit code {process.returncode}\n{err[-3000:]}"
    return out


@pytest.fixture
def done() -> Callable[..., str]:
    """:func:`finished`, for tests (which cannot import a conftest)."""
    return finished
