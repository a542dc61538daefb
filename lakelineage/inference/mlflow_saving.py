"""Saving models as MLflow Models directories.

Formats. Models of XGBoost, LightGBM and ONNX are saved in the formats of these libraries, scikit-learn estimators (and
those of LightGBM) with skops: loading any of these runs no code of the file. What skops does not know (functions in a
pipeline, third-party estimators), PyTorch modules and Python callables are pickled, and loading them needs trust.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput
from lakelineage.inference.mlflow_library import module, quiet
from lakelineage.inference.trust import CODE_FREE_TYPES, untrusted

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

#: Rows of an input example that are stored; the signature is inferred from all of them.
EXAMPLE_ROWS = 100
#: Whichever of them is installed.
_DISTRIBUTIONS = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "sklearn": ("scikit-learn",),
    "xgboost": ("xgboost", "xgboost-cpu"),
}
#: Protobuf, and so an ONNX file of its own, ends there.
_LARGEST_ONNX = 2**31 - 1


@dataclass(frozen=True)
class _Flavor:
    """How mlflow saves the models of a library.

    Attributes:
        library: a program that holds a model of it has imported it.
        types: attributes of the library, dotted: its classes of models.
        module: of mlflow.
        packages: that a model needs, besides the one that its class is from.
        predict: a model and an example → predictions, as the loaded model makes them; None: nobody but that can tell.
        arguments: a model → what its ``save_model`` is given.
    """

    library: str
    types: tuple[str, ...]
    module: str
    packages: tuple[str, ...]
    predict: Callable[[Any, Any], Any] | None
    arguments: Callable[[Any], dict[str, Any]]

    def takes(self, model: Any) -> bool:
        library = sys.modules.get(self.library)
        return library is not None and any(
            isinstance(model, getattr(library, name)) for name in self.types if hasattr(library, name)
        )


def _plain(model: Any, example: Any) -> Any:
    return model.predict(example)


def _of_booster(model: Any, example: Any) -> Any:
    return model.predict(import_module("xgboost").DMatrix(example))


def _nothing(model: Any) -> dict[str, Any]:  # noqa: ARG001 - the table calls all alike
    return {}


def _skops_or_cloudpickle(model: Any) -> dict[str, Any]:
    """The form, by whether skops brings the estimator back without being told to trust anything of the user's."""
    skops_io = import_module("skops.io")  # comes with mlflow, and is untyped
    try:
        types = untrusted(skops_io.dumps(model))
    except Exception:  # skops' refusals have no common class; cloudpickle is then asked, and its refusal is reported
        logging.getLogger(__name__).debug("skops cannot save %s", type(model).__name__, exc_info=True)
        return {"serialization_format": "cloudpickle"}
    if CODE_FREE_TYPES.issuperset(types):
        return {"serialization_format": "skops", "skops_trusted_types": types or None}
    return {"serialization_format": "cloudpickle"}


def _in_one_file(model: Any) -> dict[str, Any]:
    # Saving tensors to a file of their own takes them out of the caller's model.
    return {"save_as_external_data": model.ByteSize() > _LARGEST_ONNX}


#: The first that fits is taken: estimators of XGBoost and LightGBM are scikit-learn's too, PyTorch's modules callable.
_FLAVORS = (
    _Flavor("xgboost", ("XGBModel",), "mlflow.xgboost", ("sklearn", "numpy", "pandas"), _plain, _nothing),
    _Flavor("xgboost", ("Booster",), "mlflow.xgboost", ("numpy", "pandas"), _of_booster, _nothing),
    _Flavor(
        "lightgbm", ("LGBMModel",), "mlflow.lightgbm", ("sklearn", "numpy", "pandas"), _plain, _skops_or_cloudpickle
    ),
    _Flavor("lightgbm", ("Booster",), "mlflow.lightgbm", ("numpy", "pandas"), _plain, _nothing),
    _Flavor("onnx", ("ModelProto",), "mlflow.onnx", ("onnx", "onnxruntime", "numpy", "pandas"), None, _in_one_file),
    _Flavor(
        "torch.nn",
        ("Module",),
        "mlflow.pytorch",
        ("torch", "cloudpickle", "numpy", "pandas"),
        None,
        lambda _: {"serialization_format": "pickle"},
    ),
    _Flavor(
        "sklearn.base",
        ("BaseEstimator",),
        "mlflow.sklearn",
        ("sklearn", "numpy", "scipy", "pandas"),
        _plain,
        _skops_or_cloudpickle,
    ),
)


def save(model: Any, folder: Path, signature: Any = None, input_example: Any = None) -> None:
    """Save a model as an MLflow Models directory.

    Args:
        model: a fitted scikit-learn estimator, a model of XGBoost, LightGBM, ONNX (``ModelProto``) or PyTorch
            (``nn.Module``), a callable of one data frame, or an ``mlflow.pyfunc.PythonModel``.
        folder: does not exist yet.
        signature: an ``mlflow.models.ModelSignature``; inferred from the example if not given.
        input_example: a data frame (pandas, Polars, Arrow) or array that the model predicts on.

    Raises:
        InvalidInput: no such model, one that cannot be saved, or one that fails on its example.
        MissingExtra: mlflow is not installed.
    """
    pyfunc = module("mlflow.pyfunc")
    example = _pandas(input_example)
    flavor = next((each for each in _FLAVORS if each.takes(model)), None)
    with quiet():
        if flavor is not None:
            _save_flavor(flavor, model, folder, signature, example)
        elif isinstance(model, pyfunc.PythonModel):
            _save_python_model(model, folder, signature, example)
        elif callable(model):
            _save_python_model(_as_python_model(model), folder, signature or _inferred(model, example), example, model)
        else:
            raise InvalidInput(
                f"{type(model).__name__} is no model that can be logged; log a scikit-learn estimator with predict, "
                "a model of XGBoost, LightGBM, ONNX or PyTorch, a function of one data frame, or an "
                "mlflow.pyfunc.PythonModel"
            )


def _pandas(example: Any) -> Any:
    """An input example as mlflow takes it."""
    convert = getattr(example, "to_pandas", None)
    return example if convert is None else convert()


def _inferred(predict: Callable[[Any], Any], example: Any) -> "ModelSignature | None":
    if example is None:
        return None
    models = module("mlflow.models")
    try:
        return models.infer_signature(example, predict(example))  # type: ignore[no-any-return]
    except Exception as error:  # the model is the user's code: anything may come out of it
        raise InvalidInput(
            f"the model fails on its input_example ({type(error).__name__}: {error}); give an example like its "
            "training data, or signature= instead"
        ) from error


def _save_flavor(flavor: _Flavor, model: Any, folder: Path, signature: Any, example: Any) -> None:
    if flavor.predict is _plain and not hasattr(model, "predict"):
        raise InvalidInput(f"{type(model).__name__} has no predict; log a pipeline that ends in a predictor")
    predict = flavor.predict
    if signature is None and predict is not None:
        signature = _inferred(lambda rows: predict(model, rows), example)
    arguments = flavor.arguments(model)
    form = str(arguments.get("serialization_format", ""))
    with _refusals(model):
        module(flavor.module).save_model(
            model,
            str(folder),
            signature=signature,
            input_example=_head(example),
            pip_requirements=_requirements(*flavor.packages, form, *_steps(model)),
            **arguments,
        )
    if signature is None and example is not None:
        loaded = module("mlflow.pyfunc").load_model(str(folder))  # what this process has just saved
        module("mlflow.models").set_signature(str(folder), _inferred(loaded.predict, example))


def _steps(model: Any) -> set[str]:
    """Packages that an estimator and those inside it (the steps of a pipeline) are from."""
    parameters = model.get_params().values() if hasattr(model, "get_params") else ()
    return {_root(each) for each in (model, *parameters)}


def _as_python_model(function: Callable[[Any], Any]) -> Any:
    """A callable as a model. The class is local, so cloudpickle stores it by value and plain mlflow loads it."""
    import pandas as pd

    pyfunc = module("mlflow.pyfunc")

    class CallableModel(pyfunc.PythonModel):  # type: ignore[name-defined, misc]
        # mlflow goes by the names of the arguments, and warns at each load of one that has no type
        def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:  # noqa: ARG002
            return self.function(model_input)

    model = CallableModel()
    model.function = function
    return model


def _save_python_model(model: Any, folder: Path, signature: Any, example: Any, uses: Any = None) -> None:
    with _refusals(model):
        module("mlflow.pyfunc").save_model(
            str(folder),
            python_model=model,
            signature=signature,
            input_example=_head(example),
            pip_requirements=_requirements("cloudpickle", "pandas", "numpy", *_roots(uses or model)),
        )
    if example is not None and module("mlflow.models").Model.load(str(folder)).signature is None:
        raise InvalidInput("the model fails on its input_example; give one like its training data, or signature=")


def _head(example: Any) -> Any:
    return example[:EXAMPLE_ROWS] if hasattr(example, "shape") else example


@contextmanager
def _refusals(model: Any) -> Iterator[None]:
    from pickle import PicklingError

    exceptions = module("mlflow.exceptions")
    try:
        yield
    except (exceptions.MlflowException, PicklingError, TypeError, AttributeError) as error:
        raise InvalidInput(f"{type(model).__name__} cannot be saved as an MLflow model: {error}") from error


def _root(thing: Any) -> str:
    """Top-level package that a value, or its type, comes from."""
    if isinstance(thing, ModuleType):
        return thing.__name__.partition(".")[0]
    return str(getattr(thing, "__module__", None) or type(thing).__module__).partition(".")[0]


def _roots(model: Any) -> set[str]:
    """Packages that a callable or model object speaks of directly: by globals, closure and attributes."""
    kind = type(model)
    function = model if isinstance(model, FunctionType) else getattr(kind, "predict", None) or kind.__call__
    used: list[Any] = [model, *vars(model).values()] if hasattr(model, "__dict__") else [model]
    if isinstance(function, FunctionType):
        used += [function.__globals__[name] for name in function.__code__.co_names if name in function.__globals__]
        used += [cell.cell_contents for cell in function.__closure__ or ()]
    return {_root(each) for each in used}


def _requirements(*packages: str) -> list[str]:
    """Requirements at the versions installed.

    Left to itself, mlflow imports the model in a process of its own to find them, which takes seconds.
    """
    found = {}
    for distribution in (name for package in packages for name in _DISTRIBUTIONS.get(package, (package,))):
        try:
            found[distribution] = metadata.version(distribution)
        except (metadata.PackageNotFoundError, ValueError):  # the user's own modules are no distributions
            continue
    return [f"{name}=={version}" for name, version in sorted(found.items()) if name != "lakelineage"]
