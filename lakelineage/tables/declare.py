"""How a table is declared. Types are named here and become Arrow types where Arrow is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from lakelineage.errors import InvalidInput

if TYPE_CHECKING:
    import pyarrow as pa

TypeName = Literal["string", "int64", "double", "bool", "timestamp", "strings", "text_map", "number_map", "integer_map"]


def arrow_type(name: TypeName) -> "pa.DataType":
    """The Arrow type of a declared one. Timestamps are microseconds, UTC."""
    import pyarrow as pa

    types: dict[TypeName, pa.DataType] = {
        "string": pa.string(),
        "int64": pa.int64(),
        "double": pa.float64(),
        "bool": pa.bool_(),
        "timestamp": pa.timestamp("us", "UTC"),
        "strings": pa.list_(pa.string()),
        "text_map": pa.map_(pa.string(), pa.string()),
        "number_map": pa.map_(pa.string(), pa.float64()),
        "integer_map": pa.map_(pa.string(), pa.int64()),
    }
    return types[name]


#: What Python holds of a type, as a journal takes it. Timestamps are µs since 1970 UTC; maps are lists of pairs.
_HELD: dict[TypeName, tuple[type, ...]] = {
    "string": (str,),
    "int64": (int,),
    "double": (float, int),
    "bool": (bool,),
    "timestamp": (int,),
    "strings": (list, tuple),
    "text_map": (list, tuple),
    "number_map": (list, tuple),
    "integer_map": (list, tuple),
}
_INTEGERS = ("int64", "timestamp")
_LEAST, _GREATEST = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: as users write it in SQL.
        type: declared type.
        doc: meaning, with unit.
        nullable: whether a row may lack it.
    """

    name: str
    type: TypeName
    doc: str
    nullable: bool = True

    def holds(self, value: Any) -> bool:
        """Whether a row may have this here."""
        if value is None:
            return self.nullable
        return isinstance(value, _HELD[self.type]) and not (isinstance(value, int) and _beyond((value,)))


@dataclass(frozen=True)
class Table:
    """One Delta table.

    Attributes:
        name: folder under ``tables/`` and name in SQL.
        doc: what one row is.
        columns: its own columns; facts have the three of ``ORDER`` before them.
        key: what tells rows apart (facts: besides the place in the order).
        is_fact: append-only, with the columns of ``ORDER``.
        unique: written by synchronous commits under a lock, never through the journal.
    """

    name: str
    doc: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    is_fact: bool = True
    unique: bool = False

    @cached_property
    def all_columns(self) -> tuple[Column, ...]:
        """Columns as stored."""
        return (ORDER + self.columns) if self.is_fact else self.columns

    @cached_property
    def own_schema(self) -> "pa.Schema":
        """Arrow schema of the table's own columns."""
        return _schema(self.columns)

    @cached_property
    def schema(self) -> "pa.Schema":
        """Arrow schema as stored."""
        return _schema(self.all_columns)

    def empty(self) -> "pa.Table":
        """No rows, with the stored schema. Arrow's own ``empty_table`` imports pandas, which takes its time."""
        import pyarrow as pa

        return pa.Table.from_batches([], self.schema)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the table's own columns."""
        return tuple(column.name for column in self.columns)

    def row(self, **values: Any) -> tuple[Any, ...]:
        """A row of the table's own columns, in order; what is not given is null.

        Raises:
            InvalidInput: a name that is no column, or a missing value that may not be null.
        """
        unknown = values.keys() - set(self.names)
        missing = [c.name for c in self.columns if not c.nullable and values.get(c.name) is None]
        if unknown or missing:
            raise InvalidInput(f"table {self.name}: unknown columns {sorted(unknown)}, missing values {missing}")
        return tuple(values.get(name) for name in self.names)

    @cached_property
    def _usual(self) -> tuple[tuple[Column, frozenset[type], bool], ...]:
        """Of each column: the very types that its values mostly are, and whether their size matters."""
        none = frozenset([type(None)])
        return tuple(
            (c, frozenset(_HELD[c.type]) | (none if c.nullable else frozenset()), c.type in _INTEGERS)
            for c in self.columns
        )

    def check(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Refuse rows that could be journaled, but never committed.

        Raises:
            InvalidInput: a value is missing, or not of its column's type.
        """
        for (column, usual, sized), values in zip(self._usual, zip(*rows, strict=True), strict=False):
            if usual.issuperset(map(type, values)) and not (sized and _beyond(values)):
                continue
            for value in values:
                if not column.holds(value):
                    raise InvalidInput(
                        f"{self.name}.{column.name} cannot be {value!r}: it takes {column.type}"
                        f"{'' if column.nullable else ', and has to be given'}"
                    )


def _beyond(values: Sequence[int | None]) -> bool:
    """Whether one of them may not fit into 64 bits."""
    return None in values or not _LEAST <= min(values) <= max(values) <= _GREATEST  # type: ignore[operator, type-var]


def _schema(columns: Sequence[Column]) -> "pa.Schema":
    import pyarrow as pa

    return pa.schema([pa.field(c.name, arrow_type(c.type), nullable=c.nullable) for c in columns])


#: The place of a row in the one order of the lake. Every fact has it.
ORDER: tuple[Column, ...] = (
    Column("ingested_at", "timestamp", "when it was logged: hybrid logical clock, µs, UTC", nullable=False),
    Column("writer", "string", "journal that logged it", nullable=False),
    Column("seq", "int64", "place within that journal, counting from 1", nullable=False),
)
