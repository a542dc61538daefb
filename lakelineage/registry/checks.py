"""Which named checks a version has passed: the one place that rules ask.

A check is either *defined* for the model, and then what was found of it counts as long as nothing has changed since:
its definition, and the version that it was compared with. Or it is not defined, because something outside the lake
runs it: then the tag ``check.<name>`` of the version with the value ``passed`` tells that it passed. Whoever sets a
tag is on record, but a tag does not stand for a check that is defined.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from lakelineage.registry.states import State, VersionStates, aliased
from lakelineage.tables import ALIASES_HISTORY, MODEL_CHECK_RESULTS, MODEL_CHECKS_HISTORY, MODEL_VERSIONS_HISTORY

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine

TAG = "check."
#: What a check found: it passed, it failed, or an error kept it from finding out.
Verdict = Literal["passed", "failed", "error"]
PASSED: Verdict = "passed"
FAILED: Verdict = "failed"
ERROR: Verdict = "error"
#: Of a defined check that was not run on the version.
MISSING = "missing"
#: Of a result that something has changed since.
OUTDATED = "outdated"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A check of a version, done once.

    Attributes:
        name: registered model, as it was called then.
        version: number.
        check: name of the check.
        kind: of the check.
        result: "passed", "failed", or "error": it could not be found out.
        detail: what was found, in words.
        value: what was measured, if it is a number.
        snapshot_id: pinned data that it was checked on.
        compared_with: version that it was compared with.
        checked_at: when it began, UTC.
        seconds: wall-clock time that it took.
        user_id: who ran it.
        comment: why.
        definition: what was checked, as JSON.
    """

    name: str
    version: int
    check: str
    kind: str
    result: Verdict
    detail: str
    value: float | None
    snapshot_id: str | None
    compared_with: int | None
    checked_at: datetime
    seconds: float
    user_id: str | None
    comment: str | None
    definition: str


class Checks:
    """Checks of a model, and how its versions stand to them, at the moment at which it is asked first.

    Args:
        engine: the open lake.
        model_id: of the registered model.
    """

    def __init__(self, engine: "Engine", model_id: str) -> None:
        self._engine = engine
        self._model_id = model_id

    @cached_property
    def definitions(self) -> Mapping[str, str]:
        """Each check that is defined, as JSON, by name."""
        return defined(self._engine.rows(MODEL_CHECKS_HISTORY), self._model_id)

    @cached_property
    def _results(self) -> list[State]:
        rows: list[State] = _own(self._engine.rows(MODEL_CHECK_RESULTS), self._model_id).to_pylist()
        return rows

    def results(self, version: int | None = None) -> Iterator[CheckResult]:
        """What was found, oldest first; of one version only, if that is given."""
        for row in self._results:
            if version in (None, row["version"]):
                told = {name: row[name] for name in CheckResult.__slots__ if name in row}
                yield CheckResult(**told, check=row["check_name"])

    def newest(self, version: int) -> Mapping[str, CheckResult]:
        """The last result of each check of a version, by name."""
        return {each.check: each for each in self.results(version)}

    def standing(self, version: int, tags: Mapping[str, str]) -> Mapping[str, str]:
        """How a version stands to each check, by name.

        Args:
            version: number.
            tags: of the version.

        Returns:
            "passed", "failed" or "error"; of checks that are defined also "missing" or "outdated"; of others whatever
            the tag says.
        """
        told = {key.removeprefix(TAG): value for key, value in tags.items() if key.startswith(TAG)}
        newest = self.newest(version)
        return dict(sorted((told | {name: self._stands(newest.get(name), name) for name in self.definitions}).items()))

    def _stands(self, last: CheckResult | None, name: str) -> str:
        if last is None:
            return MISSING
        return OUTDATED if self.outdated(last, self.definitions[name]) else last.result

    def outdated(self, result: CheckResult, definition: str) -> str | None:
        """Why a result does not count any more; None if it does.

        Args:
            result: of a check.
            definition: the check as it is now.
        """
        if result.definition != definition:
            return "the check was defined anew since"
        alias = json.loads(definition).get("against")
        if alias is not None:
            now = self.named(alias)
            if now not in (result.compared_with, result.version):
                what = f"version {result.compared_with}" if result.compared_with else "no version"
                return f"it was compared with {what}, and {alias} names {now or 'none'} now"
        return None

    def named(self, alias: str) -> int | None:
        """The version that an alias names now; None if there is none, or it was deleted."""
        found = aliased(self._engine.rows(ALIASES_HISTORY), self._model_id, alias)
        there = VersionStates(self._engine.rows(MODEL_VERSIONS_HISTORY), self._model_id)
        return found[-1] if found and found[-1] is not None and there.state(found[-1]) is not None else None

    def validated(self, version: int, tags: Mapping[str, str]) -> bool:
        """Whether a version has passed every check there is: those that are defined, else those that its tags tell of.

        Without any check nothing is validated.
        """
        told = self.standing(version, tags)
        asked = [told[name] for name in self.definitions or told]
        return bool(asked) and all(each == PASSED for each in asked)


def defined(rows: "pa.Table", model_id: str) -> dict[str, str]:
    """Each check that is defined for a model after some rows of ``model_checks_history``, as JSON, by name."""
    found = {row["check_name"]: row["definition"] for row in _own(rows, model_id).to_pylist()}
    return {name: found[name] for name in sorted(found) if found[name] is not None}


def _own(rows: "pa.Table", model_id: str) -> "pa.Table":
    import pyarrow.compute as pc

    return rows.filter(pc.equal(rows["registered_model_id"], model_id))
