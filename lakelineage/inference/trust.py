"""What loading a model would run, told from its files alone, and whether that was allowed.

Nothing here loads a model or imports a module that it names. What is known to run nothing is listed; all else needs
trust. The list goes by what mlflow's loaders do (mlflow 3.17): which module the ``python_function`` flavor names, which
settings of the flavor that module reads, and how the file begins. So ``MLmodel`` cannot say one thing while the file
is another.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakelineage.errors import InvalidInput, LakeDamaged, NotTrusted

PICKLE, CODE, ALL = "pickle", "code", "all"
#: What may be trusted by a word; anything with a dot is a type in a skops file.
WORDS = {
    PICKLE: "objects that are unpickled (pickle, cloudpickle, joblib, PyTorch)",
    CODE: "Python source that the model brings",
    ALL: "whatever the model does",
}
#: Trust of a process that names none, separated by commas.
VARIABLE = "LAKELINEAGE_TRUST"
#: Types that skops asks about though making them runs no code of the file: parts of scikit-learn's estimators, and
#: LightGBM's estimators, whose booster is made from LightGBM's own text. That a file with made-up indices in a tree can
#: crash the process, it shares with the native formats.
CODE_FREE_TYPES = frozenset(
    {
        *("collections.OrderedDict", "lightgbm.basic.Booster"),
        *(f"lightgbm.sklearn.LGBM{kind}" for kind in ("Classifier", "Ranker", "Regressor")),
        "sklearn._loss.loss.HalfTweedieLoss",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        *(
            f"sklearn.gaussian_process.kernels.{kernel}"
            for kernel in ("ConstantKernel", "DotProduct", "Matern", "Product", "RBF", "Sum", "WhiteKernel")
        ),
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
    }
)
_XGBOOST_CLASSES = frozenset(
    {"xgboost.core.Booster"}
    | {f"xgboost.sklearn.XGB{kind}" for kind in ("Model", "Classifier", "Regressor", "Ranker")}
    | {f"xgboost.sklearn.XGBRF{kind}" for kind in ("Classifier", "Regressor")}
)
_ONNX_OPTIONS = frozenset(
    {"execution_mode", "graph_optimization_level", "inter_op_num_threads", "intra_op_num_threads"}
)
_PYTHON_LOADERS = ("code_model", "chat_model", "chat_agent", "responses_agent")
_PYFUNC_KEYS = frozenset({"loader_module", "python_version", "code", "data", "env", "model_path", "predict_fn"})
_TYPE = re.compile(r"[^\s.,]+(\.[^\s.,]+)+")

Trust = bool | str | Iterable[str] | None


@dataclass(frozen=True, slots=True)
class Need:
    """Something that loading a model would run.

    Attributes:
        word: what ``trust`` must hold to allow it.
        file: of the model, which says so or holds it.
        deed: what loading would do.
    """

    word: str
    file: str
    deed: str


def allowed(trust: Trust) -> frozenset[str]:
    """What a caller allows, as words.

    Args:
        trust: a word of :data:`WORDS`, the full name of a type in skops files, or several; True for everything, False
            for nothing; None for what ``LAKELINEAGE_TRUST`` says.

    Raises:
        InvalidInput: no such word.
    """
    if isinstance(trust, bool):
        return frozenset({ALL} if trust else ())
    place = "trust"
    if trust is None:
        place, trust = VARIABLE, [word.strip() for word in os.environ.get(VARIABLE, "").split(",") if word.strip()]
    words: list[Any] = [trust] if isinstance(trust, str) or not isinstance(trust, Iterable) else list(trust)
    for word in words:
        if not isinstance(word, str) or not (word in WORDS or _TYPE.fullmatch(word)):
            known = "; ".join(f"{name!r}: {meaning}" for name, meaning in WORDS.items())
            raise InvalidInput(
                f"{place} has {word!r}, which is no such word. There are {known}; or the full name of a type in a "
                "skops file, like 'my_package.Scaler'"
            )
    return frozenset(words)


def require(folder: Path, model: str, trusted: frozenset[str]) -> None:
    """Refuse a model that would run what is not trusted.

    Args:
        folder: an MLflow Models directory.
        model: what the caller calls it.
        trusted: words, as :func:`allowed` gives them.

    Raises:
        NotTrusted: loading it would run something else.
        LakeDamaged: there is no such model in the folder.
    """
    if ALL in trusted:
        return
    missing = [need for need in needs(folder) if need.word not in trusted]
    if not missing:
        return
    words = sorted({need.word for need in missing} | trusted)
    wanted = [ALL] if ALL in words else words
    value = repr(wanted[0] if len(wanted) == 1 else wanted)
    deeds = "; ".join(f"{need.deed} ({need.file})" for need in missing)
    raise NotTrusted(
        f"{model} was not loaded. Loading it would run what it holds: {deeds}. If you trust whoever made it, say "
        f"trust={value}, on the command line {' '.join(f'--trust {word}' for word in wanted)}, or for all that a "
        f"process loads {VARIABLE}={','.join(wanted)}",
        tuple(dict.fromkeys(need.word for need in missing)),
    )


def needs(folder: Path) -> tuple[Need, ...]:
    """What loading a model would run; empty if that is known to be nothing.

    Raises:
        LakeDamaged: there is no such model in the folder.
    """
    model = _read(folder)
    loader = model.pyfunc.get("loader_module")
    judge = _LOADERS.get(loader) if isinstance(loader, str) else None
    found = [Need(CODE, model.code, "put Python source of the model on the path of imports")] if model.code else []
    return tuple(dict.fromkeys([*found, *(judge(model) if judge else _foreign(model, loader))]))


@dataclass(frozen=True, slots=True)
class _Model:
    """An MLflow Models directory, as its ``MLmodel`` tells of it."""

    folder: Path
    flavors: Mapping[str, Any]

    @property
    def pyfunc(self) -> dict[str, Any]:
        return self.flavor("python_function")

    @property
    def code(self) -> str:
        """Folder with Python source; empty if there is none."""
        return str(self.pyfunc.get("code") or "")

    def flavor(self, name: str) -> dict[str, Any]:
        found = self.flavors.get(name)
        return found if isinstance(found, dict) else {}

    def begins(self, file: object, start: bytes) -> bool:
        """Whether a file is right in the folder, and begins so.

        mlflow reads settings of a flavor from the folder that the file is in: those of another would be others.
        """
        if not isinstance(file, str) or file != Path(file).name or (self.folder / file).is_symlink():
            return False
        try:
            with (self.folder / file).open("rb") as content:
                return content.read(len(start)) == start
        except OSError:
            return False


def _read(folder: Path) -> _Model:
    import yaml

    try:
        with (folder / "MLmodel").open() as file:  # as mlflow opens and parses it: nothing may read otherwise there
            told = yaml.safe_load(file)
        flavors = told["flavors"]
        if not isinstance(flavors["python_function"], dict):
            raise TypeError("python_function is no mapping")
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise LakeDamaged(
            f"{folder} holds no MLflow model that can be loaded: its MLmodel has no python_function flavor that can be "
            f"read ({type(error).__name__}: {error})"
        ) from error
    return _Model(folder, flavors)


def _foreign(model: _Model, loader: object) -> list[Need]:
    first = str(loader).partition(".")[0]
    brought = model.folder / model.code if model.code else None
    if brought and first != "mlflow" and ((brought / f"{first}.py").is_file() or (brought / first).is_dir()):
        return []  # its source is the model's own, which is told of already
    return [Need(ALL, "MLmodel", f"hand the model to the module {loader!r}, of which nobody knows what it runs")]


def _pickled(model: _Model) -> list[Need]:
    conf = model.pyfunc
    file = conf.get("python_model") or conf.get("model_path") or conf.get("data") or "MLmodel"
    return [Need(PICKLE, str(file), "unpickle objects")]


def _python_model(model: _Model) -> list[Need]:
    conf = model.pyfunc
    if "data" in conf:  # another folder, with an MLmodel of its own
        return [Need(ALL, "MLmodel", f"load another model, which is in {conf['data']!r}")]
    if "model_code_path" in conf:  # mlflow looks for the key, whatever it says
        return [Need(CODE, os.path.basename(str(conf["model_code_path"])), "run Python source of the model")]
    return _pickled(model)


def _sklearn(model: _Model) -> list[Need]:
    if model.flavor("sklearn").get("serialization_format") != "skops":
        return _pickled(model)
    keys = {"pickled_model", "sklearn_version", "serialization_format", "skops_trusted_types"}
    file = model.pyfunc.get("data", model.pyfunc.get("model_path"))
    return [*_odd(model, "sklearn", keys), *_skops(model, "sklearn", file)]


def _lightgbm(model: _Model) -> list[Need]:
    conf = model.flavor("lightgbm")
    keys = {"lgb_version", "data", "model_class", "serialization_format", "skops_trusted_types"}
    odd = _odd(model, "lightgbm", keys)
    if conf.get("model_class", "lightgbm.basic.Booster") == "lightgbm.basic.Booster":
        return [*odd, *_native(model, conf.get("data"), b"tree\n", "LightGBM's text format")]
    if conf.get("serialization_format") == "skops":
        return [*odd, *_skops(model, "lightgbm", conf.get("data"))]
    return [*odd, *_pickled(model)]


def _xgboost(model: _Model) -> list[Need]:
    conf = model.flavor("xgboost")
    odd = _odd(model, "xgboost", {"xgb_version", "data", "model_class", "model_format"})
    kind = str(conf.get("model_class", "xgboost.core.Booster"))
    if kind not in _XGBOOST_CLASSES:
        odd.append(Need(ALL, "MLmodel", f"make an object of {kind!r}, which is no model class of XGBoost"))
    return [*odd, *_native(model, conf.get("data"), b"{", "XGBoost's JSON or UBJ")]


def _onnx(model: _Model) -> list[Need]:
    conf = model.flavor("onnx")
    odd = _odd(model, "onnx", {"onnx_version", "data", "providers", "onnx_session_options"})
    providers, options = conf.get("providers") or [], conf.get("onnx_session_options") or {}
    plain = isinstance(providers, list) and all(isinstance(each, str) for each in providers)
    if not plain or not isinstance(options, dict) or not _ONNX_OPTIONS.issuperset(options):
        odd.append(Need(ALL, "MLmodel", "set options of onnxruntime, some of which load libraries"))
    return [*odd, *_native(model, model.pyfunc.get("data"), b"\x08", "ONNX")]


def _native(model: _Model, file: object, start: bytes, form: str) -> list[Need]:
    if model.begins(file, start):
        return []
    return [Need(ALL, str(file), f"read a file that does not begin like {form}")]


def _skops(model: _Model, flavor: str, file: object) -> list[Need]:
    """Types that skops would make objects of: those in the file, and those that the model itself says are safe."""
    wrong = _native(model, file, b"PK\x03\x04", "skops")
    if wrong:
        return wrong
    listed = model.flavor(flavor).get("skops_trusted_types") or []
    try:
        kinds = {*untrusted(model.folder / str(file)), *listed} - CODE_FREE_TYPES
    except Exception as error:  # noqa: BLE001 - skops has no common class for what it cannot read
        return [Need(ALL, str(file), f"read a file that skops cannot ({type(error).__name__}: {error})")]
    return [Need(str(kind), str(file), f"make objects of {kind}") for kind in sorted(kinds, key=str)]


def untrusted(file: Path | bytes) -> list[str]:
    """Types in a skops file, or its content, that skops does not know as safe. Nothing of it is made.

    Raises:
        Exception: it is no skops file; skops has no common class for that.
    """
    import importlib

    skops_io = importlib.import_module("skops.io")  # comes with mlflow, and is untyped
    given = {"data": file} if isinstance(file, bytes) else {"file": file}
    return list(skops_io.get_untrusted_types(**given))


def _odd(model: _Model, flavor: str, keys: Iterable[str]) -> list[Need]:
    """What the settings of a model have that loaders of this flavor were not seen to have."""
    conf, said = model.pyfunc, []
    strange = sorted(str(key) for key in conf.keys() - _PYFUNC_KEYS)
    strange += sorted(str(key) for key in model.flavor(flavor).keys() - {*keys, "code", "extra_files"})
    if strange:
        said.append(f"use settings that are not known: {', '.join(strange)}")
    if "data" in conf and not model.begins(conf["data"], b""):
        said.append(f"read {conf['data']!r}, which is no file right in the model's folder")
    function = conf.get("predict_fn", "predict")
    if not isinstance(function, str) or not function.isidentifier() or function.startswith("_"):
        said.append(f"call {function!r} to predict")
    return [Need(ALL, "MLmodel", each) for each in said]


#: Modules that mlflow may load a model by, and what each would run.
_LOADERS: dict[str, Callable[[_Model], list[Need]]] = {
    "mlflow.sklearn": _sklearn,
    "mlflow.lightgbm": _lightgbm,
    "mlflow.xgboost": _xgboost,
    "mlflow.onnx": _onnx,
    "mlflow.pyfunc.model": _python_model,
    **{f"mlflow.pyfunc.loaders.{name}": _python_model for name in _PYTHON_LOADERS},
    # PyTorch unpickles in all its formats: torch.export's archives hold pickled tensors, too.
    **dict.fromkeys(("mlflow.pytorch", "mlflow.statsmodels", "mlflow.pmdarima"), _pickled),
}
