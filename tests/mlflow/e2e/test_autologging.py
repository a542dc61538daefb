"""Autologging and models of MLflow's own making, and the native API over the same rows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import polars as pl
import pytest

import lakelineage as ll

# Of what MLflow and the libraries that it watches warn is not for these tests to say.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def lake(uri: str, lake_path: Path) -> Iterator[ll.Lake]:
    """The lake that MLflow tracks to, opened natively too."""
    with ll.open(lake_path) as opened:
        yield opened
    for flavour in (mlflow.sklearn, mlflow.lightgbm):  # mlflow.autolog leaves alone what was told to a flavour
        flavour.autolog(disable=True)


@pytest.fixture
def homes(tmp_path: Path) -> str:
    """A Delta table to train on."""
    rng = np.random.default_rng(7)
    size, rooms = rng.uniform(20, 200, 300), rng.integers(1, 7, 300)
    frame = pl.DataFrame({"size": size, "rooms": rooms, "rent": 9 * size + 20 * rooms + rng.normal(0, 20, 300)})
    frame.write_delta(tmp_path / "homes")
    return str(tmp_path / "homes")


def _model_of(run_id: str) -> Any:
    run = mlflow.get_run(run_id)
    (output,) = run.outputs.model_outputs
    return mlflow.get_logged_model(output.model_id)


def test_scikit_learns_autologging_is_complete_and_the_lake_knows_it(lake: ll.Lake, homes: str) -> None:
    from sklearn.linear_model import Ridge

    mlflow.sklearn.autolog(log_input_examples=True, registered_model_name="rents")
    mlflow.set_experiment("rents")
    frame = pl.read_delta(homes).to_pandas()
    with mlflow.start_run(run_name="ridge") as active:
        mlflow.log_input(mlflow.data.from_pandas(frame, source=homes, name="homes"), context="training")
        Ridge(alpha=0.5).fit(frame[["size", "rooms"]], frame["rent"])
    run = mlflow.get_run(active.info.run_id)
    assert (run.info.status, run.data.params["alpha"]) == ("FINISHED", "0.5")
    assert run.data.metrics["training_r2_score"] > 0.9
    names = {each.dataset.name for each in run.inputs.dataset_inputs}
    assert "homes" in names
    assert len(names) == 2  # and the frame that fit() got
    model = _model_of(run.info.run_id)
    assert (model.status, model.source_run_id) == ("READY", run.info.run_id)

    row = lake.sql(
        "select name, params['alpha'] as alpha, metrics['training_r2_score'] as r2 from runs where run_id = ?",
        [run.info.run_id],
    ).to_pylist()[0]
    assert row == {"name": "ridge", "alpha": "0.5", "r2": run.data.metrics["training_r2_score"]}
    pinned = lake.run(run.info.run_id).inputs["homes"]
    assert pinned.version == 0
    assert pinned.to_polars().height == 300

    (version,) = lake.models.versions("rents")
    upstream = lake.lineage("model:rents@1").upstream().to_pylist()
    kinds = {row["node"]: row["kind"] for row in upstream}
    assert kinds[f"run:{run.info.run_id}"] == "run"
    assert any(row["label"] == f"{homes}@0" for row in upstream if row["kind"] == "dataset")
    assert any(model.model_id in node for node in kinds)
    probe = frame[["size", "rooms"]].head()
    native = lake.load_model(f"models:/rents/{version.version}", trust="pickle").predict(probe)
    assert np.allclose(native, mlflow.pyfunc.load_model("models:/rents/1").predict(probe))
    assert lake.models.find(trained_on=homes)[0].version == 1


def test_lightgbms_autologging_is_complete(lake: ll.Lake, homes: str) -> None:
    import lightgbm

    mlflow.lightgbm.autolog()
    frame = pl.read_delta(homes).to_pandas()
    train, held_out = frame[:200], frame[200:]
    columns = ["size", "rooms"]
    with mlflow.start_run() as active:
        data = lightgbm.Dataset(train[columns], train["rent"])
        valid = lightgbm.Dataset(held_out[columns], held_out["rent"], reference=data)
        booster = lightgbm.train(
            {"objective": "regression", "num_leaves": 4, "verbose": -1, "num_threads": 1},
            data,
            num_boost_round=8,
            valid_sets=[valid],
            valid_names=["held out"],
        )
    run = mlflow.get_run(active.info.run_id)
    assert (run.data.params["num_leaves"], run.data.params["num_boost_round"]) == ("4", "8")
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "held out-l2")
    assert [metric.step for metric in history] == list(range(8))
    assert {each.dataset.name for each in run.inputs.dataset_inputs}
    files = {file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    assert {"feature_importance_gain.json", "feature_importance_split.json"} <= files
    loaded = mlflow.pyfunc.load_model(f"models:/{_model_of(run.info.run_id).model_id}")
    assert np.allclose(loaded.predict(held_out[columns]), booster.predict(held_out[columns]))
    curve = lake.metric_history(run.info.run_id, "held out-l2").to_pylist()
    # MLflow logs the first point twice, and shows it once.
    assert {point["step"]: point["value"] for point in curve} == {metric.step: metric.value for metric in history}


def doubled() -> Any:
    """A model that gives twice its input. MLflow warns when it makes the base class: not while tests are collected."""

    class Doubled(mlflow.pyfunc.PythonModel):
        def predict(self, model_input):  # MLflow would read meaning into annotations
            return model_input * 2

    return Doubled()


def test_a_model_of_ones_own_is_logged_registered_and_loaded_by_its_alias(lake: ll.Lake) -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0]})
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(name="model", python_model=doubled(), input_example=frame)
    first = mlflow.register_model(info.model_uri, "doubled")
    second = mlflow.register_model(info.model_uri, "doubled")
    assert (first.version, second.version) == (1, 2)
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("doubled", "champion", 1)
    loaded = mlflow.pyfunc.load_model("models:/doubled@champion")
    assert loaded.predict(frame)["x"].tolist() == [2.0, 4.0]
    assert loaded.metadata.model_id == info.model_id
    assert client.get_model_version_by_alias("doubled", "champion").run_id == info.run_id
    assert lake.load_model("models:/doubled@champion", trust="pickle").predict(frame)["x"].tolist() == [2.0, 4.0]


def test_an_evaluation_is_tied_to_the_very_model_and_data(lake: ll.Lake, homes: str) -> None:
    from sklearn.linear_model import Ridge

    mlflow.set_experiment("rents")
    frame = pl.read_delta(homes).to_pandas()
    with mlflow.start_run():
        model = Ridge().fit(frame[["size", "rooms"]], frame["rent"])
        info = mlflow.sklearn.log_model(model, name="model", input_example=frame[["size", "rooms"]][:5])
    pl.read_delta(homes).head(50).write_delta(homes, mode="overwrite")
    data = mlflow.data.from_pandas(pl.read_delta(homes).to_pandas(), source=homes, targets="rent", name="homes")
    with mlflow.start_run(run_name="evaluation") as run:
        told = mlflow.models.evaluate(
            info.model_uri, data, model_type="regressor", evaluator_config={"log_model_explainability": False}
        )
    run_id = run.info.run_id
    used = lake.run(run_id).inputs["homes"]
    assert (used.version, used.num_rows) == (1, 50)
    told_of = "select distinct model_id, dataset, dataset_digest, value from metrics"  # MLflow tells it twice
    rows = lake.sql(f"{told_of} where run_id = ? and key = 'r2_score'", [run_id]).to_pylist()
    digest = mlflow.get_run(run_id).inputs.dataset_inputs[0].dataset.digest
    (row,) = rows
    assert row == {
        "model_id": info.model_id, "dataset": "homes", "dataset_digest": digest, "value": told.metrics["r2_score"]
    }  # fmt: skip
    nodes = set(lake.lineage(f"run:{run_id}").upstream().column("node").to_pylist())
    assert {f"dataset:{used.table_id}@1", f"artifact:{info.model_id}"} <= nodes
