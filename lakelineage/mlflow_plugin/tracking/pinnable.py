"""From the source of a dataset, as MLflow tells it, to a table that can be pinned."""

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lakelineage.errors import InvalidInput, TableNotFound
from lakelineage.mlflow_plugin.dataset_source import SOURCE_TYPE
from lakelineage.query.spark import session
from lakelineage.snapshots.convert import FILE_KINDS
from lakelineage.store import source as tables

if TYPE_CHECKING:
    from mlflow.entities import Dataset

    from lakelineage.snapshots import Snapshot
    from lakelineage.store.root import Root

#: Set to 1, files (CSV, TSV, Parquet, JSON) on a local disk are pinned too: their rows are copied into the lake.
PIN_FILES = "LAKELINEAGE_PIN_FILES"
_MLFLOWS_DELTA = "delta_table"
_VERSION = {SOURCE_TYPE: "version", _MLFLOWS_DELTA: "delta_table_version"}


@dataclass(frozen=True, slots=True)
class Place:
    """A table, or file, to pin.

    Attributes:
        path: absolute, or URI.
        source_type: as MLflow tells it.
        source: the same, as a dictionary.
        version: Delta version; None: the newest.
    """

    path: str
    source_type: str
    source: Mapping[str, Any]
    version: int | None = None

    @property
    def snapshot_id(self) -> str | None:
        """Of a pin that was made before."""
        return self.source.get("snapshot_id") if self.source_type == SOURCE_TYPE else None

    def check(self, snapshot: "Snapshot") -> None:
        """Look whether it is the table that the source told of.

        Raises:
            TableNotFound: it is another, that was made at the same place.
        """
        known = self.source.get("table_id") if self.source_type == SOURCE_TYPE else None
        if known not in (None, snapshot.table_id):
            raise TableNotFound(f"the table {known} that was at {self.path} was dropped, and another was made there")

    def exactly(self, snapshot: "Snapshot") -> str:
        """The source with the version that was pinned, as JSON: MLflow's own drops version 0, or has none."""
        told = dict(self.source)
        if self.source_type in _VERSION:
            told[_VERSION[self.source_type]] = snapshot.version
        if self.source_type == SOURCE_TYPE:
            told |= {"table_id": snapshot.table_id, "snapshot_id": snapshot.id}
        return json.dumps(told)


def place_of(dataset: "Dataset", root: "Root") -> Place | None:
    """What can be pinned of a dataset; None if its source is nothing of the kind.

    Args:
        dataset: as MLflow tells it.
        root: the lake.

    Raises:
        InvalidInput: the source tells of a table, but not so that it can be found from here.
    """
    told = _parsed(dataset.source)
    kind = dataset.source_type
    if kind in _VERSION:
        path = told.get("path") or _named(told.get("delta_table_name"))
        return None if path is None else Place(_absolute(path), kind, told, _version(kind, told))
    path = told.get("path") if kind == "spark" else told.get("uri")
    if not isinstance(path, str) or not path.strip() or (_is_relative(path) and _from_elsewhere()):
        return None
    place = _absolute(path)
    return Place(place, kind, told) if _is_table(place, root) or _is_wanted_file(place) else None


def _parsed(source: str) -> Mapping[str, Any]:
    try:
        told = json.loads(source)
    except ValueError:  # anything may be logged as a source
        return {}
    return told if isinstance(told, dict) else {}


def _named(table_name: object) -> str | None:
    """Where a table of a name is, which only Spark's catalog knows."""
    if not isinstance(table_name, str):
        return None
    path = session.location_of(table_name)
    if path is None:
        raise InvalidInput(f"only a Spark session in this process could tell where the table {table_name} is")
    return path


def _version(kind: str, told: Mapping[str, Any]) -> int | None:
    given = told.get(_VERSION[kind])
    if given is not None:
        return int(given)
    # MLflow asks Delta Lake for the newest version where none is given, and then leaves out 0.
    return 0 if kind == _MLFLOWS_DELTA and session.tells_versions() else None


def _absolute(path: object) -> str:
    if not isinstance(path, str):
        raise InvalidInput(f"{path!r} is no path of a table")
    if _is_relative(path) and _from_elsewhere():
        raise InvalidInput(f"the path {path!r} is relative to a folder of the client; log an absolute path")
    return tables.absolute(re.sub(r"^file:/(?=[^/])", "file:///", path))


def _is_relative(path: str) -> bool:
    return ":/" not in path and not path.startswith(("/", "~"))


def _from_elsewhere() -> bool:
    """Whether the call came over HTTP: MLflow's server runs it, whose working folder is not that of the client."""
    flask = sys.modules.get("flask")
    return flask is not None and bool(flask.has_request_context())


def _is_table(place: str, root: "Root") -> bool:
    """Whether there is a Delta table. An object store is asked only where the lake is on one like it."""
    if tables.is_local(place):
        return tables.is_delta(place)
    if urlsplit(place).scheme != urlsplit(root.uri).scheme or Path(urlsplit(place).path).suffix.lower() in FILE_KINDS:
        return False
    return tables.is_delta(place, root.storage_options)


def _is_wanted_file(place: str) -> bool:
    wanted = os.environ.get(PIN_FILES, "").strip().lower() in ("1", "true", "yes")
    return wanted and Path(place).suffix.lower() in FILE_KINDS and Path(place).is_file()
