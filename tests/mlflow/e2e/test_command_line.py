"""``mlflow experiments|runs|artifacts|gc|doctor`` over a lake."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest

import lakelineage as ll

# MLflow's commands warn of parts of MLflow.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]
Command = Callable[..., str]


@pytest.fixture
def command(uri: str) -> Command:
    """``mlflow ARGUMENTS`` in this process; what it printed."""
    from click.testing import CliRunner
    from mlflow.cli import cli

    def run(*arguments: str, fails: str | None = None) -> str:
        ran = CliRunner().invoke(cli, arguments)
        if fails is None:
            assert ran.exit_code == 0, f"{ran.output}\n{ran.exception!r}"
        else:
            assert ran.exit_code != 0
            assert fails in f"{ran.output}\n{ran.exception!r}"
        return ran.output

    return run


def _experiment(command: Command, name: str) -> str:
    found = re.search(r"with id (\d+)", command("experiments", "create", "-n", name))
    assert found is not None
    return found[1]


def _run(command: Command, experiment_id: str, name: str) -> str:
    made = command("runs", "create", "--experiment-id", experiment_id, "--run-name", name, "-t", "team=blue")
    return str(json.loads(made)["run_id"])


def test_experiments_live_as_on_mlflows_own_store(command: Command) -> None:
    experiment = _experiment(command, "rents")
    command("experiments", "create", "-n", "rents", fails="already exists")
    assert "rents" in command("experiments", "search")
    command("experiments", "rename", "-x", experiment, "--new-name", "prices")
    assert json.loads(command("experiments", "get", "-x", experiment, "--output", "json"))["name"] == "prices"
    command("experiments", "delete", "-x", experiment)
    assert "prices" not in command("experiments", "search")
    assert "prices" in command("experiments", "search", "--view", "deleted_only")
    command("experiments", "restore", "-x", experiment)
    assert "prices" in command("experiments", "search")


def test_runs_live_as_on_mlflows_own_store(command: Command, tmp_path: Path) -> None:
    experiment = _experiment(command, "rents")
    run = _run(command, experiment, "first")
    assert run in command("runs", "list", "--experiment-id", experiment)
    described = json.loads(command("runs", "describe", "--run-id", run))
    assert (described["info"]["status"], described["data"]["tags"]["team"]) == ("FINISHED", "blue")
    table = tmp_path / "runs.csv"
    command("experiments", "csv", "-x", experiment, "-o", str(table))
    assert run in table.read_text()
    command("runs", "delete", "--run-id", run)
    assert run not in command("runs", "list", "--experiment-id", experiment)
    assert run in command("runs", "list", "--experiment-id", experiment, "--view", "deleted_only")
    command("runs", "restore", "--run-id", run)
    assert run in command("runs", "list", "--experiment-id", experiment)


def test_artifacts_go_in_and_come_back(command: Command, tmp_path: Path) -> None:
    run = _run(command, _experiment(command, "rents"), "first")
    folder = tmp_path / "plots"
    (folder / "deep").mkdir(parents=True)
    (folder / "a b.txt").write_text("ä")
    (folder / "deep" / "c.bin").write_bytes(bytes(range(256)))
    command("artifacts", "log-artifacts", "-l", str(folder), "-r", run, "-a", "plots")
    command("artifacts", "log-artifact", "-l", str(folder / "a b.txt"), "-r", run)
    assert {file["path"] for file in json.loads(command("artifacts", "list", "-r", run))} == {"plots", "a b.txt"}
    inside = json.loads(command("artifacts", "list", "-r", run, "-a", "plots/deep"))
    assert inside == [{"path": "plots/deep/c.bin", "is_dir": False, "file_size": 256}]
    command("artifacts", "download", "-r", run, "-a", "plots", "-d", str(tmp_path / "back"))
    assert (tmp_path / "back" / "plots" / "a b.txt").read_text() == "ä"
    assert (tmp_path / "back" / "plots" / "deep" / "c.bin").read_bytes() == bytes(range(256))


def test_gc_removes_for_good_what_was_deleted_long_enough_ago(
    command: Command, uri: str, lake_path: Path, tmp_path: Path
) -> None:
    gc = ("gc", "--backend-store-uri", uri, "--tracking-uri", uri)
    kept, gone = _experiment(command, "kept"), _experiment(command, "gone")
    runs = {name: _run(command, kept, name) for name in ("alive", "deleted", "later")}
    runs["in gone"] = _run(command, gone, "in gone")
    note = tmp_path / "note.txt"
    note.write_text("note")
    for run in runs.values():
        command("artifacts", "log-artifact", "-l", str(note), "-r", run)
    for name in ("deleted", "later"):
        command("runs", "delete", "--run-id", runs[name])

    command(*gc, "--older-than", "1d", "--run-ids", runs["deleted"], fails="older than")
    command(*gc, "--run-ids", runs["alive"], fails="not in `deleted` lifecycle stage")
    command("experiments", "delete", "-x", gone)
    said = command(*gc, "--run-ids", runs["deleted"], "--experiment-ids", gone)  # with no id, all deleted experiments
    assert runs["deleted"] in said

    client = mlflow.MlflowClient()
    for name in ("deleted", "in gone"):
        with pytest.raises(mlflow.MlflowException, match=runs[name]):
            client.get_run(runs[name])
        assert not list((lake_path / "artifacts").rglob(f"{runs[name]}/*"))
    assert client.get_run(runs["later"]).info.lifecycle_stage == "deleted"
    assert [file.path for file in client.list_artifacts(runs["alive"])] == ["note.txt"]
    assert client.get_experiment_by_name("gone") is None
    with ll.open(lake_path) as lake:
        purged = lake.sql("select distinct run_id from runs_history where lifecycle_stage = 'purged'").to_pylist()
        assert {row["run_id"] for row in purged} >= {runs["deleted"]}
        assert _experiment(command, "gone") != gone


def test_gc_without_ids_takes_all_that_is_deleted(command: Command, uri: str) -> None:
    gc = ("gc", "--backend-store-uri", uri, "--tracking-uri", uri)
    experiment = _experiment(command, "rents")
    runs = [_run(command, experiment, str(i)) for i in range(3)]
    for run in runs[:2]:
        command("runs", "delete", "--run-id", run)
    command(*gc)
    found: Any = mlflow.MlflowClient().search_runs([experiment], run_view_type=3)
    assert [run.info.run_id for run in found] == runs[2:]


def test_doctor_has_nothing_to_say_against_a_lake(command: Command, uri: str) -> None:
    assert uri in command("doctor")
