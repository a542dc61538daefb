"""What the histories of the registry say now: pure functions over their rows, in the order of the lake."""

from collections.abc import Iterator
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any

from lakelineage.model.values import Lifecycle
from lakelineage.tables import MODEL_VERSIONS_HISTORY, REGISTERED_MODELS_HISTORY, Table

if TYPE_CHECKING:
    import pyarrow as pa

State = dict[str, Any]


def model_ids(rows: "pa.Table") -> list[str]:
    """Id of the registered model that each row is about. Rows of older formats have none: the name is the id."""
    import pyarrow.compute as pc

    ids: list[str] = pc.coalesce(rows["registered_model_id"], rows["name"]).to_pylist()
    return ids


def _row(table: Table, state: State, changes: State) -> tuple[Any, ...]:
    return table.row(**{name: state.get(name) for name in table.names} | changes)


class ModelStates:
    """Registered models after the last of some rows of ``registered_models_history``.

    Args:
        rows: in the order of the lake.
    """

    def __init__(self, rows: "pa.Table") -> None:
        self._rows = rows
        self._last = {model_id: place for place, model_id in enumerate(model_ids(rows))}

    @cached_property
    def _active(self) -> dict[str, str]:
        names, stages = self._rows["name"].to_pylist(), self._rows["lifecycle_stage"].to_pylist()
        return {names[place]: key for key, place in self._last.items() if stages[place] == Lifecycle.ACTIVE}

    def id_of(self, name: str | None) -> str | None:
        """Id of the model that has this name now."""
        return None if name is None else self._active.get(name)

    def state(self, model_id: str) -> State:
        """Its newest row."""
        found: list[State] = self._rows.slice(self._last[model_id], 1).to_pylist()
        return found[0]

    def free_id(self, name: str) -> str:
        """An id for a model that is made now: its name, or ``<name>~2``, … where that was given before."""
        return next(each for each in _candidates(name) if each not in self._last)

    def changed(self, model_id: str, **changes: Any) -> tuple[Any, ...]:
        """A row that differs from the newest."""
        return _row(REGISTERED_MODELS_HISTORY, self.state(model_id), {"registered_model_id": model_id} | changes)


def _candidates(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}~{number}" for number in count(2))


class VersionStates:
    """Versions of one registered model after the last of some rows of ``model_versions_history``.

    Args:
        rows: in the order of the lake.
        model_id: of the registered model.
    """

    def __init__(self, rows: "pa.Table", model_id: str) -> None:
        import pyarrow.compute as pc

        own = rows.filter(pc.equal(pc.coalesce(rows["registered_model_id"], rows["name"]), model_id))
        self._rows = own
        self._model_id = model_id
        self._last = {version: place for place, version in enumerate(own["version"].to_pylist())}

    @property
    def next(self) -> int:
        """The number that the next version gets: deleted ones count."""
        return max(self._last, default=0) + 1

    def state(self, version: int) -> State | None:
        """The newest row of a version; None if there is none, or it was deleted."""
        place = self._last.get(version)
        if place is None:
            return None
        found: State = self._rows.slice(place, 1).to_pylist()[0]
        return found if found["lifecycle_stage"] == Lifecycle.ACTIVE else None

    @property
    def active(self) -> list[int]:
        """Versions that were not deleted, oldest first."""
        lives = self._rows["lifecycle_stage"].to_pylist()
        return sorted(version for version, at in self._last.items() if lives[at] == Lifecycle.ACTIVE)

    def in_stage(self, stage: str) -> list[int]:
        """Versions that are in a stage."""
        stages, lives = self._rows["stage"].to_pylist(), self._rows["lifecycle_stage"].to_pylist()
        found = (version for version, at in self._last.items() if (stages[at], lives[at]) == (stage, Lifecycle.ACTIVE))
        return sorted(found)

    def stages_of(self, version: int) -> list[str]:
        """The stage that a version was registered in, and each that it moved to since."""
        import pyarrow.compute as pc

        found: list[str] = []
        for stage in self._rows.filter(pc.equal(self._rows["version"], version))["stage"].to_pylist():
            if not found or found[-1] != stage:
                found.append(stage)
        return found

    def entered(self, stage: str) -> list[int]:
        """Versions in the order in which they came into a stage; one that came twice is there twice."""
        inside: set[int] = set()
        found = []
        for version, now in zip(self._rows["version"].to_pylist(), self._rows["stage"].to_pylist(), strict=True):
            if now == stage and version not in inside:
                found.append(version)
            (inside.add if now == stage else inside.discard)(version)
        return found

    def changed(self, state: State, **changes: Any) -> tuple[Any, ...]:
        """A row that differs from a state."""
        return _row(MODEL_VERSIONS_HISTORY, state, {"registered_model_id": self._model_id} | changes)


def aliased(rows: "pa.Table", model_id: str, alias: str) -> list[int | None]:
    """The versions that an alias named, one after another, by rows of ``aliases_history``; None while it named none."""
    import pyarrow.compute as pc

    own = pc.and_(
        pc.equal(pc.coalesce(rows["registered_model_id"], rows["name"]), model_id), pc.equal(rows["alias"], alias)
    )
    versions: list[int | None] = rows.filter(own)["version"].to_pylist()
    return versions
