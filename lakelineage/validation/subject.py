"""The version that is checked, with what checks want to know of it, found out once."""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lakelineage.inference.mlflow_models import LoadedModel
from lakelineage.inference.models import Located, load_located, locate
from lakelineage.registry.checks import Checks
from lakelineage.registry.values import ModelVersion

if TYPE_CHECKING:
    from lakelineage.engine import Engine


class Subject:
    """A version under test.

    Args:
        engine: the open lake.
        version: the version.
        checks: of its model.
        trusted: what models may run when they are loaded, see :mod:`lakelineage.inference.trust`.
    """

    def __init__(self, engine: "Engine", version: ModelVersion, checks: Checks, trusted: frozenset[str]) -> None:
        self.engine = engine
        self.version = version
        self.checks = checks
        self.trusted = trusted
        self._loaded: dict[int, LoadedModel] = {}

    def place(self, version: int | None = None) -> Located:
        """Where the files of the version, or of another of the same model, are."""
        return locate(self.engine, f"models:/{self.version.name}/{version or self.version.version}")

    @cached_property
    def run(self) -> Mapping[str, Any] | None:
        """The row of the run that made it; None if that is not known, or is not in the lake."""
        run_id = self.place().run_id
        return None if run_id is None else self.engine.find_run(run_id)

    def model(self, version: int | None = None) -> LoadedModel:
        """The version, or another of the same model, loaded once."""
        number = version or self.version.version
        if number not in self._loaded:
            self._loaded[number] = load_located(self.engine, self.place(number), self.trusted)
        return self._loaded[number]
