"""Delta tables as sources of MLflow's datasets: with an exact version, and loaded without Spark.

MLflow finds :class:`DeltaSource` by its entry point ``mlflow.dataset_source`` and asks it about every source that a
user names, so ``mlflow.data.from_pandas(frame, source="data/patients")`` remembers the version that the table then has.
The module is imported with MLflow: nothing heavy is imported here before it is asked for.
"""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from mlflow.data.dataset_source import DatasetSource

if TYPE_CHECKING:
    from lakelineage.snapshots import Snapshot
    from lakelineage.snapshots.unpinned import Unpinned
    from lakelineage.store.source import Options

#: What MLflow knows the sources by.
SOURCE_TYPE = "lakelineage_delta"
Format = Literal["pandas", "polars", "arrow"]


class DeltaSource(DatasetSource):
    """A version of a Delta table, as the source of a dataset.

    MLflow makes it of what its constructors get as ``source``: the path or URI of a table (also as ``"path@3"``), a
    ``deltalake.DeltaTable`` (at the version that it has loaded), or a ``lakelineage.Snapshot``. Without a version the
    newest is meant that the table has then.

    Args:
        path: folder or object-store URI of the table.
        version: Delta version, from 0; None: the newest when a run logs it.
        table_id: id in the table's metadata: tells it from another that is made at the same place later.
        snapshot_id: of the pin, if it was pinned before.
        columns: that :meth:`load` gives if nothing else is said; None: all.
        where: rows that it gives then, as a SQL condition; None: all.
    """

    def __init__(
        self,
        path: str,
        version: int | None = None,
        table_id: str | None = None,
        snapshot_id: str | None = None,
        columns: Sequence[str] | None = None,
        where: str | None = None,
    ) -> None:
        from lakelineage.store.source import absolute

        self._path = absolute(os.fspath(path))
        self._version = version
        self.table_id = table_id
        self.snapshot_id = snapshot_id
        self.columns = None if columns is None else tuple(columns)
        self.where = where

    @property
    def path(self) -> str:
        """Absolute path or URI of the table."""
        return self._path

    @property
    def delta_table_version(self) -> int | None:
        """Delta version; named as MLflow's own source of Delta tables names it."""
        return self._version

    @staticmethod
    def _get_source_type() -> str:
        return SOURCE_TYPE

    def load(
        self,
        output_format: Format = "pandas",
        *,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        **_: Any,
    ) -> Any:
        """The rows of this version. No Spark is needed.

        Where the tracking URI is a lake that has it pinned, it is read by its pin: also after a VACUUM of the table, if
        the pin keeps the files. Else the table itself is asked for the version.

        Args:
            output_format: ``pandas``, ``polars`` or ``arrow``.
            columns: names; default those of the source.
            where: rows, as a SQL condition; default those of the source.

        Raises:
            MlflowException: there is no such table or version any more, or the arguments cannot be understood.
        """
        from lakelineage.errors import LakelineageError
        from lakelineage.mlflow_plugin.errors import as_mlflow

        try:
            return rows_of(self, output_format, columns, where)
        except LakelineageError as error:
            raise as_mlflow(error) from error

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        if _is_snapshot(raw_source) or _is_table(raw_source):
            return True
        if not isinstance(raw_source, (str, os.PathLike)):
            return False
        text = os.fspath(raw_source)
        return isinstance(text, str) and bool(text.strip()) and _found(text) is not None

    @classmethod
    def _resolve(cls, raw_source: Any) -> "DeltaSource":
        if _is_snapshot(raw_source):
            found = raw_source
            return cls(found.table_uri, found.version, found.table_id, found.id, found.columns, found.where)
        from lakelineage.store import source

        if _is_table(raw_source):
            place, options, version = source.from_object(raw_source) or ("", None, None)
        else:
            place, version = _found(os.fspath(raw_source)) or (os.fspath(raw_source), None)
            options = _options_of(place)
        head = source.identify(place, options, version=version)
        return cls(head.uri, head.version, head.table_id)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        told = {
            "path": self._path,
            "version": self._version,
            "table_id": self.table_id,
            "snapshot_id": self.snapshot_id,
            "columns": None if self.columns is None else list(self.columns),
            "where": self.where,
        }
        return {key: value for key, value in told.items() if value is not None}

    @classmethod
    def from_dict(cls, source_dict: dict[Any, Any]) -> "DeltaSource":
        """The source that :meth:`to_dict` told of."""
        return cls(
            source_dict["path"],
            source_dict.get("version"),
            source_dict.get("table_id"),
            source_dict.get("snapshot_id"),
            source_dict.get("columns"),
            source_dict.get("where"),
        )


def rows_of(table: DeltaSource, output_format: Format, columns: Sequence[str] | None, where: str | None) -> Any:
    """The rows of a source; see :meth:`DeltaSource.load`."""
    from lakelineage.errors import InvalidInput

    if output_format not in ("pandas", "polars", "arrow"):
        raise InvalidInput(f"output_format {output_format!r} is unknown; choose 'pandas', 'polars' or 'arrow'")
    found = _pinned(table) or _unpinned(table)
    return getattr(found, f"to_{output_format}")(
        table.columns if columns is None else columns, table.where if where is None else where
    )


def _pinned(table: DeltaSource) -> "Snapshot | None":
    """The pin of a version in the lake that MLflow tracks to; None if there is none."""
    import mlflow

    from lakelineage.mlflow_plugin import lakes, uris
    from lakelineage.snapshots import records

    tracking = mlflow.get_tracking_uri()
    if table.delta_table_version is None or not uris.is_lake(tracking):
        return None
    engine = lakes.opened(tracking).engine
    if table.snapshot_id is not None:
        return records.find(engine, table.snapshot_id)
    return records.newest_of(engine, table.path, table.delta_table_version, table.table_id)


def _unpinned(table: DeltaSource) -> "Unpinned":
    from lakelineage.errors import SnapshotLost
    from lakelineage.snapshots import unpinned

    found = unpinned.find(table.path, _options_of(table.path), table.delta_table_version)
    if table.table_id not in (None, found.table.table_id):
        raise SnapshotLost(
            f"the table {table.table_id} that was at {table.path} was dropped, and another was made there; "
            "set the tracking URI to the lake that has it pinned to read it from there"
        )
    return found


def _found(text: str) -> tuple[str, int | None] | None:
    """The place of a Delta table, and the version if the text ends with one; None if there is no table."""
    from lakelineage.store.source import absolute

    name, _, version = text.rpartition("@")
    choices: list[tuple[str, int | None]] = [(text, None)]
    if name and version.isdecimal():
        choices.append((name, int(version)))
    for spelled, at in choices:
        place = absolute(spelled)
        if _is_delta(place):
            return place, at
    return None


def _is_delta(place: str) -> bool:
    """Whether there is a Delta table. An object store is asked only if the lake in use is on one like it."""
    if "://" not in place:
        return os.path.isdir(os.path.join(place, "_delta_log"))
    options = _options_of(place)
    if options is None:
        return False
    from lakelineage.errors import LakelineageError
    from lakelineage.store.source import is_delta

    try:
        return is_delta(place, options)
    except LakelineageError:
        return False


def _options_of(place: str) -> "Options":
    """Storage options for a table on an object store: those of the lake in use, if that is on one like it."""
    import mlflow

    from lakelineage.mlflow_plugin import lakes, uris

    tracking = mlflow.get_tracking_uri()
    if "://" not in place or not uris.is_lake(tracking):
        return None
    alike = urlsplit(uris.place(tracking)).scheme == urlsplit(place).scheme
    return lakes.storage_options() if alike else None


def _is_table(raw_source: object) -> bool:
    kind = type(raw_source)
    return kind.__name__ == "DeltaTable" and kind.__module__.startswith("deltalake")


def _is_snapshot(raw_source: object) -> bool:
    module = sys.modules.get("lakelineage.snapshots.snapshot")
    return module is not None and isinstance(raw_source, module.Snapshot)
