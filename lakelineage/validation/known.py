"""Checks of what is known of a version without running it: metrics, signature, documentation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lakelineage.errors import InvalidInput
from lakelineage.model import validate
from lakelineage.registry.models import Models
from lakelineage.validation.kinds import Between, Check, Finding
from lakelineage.validation.subject import Subject


@dataclass(frozen=True, kw_only=True)
class Metric(Check):
    """A metric that the version's run logged lies within bounds.

    Attributes:
        key: of the metric; its value at the greatest step counts, as in ``runs.metrics``.
        min: at least this.
        max: at most this.
    """

    key: str
    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.key(self.key, "key of a metric")
        if not self._bounds:
            raise InvalidInput(f"a check of metric {self.key!r} wants min, max, or both")

    @property
    def _bounds(self) -> Between:
        return Between.of(self.min, self.max)

    def judge(self, subject: Subject) -> Finding:  # noqa: D102
        if subject.run is None:
            return Finding(False, "no run of the lake is known to have made it")
        logged = dict(subject.run["metrics"] or ())
        if self.key not in logged:
            return Finding(False, f"run {subject.run['run_id']} logged no metric {self.key!r}")
        value = logged[self.key]
        told = "NaN" if math.isnan(value) else f"{value:g}"
        return Finding(self._bounds.holds(value), f"{self.key} is {told}, wanted {self._bounds}", value)


@dataclass(frozen=True, kw_only=True)
class Signature(Check):
    """The model has a signature: it says which columns it takes.

    Attributes:
        outputs: whether it has to say what it gives, too.
    """

    outputs: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.outputs, bool):
            raise InvalidInput(f"outputs is yes or no (True or False), not {self.outputs!r}")

    def judge(self, subject: Subject) -> Finding:  # noqa: D102
        model = subject.model()
        if model.inputs is None:
            return Finding(False, "it has no signature that names the columns it takes; log it with input_example=")
        takes = f"it takes {', '.join(model.inputs)}"
        if self.outputs and not model.has_outputs:
            return Finding(False, f"{takes}, but its signature does not say what it gives")
        return Finding(True, takes)


@dataclass(frozen=True, kw_only=True)
class Documentation(Check):
    """The version says what it is, or its model does.

    Attributes:
        length: characters that the longer of the two descriptions has to have.
        tags: tags that the version or its model has to have, with some value.
    """

    length: int = 1
    tags: Sequence[str] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if validate.step(self.length) < 0:
            raise InvalidInput(f"length must be 0 characters or more, not {self.length}")
        if isinstance(self.tags, str) or not isinstance(self.tags, Sequence):
            raise InvalidInput(f"tags are a list, such as [{self.tags!r}], not {type(self.tags).__name__}")
        object.__setattr__(self, "tags", tuple(validate.key(tag, "tag") for tag in self.tags))

    def judge(self, subject: Subject) -> Finding:  # noqa: D102
        model = Models(subject.engine).model(subject.version.name)
        longest = max(len((each or "").strip()) for each in (subject.version.description, model.description))
        tags = {**model.tags, **subject.version.tags}
        lacking = [f"tag {tag}" for tag in self.tags if not tags.get(tag, "").strip()]
        if longest < self.length:
            size = f" of {self.length} characters (it has {longest})" if longest else ""
            lacking.insert(0, f"a description{size}")
        return Finding(not lacking, f"lacks {', '.join(lacking)}" if lacking else "all there", float(longest))
