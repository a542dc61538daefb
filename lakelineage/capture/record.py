"""A read as an input of the runs that are active: once for each run, table and version."""

import hashlib
import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakelineage.run import active_run
from lakelineage.snapshots import Snapshot, pinning
from lakelineage.store import source

#: Reads that are remembered, so that the same again costs nothing.
_MANY = 10_000


@dataclass(frozen=True, slots=True)
class Read:
    """A version of a table, that was read.

    Attributes:
        table: ``deltalake.DeltaTable`` at this version.
        uri: absolute path or URI.
        version: Delta version.
        table_id: id in the table's metadata.
    """

    table: Any
    uri: str
    version: int
    table_id: str

    @property
    def name(self) -> str:
        """What a run calls it: MLflow names tables so."""
        return f"{Path(self.uri).name}@v{self.version}"

    @property
    def digest(self) -> str:
        """What tells it from other versions and tables, in eight digits."""
        return hashlib.sha256(f"{self.table_id}@{self.version}".encode()).hexdigest()[:8]

    @property
    def schema_json(self) -> str:
        """Delta schema of this version."""
        text: str = self.table.schema().to_json()
        return text


def read_of(table: Any) -> Read:
    """What is read of a ``deltalake.DeltaTable``."""
    found = source.from_object(table)
    assert found is not None
    return Read(table, found[0], found[2], str(table.metadata().id))


class Seen:
    """What was recorded already. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: OrderedDict[tuple[str, str, str, int], None] = OrderedDict()

    def first(self, run_id: str, read: Read) -> bool:
        """Whether a run reads a version for the first time, as far as is remembered."""
        key = run_id, read.uri, read.table_id, read.version
        with self._lock:
            known = key in self._keys
            self._keys[key] = None
            self._keys.move_to_end(key)
            if len(self._keys) > _MANY:
                self._keys.popitem(last=False)
        return not known


def record(read: Read, context: str, seen: Seen) -> None:
    """Record a read in the innermost native run and in the active run of MLflow, if there are any.

    Raises:
        LakelineageError, MlflowException: it cannot be recorded.
    """
    if _is_of_a_lake(read.uri):
        return
    run = active_run()
    if run is not None and seen.first(run.id, read):
        use(read, context)
    run_id = mlflow_run()
    if run_id is not None and seen.first(run_id, read):
        log(read, context, run_id)


def use(read: Read, context: str, name: str | None = None) -> Snapshot | None:
    """Record a read as an input of the innermost native run; None if there is none."""
    run = active_run()
    if run is None:
        return None
    return pinning.use(
        run._engine,
        run.id,
        read.table,
        name=name or read.name,
        other_names=(f"{name or read.name}:{read.digest}",),
        context=context,
        once=True,
    )


def mlflow_run() -> str | None:
    """Id of MLflow's active run; None if there is none. MLflow is not imported for it."""
    active = getattr(sys.modules.get("mlflow"), "active_run", None)
    run = active() if active is not None else None
    return None if run is None else str(run.info.run_id)


def log(read: Read, context: str, run_id: str, name: str | None = None) -> None:
    """Record a read as an input of a run of MLflow, wherever that is tracked."""
    from lakelineage.mlflow_plugin import captured

    captured.log(run_id, read.table, name or read.name, read.digest, read.schema_json, context)


def _is_of_a_lake(uri: str) -> bool:
    """Whether it is one of the tables that a lake is made of: reading those is no use of data."""
    tables = Path(uri).parent
    return tables.name == "tables" and (tables.parent / "lake.json").exists()
