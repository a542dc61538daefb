"""Which columns of two snapshots belong together, in which type they are compared, and what changed in the schema."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from lakelineage.errors import InvalidInput
from lakelineage.snapshots.snapshot import Snapshot

if TYPE_CHECKING:
    import pyarrow as pa

What = Literal["added", "removed", "renamed", "type", "nullability", "not chosen"]


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """A difference between two schemas.

    Attributes:
        column: its name in B, or in A where B has none.
        what: ``added``, ``removed``, ``renamed`` (the same field by column mapping), ``type``, ``nullability``, or
            ``not chosen``: both tables have it, but only one pin has it among its columns, so it is not compared.
        before: name, type or ``nullable``/``not null`` in A; None where A has none.
        after: the same in B.
    """

    column: str
    what: What
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.what in ("added", "removed"):
            return f"{self.what} {self.column} ({self.after or self.before})"
        return f"{self.what} {self.column}: {self.before or '-'} -> {self.after or '-'}"

    def to_dict(self) -> dict[str, str | None]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Column:
    """A column that is compared.

    Attributes:
        name: in B, or in A where B has none.
        a: its name in A; None: A has none, which counts as null.
        b: its name in B.
        type: in which its values are compared, and handed out.
        checked: whether whole numbers of one side become doubles, which not all can.
        as_text: whether its types have nothing in common, so that values are compared as texts.
    """

    name: str
    a: str | None
    b: str | None
    type: "pa.DataType"
    checked: bool = False
    as_text: bool = False


@dataclass(frozen=True, slots=True)
class Matching:
    """Two schemas, matched.

    Attributes:
        columns: what is compared.
        changes: what changed in the schema.
    """

    columns: tuple[Column, ...]
    changes: tuple[SchemaChange, ...]

    @property
    def schema(self) -> "pa.Schema":
        """What is compared, as one table has it."""
        import pyarrow as pa

        return pa.schema([(column.name, column.type) for column in self.columns])

    @property
    def one_sided(self) -> bool:
        """Whether a column is compared that only one table has."""
        return any(column.a is None or column.b is None for column in self.columns)


def match(a: Snapshot, b: Snapshot, columns: Sequence[str] | None, key: Sequence[str]) -> Matching:
    """Match the columns of two snapshots: by field id where both have column mapping, else by name.

    Args:
        a: before.
        b: after.
        columns: names in either, instead of those of the pins.
        key: names in either; they are compared even if they are not among the columns.

    Raises:
        InvalidInput: a name that neither has, that comes twice, or nothing to compare.
    """
    pairs = _pairs(a, b)
    keys = _named(key, pairs, "key")
    in_a: Sequence[str] | None = a.columns
    in_b: Sequence[str] | None = b.columns
    if columns is not None:
        wanted = _named(columns, pairs, "columns")
        pairs = [pair for pair in pairs if pair in wanted or pair in keys]
        in_a = in_b = None
    found: list[Column] = []
    changes: list[SchemaChange] = []
    for of_a, of_b in pairs:
        forced = (of_a, of_b) in keys
        by_a = of_a is not None and (forced or in_a is None or of_a in in_a)
        by_b = of_b is not None and (forced or in_b is None or of_b in in_b)
        if of_a is not None and of_b is not None and by_a != by_b:
            changes.append(_not_chosen(a, b, of_a, of_b, by_a))
        elif by_a or by_b:
            changes += _changes(a, b, (of_a, of_b))
            found.append(_column(a, b, (of_a, of_b)))
    if not found:
        raise InvalidInput("the two have no column in common that could be compared; name some with columns=")
    return Matching(tuple(found), tuple(changes))


_Pair = tuple[str | None, str | None]


def _pairs(a: Snapshot, b: Snapshot) -> list[_Pair]:
    """(name in A, name in B), in the order of B; what only A has comes last."""
    names_a = a.table_schema.names
    ids_a, ids_b = _field_ids(a), _field_ids(b)
    if a.table_id == b.table_id and ids_a and ids_b:
        by_id = {number: name for name, number in ids_a.items()}
        pairs: list[_Pair] = [(by_id.get(ids_b[name]), name) for name in b.table_schema.names]
    else:
        pairs = [(name if name in names_a else None, name) for name in b.table_schema.names]
    matched = {of_a for of_a, _ in pairs}
    return pairs + [(name, None) for name in names_a if name not in matched]


def _field_ids(snapshot: Snapshot) -> dict[str, int]:
    """Column → its id by column mapping; empty where not every column has one."""
    fields = json.loads(snapshot.schema_json)["fields"]
    found = {f["name"]: (f.get("metadata") or {}).get("delta.columnMapping.id") for f in fields}
    known = {name: number for name, number in found.items() if number is not None}
    return known if len(known) == len(found) else {}


def _named(names: Sequence[str], pairs: Sequence[_Pair], what: str) -> list[_Pair]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise InvalidInput(f"{what} must be a list of column names, not {names!r}")
    if len(set(names)) < len(names):
        raise InvalidInput(f"{what} {list(names)} names a column twice")
    found = []
    for name in names:
        # The name that B has goes first: a table may have a column of the name that another had before.
        options = [pair for pair in pairs if pair[1] == name] or [pair for pair in pairs if pair[0] == name]
        if not options:
            there = ", ".join(str(of_b or of_a) for of_a, of_b in pairs)
            raise InvalidInput(f"{what} names {name!r}, which neither side has; their columns are {there}")
        found.append(options[0])
    return found


def _not_chosen(a: Snapshot, b: Snapshot, of_a: str, of_b: str, by_a: bool) -> SchemaChange:
    before = str(a.table_schema.field(of_a).type) if by_a else None
    after = None if by_a else str(b.table_schema.field(of_b).type)
    return SchemaChange(of_b, "not chosen", before, after)


def _changes(a: Snapshot, b: Snapshot, pair: _Pair) -> list[SchemaChange]:
    of_a, of_b = pair
    if of_a is None:
        assert of_b is not None
        return [SchemaChange(of_b, "added", None, str(b.table_schema.field(of_b).type))]
    if of_b is None:
        return [SchemaChange(of_a, "removed", str(a.table_schema.field(of_a).type), None)]
    before, after = a.table_schema.field(of_a), b.table_schema.field(of_b)
    found = []
    if of_a != of_b:
        found.append(SchemaChange(of_b, "renamed", of_a, of_b))
    if before.type != after.type:
        found.append(SchemaChange(of_b, "type", str(before.type), str(after.type)))
    if before.nullable != after.nullable:
        words = {True: "nullable", False: "not null"}
        found.append(SchemaChange(of_b, "nullability", words[before.nullable], words[after.nullable]))
    return found


def _column(a: Snapshot, b: Snapshot, pair: _Pair) -> Column:
    import pyarrow as pa

    of_a, of_b = pair
    kinds = [s.table_schema.field(n).type for s, n in ((a, of_a), (b, of_b)) if n is not None]
    kind = common(kinds[0], kinds[-1])
    name = str(of_b or of_a)
    if kind is None:
        return Column(name, of_a, of_b, pa.string(), as_text=True)
    checked = pa.types.is_floating(kind) and pa.types.is_int64(kinds[0]) != pa.types.is_int64(kinds[-1])
    return Column(name, of_a, of_b, _nullable(kind), checked)


def _nullable(kind: Any) -> "pa.DataType":
    """The type, with nulls allowed everywhere: what is pinned as never null may be absent on the other side."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _nullable(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(pa.field("element", _nullable(kind.value_type)))
    if pa.types.is_map(kind):
        return pa.map_(_nullable(kind.key_type), _nullable(kind.item_type))
    return kind


def common(one: "pa.DataType", other: "pa.DataType") -> "pa.DataType | None":
    """The least type that holds every value of both exactly; None if there is none.

    int64 and floating numbers give double, since whole numbers beyond 2^53 are rare: they are refused when met.
    """
    import pyarrow as pa

    t: Any = pa.types
    if t.is_null(one) or t.is_null(other):
        kind = other if t.is_null(one) else one
        return pa.string() if t.is_null(kind) else kind
    if one == other:
        return one
    numbers = [t.is_integer(kind) or t.is_floating(kind) for kind in (one, other)]
    if all(numbers):
        return _number(one, other)
    if all(t.is_decimal(kind) or t.is_integer(kind) for kind in (one, other)):
        return _decimal(one, other)
    if {str(one), str(other)} == {"date32[day]", "timestamp[us]"}:
        return pa.timestamp("us")
    return _nested(one, other)


def _number(one: Any, other: Any) -> "pa.DataType":
    import pyarrow as pa

    if pa.types.is_integer(one) and pa.types.is_integer(other):
        return max(one, other, key=lambda kind: kind.bit_width)
    return pa.float64()


#: Digits of whole numbers, by their bits.
_DIGITS = {8: 3, 16: 5, 32: 10, 64: 19}


def _decimal(one: Any, other: Any) -> "pa.DataType | None":
    import pyarrow as pa

    def parts(kind: Any) -> tuple[int, int]:
        if pa.types.is_integer(kind):
            return _DIGITS[kind.bit_width], 0
        return kind.precision - kind.scale, kind.scale

    whole, scale = (max(pair) for pair in zip(parts(one), parts(other), strict=True))
    return pa.decimal128(whole + scale, scale) if whole + scale <= 38 else None


def _nested(one: Any, other: Any) -> "pa.DataType | None":
    """Structs by name, where a field that one lacks counts as null; lists and maps by what they hold."""
    import pyarrow as pa

    t: Any = pa.types
    if t.is_list(one) and t.is_list(other):
        return _holding(lambda kind: pa.list_(pa.field("element", kind)), (one.value_type, other.value_type))
    if t.is_map(one) and t.is_map(other):
        if one.key_type != other.key_type:
            return None
        return _holding(lambda kind: pa.map_(one.key_type, kind), (one.item_type, other.item_type))
    if not (t.is_struct(one) and t.is_struct(other)):
        return None
    fields = {f.name: f.type for f in one}
    for field in other:
        known = fields.get(field.name)
        kind = field.type if known is None else _exact(known, field.type)
        if kind is None:
            return None
        fields[field.name] = kind
    return pa.struct(list(fields.items()))


def _holding(make: Any, kinds: tuple[Any, Any]) -> "pa.DataType | None":
    kind = _exact(*kinds)
    return None if kind is None else make(kind)


def _exact(one: "pa.DataType", other: "pa.DataType") -> "pa.DataType | None":
    """As :func:`common`, but nothing that must be checked: inside of a value nobody looks."""
    import pyarrow as pa

    kind = common(one, other)
    longs = [pa.types.is_int64(one), pa.types.is_int64(other)]
    return None if kind is not None and pa.types.is_floating(kind) and any(longs) else kind
