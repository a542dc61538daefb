"""A function whose every call is a run."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar, cast

from lakelineage.errors import InvalidInput
from lakelineage.model import validate

P = ParamSpec("P")
T = TypeVar("T")
#: The parameter that receives the run, and those that are no argument of the caller.
_RUN, _RECEIVERS = "run", ("self", "cls")
_Kind = inspect.Parameter


def tracked(
    function: Callable[P, T],
    start: Callable[[str], AbstractContextManager[Any]],
    log_args: bool | Sequence[str] = True,
) -> Callable[P, T]:
    """The function, with a run around each call.

    Args:
        function: a function or ``async`` function.
        start: starts a run, given the name of the function.
        log_args: whether arguments become params, or the names of those that do.

    Raises:
        InvalidInput: it is a generator, or an argument is named that it does not have.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidInput(
            f"{_named(function)} is a generator: its caller's own steps come between its own, so a call is no run; "
            "use `with lake.start_run()` around the loop that reads it"
        )
    arguments = _Arguments(function, log_args)
    name = getattr(function, "__name__", type(function).__name__)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call_async(*args: P.args, **kwargs: P.kwargs) -> Any:
            params = arguments.params(args, kwargs)
            with start(name) as run:
                run.log_params(params)
                return await function(*args, **arguments.with_run(args, kwargs, run))

        return cast("Callable[P, T]", call_async)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        params = arguments.params(args, kwargs)
        with start(name) as run:
            run.log_params(params)
            return function(*args, **arguments.with_run(args, kwargs, run))

    return call


class _Arguments:
    """What a function is called with, as params.

    Args:
        function: the function.
        wanted: see :func:`tracked`.
    """

    def __init__(self, function: Callable[..., Any], wanted: bool | Sequence[str]) -> None:
        self._function = function
        self._signature = inspect.signature(function)
        self._takes_run = _RUN in self._signature.parameters
        self._wanted = (
            wanted if isinstance(wanted, bool) else frozenset([wanted] if isinstance(wanted, str) else wanted)
        )
        known = self._signature.parameters
        if isinstance(self._wanted, frozenset) and not any(p.kind is _Kind.VAR_KEYWORD for p in known.values()):
            unknown = sorted(self._wanted - known.keys())
            if unknown:
                raise InvalidInput(
                    f"log_args: {_named(function)} has no argument {unknown[0]!r}; it has {', '.join(known)}"
                )

    def params(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, str]:
        """The arguments of a call, defaults included, as params: strings as they are, everything else as its repr.

        Raises:
            InvalidInput: one cannot be kept; the message names it.
        """
        if not self._wanted:
            return {}
        bound = self._signature.bind_partial(*args, **kwargs)  # what is missing, the call itself says best
        bound.apply_defaults()
        given: dict[str, Any] = {}
        for name, parameter in self._signature.parameters.items():
            if parameter.kind is _Kind.VAR_KEYWORD:
                given |= bound.arguments[name]
            elif name in bound.arguments and (parameter.kind is not _Kind.VAR_POSITIONAL or bound.arguments[name]):
                given[name] = bound.arguments[name]
        return {name: self._text(name, value) for name, value in given.items() if self._is_wanted(name)}

    def _is_wanted(self, name: str) -> bool:
        if isinstance(self._wanted, frozenset):
            return name in self._wanted
        return name != _RUN and not (name in _RECEIVERS and name == next(iter(self._signature.parameters)))

    def _text(self, name: str, value: Any) -> str:
        try:
            return validate.text(value if isinstance(value, str) else repr(value), f"argument {name!r}")
        except InvalidInput as error:
            raise InvalidInput(
                f"{error}; of the arguments of {_named(self._function)}, name those to be kept as params, such as "
                "log_args=['alpha'], or say log_args=False"
            ) from error

    def with_run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], run: object) -> dict[str, Any]:
        """The keyword arguments of a call, with the run for a parameter named ``run`` that the caller left out."""
        given = dict(kwargs)
        if self._takes_run and _RUN not in self._signature.bind_partial(*args, **kwargs).arguments:
            given[_RUN] = run
        return given


def _named(function: Callable[..., Any]) -> str:
    return f"{getattr(function, '__qualname__', type(function).__name__)}()"
