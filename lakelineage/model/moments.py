"""Moments and durations as users write them."""

import datetime as dt
import re
from typing import Any

from lakelineage.errors import InvalidInput

_DAYS = {"d": 1, "day": 1, "w": 7, "week": 7, "month": 30, "y": 365, "year": 365}
_DURATION = re.compile(r"(\d+)\s*(d|w|y|day|week|month|year)s?", re.IGNORECASE)


def duration(text: str) -> dt.timedelta | None:
    """A duration such as "90d", "6 weeks" or "2 years" (months have 30 days, years 365); None if it is none."""
    found = _DURATION.fullmatch(text.strip())
    return None if found is None else dt.timedelta(days=int(found[1]) * _DAYS[found[2].lower()])


def parse_duration(text: object) -> dt.timedelta:
    """A duration, as :func:`duration`.

    Raises:
        InvalidInput: it is none.
    """
    found = duration(text) if isinstance(text, str) else None
    if found is None:
        raise InvalidInput(f"{text!r} is no duration; write 90d, 6 weeks or 2 years")
    return found


def parse_time(value: dt.datetime | dt.date | str) -> int:
    """Microseconds since 1970 UTC of an ISO 8601 date or time.

    Raises:
        InvalidInput: it is neither.
    """
    moment: Any = value
    if isinstance(value, str):
        try:
            moment = dt.datetime.fromisoformat(value.strip())
        except ValueError:
            raise InvalidInput(
                f"as_of {value!r} is no ISO 8601 date or time; write 2024-05-31 or 2024-05-31T12:00:00+02:00"
            ) from None
    elif type(value) is dt.date:
        moment = dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
    if not isinstance(moment, dt.datetime):
        raise InvalidInput(f"as_of must be a datetime or an ISO 8601 string, not {type(value).__name__} ({value!r})")
    zoned = moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)
    return (zoned - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
