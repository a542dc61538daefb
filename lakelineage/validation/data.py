"""Pinned data that checks look at, and the check that a model fits a table."""

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lakelineage.errors import InvalidInput
from lakelineage.snapshots import Snapshot, pin
from lakelineage.snapshots.records import find, load
from lakelineage.validation.kinds import Check, Finding
from lakelineage.validation.subject import Subject

if TYPE_CHECKING:
    from lakelineage.engine import Engine


@dataclass(frozen=True, kw_only=True)
class OnData(Check):
    """A check that looks at data, which is pinned when the check is set.

    Attributes:
        data: path or URI of a table or file, a snapshot, or the id of one.
        version: of the table; the newest when the check is set, if not given.
    """

    needs_data: ClassVar[bool] = True

    data: Any
    version: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.data is None and self.needs_data) or (isinstance(self.data, str) and not self.data.strip()):
            raise InvalidInput("data is empty; give a path or URI of a table, or the id of a snapshot")
        if self.data is None and self.version is not None:
            raise InvalidInput(f"version={self.version} is a version of which table? Give data")

    @property
    def snapshot_id(self) -> str | None:  # noqa: D102
        return self.data if isinstance(self.data, str) else None

    def pinned(self, engine: "Engine") -> Self:  # noqa: D102
        return self if self.data is None else replace(self, data=self._pin(engine, None).id, version=None)

    def _pin(self, engine: "Engine", where: str | None) -> Snapshot:
        source = os.fspath(self.data) if isinstance(self.data, os.PathLike) else self.data
        known = find(engine, source) if isinstance(source, str) and self.version is None else None
        return pin(engine, known or source, version=self.version, where=where)

    def snapshot(self, subject: Subject) -> Snapshot:
        """The pinned rows."""
        return load(subject.engine, self.data)


@dataclass(frozen=True, kw_only=True)
class OnRows(OnData):
    """A check that looks at some rows of data.

    Attributes:
        where: which, as a SQL condition: a slice.
    """

    where: str | None = None

    def pinned(self, engine: "Engine") -> Self:  # noqa: D102
        if self.data is None:
            return self
        made = self._pin(engine, self.where)
        return replace(self, data=made.id, version=None, where=made.where)

    def snapshot(self, subject: Subject) -> Snapshot:  # noqa: D102
        return replace(super().snapshot(subject), where=self.where)


@dataclass(frozen=True, kw_only=True)
class InputSchema(OnData):
    """A table has the columns that the model's signature names, of types that it takes."""

    def judge(self, subject: Subject) -> Finding:  # noqa: D102
        model, snapshot = subject.model(), self.snapshot(subject)
        if model.inputs is None:
            return Finding(False, "it has no signature that names the columns it takes; log it with input_example=")
        problems = model.problems(snapshot.schema)
        where = f"{snapshot.table_uri} at version {snapshot.version}"
        return Finding(not problems, f"{where}: {'; '.join(problems) if problems else 'fits'}")
