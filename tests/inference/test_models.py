import hashlib
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lakelineage.errors import AlreadyExists, ArtifactNotFound, InvalidInput, InvalidPath, LakeDamaged, ModelNotFound
from lakelineage.inference.models import LoggedModel, load_model, log_model
from lakelineage.lineage.resolve import resolve


def test_an_estimator_comes_back_predicting_the_same_bits(engine, make_run, regressor, features):
    run = make_run()
    logged = log_model(engine, run, regressor, "model", input_example=features.head(3))
    assert logged == LoggedModel(run, "model")
    loaded = load_model(engine, logged.uri)
    assert loaded.inputs == ("bmi", "age")
    assert np.array_equal(loaded.predict(features), regressor.predict(features))


def test_plain_mlflow_loads_what_was_logged(engine, make_run, regressor, features):
    import mlflow

    run = make_run()
    log_model(engine, run, regressor, "sk", input_example=features.head(3))
    log_model(engine, run, lambda frame: frame["bmi"] * 2, "fn", input_example=features.head(3))
    folder = Path(engine.root.child("artifacts", run))
    assert np.array_equal(mlflow.sklearn.load_model(str(folder / "sk")).predict(features), regressor.predict(features))
    assert "skops" in (folder / "sk" / "MLmodel").read_text()  # loading it runs no code of the file
    code = (
        "import sys; sys.modules['lakelineage'] = None\n"
        "import mlflow, pandas as pd\n"
        f"model = mlflow.pyfunc.load_model({str(folder / 'fn')!r})\n"
        "print(list(model.predict(pd.DataFrame({'bmi': [1.5], 'age': [2.0]}))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[3.0]", done.stderr


def test_an_estimator_that_skops_does_not_know_comes_back_too(engine, make_run, regressor, features):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    odd = make_pipeline(FunctionTransformer(lambda frame: frame * 1.0), regressor)
    run = make_run()
    loaded = load_model(engine, log_model(engine, run, odd, "model", input_example=features.head(3)), trust="pickle")
    assert np.array_equal(loaded.predict(features), regressor.predict(features))


def test_callables_and_python_models_come_back(engine, make_run, features):
    from mlflow.pyfunc import PythonModel

    factor = 7

    def by_closure(frame):
        return frame["age"] * factor

    class Custom(PythonModel):
        def __init__(self):
            self.factor = 5

        def predict(self, context, model_input: pd.DataFrame, params=None):  # noqa: ARG002
            return model_input["age"] * self.factor

    run = make_run()
    for path, model, expected in (("fn", by_closure, 7), ("custom", Custom(), 5)):
        loaded = load_model(engine, log_model(engine, run, model, path, input_example=features.head(3)), trust="pickle")
        assert loaded.inputs == ("bmi", "age")
        assert list(loaded(features)) == list(features["age"] * expected)


def test_logging_and_loading_say_nothing(engine, make_run, regressor, features, capfd):
    run = make_run()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path, model in (("sk", regressor), ("fn", lambda frame: frame["bmi"])):
            load_model(engine, log_model(engine, run, model, path, input_example=features.head(3)), trust="pickle")
            load_model(engine, log_model(engine, run, model, f"{path}_bare"), trust="pickle")
    written = capfd.readouterr()
    assert (written.out, written.err) == ("", "")


def test_the_lake_knows_every_file_of_a_model_and_its_place_in_the_graph(engine, make_run, regressor, features):
    run = make_run()
    logged = log_model(engine, run, regressor, "deep/model", input_example=features.head(3))
    rows = engine.query("select path, size, sha256 from artifacts where run_id = ?", (run,)).to_pylist()
    kept = engine.root.list(f"artifacts/{run}")
    assert sorted(row["path"] for row in rows) == [path.removeprefix(f"artifacts/{run}/") for path, _ in kept]
    for row in rows:
        content = engine.root.read(f"artifacts/{run}/{row['path']}")
        assert (len(content), hashlib.sha256(content).hexdigest()) == (row["size"], row["sha256"])
    assert {"deep/model/MLmodel", "deep/model/input_example.json"} <= {row["path"] for row in rows}
    edges = engine.query("select source, relation from lineage where target = ?", (logged.node,)).to_pylist()
    assert edges == [{"source": f"run:{run}", "relation": "generated"}]


def test_requirements_are_the_versions_installed(engine, make_run, regressor):
    import sklearn

    run = make_run()
    log_model(engine, run, regressor, "model")
    text = engine.root.read(f"artifacts/{run}/model/requirements.txt").decode()
    assert f"scikit-learn=={sklearn.__version__}" in text.split()


def test_a_logged_model_is_not_changed_by_logging_again(engine, make_run, regressor, features):
    run = make_run()
    log_model(engine, run, regressor, "model")
    before = engine.root.list("artifacts")
    with pytest.raises(AlreadyExists, match="model"):
        log_model(engine, run, lambda frame: frame["bmi"], "model")
    assert engine.root.list("artifacts") == before


def test_what_is_no_model_is_refused_and_leaves_nothing(engine, make_run, features):
    from sklearn.preprocessing import StandardScaler

    run = make_run()

    def broken(frame):
        raise KeyError("no such feature")

    for model, example, match in (
        (7, None, "int is no model"),
        (StandardScaler().fit(features), None, "no predict"),
        (broken, features, "no such feature"),
    ):
        with pytest.raises(InvalidInput, match=match):
            log_model(engine, run, model, "model", input_example=example)
    with pytest.raises(InvalidPath):
        log_model(engine, run, len, "../model")
    assert engine.root.list("artifacts") == []
    assert engine.query("select count(*) as n from artifacts").to_pylist() == [{"n": 0}]


def test_a_python_model_that_fails_on_its_example_is_refused(engine, make_run, features):
    from mlflow.pyfunc import PythonModel

    class Broken(PythonModel):
        def predict(self, context, model_input: pd.DataFrame, params=None):  # noqa: ARG002
            raise KeyError("no such feature")

    with pytest.raises(InvalidInput, match="input_example"):
        log_model(engine, make_run(), Broken(), "model", input_example=features)


def test_a_signature_can_be_given(engine, make_run, regressor, features):
    from mlflow.models import infer_signature

    signature = infer_signature(features, regressor.predict(features))
    loaded = load_model(engine, log_model(engine, make_run(), regressor, "model", signature=signature))
    assert loaded.inputs == ("bmi", "age")


def test_examples_may_be_polars_or_arrow(engine, make_run, regressor, features):
    import polars as pl
    import pyarrow as pa

    run = make_run()
    for path, example in (("a", pl.from_pandas(features)), ("b", pa.Table.from_pandas(features))):
        assert load_model(engine, log_model(engine, run, regressor, path, input_example=example)).inputs == (
            "bmi",
            "age",
        )


def test_files_that_are_not_what_was_logged_are_never_loaded(engine, make_run):
    run = make_run()
    logged = log_model(engine, run, lambda frame: frame["bmi"], "model")
    file = Path(engine.root.child("artifacts", run, "model", "python_model.pkl"))
    good = file.read_bytes()
    marker = file.parent.parent / "ran"
    file.write_bytes(f"cbuiltins\nexec\n(Vopen({str(marker)!r}, 'w')\ntR.".encode())
    with pytest.raises(LakeDamaged, match=r"python_model\.pkl"):
        load_model(engine, logged)
    assert not marker.exists()
    file.unlink()
    with pytest.raises(LakeDamaged, match=r"python_model\.pkl"):
        load_model(engine, logged)
    file.write_bytes(good)
    (file.parent / "extra.py").write_text("")
    with pytest.raises(LakeDamaged, match=r"extra\.py"):
        load_model(engine, logged)


def test_a_model_is_loaded_by_alias_version_and_run(engine, models, make_run):
    run = make_run()
    log_model(engine, run, lambda frame: frame["bmi"], "model")
    version = models.register("m", run)
    models.set_alias("m", "champion", 1)
    frame = pd.DataFrame({"bmi": [4.0]})
    for uri in ("models:/m/1", "models:/m@champion", "models:/m/latest", f"runs:/{run}/model", version):
        assert list(load_model(engine, uri, trust="pickle").predict(frame)) == [4.0]
    with pytest.raises(ModelNotFound):
        load_model(engine, "models:/m/2", trust="pickle")
    with pytest.raises(ArtifactNotFound):
        load_model(engine, f"runs:/{run}/other", trust="pickle")


def test_without_mlflow_the_error_says_what_to_install(tmp_path):
    code = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "mlflow":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
from lakelineage.engine import Engine
from lakelineage.errors import MissingExtra
from lakelineage.inference.models import log_model
from lakelineage.inference.scoring import score
engine = Engine({str(tmp_path / "lake")!r})
try:
    log_model(engine, "r", len, "model")
except MissingExtra as error:
    print(error)
engine.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "pip install lakelineage[mlflow]" in done.stdout, done.stderr


def test_a_logged_model_is_known_by_its_id_its_run_and_its_node(engine, make_run, features):
    run = make_run()
    logged = log_model(engine, run, lambda frame: frame["bmi"], "deep/model")
    (row,) = engine.query("select * from logged_models").to_pylist()
    assert (row["model_id"], row["name"], row["status"], row["source_run_id"], row["experiment_id"]) == (
        logged.model_id,
        "deep/model",
        "READY",
        run,
        "e",
    )
    assert row["artifact_location"] == f"artifacts/{run}/deep/model"
    (made,) = engine.query("select run_id, model_id, direction from run_models").to_pylist()
    assert made == {"run_id": run, "model_id": logged.model_id, "direction": "output"}
    frame = pd.DataFrame({"bmi": [4.0]})
    assert list(load_model(engine, f"models:/{logged.model_id}", trust="pickle").predict(frame)) == [4.0]
    assert str(resolve(engine, f"artifact:{logged.model_id}").node) == logged.node
    with pytest.raises(ModelNotFound, match="no logged model"):
        load_model(engine, f"models:/m-{'0' * 32}", trust="pickle")
