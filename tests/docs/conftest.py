"""Runs the samples of a page in an empty folder, in a process of their own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

_SAMPLES = Path(__file__).with_name("samples.py")


@pytest.fixture
def run_page(tmp_path: Path) -> Callable[[Path], str]:
    """Runs a page, which must succeed; what it printed."""
    bin_ = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}", "MPLBACKEND": "agg"}
    environment["IPYTHONDIR"] = str(tmp_path / ".ipython")
    folder = tmp_path / "empty"
    folder.mkdir()

    def run(page: Path) -> str:
        command = [sys.executable, str(_SAMPLES), str(page)]
        ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
        assert ran.returncode == 0, f"{ran.stdout[-2000:]}\n{ran.stderr[-4000:]}"
        return ran.stdout

    return run
