"""The commands import mlflow and export mlflow."""

import sqlite3
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow's own use of SQLAlchemy
    from mlflow import MlflowClient

Cli = Callable[..., Any]

pytestmark = pytest.mark.slow


def test_runs_go_into_a_lake_and_out_again_and_counts_are_told(call: Cli, answer: Cli, tmp_path: Path) -> None:
    one, other = (f"sqlite:///{tmp_path}/{name}.db" for name in ("one", "other"))
    client = MlflowClient(one, one)
    experiment = client.create_experiment("churn", str(tmp_path / "artifacts"))
    run = client.create_run(experiment, run_name="boosted").info.run_id
    client.log_metric(run, "loss", 0.5)
    client.log_text(run, "hello", "a.txt")
    client.set_terminated(run)
    lake = tmp_path / "lake"
    dry = answer("--lake", lake, "import", "mlflow", one, "--dry-run")
    assert dry["dry_run"] is True
    told = call("--lake", lake, "import", "mlflow", one, "--experiment", "churn")
    assert told.returncode == 0, told.stderr
    assert "metric points" in told.stdout
    assert "Downloading" not in told.stderr
    assert [row["run_id"] for row in answer("--lake", lake, "runs")] == [run]
    MlflowClient(other, other).search_experiments()
    given = answer("--lake", lake, "export", "mlflow", other)
    assert given["ok"] is True
    counts = {each["kind"]: each for each in given["counts"]}
    assert counts["runs"] == {"kind": "runs", "source": 1, "target": 1, "added": 1}


def test_what_the_lake_lacks_is_exit_code_1_and_what_is_no_source_too(call: Cli, answer: Cli, tmp_path: Path) -> None:
    one = f"sqlite:///{tmp_path}/one.db"
    client = MlflowClient(one, one)
    run = client.create_run(client.create_experiment("x", str(tmp_path / "artifacts"))).info.run_id
    client.log_metric(run, "loss", 0.5)
    with sqlite3.connect(tmp_path / "one.db") as database:  # somebody logged ns
        database.execute("update metrics set timestamp = 1700000000000000000")
    database.close()
    lake = tmp_path / "lake"
    told = call("--lake", lake, "import", "mlflow", one)
    assert told.returncode == 1
    assert "no ms since 1970" in told.stdout
    nothing = call("--lake", lake, "import", "mlflow", f"sqlite:///{tmp_path}/no.db")
    assert nothing.returncode == 1
    assert "there is no database" in nothing.stderr
    assert call("--lake", lake, "import").returncode == 2
