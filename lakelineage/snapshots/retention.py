"""When a pin ends by itself.

It is given as a moment (``"2027-01-01"``, a date or datetime), as a duration from now (``"90d"``, ``"6 weeks"``,
``"2 years"``, a ``timedelta``), as ``"while registered"``, or as ``"90d, while registered"``: for 90 days, and beyond
as long as a model is registered that the pin's run made. ``"while registered"`` alone means 30 days to register it.
``"forever"`` is what holds if nothing is said: the pin is there until somebody releases it.
"""

import datetime as dt
from dataclasses import dataclass

from lakelineage.errors import InvalidInput
from lakelineage.model.clock import wall_clock
from lakelineage.model.moments import duration, parse_time

Until = dt.datetime | dt.date | dt.timedelta | str

REGISTERED = "while registered"
#: Time to register a model, where nothing else is said.
_GRACE = "30 days"


@dataclass(frozen=True, slots=True)
class Retention:
    """When a pin ends.

    Attributes:
        until: µs since 1970 UTC; None if it does not end by itself.
        rule: how it was given, where that says more than the moment.
    """

    until: int | None = None
    rule: str | None = None

    @property
    def certain(self) -> int | None:
        """When it is certain to have ended, µs since 1970 UTC; None if nobody can tell."""
        return None if self.rule is not None and self.rule.endswith(REGISTERED) else self.until


def parse(value: Until | None) -> Retention:
    """Understand what was given.

    Raises:
        InvalidInput: it cannot be understood, or has passed.
    """
    if value is None:
        return Retention()
    if not isinstance(value, str):
        return _ending(
            value, None if not isinstance(value, dt.timedelta) else f"{value.total_seconds() / 86_400:g} days"
        )
    text = " ".join(value.split()).lower()
    if text == "forever":
        return Retention()
    first, _, second = (part.strip() for part in text.partition(","))
    if REGISTERED in (first, second) and second in ("", REGISTERED):
        time = _GRACE if first == REGISTERED else first
        return Retention(_ending(duration(time) or time, None).until, f"{time}, {REGISTERED}")
    length = duration(text)
    return _ending(value, None) if length is None else _ending(length, text)


def _ending(value: Until, rule: str | None) -> Retention:
    now = wall_clock()
    try:
        moment = now + value // dt.timedelta(microseconds=1) if isinstance(value, dt.timedelta) else parse_time(value)
    except InvalidInput:
        raise InvalidInput(
            f"until={value!r} is no end of a pin; write a date (2027-01-01), a duration (90d, 6 weeks, 2 years), "
            "'while registered', or '90d, while registered'"
        ) from None
    if moment <= now:
        raise InvalidInput(f"until={value!r} has passed; release the pin instead, or give a later moment")
    if moment > _LAST:
        raise InvalidInput(f"until={value!r} is beyond the year 9999; leave it out for a pin without end")
    return Retention(moment, rule)


_LAST = parse_time("9999-12-31")
