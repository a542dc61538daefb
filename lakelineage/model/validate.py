"""Rules for what users pass in. Each returns the value as stored, or says which value is wrong and what to do."""

import math
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import PurePosixPath
from typing import Any

from lakelineage.errors import InvalidInput, InvalidPath

#: The longest key or name, in characters. MLflow's limit for keys is 250.
MAX_KEY = 250
#: The longest value of a param or tag, in characters. MLflow's limit for params is 6,000.
MAX_TEXT = 8_000
_INT64 = 2**63


def text(value: object, what: str, longest: int = MAX_TEXT) -> str:
    """A string that every store and engine can hold.

    Raises:
        InvalidInput: not a string, too long, or not encodable as UTF-8.
    """
    if not isinstance(value, str):
        raise InvalidInput(f"{what} must be a string, not {type(value).__name__} ({value!r})")
    if len(value) > longest:
        raise InvalidInput(f"{what} has {len(value)} characters; at most {longest} are kept: {value[:40]!r}…")
    if "\x00" in value:
        raise InvalidInput(f"{what} {value[:40]!r} has a NUL character; remove it")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{what} {value[:40]!r} is not valid Unicode (a lone surrogate); re-encode it") from None
    return value


def key(value: object, what: str = "key") -> str:
    """A name of a param, metric, tag, experiment or model: not empty, at most ``MAX_KEY`` characters."""
    checked = text(value, what, MAX_KEY)
    if not checked.strip():
        raise InvalidInput(f"{what} is empty; give it a name")
    return checked


def mapping(value: object, what: str) -> Mapping[Any, Any]:
    """Keys with values.

    Raises:
        InvalidInput: something else.
    """
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{what} are a dictionary of names and values, not {type(value).__name__} ({value!r:.80})")
    return value


def param(value: object) -> str:
    """A param's value as text: strings as they are, everything else by ``str``."""
    return text(value if isinstance(value, str) else str(value), "param value")


def number(value: Any, what: str) -> float:
    """A metric's value: any real number, NaN and infinities included.

    Raises:
        InvalidInput: not a number, or beyond the range of a double.
    """
    kind = type(value)
    if kind is float:
        return value  # type: ignore[no-any-return]
    if kind is not bool and isinstance(value, Real):
        return _as_double(value, what)
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "size", None) in (1, None) and not isinstance(value, (bool, str)):
        return number(item(), what)
    raise InvalidInput(f"{what} must be a number, not {kind.__name__} ({value!r})")


def _as_double(value: Any, what: str) -> float:
    try:
        result = float(value)
    except OverflowError:
        raise InvalidInput(f"{what} {value!r} is beyond the range of a double") from None
    if math.isinf(result) and isinstance(value, Integral):
        raise InvalidInput(f"{what} {value!r} is beyond the range of a double")
    return result


def step(value: Any) -> int:
    """A step: any 64-bit integer, negative ones included."""
    if type(value) is int and -_INT64 <= value < _INT64:
        return value
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InvalidInput(f"step must be an integer, not {type(value).__name__} ({value!r})")
    if not -_INT64 <= int(value) < _INT64:
        raise InvalidInput(f"step {value!r} is beyond 64 bits")
    return int(value)


def artifact_path(value: object) -> str:
    """A path inside a run's artifacts: relative, with ``/``, that stays inside.

    Raises:
        InvalidPath: empty, absolute, with a drive, a backslash or a ``..`` step.
    """
    raw = text(value, "artifact path", 1_000)
    path = PurePosixPath(raw)
    if not path.parts or raw.strip() == "":
        raise InvalidPath("the artifact path is empty; name a file inside the run's artifacts")
    wrong = path.is_absolute() or ".." in path.parts or "\\" in raw or ":" in path.parts[0]
    if wrong or any(ord(c) < 32 for c in raw):
        raise InvalidPath(f"artifact path {raw!r} leaves the run's folder; use a relative path with / and without ..")
    return str(path)
