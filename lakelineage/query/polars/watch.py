"""Watching what other code of this process reads of Delta tables through Polars."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from lakelineage.store.watch import Patches, Told, at_version

_log = logging.getLogger(__name__)


def polars(patches: Patches, told: Told) -> None:
    """Watch ``scan_delta``, and ``read_delta``, which goes through it.

    Polars looks for the newest version when a lazy frame is collected, in a thread of its own. What is to be told is
    what is read: so a scan that names no version gets the newest when it is made.
    """
    import polars as pl
    from polars.io import delta
    from polars.io.delta import functions

    watched = _scanning(pl.scan_delta, told)
    for module in (pl, pl.io, delta, functions):
        patches.replace(module, "scan_delta", lambda _: watched)


def _scanning(function: Callable[..., Any], told: Told) -> Callable[..., Any]:
    @wraps(function)
    def scan_delta(source: Any, *, version: Any = None, **kwargs: Any) -> Any:
        try:
            table = at_version(source, version, kwargs.get("storage_options"))
            exact = version if version is not None or table is source else table.version()
        except Exception as error:  # noqa: BLE001 - Polars may know how to read it, or what to say of it
            _log.warning("what Polars reads of %s is not recorded: %s", source, error)
            return function(source, version=version, **kwargs)
        frame = function(source, version=exact, **kwargs)
        told(table)
        return frame

    return scan_delta
