"""Laws of taking over what MLflow's own stores have."""

import math
import shutil
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow's own use of SQLAlchemy
    from mlflow import MlflowClient
    from mlflow.entities import Metric, RunTag

import lakelineage as ll
from lakelineage.errors import ExperimentNotFound, InvalidInput, StorageFailed
from lakelineage.mlflow_plugin import uris
from lakelineage.mlflow_plugin.transfer import Transferred, import_mlflow
from tests.mlflow.mirror import everything
from tests.mlflow.stores import filled

if TYPE_CHECKING:
    import subprocess

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def database(empty_database: Path, tmp_path: Path) -> str:
    """URI of an empty SQLite store."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def _uri(lake: ll.Lake) -> str:
    return uris.of_place(lake.engine.root.uri)


def _client(uri: str) -> MlflowClient:
    return MlflowClient(uri, uri)


def _added(done: Transferred) -> int:
    return sum(count.added for count in done.counts)


def test_everything_that_mlflow_tells_of_a_database_is_told_of_the_lake(
    database: str, lake: ll.Lake, tmp_path: Path
) -> None:
    filled(_client(database), tmp_path)
    done = import_mlflow(lake, database)
    assert done.ok, done.differences
    assert done.differences == ()
    assert everything(_uri(lake)) == everything(database)
    assert done["runs"].added == 3
    assert done["artifacts"].added == 4
    assert done["bytes of artifacts"].target == 5 + 25_600 + 12


def test_importing_again_adds_nothing(database: str, lake: ll.Lake, tmp_path: Path) -> None:
    filled(_client(database), tmp_path)
    import_mlflow(lake, database)
    rows = {table: lake.sql(f"select count(*) as n from {table}").to_pylist() for table in _TABLES}
    again = import_mlflow(lake, database)
    assert again.ok
    assert _added(again) == 0
    assert rows == {table: lake.sql(f"select count(*) as n from {table}").to_pylist() for table in _TABLES}


_TABLES = (
    "metrics",
    "params",
    "tags_history",
    "runs_history",
    "experiments_history",
    "artifacts",
    "lineage",
    "datasets",
    "run_models",
    "logged_models_history",
    "registered_models_history",
    "model_versions_history",
    "aliases_history",
    "activity",
)


def test_what_is_new_or_changed_in_the_source_is_added_and_no_more(
    database: str, lake: ll.Lake, tmp_path: Path
) -> None:
    client, ids = _client(database), filled(_client(database), tmp_path)
    import_mlflow(lake, database)
    client.rename_experiment(ids["churn"], "loyalty")
    client.log_metric(ids["parent"], "loss", 0.25, step=40)
    client.set_tag(ids["parent"], "note", "changed")
    client.set_terminated(ids["parent"], "FINISHED")
    client.restore_run(ids["child"])
    client.log_text(ids["child"], "late", "late.txt")
    client.set_registered_model_alias("diabetes", "champion", "1")
    client.rename_registered_model("diabetes", "sugar")
    new = client.create_run(ids["churn"]).info.run_id
    done = import_mlflow(lake, database)
    assert done.ok, done.differences
    assert everything(_uri(lake)) == everything(database)
    assert (done["metric points"].added, done["artifacts"].added, done["params"].added) == (1, 1, 0)
    assert done["runs"].added == 3
    assert lake.sql("select run_id from runs where name = ?", [client.get_run(new).info.run_name]).num_rows == 1


def test_a_dry_run_tells_what_an_import_would_add_and_writes_nothing(
    database: str, lake: ll.Lake, tmp_path: Path
) -> None:
    filled(_client(database), tmp_path)
    dry = import_mlflow(lake, database, dry_run=True)
    assert dry.ok
    assert all(count.target == 0 for count in dry.counts)
    assert lake.search_runs().num_rows == 0
    assert lake.sql("select * from experiments").num_rows == 0
    done = import_mlflow(lake, database)
    assert [(count.kind, count.added) for count in dry.counts] == [(count.kind, count.added) for count in done.counts]


def test_without_artifacts_runs_name_the_place_where_they_are_until_they_are_fetched(
    database: str, lake: ll.Lake, tmp_path: Path
) -> None:
    ids = filled(_client(database), tmp_path)
    done = import_mlflow(lake, database, artifacts=False)
    assert done.ok, done.differences
    assert done["artifacts"].source == 0
    there = _client(_uri(lake)).get_run(ids["parent"]).info.artifact_uri
    assert there == _client(database).get_run(ids["parent"]).info.artifact_uri
    assert import_mlflow(lake, database).ok
    assert everything(_uri(lake))["artifacts"] == everything(database)["artifacts"]
    assert "lakelineage:" in _client(_uri(lake)).get_run(ids["parent"]).info.artifact_uri
    assert _added(import_mlflow(lake, database, artifacts=False)) == 0


def test_only_named_experiments_come_with_the_models_of_their_runs(
    database: str, lake: ll.Lake, tmp_path: Path
) -> None:
    client = _client(database)
    filled(client, tmp_path)
    client.create_registered_model("other")
    client.create_run("0")
    assert import_mlflow(lake, database, experiments=["churn"]).ok
    assert lake.sql("select name from experiments").to_pylist() == [{"name": "churn"}]
    assert lake.sql("select name from registered_models").to_pylist() == [{"name": "diabetes"}]
    with pytest.raises(ExperimentNotFound, match="'nowhere'"):
        import_mlflow(lake, database, experiments=["nowhere"])


def test_an_experiment_whose_id_is_taken_gets_another_and_is_known_again(
    database: str, lake: ll.Lake, tmp_path: Path
) -> None:
    lake.experiments.create("mine")  # takes the id 1
    client = _client(database)
    theirs = client.create_experiment("theirs", str(tmp_path / "theirs"))
    assert theirs == "1"
    run = client.create_run(theirs).info.run_id
    assert import_mlflow(lake, database).ok
    mine = lake.experiments.get("theirs")
    assert mine.id != "1"
    assert mine.tags["lakelineage.imported_from"].startswith("1@")
    assert lake.search_runs().select(["run_id", "experiment_id"]).to_pylist() == [
        {"run_id": run, "experiment_id": mine.id}
    ]
    client.rename_experiment(theirs, "ours")
    assert import_mlflow(lake, database).ok
    assert lake.experiments.get("ours").id == mine.id
    assert lake.experiments.get("mine").id == "1"


def test_an_experiment_of_the_same_name_is_the_same(database: str, lake: ll.Lake, tmp_path: Path) -> None:
    mine = lake.experiments.create("shared", {"a": "1"})
    client = _client(database)
    theirs = client.create_experiment("shared", str(tmp_path / "theirs"), tags={"b": "2"})
    client.create_run(theirs)
    assert import_mlflow(lake, database).ok
    found = lake.experiments.get("shared")
    assert (found.id, dict(found.tags)) == (mine.id, {"a": "1", "b": "2"})


def test_what_the_lake_added_stays_and_is_no_difference(database: str, lake: ll.Lake, tmp_path: Path) -> None:
    ids = filled(_client(database), tmp_path)
    import_mlflow(lake, database)
    mine = _client(_uri(lake))
    mine.set_tag(ids["parent"], "mine", "1")
    mine.log_metric(ids["parent"], "mine", 1.0)
    mine.set_registered_model_alias("diabetes", "mine", "1")
    again = import_mlflow(lake, database)
    assert again.ok
    assert _added(again) == 0
    assert mine.get_run(ids["parent"]).data.tags["mine"] == "1"


def test_a_version_number_that_the_lake_gave_itself_is_told_as_a_difference(
    database: str, lake: ll.Lake, tmp_path: Path
) -> None:
    filled(_client(database), tmp_path)
    mine = _client(_uri(lake))
    mine.create_registered_model("diabetes")
    mine.create_model_version("diabetes", "s3://elsewhere/model")
    done = import_mlflow(lake, database)
    assert not done.ok
    assert (done["model versions"].source, done["model versions"].target) == (2, 1)
    assert any("model versions diabetes 1" in line for line in done.differences)
    assert mine.get_model_version("diabetes", "1").source == "s3://elsewhere/model"


def test_infinity_comes_back_from_what_the_database_made_of_it(database: str, lake: ll.Lake) -> None:
    client = _client(database)
    run = client.create_run("0").info.run_id
    client.log_batch(run, [Metric("m", math.inf, 1, 0), Metric("m", -math.inf, 1, 1), Metric("m", 1e308, 1, 2)])
    import_mlflow(lake, database)
    rows = lake.sql("select value from metrics order by step").column("value").to_pylist()
    assert rows == [math.inf, -math.inf, 1e308]


def test_lineage_leads_from_a_registered_version_to_its_run(database: str, lake: ll.Lake, tmp_path: Path) -> None:
    ids = filled(_client(database), tmp_path)
    import_mlflow(lake, database)
    for version in (1, 3):
        upstream = {str(node) for node in lake.lineage(f"model:diabetes@{version}").upstream()["node"].to_pylist()}
        assert f"run:{ids['parent']}" in upstream


def test_an_old_file_store_is_read(lake: ll.Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mlruns"
    with monkeypatch.context() as allowed:
        allowed.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        client = _client(str(folder))
        ids = filled(client, tmp_path)
        before = everything(str(folder))
    done = import_mlflow(lake, str(folder))
    assert done.ok, done.differences
    after = everything(_uri(lake))
    for part in ("experiments", "models", "artifacts", "registry"):
        assert after[part] == before[part], part
    before["runs"][ids["parent"]]["histories"]["acc"] = [(3, 77, "0.5")]  # MLflow's file store reads step 0 back
    assert after["runs"] == before["runs"]


def test_a_source_that_is_not_there_is_not_made(lake: ll.Lake, tmp_path: Path) -> None:
    for uri in (f"sqlite:///{tmp_path}/no.db", str(tmp_path / "mlruns"), f"lakelineage://{tmp_path}/no", "ftp://x/y"):
        with pytest.raises(InvalidInput):
            import_mlflow(lake, uri)
    assert not (tmp_path / "no.db").exists()
    assert not (tmp_path / "mlruns").exists()
    assert not (tmp_path / "no").exists()


def test_artifacts_that_cannot_be_read_end_the_import_with_advice_and_the_runs_are_there(
    database: str, lake: ll.Lake, tmp_path: Path
) -> None:
    client = _client(database)
    experiment = client.create_experiment("served", "mlflow-artifacts:/served")
    run = client.create_run(experiment).info.run_id
    with pytest.raises(StorageFailed, match="--no-artifacts"):
        import_mlflow(lake, database)
    assert lake.run(run).id == run
    assert import_mlflow(lake, database, artifacts=False).ok


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
_KEY = st.sampled_from(["a", "b/c", "d e", "ü"])
_NUMBER = st.one_of(st.floats(), st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan, 1.5]))
_POINT = st.tuples(st.sampled_from(["loss", "acc"]), _NUMBER, st.integers(0, 5), st.integers(-2, 3))
_RUN = st.fixed_dictionaries(
    {
        "params": st.dictionaries(_KEY, _TEXT.filter(bool), max_size=3),
        "tags": st.dictionaries(_KEY, _TEXT, max_size=3),
        "points": st.lists(_POINT, max_size=8),
        "status": st.sampled_from(["RUNNING", "FINISHED", "FAILED", "KILLED", "SCHEDULED"]),
        "deleted": st.booleans(),
        "start": st.integers(0, 4_000_000_000_000),
    }
)


@settings(max_examples=8)
@given(first=st.lists(_RUN, max_size=4), later=st.lists(_RUN, max_size=2), more=st.lists(_POINT, max_size=4))
def test_any_store_is_mirrored_in_one_go_or_in_two(
    first: list[Any],
    later: list[Any],
    more: list[Any],
    empty_database: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("store")
    shutil.copy(empty_database, folder / "mlflow.db")
    source = f"sqlite:///{folder / 'mlflow.db'}"
    client = _client(source)
    with ll.open(folder / "lake", durability="process") as lake:
        ids = [_write(client, each) for each in first]
        assert import_mlflow(lake, source).ok
        for run_id, deleted in ids:
            if not deleted:
                client.log_batch(run_id, _metrics(more))
        for each in later:
            _write(client, each)
        done = import_mlflow(lake, source)
        assert done.ok, done.differences
        assert everything(_uri(lake)) == everything(source)
    with ll.open(folder / "at once", durability="process") as lake:
        assert import_mlflow(lake, source).ok
        assert everything(_uri(lake)) == everything(source)


def _write(client: MlflowClient, run: dict[str, Any]) -> tuple[str, bool]:
    run_id = client.create_run("0", run["start"]).info.run_id
    for key, value in run["params"].items():
        client.log_param(run_id, key, value)
    client.log_batch(run_id, _metrics(run["points"]), tags=[RunTag(k, v) for k, v in run["tags"].items()])
    client.update_run(run_id, run["status"])
    if run["deleted"]:
        client.delete_run(run_id)
    return str(run_id), bool(run["deleted"])


def _metrics(points: list[Any]) -> list[Metric]:
    return [Metric(*point) for point in points]


@pytest.mark.slow
def test_an_import_that_was_killed_goes_on_where_it_was(
    database: str, lake_path: Path, tmp_path: Path, start: Start
) -> None:
    client = _client(database)
    filled(client, tmp_path)
    for number in range(40):
        run = client.create_run("0").info.run_id
        client.log_batch(run, [Metric("loss", float(step), step, step) for step in range(number)])
        client.log_text(run, str(number), f"{number}.txt")
    code = """
        import sys
        import lakelineage as ll
        from lakelineage.mlflow_plugin.transfer import histories, import_mlflow
        histories._ABOUT = 50  # several groups
        with ll.open(sys.argv[1]) as lake:
            import_mlflow(lake, sys.argv[2], progress=lambda *told: print(*told, flush=True))
    """
    for pause in (0.0, 0.3, 1.0):
        process = start(code, lake_path, database)
        assert process.stdout is not None
        process.stdout.readline()  # runs are under way
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with ll.open(lake_path) as lake:
        done = import_mlflow(lake, database)
        assert done.ok, done.differences
        assert everything(_uri(lake)) == everything(database)
        twice = "select run_id, key, step, timestamp, value from metrics group by all having count(*) > 1"
        assert lake.sql(twice).num_rows == 0
