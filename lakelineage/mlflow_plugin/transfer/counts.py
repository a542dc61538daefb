"""What was taken over, counted on both sides."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Differences of a kind that are told one by one.
_TOLD = 5
#: Progress: what is done now, how many so far, of how many (None: nobody knows).
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Count:
    """One kind of thing.

    Attributes:
        kind: what is counted.
        source: how many the source has.
        target: how many of these the target has, equal in every part, when all was done.
        added: how many were added or changed by this call; of a dry run, how many would be.
    """

    kind: str
    source: int = 0
    target: int = 0
    added: int = 0


@dataclass(frozen=True, slots=True)
class Transferred:
    """What an import or export did.

    Attributes:
        counts: of each kind of thing.
        differences: what the target has otherwise than the source, or lacks; a few of each kind.
        dry_run: whether nothing was written.
    """

    counts: tuple[Count, ...]
    differences: tuple[str, ...]
    dry_run: bool

    @property
    def ok(self) -> bool:
        """Whether the target has all that the source has. A dry run is."""
        return self.dry_run or all(each.source == each.target for each in self.counts)

    def __getitem__(self, kind: str) -> Count:
        """The count of a kind; zeros if there was none."""
        return next((each for each in self.counts if each.kind == kind), Count(kind))


@dataclass(slots=True)
class Tally:
    """Counts that are being made.

    Attributes:
        dry_run: whether nothing is written.
        progress: told what is being done.
    """

    dry_run: bool = False
    progress: Progress = lambda *_: None
    counts: dict[str, list[int]] = field(default_factory=dict)
    differences: dict[str, list[str]] = field(default_factory=dict)
    more: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, source: int, target: int, added: int) -> None:
        """Count some things."""
        count = self.counts.setdefault(kind, [0, 0, 0])
        for place, number in enumerate((source, target, added)):
            count[place] += number

    def differs(self, kind: str, message: str) -> None:
        """Tell of something that the target has otherwise. It does not count by itself."""
        told = self.differences.setdefault(kind, [])
        if len(told) < _TOLD:
            told.append(message)
        else:
            self.more[kind] = self.more.get(kind, 0) + 1

    def compare(
        self,
        kind: str,
        told: Mapping[Any, Any],
        before: Mapping[Any, Any],
        after: Mapping[Any, Any],
        same: Callable[[Any, Any], bool] = lambda mine, theirs: bool(mine == theirs),
    ) -> None:
        """Count things by key.

        Args:
            kind: what is counted.
            told: key → what the source tells.
            before: key → what the target had.
            after: key → what the target has.
            same: whether what the source tells is what the target has.
        """
        lacking = missing(told, before, same)
        wrong = lacking.keys() if self.dry_run else missing(told, after, same).keys()
        self.add(kind, len(told), len(told) - len(wrong), len(lacking))
        if not self.dry_run:
            for key in wrong:
                has = f"the target has {after[key]!r}" if key in after else "the target lacks it"
                self.differs(kind, f"{kind} {_name(key)}: the source has {told[key]!r}, {has}")

    def result(self) -> Transferred:
        """What was counted."""
        lines = [line for told in self.differences.values() for line in told]
        lines += [f"… and {number} more of {kind}" for kind, number in self.more.items()]
        counts = tuple(Count(kind, *numbers) for kind, numbers in self.counts.items())
        return Transferred(counts, tuple(lines), self.dry_run)


def missing(
    told: Mapping[Any, Any],
    there: Mapping[Any, Any],
    same: Callable[[Any, Any], bool] = lambda mine, theirs: bool(mine == theirs),
) -> dict[Any, Any]:
    """What is told and is not there, or is there otherwise."""
    return {key: value for key, value in told.items() if key not in there or not same(value, there[key])}


def contains(part: Mapping[str, Any], whole: Mapping[str, Any]) -> bool:
    """Whether a state says all that another says."""
    return all(whole.get(key) == value for key, value in part.items())


def same_number(one: float, other: float) -> bool:
    """Whether two values of a metric are the same; NaN is."""
    return one == other or (one != one and other != other)  # noqa: PLR0124 - only NaN is not itself


def _name(key: Hashable) -> str:
    return " ".join(map(str, key)) if isinstance(key, tuple) else str(key)
