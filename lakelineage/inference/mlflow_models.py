"""The MLflow Models directory format, through the mlflow library. The only module that imports mlflow.

Nothing here talks to a tracking server or registry: models are saved to and loaded from local folders. mlflow's
telemetry, which would use the network from import on, is switched off unless the user's program imported mlflow first
or set ``MLFLOW_DISABLE_TELEMETRY`` itself.

Formats. scikit-learn estimators are saved with skops, which runs no code of the file when it is loaded; those that
skops does not know (functions in a pipeline, third-party estimators) and Python callables with cloudpickle. Loading a
cloudpickle runs what it holds: load only models of a lake you trust.
"""

import importlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from lakelineage.errors import ArtifactNotFound, InvalidInput, LakeDamaged, MissingExtra

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from mlflow.models import ModelSignature
    from mlflow.pyfunc import PyFuncModel

#: Rows of an input example that are stored; the signature is inferred from all of them.
EXAMPLE_ROWS = 100
_DISTRIBUTIONS = {"sklearn": "scikit-learn"}
#: What mlflow says on every save of a model that is as it should be.
_CHATTER = (
    "Passing a Python object as `python_model`",  # callables have no other form
    "Saving scikit-learn models in the pickle or cloudpickle format",  # said in this module's docstring
    "Validating input example against model signature",
    "Inferring model signature from input example",
    "Failed to infer model signature: Type hint",  # a signature is optional here
)
_WARNINGS = (
    r"(?s).*Add type hints to the `predict` method",  # the signature comes from the example
    r"(?s).*An input example was not provided",  # it is optional here
    r"(?s).*Inferred schema contains integer column",  # scoring refuses missing values there by a clear error
    r"Operation with range is deprecated",  # mlflow 3.17 compares column names so, under pandas 3.1
)


def _mlflow(module: str) -> ModuleType:
    """A module of mlflow.

    Raises:
        MissingExtra: mlflow is not installed.
    """
    if module in sys.modules:
        return sys.modules[module]
    if "mlflow" not in sys.modules:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # importing mlflow warns of type hints and deprecations in its own code
            return importlib.import_module(module)
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("mlflow", ""):
            raise
        raise MissingExtra("logging and loading models needs mlflow: pip install lakelineage[mlflow]") from error


def save(model: Any, folder: Path, signature: Any = None, input_example: Any = None) -> None:
    """Save a model as an MLflow Models directory.

    Args:
        model: a fitted scikit-learn estimator, a callable of one data frame, or an ``mlflow.pyfunc.PythonModel``.
        folder: does not exist yet.
        signature: an ``mlflow.models.ModelSignature``; inferred from the example if not given.
        input_example: a data frame (pandas, Polars, Arrow) or array that the model predicts on.

    Raises:
        InvalidInput: no such model, one that cannot be saved, or one that fails on its example.
        MissingExtra: mlflow is not installed.
    """
    pyfunc = _mlflow("mlflow.pyfunc")
    example = _pandas(input_example)
    with _quiet():
        if _is_estimator(model):
            _save_estimator(model, folder, signature or _inferred(model.predict, example), example)
        elif isinstance(model, pyfunc.PythonModel):
            _save_python_model(model, folder, signature, example)
        elif callable(model):
            _save_python_model(_as_python_model(model), folder, signature or _inferred(model, example), example, model)
        else:
            raise InvalidInput(
                f"{type(model).__name__} is no model that can be logged; log a scikit-learn estimator with predict, "
                "a function of one data frame, or an mlflow.pyfunc.PythonModel"
            )


def _is_estimator(model: Any) -> bool:
    base = sys.modules.get("sklearn.base")  # a program that holds an estimator has imported it
    if base is None or not isinstance(model, base.BaseEstimator):
        return False
    if not hasattr(model, "predict"):
        raise InvalidInput(f"{type(model).__name__} has no predict; log a pipeline that ends in a predictor")
    return True


def _pandas(example: Any) -> Any:
    """An input example as mlflow takes it."""
    convert = getattr(example, "to_pandas", None)
    return example if convert is None else convert()


def _inferred(predict: Callable[[Any], Any], example: Any) -> "ModelSignature | None":
    if example is None:
        return None
    models = _mlflow("mlflow.models")
    try:
        return models.infer_signature(example, predict(example))  # type: ignore[no-any-return]
    except Exception as error:  # the model is the user's code: anything may come out of it
        raise InvalidInput(
            f"the model fails on its input_example ({type(error).__name__}: {error}); give an example like its "
            "training data, or signature= instead"
        ) from error


def _save_estimator(model: Any, folder: Path, signature: Any, example: Any) -> None:
    flavor = _mlflow("mlflow.sklearn")
    form = flavor.SERIALIZATION_FORMAT_SKOPS if _skops_knows(model) else flavor.SERIALIZATION_FORMAT_CLOUDPICKLE
    with _refusals(model):
        flavor.save_model(
            model,
            str(folder),
            serialization_format=form,
            signature=signature,
            input_example=_head(example),
            pip_requirements=_requirements("sklearn", "numpy", "scipy", "pandas", form, _root(model)),
        )


def _skops_knows(model: Any) -> bool:
    """Whether skops brings the estimator back without being told to trust anything."""
    skops_io = importlib.import_module("skops.io")  # comes with mlflow, and is untyped

    try:
        return not skops_io.get_untrusted_types(data=skops_io.dumps(model))
    except Exception:  # skops' refusals have no common class; cloudpickle is then asked, and its refusal is reported
        logging.getLogger(__name__).debug("skops cannot save %s", type(model).__name__, exc_info=True)
        return False


def _as_python_model(function: Callable[[Any], Any]) -> Any:
    """A callable as a model. The class is local, so cloudpickle stores it by value and plain mlflow loads it."""
    import pandas as pd

    pyfunc = _mlflow("mlflow.pyfunc")

    class CallableModel(pyfunc.PythonModel):  # type: ignore[name-defined, misc]
        # mlflow goes by the names of the arguments, and warns at each load of one that has no type
        def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:  # noqa: ARG002
            return self.function(model_input)

    model = CallableModel()
    model.function = function
    return model


def _save_python_model(model: Any, folder: Path, signature: Any, example: Any, uses: Any = None) -> None:
    pyfunc = _mlflow("mlflow.pyfunc")
    with _refusals(model):
        pyfunc.save_model(
            str(folder),
            python_model=model,
            signature=signature,
            input_example=_head(example),
            pip_requirements=_requirements("cloudpickle", "pandas", "numpy", *_roots(uses or model)),
        )
    if example is not None and _mlflow("mlflow.models").Model.load(str(folder)).signature is None:
        raise InvalidInput("the model fails on its input_example; give one like its training data, or signature=")


def _head(example: Any) -> Any:
    return example[:EXAMPLE_ROWS] if hasattr(example, "shape") else example


@contextmanager
def _refusals(model: Any) -> Iterator[None]:
    from pickle import PicklingError

    exceptions = _mlflow("mlflow.exceptions")
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
    for package in packages:
        distribution = _DISTRIBUTIONS.get(package, package)
        try:
            found[distribution] = metadata.version(distribution)
        except (metadata.PackageNotFoundError, ValueError):  # the user's own modules are no distributions
            continue
    return [f"{name}=={version}" for name, version in sorted(found.items()) if name != "lakelineage"]


class _NoChatter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(_CHATTER)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what mlflow says of every save; all else it says is heard."""
    loggers = [logging.getLogger(name) for name in ("mlflow.pyfunc", "mlflow.sklearn")]
    chatter = _NoChatter()
    with warnings.catch_warnings():
        for message in _WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        for logger in loggers:
            logger.addFilter(chatter)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeFilter(chatter)


class LoadedModel:
    """A model in memory, ready to predict.

    Args:
        model: as mlflow loaded it.
        keep: whatever must live as long as the model does (a temporary folder with its files).
    """

    def __init__(self, model: "PyFuncModel", keep: object = None) -> None:
        self._model = model
        self._keep = keep

    @property
    def pyfunc(self) -> "PyFuncModel":
        """The model as mlflow's own object."""
        return self._model

    @property
    def inputs(self) -> tuple[str, ...] | None:
        """Columns that the signature names; None if it names none, or there is no signature."""
        schema = self._signature()
        return tuple(schema.input_names()) if schema is not None and schema.has_input_names() else None

    @property
    def has_outputs(self) -> bool:
        """Whether the signature says what the model gives."""
        return self._model.metadata.get_output_schema() is not None  # type: ignore[no-untyped-call]

    def _signature(self) -> Any:
        return self._model.metadata.get_input_schema()  # type: ignore[no-untyped-call]

    def problems(self, schema: "pa.Schema") -> list[str]:
        """Why a table of this schema cannot be scored: missing columns, and types that do not fit. Empty if it can.

        Types are judged by mlflow's own rules, column by column, so that predicting agrees.
        """
        signature = self._signature()
        if signature is None or not signature.has_input_names() or signature.is_tensor_spec():
            return []
        found = []
        for column in signature.inputs:
            if column.name in schema.names:
                found += self._type_problem(column, schema.field(column.name).type)
            elif column.required:
                found.append(f"column {column.name!r} ({_spoken(column.type)}) is missing")
        return found

    def _type_problem(self, column: Any, kind: "pa.DataType") -> list[str]:
        schema_class = _mlflow("mlflow.types").Schema
        try:
            _mlflow("mlflow.models").validate_schema(_probe(column.name, kind), schema_class([column]))
        except _mlflow("mlflow.exceptions").MlflowException:
            return [f"column {column.name!r} is {kind} where the model wants {_spoken(column.type)}"]
        return []

    def predict(self, data: "pd.DataFrame") -> Any:
        """Predictions for the rows of a frame.

        Raises:
            InvalidInput: the frame does not fit the signature.
        """
        try:
            return self._model.predict(data)
        except _mlflow("mlflow.exceptions").MlflowException as error:
            raise InvalidInput(f"the data does not fit the model's signature: {error}") from error

    def __call__(self, data: "pd.DataFrame") -> Any:
        """The same as ``predict``."""
        return self.predict(data)


def _spoken(kind: Any) -> str:
    """A type of a signature as people write it: ``double``; others than plain ones by mlflow's own words."""
    return str(getattr(kind, "name", kind))


def _probe(name: str, kind: "pa.DataType") -> "pd.DataFrame":
    """A frame with one column of a type, with a number in it if it can: mlflow lets 0, 1 and nothing pass anywhere."""
    import pyarrow as pa

    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    column = pa.array([2]).cast(kind) if numeric else pa.array([], kind)
    return pa.table({name: column}).to_pandas()


def load(folder: Path, keep: object = None) -> LoadedModel:
    """Load an MLflow Models directory. Loading runs code that the model holds.

    Raises:
        LakeDamaged: there is no such model in the folder.
        MissingExtra: mlflow, or a package that the model needs, is not installed.
    """
    pyfunc = _mlflow("mlflow.pyfunc")
    try:
        with _quiet():
            return LoadedModel(pyfunc.load_model(str(folder)), keep)
    except _mlflow("mlflow.exceptions").MlflowException as error:
        raise LakeDamaged(f"{folder} holds no MLflow model that can be loaded: {error}") from error
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"the model needs the module {error.name!r}; install it (its requirements.txt lists what it was made "
            "with), or put the code that defines it on PYTHONPATH"
        ) from error


def example(folder: Path) -> Any:
    """The input example that a model was logged with, as a frame or array; None if there was none."""
    return _mlflow("mlflow.models").Model.load(str(folder)).load_input_example(str(folder))


def fetch(uri: str, target: Path) -> Path:
    """A local folder with the files of a model that is at a URI, a local path or anything that mlflow reads.

    Args:
        uri: where it is.
        target: folder that what is not local is downloaded to.

    Raises:
        ArtifactNotFound: there is nothing, or it cannot be read.
        MissingExtra: mlflow is not installed.
    """
    place = Path(uri.removeprefix("file://"))
    if place.is_dir():
        return place
    if "://" not in uri and ":/" not in uri:
        raise ArtifactNotFound(f"there is no folder {uri}; the model was registered from there, and not copied")
    artifacts = _mlflow("mlflow.artifacts")
    try:
        return Path(artifacts.download_artifacts(artifact_uri=uri, dst_path=str(target)))
    except (_mlflow("mlflow.exceptions").MlflowException, OSError) as error:
        raise ArtifactNotFound(f"the model at {uri} cannot be fetched: {error}") from error


def predictions(result: Any, rows: int) -> Mapping[str, Any]:
    """What a model returned, as columns.

    They are called ``prediction`` if there is one, ``prediction_<name>`` for a frame or dict of several, and
    ``prediction_0``, ``prediction_1``, … for a two-dimensional array.

    Raises:
        InvalidInput: it is not one prediction (or row of them) for each row.
    """
    import numpy as np

    if hasattr(result, "columns") and hasattr(result, "__getitem__"):
        named = {str(name): result[name] for name in result.columns}
    elif isinstance(result, Mapping):
        named = {str(name): values for name, values in result.items()}
    else:
        table = result if hasattr(result, "shape") else np.asarray(result)
        many = len(table.shape) == 2
        named = {str(i): table[:, i] for i in range(table.shape[1])} if many else {"0": table}
    lengths = {len(values) if np.ndim(values) else 1 for values in named.values()}
    if lengths != {rows}:
        raise InvalidInput(f"the model returned {sorted(lengths)} predictions for {rows} rows; it must return one each")
    if len(named) == 1:
        return {"prediction": next(iter(named.values()))}
    return {f"prediction_{name}": values for name, values in named.items()}
