"""What a check is: a frozen value that can be stored as JSON, and that finds out something about a version."""

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, Self

from lakelineage.errors import InvalidInput
from lakelineage.model import validate

if TYPE_CHECKING:
    from lakelineage.engine import Engine
    from lakelineage.validation.subject import Subject


class Unknowable(Exception):
    """Why a check cannot find out anything about a version, through no fault of the version's."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        passed: whether the version passes.
        detail: why, in words.
        value: what was measured, if it is a number.
        compared_with: version that it was compared with.
    """

    passed: bool
    detail: str
    value: float | None = None
    compared_with: int | None = None


@dataclass(frozen=True, kw_only=True)
class Check(ABC):
    """A check.

    Attributes:
        archive: whether a version that fails it is archived. One on which it could not be found out is not.
    """

    archive: bool = False

    def __post_init__(self) -> None:
        """Refuse values that cannot be.

        Raises:
            InvalidInput: one of them.
        """
        if not isinstance(self.archive, bool):
            raise InvalidInput(f"archive is yes or no (True or False), not {self.archive!r}")

    @classmethod
    def kind(cls) -> str:
        """What it is called where it is stored, and in files: ``load_and_predict``."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    @property
    def snapshot_id(self) -> str | None:
        """The pinned data that it looks at."""
        return None

    def pinned(self, engine: "Engine") -> Self:  # noqa: ARG002  those that look at data do
        """The check with its data pinned, so that it stays the same."""
        return self

    @abstractmethod
    def judge(self, subject: "Subject") -> Finding:
        """Find out whether a version passes.

        Raises:
            Unknowable: what the version is compared with, or checked on, is no good.
            LakelineageError: it could not be found out, or the model does not fit.
            Exception: whatever the model raises: it is code of its maker's.
        """

    def to_dict(self) -> dict[str, Any]:
        """Its kind, and what differs from the defaults; plain values once it is pinned."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        defaults = {field.name: field.default for field in fields(self) if field.default is not MISSING}
        own = {key: value for key, value in given.items() if key not in defaults or value != defaults[key]}
        return {"kind": self.kind()} | own

    def to_json(self) -> str:
        """The same as JSON with sorted keys: equal for equal checks.

        Raises:
            InvalidInput: a value that JSON does not have.
        """
        try:
            return json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"{self} cannot be stored as JSON: {error}") from error


def parsed(definition: object) -> Check:
    """A check of its kind and fields, as JSON and TOML files have them.

    Raises:
        InvalidInput: no such kind or field, or one that is missing.
    """
    from lakelineage import validation

    told = dict(validate.mapping(definition, "the fields of a check"))
    known: dict[object, type[Check]] = {
        kind.kind(): kind for name in validation.__all__ if _is_kind(kind := getattr(validation, name))
    }
    name = told.pop("kind", None)
    if name not in known:
        raise InvalidInput(f"kind = {name!r} is no kind of check; choose one of {', '.join(sorted(map(str, known)))}")
    chosen: Any = known[name]
    strangers = sorted(told.keys() - {field.name for field in fields(chosen)})
    if strangers:
        there = ", ".join(field.name for field in fields(chosen))
        raise InvalidInput(f"a check of kind {name} has no {', '.join(strangers)}; it has {there}")
    try:
        made: Check = chosen(**{key: tuple(value) if isinstance(value, list) else value for key, value in told.items()})
    except TypeError as error:  # a field without a default is missing
        raise InvalidInput(f"a check of kind {name}: {error}") from error
    return made


def _is_kind(thing: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, Check) and thing is not Check


def bound(value: object, what: str) -> float | None:
    """A threshold, or none.

    Raises:
        InvalidInput: no finite number.
    """
    if value is None:
        return None
    number = validate.number(value, what)
    if not math.isfinite(number):
        raise InvalidInput(f"{what} must be a finite number, not {number}")
    return number


@dataclass(frozen=True)
class Between:
    """A number may lie from ``least`` to ``most``; None is no bound."""

    least: float | None
    most: float | None

    @classmethod
    def of(cls, least: object, most: object) -> "Between":
        """Checked bounds.

        Raises:
            InvalidInput: no numbers, or nothing lies between.
        """
        low, high = bound(least, "min"), bound(most, "max")
        if low is not None and high is not None and low > high:
            raise InvalidInput(f"no number is at least {low:g} and at most {high:g}; change min or max")
        return cls(low, high)

    def __bool__(self) -> bool:
        return self.least is not None or self.most is not None

    def holds(self, value: float) -> bool:
        """Whether a number lies there; NaN does not."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def __str__(self) -> str:
        pieces = [f"at least {self.least:g}"] if self.least is not None else []
        return " and ".join(pieces + ([f"at most {self.most:g}"] if self.most is not None else []))


def options(value: object, what: str) -> Mapping[str, Any] | None:
    """Named options, or none.

    Raises:
        InvalidInput: something else.
    """
    return None if value is None else dict(validate.mapping(value, what))
