"""What MLflow asks of a store and a lake does not keep: empty pages where something is listed, else a typed refusal."""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import NOT_IMPLEMENTED
from mlflow.store.entities import PagedList

_Class = TypeVar("_Class", bound=type)


def nothing(*_: Any, **__: Any) -> PagedList[Any]:
    """An empty page."""
    return PagedList([], None)


def refusing(abstract: type, listings: Mapping[str, Callable[..., Any]], kept: frozenset[str]) -> Any:
    """A class decorator: what neither the class nor MLflow's shared code does is refused by name.

    MLflow's abstract classes enforce nothing: a method that is missing returns None.

    Args:
        abstract: MLflow's abstract class; its public methods are what is asked of a store.
        listings: methods that say that there is nothing, since a page of the user interface asks.
        kept: methods whose implementation in MLflow's abstract class is right for every store.
    """

    def decorate(cls: _Class) -> _Class:
        for name in _asked(abstract):
            ours = any(name in vars(base) for base in cls.__mro__ if base.__module__.startswith("lakelineage."))
            if not ours and name not in kept:
                setattr(cls, name, listings.get(name) or _refusal(cls.__name__, name))
        return cls

    return decorate


def _asked(abstract: type) -> list[str]:
    """Names of the methods that a store is asked for."""
    return [name for name in dir(abstract) if not name.startswith("_") and callable(getattr(abstract, name))]


def _refusal(owner: str, name: str) -> Callable[..., NoReturn]:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise MlflowException(
            f"{name} is not implemented: a lake of lakelineage does not keep what it is about; "
            "docs/how-to/mlflow.md lists what is kept and what is not",
            error_code=NOT_IMPLEMENTED,
        )

    refuse.__name__ = name
    refuse.__qualname__ = f"{owner}.{name}"
    return refuse
