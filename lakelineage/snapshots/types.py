"""Types: Delta schemas as Arrow, partition values as Arrow, and what Arrow has that Delta has not."""

import datetime as dt
import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput

if TYPE_CHECKING:
    import pyarrow as pa

_DECIMAL = re.compile(r"^decimal\((\d+),\s*(\d+)\)$")


def arrow_schema(schema_json: str) -> "pa.Schema":
    """The Arrow schema of a Delta schema.

    Source: Delta transaction log protocol, "Schema Serialization Format".

    Raises:
        InvalidInput: a type that this version cannot read, by name.
    """
    import pyarrow as pa

    return pa.schema([_field(field) for field in json.loads(schema_json)["fields"]])


def _field(field: Mapping[str, Any]) -> "pa.Field":
    import pyarrow as pa

    return pa.field(field["name"], arrow_type(field["type"], field["name"]), nullable=field["nullable"])


def arrow_type(kind: Any, column: str) -> "pa.DataType":
    """The Arrow type of a Delta type as a schema has it.

    Raises:
        InvalidInput: a type that this version cannot read, with the column.
    """
    import pyarrow as pa

    if isinstance(kind, str):
        return _primitive(kind, column)
    if kind["type"] == "struct":
        return pa.struct([_field(field) for field in kind["fields"]])
    if kind["type"] == "array":
        element = arrow_type(kind["elementType"], column)
        return pa.list_(pa.field("element", element, nullable=kind["containsNull"]))
    if kind["type"] == "map":
        value = pa.field("value", arrow_type(kind["valueType"], column), nullable=kind["valueContainsNull"])
        return pa.map_(arrow_type(kind["keyType"], column), value)
    raise InvalidInput(f"column {column!r} has the Delta type {kind!r}, which lakelineage cannot read")


def _primitive(kind: str, column: str) -> "pa.DataType":
    import pyarrow as pa

    types: dict[str, pa.DataType] = {
        "string": pa.string(),
        "long": pa.int64(),
        "integer": pa.int32(),
        "short": pa.int16(),
        "byte": pa.int8(),
        "float": pa.float32(),
        "double": pa.float64(),
        "boolean": pa.bool_(),
        "binary": pa.binary(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", "UTC"),
        "timestamp_ntz": pa.timestamp("us"),
        "void": pa.null(),
    }
    decimal = _DECIMAL.match(kind)
    if decimal:
        return pa.decimal128(int(decimal[1]), int(decimal[2]))
    if kind not in types:
        raise InvalidInput(f"column {column!r} has the Delta type {kind!r}, which lakelineage cannot read")
    return types[kind]


#: What tables ask of their readers, and what this version does or need not do.
_READABLE = {"columnMapping", "deletionVectors", "timestampNtz", "typeWidening", "typeWidening-preview"}
_OF_THE_LOG = {"v2Checkpoint", "vacuumProtocolCheck"}


def hindrance(features: Iterable[str]) -> str | None:
    """The table features that keep a version from being read faithfully, as words; None if there is none.

    Args:
        features: reader features of the table's protocol.
    """
    unknown = sorted(set(features) - _READABLE - _OF_THE_LOG)
    if not unknown:
        return None
    named = ", ".join(unknown)
    return f"{named}, which lakelineage cannot read; copy it to a table without {named}, then pin that"


def partition_scalar(text: str | None, kind: "pa.DataType", column: str) -> "pa.Scalar":
    """A partition value as Arrow. The empty string is a value of string columns and null elsewhere.

    Source: Delta transaction log protocol, "Partition Value Serialization".

    Raises:
        InvalidInput: a type whose values cannot be restored (binary), or a value that is not of its type.
    """
    import pyarrow as pa

    if pa.types.is_string(kind):
        return pa.scalar(text, kind)
    if text is None or text == "":
        return pa.scalar(None, kind)
    try:
        return pa.scalar(_value(text, kind), kind)
    except (ValueError, ArithmeticError, KeyError) as error:
        raise InvalidInput(f"partition column {column!r} ({kind}) has the value {text!r}: {error}") from error


def _value(text: str, kind: "pa.DataType") -> Any:
    import pyarrow as pa

    if pa.types.is_boolean(kind):
        return {"true": True, "false": False}[text.lower()]
    if pa.types.is_integer(kind):
        return int(text)
    if pa.types.is_floating(kind):
        return float(text)
    if pa.types.is_decimal(kind):
        return Decimal(text)
    if pa.types.is_date(kind):
        return dt.date.fromisoformat(text)
    if pa.types.is_timestamp(kind):
        moment = dt.datetime.fromisoformat(text)
        return moment.replace(tzinfo=dt.UTC) if kind.tz and moment.tzinfo is None else moment
    raise ValueError("partition values of this type cannot be restored")


def storable(schema: "pa.Schema") -> "pa.Schema":
    """The schema that data takes in a managed table; :data:`RULES` says which type becomes which.

    Raises:
        InvalidInput: no columns, two columns of one name (letter case aside), or a type that Delta has not.
    """
    import pyarrow as pa

    if not schema.names:
        raise InvalidInput("the data has no columns; there is nothing to pin")
    seen: dict[str, str] = {}
    for name in schema.names:
        if name.lower() in seen:
            raise InvalidInput(f"columns {seen[name.lower()]!r} and {name!r} differ in letter case only; rename one")
        seen[name.lower()] = name
    return pa.schema([pa.field(f.name, _storable(f.type, f.name), nullable=True) for f in schema])


#: Arrow type → type in a managed table. What is not listed stays as it is; casts never lose a value silently.
RULES = """
null                                → string (all null)
dictionary (categorical)            → its values
large and view strings, and binary  → string, binary;  fixed-size binary → binary
uint8, uint16, uint32, uint64       → int16, int32, int64, int64 (a uint64 beyond int64 is refused)
float16                             → float32
date64                              → date32
timestamp of any unit               → µs (nanoseconds that are not whole µs are refused); a zone becomes UTC
decimal of at most 38 digits        → decimal128
large, view and fixed-size lists    → list
run-end encoded, extension          → values, storage
time, duration, interval, union, decimal of more than 38 digits: refused
"""


def _storable(kind: "pa.DataType", column: str) -> "pa.DataType":
    import pyarrow as pa

    t: Any = pa.types
    data: Any = kind
    if t.is_dictionary(kind) or t.is_run_end_encoded(kind):
        return _storable(data.value_type, column)
    if isinstance(kind, pa.BaseExtensionType):
        return _storable(data.storage_type, column)
    if t.is_map(kind):
        return pa.map_(_storable(data.key_type, column), _storable(data.item_type, column))
    if t.is_struct(kind):
        return pa.struct([pa.field(f.name, _storable(f.type, f"{column}.{f.name}")) for f in data])
    if t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind) or t.is_list_view(kind):
        return pa.list_(pa.field("element", _storable(data.value_type, column)))
    return _storable_leaf(kind, column)


def _storable_leaf(kind: "pa.DataType", column: str) -> "pa.DataType":
    import pyarrow as pa

    t: Any = pa.types
    data: Any = kind
    if t.is_null(kind) or t.is_large_string(kind) or t.is_string_view(kind):
        return pa.string()
    if t.is_large_binary(kind) or t.is_binary_view(kind) or t.is_fixed_size_binary(kind):
        return pa.binary()
    if t.is_unsigned_integer(kind):
        return {8: pa.int16(), 16: pa.int32()}.get(data.bit_width, pa.int64())
    if t.is_float16(kind):
        return pa.float32()
    if t.is_date64(kind):
        return pa.date32()
    if t.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if data.tz else None)
    if t.is_decimal(kind) and data.precision <= 38 and 0 <= data.scale <= data.precision:
        return pa.decimal128(data.precision, data.scale)
    kept = (t.is_string, t.is_binary, t.is_boolean, t.is_signed_integer, t.is_float32, t.is_float64, t.is_date32)
    if any(is_kind(kind) for is_kind in kept):
        return kind
    raise InvalidInput(
        f"column {column!r} has the type {kind}, which Delta tables do not have; convert it first (a duration to a "
        "number of seconds, a time of day to text)"
    )


def cast(batch: "pa.RecordBatch", schema: "pa.Schema") -> "pa.RecordBatch":
    """The batch with the types of ``storable``.

    Raises:
        InvalidInput: a value that has no exact counterpart, with its column.
    """
    import pyarrow as pa

    arrays = []
    for field, array in zip(schema, batch.columns, strict=True):
        try:
            arrays.append(_cast(array, field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InvalidInput(
                f"column {field.name!r} ({array.type}) does not fit {field.type} without loss: {error}; "
                "convert it yourself, rounding as you see fit"
            ) from error
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _cast(array: Any, kind: "pa.DataType") -> "pa.Array":
    import pyarrow as pa

    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_run_end_encoded(array.type):
        import pyarrow.compute as pc

        array = pc.run_end_decode(array)
    return array if array.type == kind else array.cast(kind)
