"""``$name`` and ``{name}`` in SQL: values of variables, bound as parameters."""

import datetime as dt
import decimal
import re
from collections.abc import Mapping
from typing import Any

from lakelineage.errors import InvalidInput

# What stands in quotes or comments stays as it is: the first branches take it whole.
_TOKEN = re.compile(
    r"""
    '(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$
    | \{\s*(?P<braced>[A-Za-z_]\w*)\s*\} | \$(?P<plain>[A-Za-z_]\w*)
    """,
    re.VERBOSE | re.DOTALL,
)
_SIMPLE = (str, bytes, bool, int, float, decimal.Decimal, dt.date, dt.time, dt.timedelta)


def bound(sql: str, variables: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """SQL with named parameters, and their values.

    Args:
        sql: may hold ``$name`` and ``{name}``; in quotes and comments they are text.
        variables: name → value.

    Raises:
        InvalidInput: there is no such variable, or its value is none that SQL has.
    """
    values: dict[str, Any] = {}

    def replaced(match: re.Match[str]) -> str:
        name = match["braced"] or match["plain"]
        if name is None:
            return match[0]
        if name not in variables:
            raise InvalidInput(f"there is no variable {name!r} for {match[0]} in the SQL")
        values[name] = _value(name, variables[name])
        return f"${name}"

    return _TOKEN.sub(replaced, sql), values


def _value(name: str, value: Any) -> Any:
    if value is None or isinstance(value, _SIMPLE):
        return value
    if isinstance(value, (list, tuple, set)):
        return [_value(name, each) for each in value]
    item = getattr(value, "item", None)  # a scalar of numpy, or an array of one
    if callable(item) and getattr(value, "ndim", None) == 0:
        return item()
    raise InvalidInput(
        f"variable {name!r} holds a {type(value).__name__}, which SQL cannot take as a value; "
        "give a text, a number, a time or a list of these"
    )
