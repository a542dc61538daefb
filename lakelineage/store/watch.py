"""Watching what other code of this process reads through deltalake."""

import re
import threading
import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any

#: Is told a ``deltalake.DeltaTable`` whose rows were read, at the version that it has loaded.
Told = Callable[[Any], None]


class Patches:
    """Replacements of attributes, which can be taken back. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._replaced: list[tuple[Any, str, Any, Any]] = []

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Put something in the place of an attribute.

        Args:
            owner: class or module.
            name: of the attribute.
            make: given what is there, makes what takes its place.
        """
        with self._lock:
            before = getattr(owner, name)
            ours = make(before)
            setattr(owner, name, ours)
            self._replaced.append((owner, name, before, ours))

    def undo(self) -> None:
        """Put back what was there, but where somebody else has put something since."""
        with self._lock:
            for owner, name, before, ours in reversed(self._replaced):
                if getattr(owner, name) is ours:
                    setattr(owner, name, before)
            self._replaced.clear()


def deltalake(patches: Patches, told: Told) -> None:
    """Watch ``DeltaTable`` (as pandas, as Arrow, its list of files) and ``QueryBuilder``.

    DuckDB is among those who read so: it is given Arrow datasets, or the files of a table. What fails is no read.
    """
    from deltalake import DeltaTable, QueryBuilder

    # to_pandas and to_pyarrow_table go through the first.
    for name in ("to_pyarrow_dataset", "file_uris"):
        patches.replace(DeltaTable, name, lambda method: _reading(method, told))
    registered: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()
    patches.replace(QueryBuilder, "register", lambda method: _registering(method, registered))
    patches.replace(QueryBuilder, "execute", lambda method: _querying(method, registered, told))


def _reading(method: Callable[..., Any], told: Told) -> Callable[..., Any]:
    @wraps(method)
    def read(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = method(self, *args, **kwargs)
        told(self)
        return result

    return read


def _registering(method: Callable[..., Any], registered: Any) -> Callable[..., Any]:
    @wraps(method)
    def register(self: Any, table_name: str, delta_table: Any) -> Any:
        result = method(self, table_name, delta_table)
        registered.setdefault(self, {})[table_name] = delta_table
        return result

    return register


def _querying(method: Callable[..., Any], registered: Any, told: Told) -> Callable[..., Any]:
    @wraps(method)
    def execute(self: Any, sql: str) -> Any:
        result = method(self, sql)
        for name, table in registered.get(self, {}).items():
            if re.search(rf"\b{re.escape(name)}\b", sql, re.IGNORECASE):
                told(table)
        return result

    return execute


def at_version(source: Any, version: Any, storage_options: dict[str, str] | None) -> Any:
    """A ``deltalake.DeltaTable`` at a version, without its files.

    Args:
        source: path or URI, or such a table.
        version: number, or time, as ``DeltaTable.load_as_version`` takes it; None: the one loaded, or the newest.
        storage_options: of the place.
    """
    from deltalake import DeltaTable

    table = source
    if not isinstance(source, DeltaTable):
        table = DeltaTable(str(source), storage_options=storage_options, without_files=True)
    elif version is not None:
        table = DeltaTable(source.table_uri, storage_options=source._storage_options, without_files=True)
    if version is not None:
        table.load_as_version(version)
    return table
