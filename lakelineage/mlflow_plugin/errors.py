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
    (errors.ApprovalNeeded, codes.PERMISSION_DENIED),
    (errors.NotAllowed, codes.PERMISSION_DENIED),
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


def speaks_mlflow(abstract: type, *hidden: str) -> Callable[[_Class], _Class]:
    """A decorator of a class: what MLflow calls raises MLflow's errors where it would raise ours.

    Args:
        abstract: MLflow's abstract class, which names what is called.
        hidden: methods that MLflow calls too, and that no abstract class names.
    """

    def decorate(cls: _Class) -> _Class:
        called = {"__init__", *hidden, *(name for name in dir(abstract) if not name.startswith("__"))}
        for name in called:
            method = getattr(cls, name, None)
            if callable(method) and str(method.__module__).startswith("lakelineage."):
                setattr(cls, name, _translated(method))
        return cls

    return decorate


def _translated(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def translated(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except errors.LakelineageError as error:
            raise as_mlflow(error) from error

    return translated
