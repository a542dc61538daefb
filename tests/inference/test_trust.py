"""What a model would run is told from its files, and nothing of it runs that was not allowed."""

import pickle
import sys
from pathlib import Path

import joblib
import pandas as pd
import pytest
import skops.io
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

import lakelineage as ll
from lakelineage.errors import InvalidInput, LakeDamaged, NotTrusted
from lakelineage.inference import mlflow_library, mlflow_models, mlflow_saving, trust
from lakelineage.inference.models import load_model
from lakelineage.inference.scoring import score

FRAME = pd.DataFrame({"bmi": [1.0, 2.0, 4.0]})
ALL_BUT_ALL = frozenset({"pickle", "code", "lightgbm.basic.Booster"})


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.fixture
def mark(tmp_path):
    """A file that is there if something ran."""
    return tmp_path / "ran"


@pytest.fixture
def evil(tmp_path, mark, monkeypatch):
    """A module on the path of imports that leaves the mark when it is imported; its name."""
    place = tmp_path / "path"
    place.mkdir()
    (place / "evil_loader.py").write_text(
        f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n"
        "class Model:\n    def load_model(self, path): ...\n    def predict(self, data): return [0] * len(data)\n"
        "def _load_pyfunc(path): return Model()\n"
    )
    monkeypatch.syspath_prepend(str(place))
    yield "evil_loader"
    sys.modules.pop("evil_loader", None)


def native(kind):
    import lightgbm
    import skl2onnx
    import xgboost

    target = FRAME["bmi"] * 2
    if kind == "sklearn":
        return LinearRegression().fit(FRAME, target)
    if kind == "xgboost":
        return xgboost.XGBRegressor(n_estimators=2).fit(FRAME, target)
    if kind == "lightgbm":
        return lightgbm.train({"verbose": -1, "min_data_in_leaf": 1}, lightgbm.Dataset(FRAME, target), 2)
    if kind == "lightgbm estimator":
        return lightgbm.LGBMRegressor(n_estimators=2, min_child_samples=1, verbose=-1).fit(FRAME, target)
    return skl2onnx.to_onnx(native("sklearn"), FRAME.to_numpy(dtype="float32"))


NATIVE = ("sklearn", "xgboost", "lightgbm", "lightgbm estimator", "onnx")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders of models that run nothing when they are loaded, by kind; to be copied."""
    place = tmp_path_factory.mktemp("native")
    for kind in NATIVE:
        mlflow_saving.save(native(kind), place / kind, input_example=FRAME)
    return place


@pytest.fixture
def model(saved, tmp_path):
    """Copies a model of a kind, to be tampered with."""
    import shutil

    return lambda kind: Path(shutil.copytree(saved / kind, tmp_path / "model"))


def settings_of(folder):
    return yaml.safe_load((folder / "MLmodel").read_text())


def change(folder, flavor, **values):
    """Change settings of a flavor in the MLmodel."""
    told = settings_of(folder)
    told["flavors"][flavor].update(values)
    (folder / "MLmodel").write_text(yaml.safe_dump(told))


def load(folder, *words):
    return mlflow_models.load(folder, "models:/m/1", trust.allowed(words))


@pytest.fixture
def pickled(engine, make_run, mark):
    """URI of a model that leaves the mark when it is loaded."""

    def logged(how):
        run = make_run(trained_on=None)
        mlflow = mlflow_library.module("mlflow.pyfunc")

        class Plain(mlflow.PythonModel):
            def predict(self, context, model_input: pd.DataFrame):  # noqa: ARG002 - mlflow goes by the names
                return model_input["bmi"]

        made = Plain() if how == "python model" else native("sklearn")
        made.bomb = Bomb(mark)
        if how == "function":
            made = lambda frame, bomb=made.bomb: frame["bmi"]
        from lakelineage.inference.models import log_model

        return log_model(engine, run, made, "model").uri

    return logged


@pytest.mark.parametrize("how", ["function", "python model", "estimator"])
def test_a_pickle_runs_only_where_it_is_trusted(engine, pickled, how, mark, source, output):
    uri = pickled(how)
    mark.unlink(missing_ok=True)  # saving may have tried it
    file = "model.pkl" if how == "estimator" else "python_model.pkl"
    for refused in (lambda: load_model(engine, uri), lambda: score(engine, uri, source, output, trust="code")):
        with pytest.raises(NotTrusted) as told:
            refused()
        assert told.value.needs == ("pickle",)
        assert all(word in str(told.value) for word in (uri, file, "trust=", "--trust pickle", trust.VARIABLE))
    assert not mark.exists()
    assert not Path(output).exists()
    load_model(engine, uri, trust="pickle")
    assert mark.exists()


def test_what_was_logged_by_this_process_needs_trust_too(lake_path):
    with ll.open(lake_path) as lake:
        with lake.start_run("e") as run:
            logged = run.log_model(lambda frame: frame["bmi"], "model")
        with pytest.raises(NotTrusted):
            lake.load_model(logged.uri)
        assert list(lake.load_model(logged.uri, trust=["pickle"]).predict(FRAME)) == [1, 2, 4]


@pytest.mark.parametrize("kind", NATIVE)
def test_models_in_formats_without_code_need_no_trust(model, kind):
    folder = model(kind)
    assert trust.needs(folder) == ()
    assert len(load(folder).predict(FRAME)) == 3


def renamed_pickle(folder, mark, evil):
    (folder / settings_of(folder)["flavors"]["python_function"].get("data", "model.skops")).write_bytes(
        pickle.dumps(Bomb(mark))
    )


def renamed_joblib(folder, mark, evil):
    (file,) = folder.glob("model.*")
    joblib.dump(Bomb(mark), file)


def pickle_called_skops_in_another_folder(folder, mark, evil):
    (folder / "sub").mkdir()
    (folder / "sub" / "model.skops").write_bytes(pickle.dumps(Bomb(mark)))
    told = settings_of(folder)
    told["flavors"]["sklearn"]["serialization_format"] = "pickle"
    (folder / "sub" / "MLmodel").write_text(yaml.safe_dump(told))
    change(folder, "python_function", data="sub/model.skops")


def data_that_is_a_folder(folder, mark, evil):
    pickle_called_skops_in_another_folder(folder, mark, evil)
    change(folder, "python_function", data="sub")


def link_to_elsewhere(folder, mark, evil):
    (file,) = folder.glob("model.*")
    (folder / "sub").mkdir()
    file.rename(folder / "sub" / file.name)
    file.symlink_to(folder / "sub" / file.name)


def foreign_loader(folder, mark, evil):
    change(folder, "python_function", loader_module=evil)


def loader_of_the_standard_library(folder, mark, evil):
    change(folder, "python_function", loader_module="os")


def loader_that_is_a_list(folder, mark, evil):
    change(folder, "python_function", loader_module=[evil])


def foreign_class(folder, mark, evil):
    change(folder, "xgboost", model_class=f"{evil}.Model")


def foreign_settings(folder, mark, evil):
    change(folder, "python_function", model_config={"loader": evil})


def private_method(folder, mark, evil):
    change(folder, "python_function", predict_fn="__reduce__")


def options_of_providers(folder, mark, evil):
    change(folder, "onnx", providers=[["TensorrtExecutionProvider", {"trt_extra_plugin_lib_paths": "evil.so"}]])


def options_of_the_session(folder, mark, evil):
    change(folder, "onnx", onnx_session_options={"extra_session_config": {"session.x": "evil.so"}})


@pytest.mark.parametrize(
    ("kind", "tamper"),
    [
        *((kind, renamed_pickle) for kind in NATIVE),
        *((kind, renamed_joblib) for kind in NATIVE),
        *((kind, foreign_loader) for kind in NATIVE),
        *((kind, foreign_settings) for kind in NATIVE),
        *((kind, private_method) for kind in NATIVE),
        *((kind, link_to_elsewhere) for kind in NATIVE),
        ("sklearn", pickle_called_skops_in_another_folder),
        ("sklearn", data_that_is_a_folder),
        ("sklearn", loader_of_the_standard_library),
        ("sklearn", loader_that_is_a_list),
        ("xgboost", foreign_class),
        ("onnx", options_of_providers),
        ("onnx", options_of_the_session),
    ],
)
def test_a_model_cannot_lie_about_what_it_is(model, kind, tamper, mark, evil):
    folder = model(kind)
    tamper(folder, mark, evil)
    assert "all" in {need.word for need in trust.needs(folder)}
    with pytest.raises(NotTrusted, match="trust='all'"):
        load(folder, *ALL_BUT_ALL)
    assert not mark.exists()
    assert evil not in sys.modules


def test_the_marks_of_these_tests_can_appear(model, mark, evil):
    folder = model("xgboost")
    foreign_class(folder, mark, evil)
    load(folder, "all")
    assert mark.exists()


def test_an_mlmodel_that_says_pickle_is_believed(model, mark):
    folder = model("lightgbm estimator")
    (folder / "model.skops").write_bytes(pickle.dumps(Bomb(mark)))
    change(folder, "lightgbm", serialization_format="cloudpickle")
    with pytest.raises(NotTrusted) as told:
        load(folder)
    assert (told.value.needs, mark.exists()) == (("pickle",), False)


def test_python_source_of_a_model_is_trusted_by_its_own_word(tmp_path, mark):
    pyfunc = mlflow_library.module("mlflow.pyfunc")
    source = tmp_path / "as_code.py"
    source.write_text(
        f"import pathlib, mlflow, pandas\npathlib.Path({str(mark)!r}).touch()\n"
        "class Doubled(mlflow.pyfunc.PythonModel):\n"
        "    def predict(self, context, model_input: pandas.DataFrame, params=None):\n"
        "        return model_input['bmi'] * 2\n"
        "mlflow.models.set_model(Doubled())\n"
    )
    folder = tmp_path / "model"
    with mlflow_library.quiet():
        pyfunc.save_model(str(folder), python_model=str(source), pip_requirements=["pandas"])
    mark.unlink()
    with pytest.raises(NotTrusted, match=r"as_code\.py") as told:
        load(folder, "pickle")
    assert (told.value.needs, mark.exists()) == (("code",), False)
    assert list(load(folder, "code").predict(FRAME)) == [2, 4, 8]
    assert mark.exists()


def test_source_beside_a_native_model_needs_trust_since_it_may_stand_before_any_library(model, tmp_path, mark):
    folder = model("xgboost")
    (folder / "code").mkdir()
    (folder / "code" / "scipy.py").write_text(f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n")
    change(folder, "python_function", code="code")
    with pytest.raises(NotTrusted) as told:
        load(folder, "pickle")
    assert (told.value.needs, mark.exists()) == (("code",), False)
    assert str(folder / "code") not in sys.path


def test_a_loader_that_the_model_brings_is_source_of_it(tmp_path, mark, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))  # loading adds the model's folder
    pyfunc = mlflow_library.module("mlflow.pyfunc")
    (tmp_path / "own_loader.py").write_text(
        f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n"
        "class Model:\n    def predict(self, data): return data['bmi']\n"
        "def _load_pyfunc(path): return Model()\n"
    )
    folder = tmp_path / "model"
    pyfunc.save_model(
        str(folder), loader_module="own_loader", code_paths=[str(tmp_path / "own_loader.py")], pip_requirements=[]
    )
    mark.unlink(missing_ok=True)
    with pytest.raises(NotTrusted) as told:
        load(folder, "pickle")
    assert (told.value.needs, mark.exists()) == (("code",), False)
    assert list(load(folder, "code").predict(FRAME)) == [1, 2, 4]


class Scaler(LinearRegression):
    """A type that skops does not know."""

    def __setstate__(self, state):
        Scaler.loads += 1
        self.__dict__.update(state)

    loads = 0


def test_types_in_a_skops_file_are_trusted_by_name_whatever_the_model_says_of_them(model):
    folder, name = model("sklearn"), f"{Scaler.__module__}.Scaler"
    skops.io.dump(make_pipeline(Scaler().fit(FRAME, FRAME["bmi"])), folder / "model.skops")
    change(folder, "sklearn", skops_trusted_types=[name])
    Scaler.loads = 0
    for words in ((), ("pickle", "code"), ("other.Scaler",)):
        with pytest.raises(NotTrusted) as told:
            load(folder, *words)
        assert told.value.needs == (name,)
    assert Scaler.loads == 0
    assert list(load(folder, name).predict(FRAME)) == pytest.approx([1, 2, 4])
    assert Scaler.loads == 1


def test_a_function_in_a_skops_file_is_neither_called_nor_imported(model, mark, evil):
    """The schema of skops names modules; looking at a file must not import them."""
    import json
    import zipfile

    folder = model("sklearn")
    schema = {
        "__class__": "Model",
        "__module__": evil,
        "__loader__": "ObjectNode",
        "content": None,
        "__id__": 1,
        "protocol": 2,
        "_skops_version": "0.16",
    }
    with zipfile.ZipFile(folder / "model.skops", "w") as file:
        file.writestr("schema.json", json.dumps(schema))
    change(folder, "sklearn", skops_trusted_types=[f"{evil}.Model"])
    with pytest.raises(NotTrusted) as told:
        load(folder)
    assert told.value.needs == (f"{evil}.Model",)
    assert not mark.exists()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["os", "model.skops", "pickle"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=150)
@given(st.sampled_from(NATIVE), st.data())
def test_whatever_an_mlmodel_says_is_judged_and_nothing_strange_passes(saved, kind, data):
    told = settings_of(saved / kind)
    flavor = data.draw(st.sampled_from(sorted(told["flavors"])))
    conf = told["flavors"][flavor]
    key = data.draw(st.sampled_from(sorted(conf)) | st.text(max_size=4))
    before = conf.get(key)
    conf[key] = data.draw(values)
    judged = trust._LOADERS.get(str(told["flavors"]["python_function"]["loader_module"]))
    needs = judged(trust._Model(saved / kind, told["flavors"])) if judged else ["foreign"]
    harmless = {
        *("python_version", "env", "code", "extra_files", "pickled_model", "model_format"),
        *("sklearn_version", "xgb_version", "lgb_version", "onnx_version"),
    }
    if not needs and key not in harmless and conf[key] != before:
        # What is left: other settings of the same meaning, and some that this loader does not read.
        assert key in {"predict_fn", "providers", "onnx_session_options", "skops_trusted_types"} | (
            {"serialization_format"} if kind == "lightgbm" else set()
        )


@pytest.mark.parametrize("content", ["", "flavors: 3", "flavors: {python_function: os}", "\t", "flavors: {onnx: {}}"])
def test_a_folder_without_a_readable_mlmodel_is_no_model(tmp_path, content):
    (tmp_path / "MLmodel").write_text(content)
    with pytest.raises(LakeDamaged, match="holds no MLflow model"):
        load(tmp_path)


@pytest.mark.parametrize("word", ["pickel", "", "Pickle", "a b.c", 3, "pickle,code"])
def test_an_unknown_word_of_trust_is_refused_with_those_that_there_are(engine, word, source, output):
    for call in (
        lambda: load_model(engine, "runs:/r/model", trust=[word]),
        lambda: score(engine, "runs:/r/model", source, output, trust=[word]),
    ):
        with pytest.raises(InvalidInput, match=r"'pickle'.*'code'.*'all'"):
            call()


def test_a_process_may_have_a_default_that_a_call_replaces(engine, pickled, monkeypatch, mark):
    uri = pickled("function")
    mark.unlink(missing_ok=True)
    monkeypatch.setenv(trust.VARIABLE, "pickle, code")
    for nothing in (False, (), "code"):
        with pytest.raises(NotTrusted):
            load_model(engine, uri, trust=nothing)
    assert not mark.exists()
    load_model(engine, uri)
    assert mark.exists()
    monkeypatch.setenv(trust.VARIABLE, "everything")
    with pytest.raises(InvalidInput, match=trust.VARIABLE):
        load_model(engine, uri)
    load_model(engine, uri, trust=True)
