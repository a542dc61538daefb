"""The order of a search, and where a page begins in it.

Each term orders by one name; nulls come last, and NaN after all numbers, in either direction. Ties go to the next term,
then to the newest start, then to the smaller run id: a total order, so that a row tells where the page after it begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isnan
from typing import Any

from lakelineage.errors import InvalidFilter, InvalidInput
from lakelineage.tracking.filter import Operand, Type, resolve
from lakelineage.tracking.grammar import parse_order
from lakelineage.tracking.mistakes import Source

_ADVICE = "write metrics.rmse, params.alpha DESC or start_time"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PYTHON: dict[Type, type] = {"number": float, "text": str, "integer": int, "time": int, "bool": bool}

#: SQL, and the values of its ``?``.
Piece = tuple[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Term:
    """What runs are ordered by.

    Attributes:
        sql: expression over ``runs`` with the alias ``r``.
        type: of its values; times are µs since 1970 UTC in page tokens.
        descending: whether the greatest comes first.
    """

    sql: str
    type: Type
    descending: bool

    @property
    def order(self) -> str:
        """For ORDER BY."""
        if not self.descending:
            return f"{self.sql} ASC NULLS LAST"  # DuckDB has NaN above all numbers already
        nan_last = f"isnan({self.sql}) ASC NULLS LAST, " if self.type == "number" else ""
        return f"{nan_last}{self.sql} DESC NULLS LAST"

    @property
    def told(self) -> str:
        """For SELECT: the value as a page token holds it."""
        return f"epoch_us({self.sql})" if self.type == "time" else self.sql

    def same(self, value: Any) -> Piece:
        """Rows that have this value."""
        if value is None:
            return f"{self.sql} IS NULL", []
        if self.type == "number" and isnan(value):
            return f"isnan({self.sql})", []
        return f"{self.sql} = ?", [self._bound(value)]

    def after(self, value: Any) -> Piece:
        """Rows whose value comes after this one."""
        if value is None:
            return "FALSE", []
        if self.type == "number" and isnan(value):
            return f"{self.sql} IS NULL", []
        nan_last = f" OR isnan({self.sql})" if self.type == "number" and self.descending else ""
        return f"({self.sql} {'<' if self.descending else '>'} ?{nan_last} OR {self.sql} IS NULL)", [self._bound(value)]

    def _bound(self, value: Any) -> Any:
        return _EPOCH + timedelta(microseconds=value) if self.type == "time" else value

    def check(self, value: Any) -> None:
        """Raise ValueError or OverflowError if the value cannot be one of this term."""
        if value is not None:
            if type(value) is not _PYTHON[self.type]:
                raise ValueError(value)
            self._bound(value)


_STARTED = Term("r.start_time", "time", True)
_ID = Term("r.run_id", "text", False)


@dataclass(frozen=True, slots=True)
class Order:
    """A total order of runs: the user's terms, then the newest start, then the run id."""

    terms: tuple[Term, ...]

    @property
    def sql(self) -> str:
        """For ORDER BY, over ``runs`` with the alias ``r``."""
        return ", ".join([*(term.order for term in self.terms), "r.start_time DESC", "r.run_id"])

    @property
    def place(self) -> tuple[Term, ...]:
        """What tells a run's place: the values of these."""
        return (*self.terms, _STARTED, _ID)

    def after(self, values: Sequence[Any]) -> Piece:
        """The runs that come after the one with these values.

        Raises:
            InvalidInput: values that no run can have.
        """
        try:
            for term, value in zip(self.place, values, strict=True):
                term.check(value)
            started, run_id = _STARTED._bound(values[-2]), values[-1]
            if run_id is None:
                raise ValueError
        except (ValueError, OverflowError, TypeError) as error:
            raise InvalidInput("the page token does not fit this order; pass it as the search gave it") from error
        # Start and id are never null. The first bound alone lets a scan leave out what is newer.
        sql, bound = "(r.start_time <= ? AND (r.start_time < ? OR r.run_id > ?))", [started, started, run_id]
        for term, value in reversed(list(zip(self.terms, values, strict=False))):
            (after, first), (same, second) = term.after(value), term.same(value)
            sql, bound = f"({after} OR ({same} AND {sql}))", [*first, *second, *bound]
        return sql, bound


def compile_order(order_by: Sequence[str]) -> Order:
    """The order that a list of terms means.

    Args:
        order_by: such as ``metrics.rmse``, ``params.alpha DESC``, ``start_time ASC``, ``tags.`my key```.

    Raises:
        InvalidFilter: a term cannot be understood.
    """
    if isinstance(order_by, str):
        raise InvalidFilter(f"order_by is a list of terms; write [{order_by!r}]")
    return Order(tuple(map(_term, order_by)))


def _term(text: str) -> Term:
    if not isinstance(text, str):
        raise InvalidFilter(f"order {text!r} is no text; {_ADVICE}")
    source = Source(text, "order", _ADVICE)
    name, descending = parse_order(source)
    operand: Operand = resolve(source, name)
    if operand.inputs:
        source.refuse("a run may have many datasets, or none: nothing to order by", name.place)
    return Term(operand.sql, operand.type, descending)
