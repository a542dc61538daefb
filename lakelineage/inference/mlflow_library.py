"""The mlflow library, imported when it is first needed. Only the modules ``mlflow_*`` of this room speak to it.

Nothing here talks to a tracking server or registry: models are saved to and loaded from local folders. mlflow's
telemetry, which would use the network from import on, is switched off unless the user's program imported mlflow first
or set ``MLFLOW_DISABLE_TELEMETRY`` itself.
"""

import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from lakelineage.errors import MissingExtra

#: What mlflow says on every save of a model that is as it should be.
_CHATTER = (
    "Passing a Python object as `python_model`",  # callables have no other form
    "Saving scikit-learn models in the pickle or cloudpickle format",  # said where models are saved
    "Saving the models in the pickle or cloudpickle format",  # the same, of LightGBM's estimators
    "Saving pytorch model by Pickle or CloudPickle format",  # the same
    # what mlflow writes into an ONNX model for which nobody chose, and then misses where there is no GPU
    "ONNX model declares execution providers ['CUDAExecutionProvider', 'CPUExecutionProvider'] but ['CUDAExecution",
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


def module(name: str) -> ModuleType:
    """A module of mlflow.

    Raises:
        MissingExtra: mlflow is not installed.
    """
    if name in sys.modules:
        return sys.modules[name]
    if "mlflow" not in sys.modules:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # importing mlflow warns of type hints and deprecations in its own code
            return importlib.import_module(name)
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("mlflow", ""):
            raise
        raise MissingExtra("logging and loading models needs mlflow: pip install lakelineage[mlflow]") from error


class _NoChatter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(_CHATTER)


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out what mlflow says of every save; all else it says is heard."""
    names = ("pyfunc", "sklearn", "lightgbm", "onnx", "pytorch")
    loggers = [logging.getLogger(f"mlflow.{name}") for name in names]
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
