"""The lakes that MLflow uses in this process: each is opened once, and shared by stores and artifact repositories."""

import json
import os
import threading
from typing import TYPE_CHECKING

from lakelineage.mlflow_plugin import uris

if TYPE_CHECKING:
    from lakelineage.lake import Lake

_lock = threading.Lock()
_open: dict[str, "Lake"] = {}


def opened(uri: str) -> "Lake":
    """The lake of a URI of MLflow's; made if there is none.

    Credentials of a bucket come from the environment, or from the variable ``LAKELINEAGE_STORAGE_OPTIONS`` (JSON).

    Raises:
        InvalidInput: the URI names no place of a lake.
        LakeTooNew: the lake was written by a newer version.
    """
    from lakelineage.lake import open_lake

    place = uris.place(uri)
    with _lock:
        lake = _open.get(place)
        if lake is None or lake.engine.closed:
            lake = _open[place] = open_lake(place, storage_options())
        return lake


def share(lake: "Lake") -> None:
    """Have MLflow use a lake that is open already, with the credentials that it was opened with."""
    with _lock:
        _open[uris.place(uris.of_place(lake.engine.root.uri))] = lake


def exists(uri: str) -> bool:
    """Whether there is a lake at a URI of MLflow's.

    Raises:
        InvalidInput: the URI can name no place of a lake.
        StorageFailed: its store cannot be asked.
    """
    from lakelineage.store.root import Root

    place = uris.place(uri)
    with _lock:
        if place in _open:
            return True
    return Root(place, storage_options()).exists("lake.json")


def storage_options() -> dict[str, str]:
    """What the environment says of object stores."""
    given: dict[str, str] = json.loads(os.environ.get("LAKELINEAGE_STORAGE_OPTIONS") or "{}")
    return given


def _free_lock() -> None:
    """In a forked child: a thread of the parent, which does not exist here, may have held it."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_lock)
