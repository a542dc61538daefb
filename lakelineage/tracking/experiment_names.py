"""Names of experiments, and the folders that they lie in.

A name such as ``/team/churn/xgb`` is an experiment ``xgb`` in the folder ``/team/churn``. Repeated and trailing slashes
say nothing and are dropped, so ``/team//churn/`` is ``/team/churn``. Upper and lower case differ, as in MLflow. A name
without a leading slash is kept without; it lies in the folders that its slashes make, as if it had one.
"""

import re
from collections.abc import Iterable

from lakelineage.errors import InvalidInput
from lakelineage.model import validate

_SLASHES = re.compile("/{2,}")


def checked(name: object) -> str:
    """A name of an experiment as it is kept.

    Raises:
        InvalidInput: it is no string, empty, too long, or nothing but slashes.
    """
    text = validate.key(name, "experiment name")
    if "//" in text or text[-1] == "/":  # seldom: every start of a run comes by here
        text = _SLASHES.sub("/", text)
        text = text.removesuffix("/")
        if not text.strip():
            raise InvalidInput(f"experiment name {name!r} is empty but for slashes; give it a name")
    return text


def folder_path(folder: object) -> str:
    """A folder with a leading slash and without a trailing one; the topmost is empty.

    Raises:
        InvalidInput: it is no string.
    """
    text = validate.text(folder, "folder", validate.MAX_KEY)
    path = _SLASHES.sub("/", f"/{text}")
    return path.removesuffix("/")


def is_below(name: str, folder: str) -> bool:
    """Whether an experiment lies in a folder (of :func:`folder_path`) or in one below it."""
    return f"/{name.removeprefix('/')}".startswith(f"{folder}/")


def subfolders(names: Iterable[str], folder: str) -> dict[str, int]:
    """The folders directly in a folder → how many of the experiments lie below each, by name."""
    counts: dict[str, int] = {}
    for name in names:
        first, slash, _ = f"/{name.removeprefix('/')}".removeprefix(f"{folder}/").partition("/")
        if slash and is_below(name, folder):
            path = f"{folder}/{first}"
            counts[path] = counts.get(path, 0) + 1
    return dict(sorted(counts.items()))
