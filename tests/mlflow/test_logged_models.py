"""Logged models: one row and one node, whoever logged them."""

import math
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import lakelineage as ll
from lakelineage.errors import ModelNotFound
from lakelineage.mlflow_plugin import lakes
from lakelineage.tracking import logged_models

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow's own imports
    import mlflow
    import mlflow.pyfunc
    import mlflow.sklearn
    from mlflow.entities import (
        LoggedModelInput,
        LoggedModelOutput,
        LoggedModelParameter,
        LoggedModelStatus,
        LoggedModelTag,
        Metric,
    )
    from mlflow.exceptions import MlflowException

    from lakelineage.mlflow_plugin.tracking.store import TrackingStore

_MISSING = "Logged model with ID '{}' not found"


@pytest.fixture
def store(lake_path: Path) -> "Iterator[TrackingStore]":
    opened = TrackingStore(f"lakelineage://{lake_path}")
    yield opened
    opened.lake.close()


@pytest.fixture
def run_id(store: TrackingStore) -> str:
    return str(store.create_run("0", "ada", 1, [], "trained").info.run_id)


@pytest.fixture
def client(store: TrackingStore) -> Iterator[Any]:
    """MLflow's own client over the lake."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(store.store_uri)
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(before)


def nodes(table: Any) -> list[str]:
    return [str(node) for node in table.column("node").to_pylist()]


def test_a_logged_model_is_what_was_said_of_it(store: TrackingStore, run_id: str) -> None:
    made = store.create_logged_model(
        "0", "tree", run_id, [LoggedModelTag("a", "1")], [LoggedModelParameter("depth", "3")], "Agent"
    )
    assert made.status is LoggedModelStatus.PENDING
    assert made.artifact_location == f"lakelineage://{store.lake.uri}/artifacts/{made.model_id}"
    store.log_logged_model_params(made.model_id, [LoggedModelParameter("leaf", "ü")])
    store.set_logged_model_tags(made.model_id, [LoggedModelTag("a", "2"), LoggedModelTag("b", "")])
    store.delete_logged_model_tag(made.model_id, "a")
    store.log_metric(run_id, Metric("acc", math.inf, 5, 2, made.model_id, "eval", "d1", run_id))
    ready = store.finalize_logged_model(made.model_id, LoggedModelStatus.READY)
    found = store.get_logged_model(made.model_id)
    assert dict(found) == dict(ready)
    assert (found.status, found.params, found.tags) == (
        LoggedModelStatus.READY,
        {"depth": "3", "leaf": "ü"},
        {"b": ""},
    )
    assert found.metrics == [Metric("acc", math.inf, 5, 2, made.model_id, "eval", "d1", run_id)]
    assert found.last_updated_timestamp >= found.creation_timestamp == made.creation_timestamp
    (row,) = store.lake.sql("SELECT * FROM logged_models").to_pylist()
    assert (row["model_id"], row["status"], row["artifact_location"]) == (
        made.model_id,
        "READY",
        f"artifacts/{made.model_id}",
    )
    assert dict(row["params"]) == found.params


def test_what_is_said_survives_compaction_and_a_new_process(store: TrackingStore, run_id: str) -> None:
    made = store.create_logged_model("0", "tree", run_id, params=[LoggedModelParameter("k", "v")])
    store.lake.flush()
    store.set_logged_model_tags(made.model_id, [LoggedModelTag("a", "1")])
    store.lake.flush()
    store.set_logged_model_tags(made.model_id, [LoggedModelTag("a", "2")])
    before = dict(store.get_logged_model(made.model_id))
    store.lake.maintain()
    assert dict(store.get_logged_model(made.model_id)) == before
    store.lake.close()
    again = TrackingStore(store.store_uri)
    assert dict(again.get_logged_model(made.model_id)) == before
    assert [dict(found) for found in again.search_logged_models(["0"])] == [before]
    again.lake.close()


def test_a_moved_lake_finds_its_models_where_it_is(store: TrackingStore, run_id: str, tmp_path: Path) -> None:
    made = store.create_logged_model("0", "tree", run_id)
    store.lake.close()
    Path(store.lake.uri).rename(tmp_path / "moved")
    again = TrackingStore(f"lakelineage://{tmp_path}/moved")
    location = again.get_logged_model(made.model_id).artifact_location
    assert location == f"lakelineage://{tmp_path}/moved/artifacts/{made.model_id}"
    again.lake.close()


def test_models_go_where_their_experiment_says(store: TrackingStore, tmp_path: Path) -> None:
    experiment = store.create_experiment("elsewhere", artifact_location=f"file://{tmp_path}/out")
    made = store.create_logged_model(experiment, "tree")
    assert made.artifact_location == f"file://{tmp_path}/out/models/{made.model_id}/artifacts"
    with pytest.raises(ll.errors.InvalidInput, match="outside the lake"):
        store.lake.load_model(f"models:/{made.model_id}")


def test_a_deleted_model_is_found_only_by_who_asks_for_it_and_a_purged_one_by_nobody(store: TrackingStore) -> None:
    kept, gone = (store.create_logged_model("0", name).model_id for name in ("kept", "gone"))
    store.delete_logged_model(gone)
    with pytest.raises(MlflowException, match=_MISSING.format(gone)):
        store.get_logged_model(gone)
    assert store.get_logged_model(gone, allow_deleted=True).name == "gone"
    assert [found.model_id for found in store.search_logged_models(["0"])] == [kept]
    assert store._get_deleted_logged_models() == [gone]
    assert store._get_deleted_logged_models(older_than=3_600_000) == []
    store._hard_delete_logged_model(gone)
    assert store._get_deleted_logged_models() == []
    for call in (lambda: store.get_logged_model(gone, allow_deleted=True), lambda: store.delete_logged_model(gone)):
        with pytest.raises(MlflowException, match=_MISSING.format(gone)) as refused:
            call()
        assert refused.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    (row,) = store.lake.sql("SELECT * FROM logged_models WHERE model_id = ?", [gone]).to_pylist()
    assert row["lifecycle_stage"] == "purged"


def test_a_param_is_written_once_all_or_none(store: TrackingStore) -> None:
    made = store.create_logged_model("0", "tree", params=[LoggedModelParameter("k", "v")])
    for params in ([("new", "1"), ("k", "w")], [("new", "1"), ("new", "1")], [("new", None)]):
        with pytest.raises(MlflowException) as refused:
            store.log_logged_model_params(made.model_id, [LoggedModelParameter(*param) for param in params])
        assert refused.value.error_code == "BAD_REQUEST"
    assert store.get_logged_model(made.model_id).params == {"k": "v"}


def test_nan_is_unequal_to_everything_and_above_nothing(store: TrackingStore, run_id: str) -> None:
    for name, value in (("nan", math.nan), ("half", 0.5), ("one", 1.0)):
        made = store.create_logged_model("0", name)
        store.log_metric(run_id, Metric("acc", value, 1, 0, made.model_id))
    for flushed in (False, True):
        if flushed:
            store.lake.flush()
        for text, expected in (("> 0", {"half", "one"}), ("!= 0.5", {"nan", "one"}), ("= 0.5", {"half"})):
            found = store.search_logged_models(["0"], f"metrics.acc {text}")
            assert {model.name for model in found} == expected, (text, flushed)


def test_times_are_cut_to_milliseconds_in_order_and_filter_too(
    store: TrackingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty models, each 0.7 ms after the one before: rounding would put some beside those of the next millisecond."""
    clock = iter(range(1_800_000_000_000_200, 1_800_000_000_020_000, 700))
    monkeypatch.setattr(logged_models, "wall_clock", lambda: next(clock))
    for _ in range(20):
        store.create_logged_model("0")
    for field in ("creation_timestamp", "last_updated_timestamp"):
        found = store.search_logged_models(["0"], order_by=[{"field_name": field, "ascending": False}])
        keys = [(-getattr(one, field), one.model_id) for one in found]
        assert keys == sorted(keys)
    for one in found:
        same = store.search_logged_models(["0"], f"attributes.creation_timestamp_ms = {one.creation_timestamp}")
        assert one.model_id in [each.model_id for each in same]


def test_pages_of_a_search_put_together_are_the_search(store: TrackingStore, run_id: str) -> None:
    ids = []
    for number in range(7):
        made = store.create_logged_model("0", f"m{number % 2}")
        ids.append(made.model_id)
        for step in range(3):  # several values of one model do not make it come twice
            store.log_metric(run_id, Metric("acc", number % 3, step, step, made.model_id, "eval", f"d{number % 2}"))
    order = [{"field_name": "metrics.acc", "ascending": False, "dataset_name": "eval"}, {"field_name": "name"}]
    for datasets, expected in ((None, 7), ([{"dataset_name": "eval", "dataset_digest": "d1"}], 3)):
        asked = {"filter_string": "metrics.acc >= 0", "order_by": order, "datasets": datasets}
        whole = [model.model_id for model in store.search_logged_models(["0"], **asked)]
        assert len(whole) == expected == len(set(whole))
        pieces, token = [], None
        while True:
            page = store.search_logged_models(["0"], **asked, max_results=2, page_token=token)
            pieces += [model.model_id for model in page]
            token = page.token
            if token is None:
                break
        assert pieces == whole
    values = {model_id: number % 3 for number, model_id in enumerate(ids)}
    names = {model_id: number % 2 for number, model_id in enumerate(ids)}
    found = [model.model_id for model in store.search_logged_models(["0"], order_by=order)]
    assert found == sorted(ids, key=lambda i: (-values[i], names[i], -ids.index(i)))  # ties: the newest first
    with pytest.raises(MlflowException, match="token"):
        store.search_logged_models(["0"], page_token="no token")


def test_runs_tell_which_models_they_used_and_made_once(store: TrackingStore, run_id: str) -> None:
    made = store.create_logged_model("0", "tree", run_id)
    other = store.create_run("0", "ada", 2, [], "evaluated").info.run_id
    for _ in range(2):
        store.log_outputs(run_id, [LoggedModelOutput(made.model_id, 3)])
        store.log_inputs(other, models=[LoggedModelInput(made.model_id)])
    assert store.get_run(run_id).outputs.model_outputs == [LoggedModelOutput(made.model_id, 3)]
    assert store.get_run(other).inputs.model_inputs == [LoggedModelInput(made.model_id)]
    found = {run.info.run_id: run for run in store._search_runs(["0"], None, 1, 10, None, None)[0]}
    assert found[run_id].outputs.model_outputs == [LoggedModelOutput(made.model_id, 3)]
    edges = store.lake.sql("SELECT source, target, relation FROM lineage ORDER BY relation").to_pylist()
    node = f"artifact:{made.model_id}"
    assert [tuple(edge.values()) for edge in edges] == [
        (f"run:{run_id}", node, "generated"),
        (node, f"run:{other}", "used"),
    ]
    lineage = store.lake.lineage(f"run:{other}").upstream()
    assert lineage.column("label").to_pylist() == ["tree", "trained"]
    store.delete_run(run_id)
    with pytest.raises(MlflowException, match="must be in the 'active' state"):
        store.log_outputs(run_id, [LoggedModelOutput("m-1", 0)])


def test_lineage_goes_from_the_data_through_run_and_model_to_what_was_scored(
    client: Any, store: TrackingStore, tmp_path: Path
) -> None:
    from deltalake import write_deltalake
    from sklearn.linear_model import LinearRegression

    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0]})
    table = str(tmp_path / "points")
    write_deltalake(table, frame)
    with warnings.catch_warnings(), mlflow.start_run(run_name="fit") as run:
        warnings.simplefilter("ignore")  # MLflow's own, of what it does while it logs
        mlflow.log_input(mlflow.data.from_pandas(frame, source=table, name="points"), context="training")
        info = mlflow.sklearn.log_model(
            LinearRegression().fit(frame, frame["x"] * 2),
            name="double",
            pip_requirements=["scikit-learn"],
            serialization_format="skops",
        )
    lake, run_id = store.lake, run.info.run_id
    assert list(lake.load_model(f"runs:/{run_id}/double").predict(frame)) == pytest.approx([2, 4, 6])
    assert list(mlflow.pyfunc.load_model(f"runs:/{run_id}/double").predict(frame)) == pytest.approx([2, 4, 6])
    result = lake.score(info.model_uri, table, tmp_path / "scored")
    assert (result.rows, result.run_id, result.model_name) == (3, run_id, None)
    upstream = lake.lineage(f"dataset:{tmp_path}/scored@0").upstream()
    assert {f"artifact:{info.model_id}", f"run:{run_id}"} < set(nodes(upstream))
    assert any(node.startswith("dataset:") for node in nodes(lake.lineage(f"artifact:{info.model_id}").upstream()))
    found = store.get_logged_model(info.model_id)
    assert (found.name, found.source_run_id, found.status) == ("double", run_id, LoggedModelStatus.READY)
    assert [m.model_id for m in store.get_run(run_id).outputs.model_outputs] == [info.model_id]
    assert lake.run(run_id).logged_models.column("name").to_pylist() == ["double"]


def double(frame: pd.DataFrame) -> Any:
    return frame["x"] * 2


def test_a_model_that_was_logged_natively_is_one_to_mlflow(client: Any, store: TrackingStore) -> None:
    lake, frame = store.lake, pd.DataFrame({"x": [1.0, 2.0]})
    with lake.start_run("Default", name="native") as run:
        logged = run.log_model(double, "deep/model", input_example=frame)
    found = client.get_logged_model(logged.model_id)
    assert (found.name, found.source_run_id, found.status) == ("deep/model", run.id, LoggedModelStatus.READY)
    assert found.artifact_location == f"lakelineage://{lake.uri}/artifacts/{run.id}/deep/model"
    assert [m.model_id for m in client.search_logged_models(["0"])] == [logged.model_id]
    assert [m.model_id for m in client.get_run(run.id).outputs.model_outputs] == [logged.model_id]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = mlflow.pyfunc.load_model(f"models:/{logged.model_id}")
    assert (
        list(loaded.predict(frame))
        == list(lake.load_model(f"models:/{logged.model_id}", trust="pickle").predict(frame))
        == [2, 4]
    )
    assert lake.lineage(f"artifact:{logged.model_id}").node == logged.node
    assert nodes(lake.lineage(logged.node).upstream()) == [f"run:{run.id}"]


def test_an_unknown_model_is_said_so(store: TrackingStore) -> None:
    unknown = f"m-{'0' * 32}"
    for call in (
        lambda: store.lake.load_model(f"models:/{unknown}"),
        lambda: store.lake.lineage(f"artifact:{unknown}"),
        lambda: logged_models.get(store.engine, unknown),
    ):
        with pytest.raises(ModelNotFound, match=unknown):
            call()


def test_a_finalized_model_of_a_remote_lake_is_loadable_by_whoever_is_told(
    s3: tuple[str, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    monkeypatch.setenv("LAKELINEAGE_STORAGE_OPTIONS", json.dumps(s3[1]))
    monkeypatch.setenv("LAKELINEAGE_SPOOL", str(tmp_path / "here"))
    uri = f"lakelineage+{s3[0]}/lake"
    store = TrackingStore(uri)
    made = store.create_logged_model("0", "remote")
    assert made.artifact_location == f"{uri}/artifacts/{made.model_id}"
    (tmp_path / "MLmodel").write_text("flavors: {}")
    from lakelineage.mlflow_plugin.artifact_repository import LakeArtifactRepository

    LakeArtifactRepository(made.artifact_location).log_artifact(str(tmp_path / "MLmodel"))
    store.finalize_logged_model(made.model_id, LoggedModelStatus.READY)
    code = (
        "import sys, warnings; warnings.simplefilter('ignore')\n"
        "from lakelineage.mlflow_plugin.artifact_repository import LakeArtifactRepository\n"
        "repository = LakeArtifactRepository(sys.argv[1])\n"
        "print([file.path for file in repository.list_artifacts()], file=sys.stdout)\n"
        "print(open(repository.download_artifacts('MLmodel')).read())\n"
    )
    monkeypatch.setenv("LAKELINEAGE_SPOOL", str(tmp_path / "there"))  # another host
    done = subprocess.run(
        [sys.executable, "-c", code, made.artifact_location], capture_output=True, text=True, timeout=200
    )
    assert done.stdout.split("\n")[:2] == ["['MLmodel']", "flavors: {}"], done.stderr
    lakes.opened(uri).close()
