"""Errors of the lake in the words that MLflow's clients branch on."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes

from lakelineage import errors

_Class = TypeVar("_Class", bound=type)

#: The first class that fits decides.
_CODES: tuple[tuple[type[errors.LakelineageError], int], ...] = (
    (errors.AlreadyExists, codes.RESOURCE_ALREADY_EXISTS),
    (errors.ParamConflict, codes.INVALID_PARAMETER_VALUE),
    (errors.ConcurrentWrite, codes.RESOURCE_CONFLICT),
    (errors.Conflict, codes.INVALID_STATE),
    (errors.NotFound, codes.RESOURCE_DOES_NOT_EXIST),
    (errors.InvalidInput, codes.INVALID_PARAMETER_VALUE),
    (errors.StorageFailed, codes.TEMPORARILY_UNAVAILABLE),
)


def as_mlflow(error: errors.LakelineageError) -> MlflowException:
    """The same error as MLflow's."""
    code = next((code for kind, code in _CODES if isinstance(error, kind)), codes.INTERNAL_ERROR)
    return MlflowException(str(error), error_code=code)


def speaks_mlflow(cls: _Class) -> _Class:
    """A class whose methods raise MLflow's errors where they would raise ours."""
    for base in cls.__mro__:
        if not base.__module__.startswith("lakelineage."):
            continue
        for name, method in list(vars(base).items()):
            if callable(method) and not name.startswith("__") and not isinstance(method, type):
                setattr(base, name, _translated(method))
    return cls


def _translated(method: Callable[..., Any]) -> Callable[..., Any]:
    if getattr(method, "_speaks_mlflow", False):
        return method

    @wraps(method)
    def translated(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except errors.LakelineageError as error:
            raise as_mlflow(error) from error

    translated._speaks_mlflow = True  # type: ignore[attr-defined]
    return translated
