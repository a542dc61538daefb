"""Values as people read them, in a table of a terminal or a page."""

import datetime as dt
from collections.abc import Mapping
from typing import Any


def shown(value: Any, brief: bool) -> str:
    """A value as a text; none is empty.

    Args:
        value: anything that Arrow gives.
        brief: fewer digits.
    """
    if value is None:
        return ""
    if isinstance(value, str):  # first, since most are; Mapping is slow to ask for
        return value
    if isinstance(value, float):
        return f"{value:.6g}" if brief else repr(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dt.datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S") if brief else value.isoformat()
    if isinstance(value, list) and value and all(isinstance(v, tuple) and len(v) == 2 for v in value):
        value = dict(value)  # Arrow's form of a map
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={shown(v, brief)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(shown(v, brief) for v in value)
    return str(value)


def printable(text: str) -> str:
    """Without what would command the terminal or is no part of a page: escape sequences, newlines."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)
