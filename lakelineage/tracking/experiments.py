"""Experiments: named groups of runs."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakelineage.engine import Engine
from lakelineage.errors import AlreadyExists, ExperimentNotFound
from lakelineage.model import validate
from lakelineage.model.clock import wall_clock
from lakelineage.model.values import Lifecycle
from lakelineage.tables import EXPERIMENTS, EXPERIMENTS_HISTORY

if TYPE_CHECKING:
    import pyarrow as pa

DEFAULT_NAME = "Default"


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment.

    Attributes:
        id: decimal digits.
        name: unique among those not deleted.
    """

    id: str
    name: str


class Experiments:
    """Names and ids of the experiments of one lake.

    Resolving a name that is known costs no Delta engine: the names are remembered in the process and, beside the
    journal, for all processes of the host. The remembered names hold as long as the table's newest version is the
    one that they were read from.

    Args:
        engine: the open lake.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._file = engine.host_folder / "experiments.json"
        self._version: int | None = None
        self._ids: dict[str, str] = {}

    def id_of(self, name: str) -> str:
        """Id of the experiment of this name; it is created if there is none."""
        name = validate.key(name, "experiment name")
        known = self._remembered(name)
        return known if known is not None else self._resolve(name, must_be_new=False)

    def create(self, name: str) -> Experiment:
        """Create an experiment.

        Raises:
            AlreadyExists: the name is taken.
        """
        name = validate.key(name, "experiment name")
        return Experiment(self._resolve(name, must_be_new=True), name)

    def get(self, name: str) -> Experiment:
        """The experiment of this name.

        Raises:
            ExperimentNotFound: there is none.
        """
        found = self._engine.query(
            "SELECT experiment_id FROM experiments WHERE name = ? AND lifecycle_stage = 'active'", [name]
        ).to_pylist()
        if not found:
            raise ExperimentNotFound(
                f"no experiment is named {name!r}; `lake.experiments.list()` shows those there are"
            )
        return Experiment(found[0]["experiment_id"], name)

    def list(self) -> "pa.Table":
        """Experiments that are not deleted, by name."""
        return self._engine.query(f"SELECT * FROM {EXPERIMENTS.name} WHERE lifecycle_stage = 'active' ORDER BY name")

    def _remembered(self, name: str) -> str | None:
        version = self._engine.store.newest_version_on_disk(EXPERIMENTS_HISTORY)
        if version is None:
            return None
        if version != self._version:
            self._load(version)
        return self._ids.get(name)

    def _load(self, version: int) -> None:
        self._version, self._ids = version, {}
        try:
            kept = json.loads(self._file.read_text())
            if kept["version"] == version:
                self._ids = dict(kept["ids"])
        except (OSError, ValueError, KeyError, TypeError):
            return  # no note, or a broken one: the table is asked

    def _remember(self) -> None:
        version = self._engine.store.newest_version_on_disk(EXPERIMENTS_HISTORY)
        if version is None or version != self._version:
            return
        temporary = self._file.with_suffix(f".{os.getpid()}.new")
        temporary.write_text(json.dumps({"version": version, "ids": self._ids}))
        os.replace(temporary, self._file)

    def _resolve(self, name: str, must_be_new: bool) -> str:
        ids: dict[str, str] = {}

        def decide(rows: "pa.Table") -> Sequence[tuple[Any, ...]] | None:
            ids.clear()
            ids.update(_active(rows))
            if name in ids:
                if must_be_new:
                    raise AlreadyExists(
                        f"an experiment is named {name!r} already (id {ids[name]}); choose another name"
                    )
                return None
            ids[name] = _next_id(rows, name)
            return [
                EXPERIMENTS_HISTORY.row(
                    experiment_id=ids[name],
                    name=name,
                    lifecycle_stage=Lifecycle.ACTIVE,
                    created_at=wall_clock(),
                    tags=[],
                )
            ]

        self._engine.exclusive(EXPERIMENTS_HISTORY, decide)
        self._ids = ids
        self._version = self._engine.store.snapshot(EXPERIMENTS_HISTORY).version
        self._remember()
        return ids[name]


def _active(rows: "pa.Table") -> dict[str, str]:
    """Name → id, of rows in the order of the lake."""
    newest = {
        row["experiment_id"]: row for row in rows.select(["experiment_id", "name", "lifecycle_stage"]).to_pylist()
    }
    return {row["name"]: key for key, row in newest.items() if row["lifecycle_stage"] == Lifecycle.ACTIVE}


def _next_id(rows: "pa.Table", name: str) -> str:
    if name == DEFAULT_NAME and "0" not in rows.column("experiment_id").to_pylist():
        return "0"
    used = [int(i) for i in rows.column("experiment_id").to_pylist()]
    return str(max([0, *used]) + 1)


__all__ = ["DEFAULT_NAME", "Experiment", "Experiments"]
