"""Commands that make and change runs and experiments."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lakelineage as ll

Cli = Callable[..., Any]


@pytest.fixture
def made(lake_path: Path) -> tuple[Path, str]:
    """A lake with one ended run."""
    with ll.open(lake_path) as lake, lake.start_run("/team/churn", name="r", tags={"draft": "yes"}) as run:
        run.log_metric("m", 1)
    return lake_path, run.id


def test_a_shell_script_logs_a_whole_run(lake_path: Path, tmp_path: Path, call: Cli, answer: Cli) -> None:
    ll.open(lake_path).close()
    file = tmp_path / "report.txt"
    file.write_text("fine")
    started = call(
        "--lake", lake_path, "start", "--experiment", "nightly", "--name", "n", "--param", "a=x=y", "--tag", "t=1"
    )
    run = started.stdout.strip()
    assert (started.returncode, len(run)) == (0, 32)
    logged = answer(
        "--lake", lake_path, "log", run, "--metric", "m=0.5", "--metric", "n=inf", "--step", "3", "--artifact", file
    )
    assert logged == {"run_id": run, "params": 0, "metrics": 2, "tags": 0, "artifacts": 1}
    with ll.open(lake_path) as lake:
        assert lake.run(run).status == "RUNNING"
        assert lake.run(run).attributes["source"] is None, "the command line is not what was run"
    assert answer("--lake", lake_path, "end", run[:20], "--status", "failed") == {"run_id": run, "status": "FAILED"}
    assert call("--lake", lake_path, "end", run, "--status", "FAILED").returncode == 0
    with ll.open(lake_path) as lake:
        seen = lake.run(run)
        assert (seen.status, seen.params, seen.tags) == ("FAILED", {"a": "x=y"}, {"t": "1"})
        assert seen.metrics == {"m": 0.5, "n": float("inf")}
        assert seen.history("m").column("step").to_pylist() == [3]
        assert seen.artifacts.column("path").to_pylist() == ["report.txt"]


def test_a_run_that_has_ended_is_logged_to_no_more(made: tuple[Path, str], call: Cli) -> None:
    lake_path, run = made
    for words in (("log", run, "--param", "b=1"), ("end", run, "--status", "KILLED")):
        done = call("--lake", lake_path, *words, "--json")
        assert (done.returncode, "run_finished" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    "words",
    [
        ("log", "0199"),
        ("log", "0199", "--metric", "m=much"),
        ("log", "0199", "--metric", "m"),
        ("start", "--param", "=x"),
        ("experiments", "tag", "e"),
        ("experiments", "tag", "e", "novalue"),
    ],
)
def test_what_is_no_pair_or_nothing_at_all_is_typed_wrongly(
    made: tuple[Path, str], words: tuple[str, ...], call: Cli
) -> None:
    done = call("--lake", made[0], *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_runs_are_deleted_and_restored_by_the_beginnings_of_their_ids(
    made: tuple[Path, str], call: Cli, answer: Cli
) -> None:
    lake_path, run = made
    assert answer("--lake", lake_path, "delete", run[:16]) == [{"run_id": run, "lifecycle_stage": "deleted"}]
    assert answer("--lake", lake_path, "runs") == []
    assert answer("--lake", lake_path, "run", run)["lifecycle_stage"] == "deleted"
    refused = call("--lake", lake_path, "restore", run, "ffffffff")
    assert (refused.returncode, answer("--lake", lake_path, "runs")) == (1, []), "all or none"
    assert call("--lake", lake_path, "restore", run).stdout == f"run {run} is back\n"
    assert len(answer("--lake", lake_path, "runs")) == 1


def test_tags_and_the_note_of_a_run(made: tuple[Path, str], call: Cli, answer: Cli) -> None:
    lake_path, run = made
    assert call("--lake", lake_path, "note", run).stdout == f"run {run} has no note\n"
    assert answer("--lake", lake_path, "note", run, "two\nlines") == {"run_id": run, "note": "two\nlines"}
    assert answer("--lake", lake_path, "note", run)["note"] == "two\nlines"
    told = answer("--lake", lake_path, "tag", run, "owner=ada", "why=a=b", "--delete", "draft")
    assert told["tags"] == {"mlflow.note.content": "two\nlines", "owner": "ada", "why": "a=b"}
    with ll.open(lake_path) as lake:
        assert (lake.run(run).tags, lake.run(run).status) == (told["tags"], "FINISHED")


def test_a_failed_run_shows_its_traceback(lake_path: Path, call: Cli, answer: Cli) -> None:
    with ll.open(lake_path) as lake, pytest.raises(ValueError, match="bad"), lake.start_run() as run:
        raise ValueError("bad")
    assert answer("--lake", lake_path, "run", run.id)["error"].endswith("ValueError: bad\n")
    assert "ValueError: bad" in call("--lake", lake_path, "run", run.id).stdout


def test_experiments_from_making_to_restoring(lake_path: Path, call: Cli, answer: Cli) -> None:
    ll.open(lake_path).close()

    def experiments(*words: str) -> Any:
        return answer("--lake", lake_path, "experiments", *words)

    made = experiments("create", "/team/churn", "--tag", "owner=ada")
    assert (made["name"], made["tags"], made["lifecycle_stage"]) == ("/team/churn", {"owner": "ada"}, "active")
    experiments("create", "/team/rents/ridge")
    assert experiments("folders", "/team") == [{"folder": "/team/rents", "experiments": 1}]
    assert experiments("rename", made["experiment_id"], "/team/loss")["name"] == "/team/loss"
    assert experiments("tag", "/team/loss", "a=b", "--delete", "owner")["tags"] == {"a": "b"}
    assert experiments("delete", "/team/loss")["lifecycle_stage"] == "deleted"
    assert [row["name"] for row in experiments()] == ["/team/rents/ridge"]
    assert [row["name"] for row in experiments("list", "--deleted")] == ["/team/loss"]
    assert [row["name"] for row in experiments("list", "--folder", "/other")] == []
    assert experiments("restore", "/team/loss", "--name", "back")["name"] == "back"
    refused = call("--lake", lake_path, "experiments", "create", "back", "--json")
    assert (refused.returncode, "already_exists" in refused.stderr) == (1, True)


@pytest.mark.parametrize("command", ["list", "folders", "create", "rename", "delete", "restore", "tag"])
def test_each_command_about_experiments_has_help_with_an_example(call: Cli, command: str) -> None:
    shown = call("experiments", command, "--help").stdout
    assert f"lakelineage experiments {command}" in shown
    assert "--json" in shown
