"""Moments as users write them."""

import datetime as dt
from typing import Any

from lakelineage.errors import InvalidInput


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
