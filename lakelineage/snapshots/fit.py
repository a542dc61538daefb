"""Arrays as a file stores them → arrays of the pinned version: names, fields that came later, widened types.

Nothing is approximated: a stored type that has no exact counterpart is an error.
Source: Delta transaction log protocol, "Type Widening" and "Parquet".
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput
from lakelineage.snapshots.columns import Column

if TYPE_CHECKING:
    import pyarrow as pa


def fits(stored: "pa.DataType", column: Column) -> bool:
    """Whether a stored type is the pinned one already, with all its names; spellings of texts and lists aside."""
    import pyarrow as pa

    t: Any = pa.types
    data: Any = stored
    if not column.parts:
        return bool(_plain(stored) == column.kind)
    if t.is_struct(stored) and t.is_struct(column.kind):
        fields = list(data)
        same = [field.name for field in fields] == [part.name for part in column.parts]
        in_place = same and [part.find(fields) for part in column.parts] == list(range(len(fields)))
        return in_place and all(fits(field.type, part) for field, part in zip(fields, column.parts, strict=True))
    if t.is_map(stored) and t.is_map(column.kind):
        return fits(data.key_type, column.parts[0]) and fits(data.item_type, column.parts[1])
    return bool(t.is_list(stored) and t.is_list(column.kind) and fits(data.value_type, column.parts[0]))


def _plain(kind: "pa.DataType") -> "pa.DataType":
    import pyarrow as pa

    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    return pa.binary() if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) else kind


def fit(array: Any, column: Column) -> "pa.Array":
    """One array (or chunked array) of a file as the pinned version has it.

    Raises:
        InvalidInput: its type or a value of it has no exact counterpart.
    """
    import pyarrow as pa

    if array.type == column.kind and fits(array.type, column):
        return array
    if isinstance(array, pa.ChunkedArray):
        return pa.chunked_array([fit(chunk, column) for chunk in array.chunks], column.kind)
    t: Any = pa.types
    if not column.parts:
        return _leaf(array, column)
    if t.is_struct(array.type) and t.is_struct(column.kind):
        return _struct(array, column)
    if t.is_map(array.type) and t.is_map(column.kind):
        key, value = column.parts
        pairs: Any = pa.StructArray.from_arrays(
            [fit(array.keys, key), fit(array.items, value)], fields=[column.kind.key_field, column.kind.item_field]
        )
        return _with_offsets(array, column.kind, pairs)
    is_list = t.is_list(array.type) or t.is_large_list(array.type)
    if is_list and t.is_list(column.kind):
        plain = array if t.is_list(array.type) else array.cast(pa.list_(array.type.value_field))
        return _with_offsets(plain, column.kind, fit(plain.values, column.parts[0]))
    raise _misfit(array.type, column)


def _struct(array: Any, column: Column) -> "pa.Array":
    import pyarrow as pa
    import pyarrow.compute as pc

    fields = list(array.type)
    children = [_child(array, fields, part) for part in column.parts]
    mask = pc.is_null(array) if array.null_count else None
    if not children:
        return array.cast(column.kind)
    return pa.StructArray.from_arrays(children, fields=list(column.kind), mask=mask)


def _child(array: Any, fields: Sequence["pa.Field"], part: Column) -> "pa.Array":
    import pyarrow as pa

    at = part.find(fields)
    return pa.nulls(len(array), part.kind) if at is None else fit(array.field(at), part)


def _with_offsets(array: Any, kind: "pa.DataType", values: "pa.Array") -> "pa.Array":
    """A list or map with other values; which are whose is told by the same buffers."""
    import pyarrow as pa

    buffers = array.buffers()[:2]
    return pa.Array.from_buffers(kind, len(array), buffers, array.null_count, array.offset, [values])


def _leaf(array: Any, column: Column) -> "pa.Array":
    import pyarrow as pa

    if not _exact(array.type, column.kind):
        raise _misfit(array.type, column)
    try:
        return array.cast(column.kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InvalidInput(f"column {column.name!r} ({array.type}) does not fit {column.kind}: {error}") from error


def _misfit(stored: "pa.DataType", column: Column) -> InvalidInput:
    return InvalidInput(
        f"column {column.name!r} is stored as {stored} in a file of the table, which is no {column.kind} without "
        "approximation; rewrite the table with its own engine, then pin it again"
    )


def _exact(stored: Any, kind: Any) -> bool:
    """Whether a cast keeps every value or fails."""
    import pyarrow as pa

    t: Any = pa.types
    if t.is_dictionary(stored):
        return _exact(stored.value_type, kind)
    if t.is_null(stored) or _plain(stored) == kind:
        return True
    if t.is_integer(stored):
        return bool(t.is_integer(kind) or t.is_decimal(kind) or (t.is_float64(kind) and stored.bit_width <= 32))
    if t.is_date32(stored):
        return bool(t.is_timestamp(kind) and kind.tz is None)
    if t.is_timestamp(stored) and t.is_timestamp(kind):
        return stored.tz is None or kind.tz is not None  # Spark's INT96 has no zone, and is UTC
    if t.is_binary(stored) or t.is_large_binary(stored) or t.is_fixed_size_binary(stored):
        return bool(t.is_string(kind) or t.is_binary(kind))
    return bool((t.is_float32(stored) and t.is_float64(kind)) or (t.is_decimal(stored) and t.is_decimal(kind)))
