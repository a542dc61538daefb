"""A real lake with three runs, and the command line as a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

import lakelineage


@dataclass(frozen=True)
class Place:
    """A lake with runs on a table, and the working directory of the commands."""

    folder: Path
    lake: Path
    source: Path
    run_ids: tuple[str, ...]


def _call(
    *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    command = [sys.executable, "-m", "lakelineage", *map(str, arguments)]
    repository = str(Path(lakelineage.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": repository, **(env or {})}
    return subprocess.run(command, cwd=cwd, env=environment, input=stdin, capture_output=True, text=True, timeout=120)


def _answer(*arguments: object, **options: Any) -> Any:
    done = _call(*arguments, "--json", **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def call() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command line in a process of its own."""
    return _call


@pytest.fixture
def answer() -> Callable[..., Any]:
    """What a command prints with --json, read; it must succeed."""
    return _answer


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Three runs on version 0 of a table that went on to version 1. Tests only read it."""
    folder = tmp_path_factory.mktemp("cli")
    source = folder / "data" / "points"
    rows = pa.table({"x": [1.0, 2.0, 3.0, 4.0], "label": ["a", "b", "a", "b"]})
    write_deltalake(str(source), rows)
    ids = []
    with lakelineage.open(folder / "lake") as lake:
        for i, value in enumerate((0.5, float("nan"), 0.25)):
            with lake.start_run(experiment="first" if i < 2 else "second", name=f"run {i}") as run:
                run.use(source, version=0, name="points")
                run.log_params({"alpha": i, "kind": "tree"})
                run.log_metric("rmse", value)
                run.log_text("hello", "notes/hello.txt")
            ids.append(run.id)
    write_deltalake(DeltaTable(str(source)), rows, mode="append")
    return Place(folder, folder / "lake", source, tuple(ids))
