"""Each flavor: logged, loaded, held to its signature, and scored exactly as the model predicts in memory."""

import json
import warnings
from pathlib import Path

import lightgbm
import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pytest
import skl2onnx
import xgboost
from deltalake import DeltaTable, write_deltalake
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import lakelineage as ll
from lakelineage.errors import InvalidInput, MissingExtra, NotTrusted
from lakelineage.inference import mlflow_library, trust
from lakelineage.mlflow_plugin import lakes

ROWS = 500
FRAME = pd.DataFrame(
    {"bmi": np.random.default_rng(7).normal(30, 5, ROWS), "age": np.random.default_rng(8).uniform(20, 90, ROWS)}
)
RISK = FRAME["bmi"] * 2 + FRAME["age"] * 0.3
ILL = (RISK.median() < RISK).astype(int)
LIGHT = {"n_estimators": 5, "verbose": -1, "num_threads": 1}


def squared(frame):
    return frame**2


def regressor():
    return LinearRegression().fit(FRAME.to_numpy(dtype=np.float32), RISK)


def onnx_model():
    return skl2onnx.to_onnx(regressor(), FRAME.to_numpy(dtype=np.float32)[:2])


def run_onnx(model, frame):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: frame.to_numpy(dtype=np.float32)})[0].ravel()


def plain(model, frame):
    return model.predict(frame)


#: Name → how to make one, how it predicts in memory, and the trust that loading it needs.
MODELS = {
    "sklearn estimator": (lambda: LinearRegression().fit(FRAME, RISK), plain, ()),
    "sklearn pipeline": (lambda: make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, ILL), plain, ()),
    "sklearn forest": (lambda: RandomForestRegressor(10, random_state=1).fit(FRAME, RISK), plain, ()),
    "sklearn boosted trees": (lambda: GradientBoostingClassifier(n_estimators=5).fit(FRAME, ILL), plain, ()),
    "sklearn boosted histograms": (lambda: HistGradientBoostingRegressor(max_iter=5).fit(FRAME, RISK), plain, ()),
    "sklearn neighbours": (lambda: KNeighborsClassifier().fit(FRAME, ILL), plain, ()),
    "sklearn network": (
        lambda: make_pipeline(StandardScaler(), MLPClassifier((4,), tol=1, max_iter=20)).fit(FRAME, ILL),
        plain,
        (),
    ),
    "sklearn calibrated": (lambda: CalibratedClassifierCV(LogisticRegression()).fit(FRAME, ILL), plain, ()),
    "sklearn pipeline with a function": (
        lambda: make_pipeline(FunctionTransformer(squared), LinearRegression()).fit(FRAME, RISK),
        plain,
        ("pickle",),
    ),
    "sklearn pipeline around xgboost": (
        lambda: make_pipeline(StandardScaler(), xgboost.XGBRegressor(n_estimators=5)).fit(FRAME, RISK),
        plain,
        ("pickle",),
    ),
    "sklearn pipeline around lightgbm": (
        lambda: make_pipeline(StandardScaler(), lightgbm.LGBMRegressor(**LIGHT)).fit(FRAME, RISK),
        plain,
        (),
    ),
    "xgboost booster": (
        lambda: xgboost.train({"max_depth": 3}, xgboost.DMatrix(FRAME, RISK), 5),
        lambda model, frame: model.predict(xgboost.DMatrix(frame)),
        (),
    ),
    "xgboost regressor": (lambda: xgboost.XGBRegressor(n_estimators=5).fit(FRAME, RISK), plain, ()),
    "xgboost classifier": (lambda: xgboost.XGBClassifier(n_estimators=5).fit(FRAME, ILL), plain, ()),
    "xgboost forest": (lambda: xgboost.XGBRFRegressor(n_estimators=5).fit(FRAME, RISK), plain, ()),
    "lightgbm booster": (
        lambda: lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(FRAME, RISK), 5),
        plain,
        (),
    ),
    "lightgbm regressor": (lambda: lightgbm.LGBMRegressor(**LIGHT).fit(FRAME, RISK), plain, ()),
    "lightgbm classifier": (
        lambda: lightgbm.LGBMClassifier(**LIGHT).fit(FRAME, ILL.map({0: "well", 1: "ill"})),
        plain,
        (),
    ),
    "onnx": (onnx_model, run_onnx, ()),
    "function": (lambda: lambda frame: frame["bmi"] * 2, lambda model, frame: model(frame), ("pickle",)),
}


@pytest.fixture
def lake(lake_path):
    with ll.open(lake_path) as opened:
        yield opened


@pytest.fixture
def people(tmp_path):
    uri = str(tmp_path / "people")
    write_deltalake(uri, pa.Table.from_pandas(FRAME.assign(id=range(ROWS)), preserve_index=False))
    return uri


def scores(uri):
    return DeltaTable(uri).to_pyarrow_table().sort_by("id")["prediction"].to_numpy()


@pytest.mark.parametrize("name", MODELS)
def test_every_flavor_scores_as_it_predicts_in_memory(lake, people, output, name):
    make, predict, needed = MODELS[name]
    model = make()
    with lake.start_run("e") as run:
        logged = run.log_model(model, "model", input_example=FRAME.head(5))
    if needed:
        with pytest.raises(NotTrusted) as refused:
            lake.score(logged.uri, people, output)
        assert refused.value.needs == needed
        assert not Path(output).exists()
    loaded = lake.load_model(logged.uri, trust=needed)
    assert loaded.inputs == ("bmi", "age")
    expected = np.asarray(predict(model, FRAME))
    assert np.array_equal(np.asarray(loaded.predict(FRAME)).ravel(), expected)
    lake.score(logged.uri, people, output, trust=needed, batch_size=ROWS)
    assert np.array_equal(scores(output), expected)


@pytest.mark.parametrize("name", ["sklearn estimator", "xgboost booster", "lightgbm regressor", "onnx"])
def test_every_flavor_holds_to_its_signature(lake, people, output, tmp_path, name):
    with lake.start_run("e") as run:
        logged = run.log_model(MODELS[name][0](), "model", input_example=FRAME.head(5))
    lacking, text = str(tmp_path / "lacking"), str(tmp_path / "text")
    write_deltalake(lacking, pa.table({"bmi": [1.0]}))
    write_deltalake(text, pa.table({"bmi": [1.0], "age": ["old"]}))
    for source, problem in ((lacking, "'age'.*missing"), (text, "'age' is string")):
        with pytest.raises(InvalidInput, match=problem):
            lake.score(logged.uri, source, output)
    assert not Path(output).exists()


def test_a_classifier_of_lightgbm_that_stopped_early_needs_no_trust(lake):
    model = lightgbm.LGBMClassifier(**LIGHT)
    stop = lightgbm.early_stopping(1, verbose=False)
    model.fit(FRAME[:400], ILL[:400], eval_X=FRAME[400:], eval_y=ILL[400:], callbacks=[stop])
    with lake.start_run("e") as run:
        logged = run.log_model(model, "model")
    assert np.array_equal(lake.load_model(logged.uri).predict(FRAME), model.predict(FRAME))


def test_logging_an_onnx_model_leaves_the_callers_as_it_was(lake):
    features = FRAME.to_numpy(dtype=np.float32)
    forest = RandomForestRegressor(20, random_state=1).fit(features, RISK)
    model = skl2onnx.to_onnx(forest, features[:2])
    before = model.SerializeToString()
    with lake.start_run("e") as run:
        logged = run.log_model(model, "model")
    assert model.SerializeToString() == before
    assert np.array_equal(lake.load_model(logged.uri).predict(FRAME)["variable"], run_onnx(model, FRAME))


def test_requirements_name_the_libraries_of_all_steps(lake):
    with lake.start_run("e") as run:
        run.log_model(MODELS["sklearn pipeline around lightgbm"][0](), "model")
    text = Path(lake.uri, "artifacts", run.id, "model", "requirements.txt").read_text()
    assert {"scikit-learn", "lightgbm", "skops"} <= {line.partition("==")[0] for line in text.split()}


def test_an_estimator_without_predict_is_refused(lake):
    with lake.start_run("e") as run, pytest.raises(InvalidInput, match="has no predict"):
        run.log_model(StandardScaler().fit(FRAME), "model")


def test_an_example_that_an_onnx_model_fails_on_is_refused(lake):
    with lake.start_run("e") as run, pytest.raises(InvalidInput, match="fails on its input_example"):
        run.log_model(onnx_model(), "model", input_example=FRAME[["bmi"]])


def unit():
    """Pre- and post-processing around a regressor: from kilograms and metres to a word."""
    pyfunc = mlflow_library.module("mlflow.pyfunc")

    class Screening(pyfunc.PythonModel):
        def load_context(self, context):
            self.words = json.loads(Path(context.artifacts["words"]).read_text()) if context.artifacts else None

        def predict(self, context, model_input: pd.DataFrame, params=None):  # noqa: ARG002 - mlflow's names
            features = pd.DataFrame({"bmi": model_input["kg"] / model_input["m"] ** 2, "age": model_input["age"]})
            words = self.words or ["low", "high"]
            return np.array(words)[(self.model.predict(features) > 75).astype(int)]

    made = Screening()
    made.model = LinearRegression().fit(FRAME, RISK)
    return made


BODIES = pd.DataFrame({"kg": FRAME["bmi"] * 1.7**2, "m": 1.7, "age": FRAME["age"]})


@pytest.fixture
def bodies(tmp_path):
    uri = str(tmp_path / "bodies")
    write_deltalake(uri, pa.Table.from_pandas(BODIES.assign(id=range(ROWS)), preserve_index=False))
    return uri


def told(words):
    bmi = BODIES["kg"] / BODIES["m"] ** 2
    risk = LinearRegression().fit(FRAME, RISK).predict(pd.DataFrame({"bmi": bmi, "age": BODIES["age"]}))
    return [words[int(value > 75)] for value in risk]


def test_processing_and_model_are_logged_and_scored_as_one(lake, bodies, output):
    with lake.start_run("e") as run:
        logged = run.log_model(unit(), "model", input_example=BODIES.head(5))
    with pytest.raises(NotTrusted, match=r"python_model\.pkl"):
        lake.score(logged.uri, bodies, output)
    lake.score(logged.uri, bodies, output, trust="pickle")
    assert list(scores(output)) == told(["low", "high"])
    assert set(scores(output)) == {"low", "high"}


@pytest.fixture
def tracked(lake_path):
    """The lake that MLflow tracks to."""
    mlflow = mlflow_library.module("mlflow")
    before = mlflow.get_tracking_uri()
    uri = f"lakelineage://{lake_path}"
    mlflow.set_tracking_uri(uri)
    opened = lakes.opened(uri)
    yield opened
    mlflow.set_tracking_uri(before)
    opened.close()


#: What MLflow itself logs: module, model, arguments, and the trust that it needs here.
BY_MLFLOW = {
    "sklearn by skops": ("sklearn", "sklearn estimator", {"serialization_format": "skops"}, ()),
    "sklearn by pickle": ("sklearn", "sklearn estimator", {"serialization_format": "pickle"}, ("pickle",)),
    "sklearn as it likes": ("sklearn", "sklearn estimator", {}, ()),
    "xgboost": ("xgboost", "xgboost regressor", {}, ()),
    "xgboost as JSON": ("xgboost", "xgboost booster", {"model_format": "json"}, ()),
    "lightgbm": ("lightgbm", "lightgbm booster", {}, ()),
    "lightgbm estimator": ("lightgbm", "lightgbm classifier", {}, ()),
    "lightgbm by cloudpickle": (
        "lightgbm",
        "lightgbm classifier",
        {"serialization_format": "cloudpickle"},
        ("pickle",),
    ),
    "onnx": ("onnx", "onnx", {}, ()),
}


@pytest.mark.parametrize("name", BY_MLFLOW)
def test_what_mlflow_logs_is_judged_by_the_same_rules(tracked, people, output, name):
    module, model_name, arguments, needed = BY_MLFLOW[name]
    make, predict, _ = MODELS[model_name]
    model, mlflow = make(), mlflow_library.module("mlflow")
    expected = np.asarray(predict(model, FRAME))
    with warnings.catch_warnings(), mlflow.start_run():
        warnings.simplefilter("ignore")  # MLflow's own, of what it does while it logs
        info = mlflow_library.module(f"mlflow.{module}").log_model(
            model, name="model", pip_requirements=["pandas"], **arguments
        )
    if needed:
        with pytest.raises(NotTrusted) as refused:
            tracked.score(info.model_uri, people, output, columns=["bmi", "age"])
        assert refused.value.needs == needed
    tracked.score(info.model_uri, people, output, columns=["bmi", "age"], trust=needed)
    assert np.array_equal(scores(output), expected)


def test_a_unit_with_files_that_mlflow_logged_is_scored(tracked, bodies, output, tmp_path):
    mlflow, words = mlflow_library.module("mlflow"), tmp_path / "words.json"
    words.write_text(json.dumps(["go home", "see a doctor"]))
    with warnings.catch_warnings(), mlflow.start_run():
        warnings.simplefilter("ignore")  # MLflow's own, of what it does while it logs
        info = mlflow_library.module("mlflow.pyfunc").log_model(
            name="model", python_model=unit(), artifacts={"words": str(words)}, pip_requirements=["scikit-learn"]
        )
    with pytest.raises(NotTrusted):
        tracked.load_model(info.model_uri)
    tracked.score(info.model_uri, bodies, output, trust="pickle")
    assert list(scores(output)) == told(["go home", "see a doctor"])


def test_a_pytorch_module_is_a_pickle(lake, people, output):
    torch = pytest.importorskip("torch", reason="PyPI's wheel for Linux brings gigabytes of CUDA")
    model = torch.nn.Sequential(torch.nn.Linear(2, 1))
    with lake.start_run("e") as run:
        logged = run.log_model(model, "model", input_example=FRAME.astype("float32").head(5))
    with pytest.raises(NotTrusted) as refused:
        lake.load_model(logged.uri)
    assert refused.value.needs == ("pickle",)
    single = FRAME.astype("float32")
    found = np.asarray(lake.load_model(logged.uri, trust="pickle").predict(single)).ravel()
    with torch.no_grad():
        assert np.array_equal(found, model(torch.from_numpy(single.to_numpy())).numpy().ravel())


def test_a_library_that_is_not_installed_is_named(lake, monkeypatch):
    import sys

    with lake.start_run("e") as run:
        logged = run.log_model(MODELS["xgboost regressor"][0](), "model")
    for name in [name for name in sys.modules if name.partition(".")[0] == "xgboost"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(MissingExtra, match="xgboost"):
        lake.load_model(logged.uri)
    assert trust.allowed(None) == frozenset()
