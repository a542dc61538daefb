"""Commands about what versions of models have to pass."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lakelineage as ll

Cli = Callable[..., Any]
CHECKS = """
[good]
kind = "metric"
key = "rmse"
max = 10
archive = true

[documented]
kind = "documentation"
tags = ["owner"]
"""


@pytest.fixture
def registered(lake_path: Path) -> Path:
    """A lake with a model "m" of two versions, of which the second is poor."""
    with ll.open(lake_path) as lake:
        for rmse in (5.0, 25.0):
            with lake.start_run("e") as run:
                run.log_metric("rmse", rmse)
                run.log_text("x", "model/weights.txt")
            lake.models.register("m", run, description="prices", tags={"owner": "ada"})
    return lake_path


@pytest.fixture
def models(registered: Path, call: Cli) -> Cli:
    return lambda *words: call("--lake", registered, "models", *words)


def test_checks_of_a_file_are_set_shown_run_and_taken_off(models: Cli, tmp_path: Path) -> None:
    file = tmp_path / "checks.toml"
    file.write_text(CHECKS)
    assert "has no checks" in models("checks", "m").stdout
    set_ = json.loads(models("checks", "m", "--from", str(file), "--comment", "as agreed", "--json").stdout)
    assert set_ == json.loads(models("checks", "m", "--json").stdout)
    assert set_["good"] == {"kind": "metric", "key": "rmse", "max": 10, "archive": True}
    assert "key rmse, max 10" in models("checks", "m").stdout
    passed = models("validate", "m@1")
    assert (passed.returncode, "m@1 passed 2 of 2 checks" in passed.stdout) == (0, True)
    failed = models("validate", "m@2")
    assert (failed.returncode, "rmse is 25, wanted at most 10" in failed.stdout) == (1, True)
    assert "m@2 is archived" in failed.stdout
    told = models("validate", "m@2", "--check", "documented", "--json")
    assert (told.returncode, json.loads(told.stdout)["ok"]) == (0, True)
    found = json.loads(models("find", "--validated", "--json").stdout)
    assert [each["version"] for each in found] == [1]
    assert [each["version"] for each in json.loads(models("find", "--not-validated", "--json").stdout)] == [2]
    shown = json.loads(models("show", "m@2", "--json").stdout)
    assert shown["checks"] == {"documented": "passed", "good": "failed"}
    assert list(json.loads(models("checks", "m", "--remove", "good", "--json").stdout)) == ["documented"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("checks", "m", "--from", "nothing.toml"), "nothing.toml cannot be read: No such file"),
        (("checks", "m", "--comment", "why"), "--comment goes with a change"),
        (("checks", "m", "--remove", "none"), "has no check 'none'"),
        (("validate", "m"), "names no version; write m@3"),
        (("validate", "m@"), "names no version; write m@3"),
        (("validate", "m@1"), "has no checks"),
    ],
)
def test_what_cannot_be_done_is_said(models: Cli, words: tuple[str, ...], told: str) -> None:
    done = models(*words)
    assert done.returncode != 0
    assert told in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("text", "told"), [("[good", "is no TOML file"), ("kind = 'metric'", "fields of a check are a dictionary")]
)
def test_a_file_that_holds_no_checks_is_refused(models: Cli, tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "c.toml"
    file.write_text(text)
    done = models("checks", "m", "--from", str(file))
    assert done.returncode != 0
    assert told in " ".join(done.stderr.replace("│", " ").split())
