"""Laws of giving what a lake has to MLflow's own stores, and of a server as a source."""

import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow's own use of SQLAlchemy
    from mlflow import MlflowClient

import lakelineage as ll
from lakelineage.mlflow_plugin import uris
from lakelineage.mlflow_plugin.transfer import export_mlflow, import_mlflow
from tests.mlflow.mirror import everything
from tests.mlflow.stores import filled

#: Where the mirror tells of ids and times that MLflow's client cannot set.
_IDS = ("lakelineage.run_id", "lakelineage.model_id")


@pytest.fixture
def database(empty_database: Path, tmp_path: Path) -> tuple[str, str]:
    """URIs of two empty SQLite stores."""
    found = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        shutil.copy(empty_database, tmp_path / name / "mlflow.db")
        found.append(f"sqlite:///{tmp_path / name / 'mlflow.db'}")
    return found[0], found[1]


def _of_the_lake(told: dict[str, Any]) -> dict[str, Any]:
    """A mirror of an export under the ids of the lake, without what an export cannot keep."""
    runs = {run_id: run["tags"].get("lakelineage.run_id", run_id) for run_id, run in told["runs"].items()}
    models = {key: model[6].get("lakelineage.model_id", key) for key, model in told["models"].items()}
    return {
        "experiments": sorted(each[:3] for each in told["experiments"].values()),
        "runs": {
            runs[run_id]: run
            | {
                "tags": {
                    key: runs.get(value, value) if key == "mlflow.parentRunId" else value
                    for key, value in run["tags"].items()
                    if key not in _IDS
                },
                "used": sorted(models[each] for each in run["used"]),
                "made": sorted((models[each], step) for each, step in run["made"]),
            }
            for run_id, run in told["runs"].items()
        },
        "models": {models[key]: _model(model, runs) for key, model in told["models"].items()},
        "registry": {name: value[:3] for name, value in told["registry"]["models"].items()},
        "versions": {
            key: (runs.get(value[0], value[0]), *value[1:4]) for key, value in told["registry"]["versions"].items()
        },
        "artifacts": {runs[run_id]: files for run_id, files in told["artifacts"].items()},
    }


def _model(model: tuple[Any, ...], runs: dict[str, str]) -> tuple[Any, ...]:
    name, status, _, _, made_by, params, tags, metrics = model
    tags = {key: value for key, value in tags.items() if key not in _IDS}
    return name, status, runs[made_by], params, tags, [(*m[:4], runs[m[4]], *m[5:]) for m in metrics]


def test_an_export_and_its_import_give_the_same_but_for_what_is_documented(
    database: tuple[str, str], lake: ll.Lake, tmp_path: Path
) -> None:
    one, other = database
    filled(MlflowClient(one, one), tmp_path)
    assert import_mlflow(lake, one).ok
    given = export_mlflow(lake, other)
    assert given.ok, given.differences
    mine, theirs = everything(uris.of_place(lake.engine.root.uri)), everything(other)
    assert _of_the_lake(theirs) == _of_the_lake(mine)
    with ll.open(tmp_path / "back") as back:
        assert import_mlflow(back, other).ok
        assert everything(uris.of_place(back.engine.root.uri)) == theirs


def test_exporting_again_adds_only_what_is_new(database: tuple[str, str], lake: ll.Lake, tmp_path: Path) -> None:
    one, other = database
    ids = filled(MlflowClient(one, one), tmp_path)
    import_mlflow(lake, one)
    dry = export_mlflow(lake, other, dry_run=True)
    assert dry["runs"].added == dry["runs"].source == 3
    assert not MlflowClient(other, other).search_registered_models()
    assert export_mlflow(lake, other).ok
    again = export_mlflow(lake, other)
    assert again.ok
    assert [count for count in again.counts if count.added] == []
    mine = uris.of_place(lake.engine.root.uri)
    MlflowClient(mine, mine).log_metric(ids["parent"], "loss", 3.0, step=77)
    with lake.start_run("native") as run:
        run.log_metric("auc", 0.5)
    more = export_mlflow(lake, other)
    assert more.ok, more.differences
    assert (more["runs"].added, more["metric points"].added) == (1, 2)


def test_native_runs_arrive_with_what_mlflow_knows(database: tuple[str, str], lake: ll.Lake) -> None:
    with lake.start_run("/team/native", "first", tags={"a": "b"}) as run:
        run.log_params({"x": 1})
        run.log_metric("auc", float("nan"), step=3)
    given = export_mlflow(lake, database[0])
    assert given.ok, given.differences
    client = MlflowClient(database[0], database[0])
    experiment = client.get_experiment_by_name("/team/native")
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.data.tags["lakelineage.run_id"] == run.id
    assert (found.info.run_name, found.info.status, found.data.params) == ("first", "FINISHED", {"x": "1"})


def test_an_export_into_another_lake_keeps_everything(database: tuple[str, str], lake: ll.Lake, tmp_path: Path) -> None:
    one = database[0]
    filled(MlflowClient(one, one), tmp_path)
    import_mlflow(lake, one)
    ll.open(tmp_path / "second").close()
    second = uris.of_place(str(tmp_path / "second"))
    assert export_mlflow(lake, second).ok
    assert everything(second) == everything(one)


@pytest.fixture
def server(database: tuple[str, str], tmp_path: Path) -> Iterator[str]:
    """URL of a real MLflow server over an empty SQLite store."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database[0], "--workers", "1"]
    command += ["--artifacts-destination", str(tmp_path / "served"), "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            _await(url)
            yield url
        finally:
            process.terminate()


def _await(url: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{url}/health").close()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
        else:
            return
    raise TimeoutError(url)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_server_is_read_with_its_artifacts(server: str, lake: ll.Lake, tmp_path: Path) -> None:
    client = MlflowClient(server, server)
    run = client.create_run("0", 1_600_000_000_000, run_name="served").info.run_id
    for step in range(5):
        client.log_metric(run, "loss", 1 / (step + 1), timestamp=step, step=step)
    client.log_metric(run, "bad", float("nan"))
    client.log_text(run, "hello", "deep/down/a.txt")
    client.log_param(run, "p", "v")
    client.set_terminated(run, end_time=1_600_000_001_000)
    client.create_registered_model("net")
    client.create_model_version("net", f"runs:/{run}/deep", run)
    done = import_mlflow(lake, server)
    assert done.ok, done.differences
    mine, theirs = everything(uris.of_place(lake.engine.root.uri)), everything(server)
    assert mine["runs"] == theirs["runs"]
    assert mine["artifacts"] == theirs["artifacts"] == {run: {"deep/down/a.txt": b"hello"}}
    assert mine["registry"] == theirs["registry"]
