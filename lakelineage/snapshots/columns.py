"""Columns of a pinned version, and under which names and ids its files store them.

Source: Delta transaction log protocol, "Schema Serialization Format" and "Reader Requirements for Column Mapping".
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput
from lakelineage.snapshots import types

if TYPE_CHECKING:
    import pyarrow as pa

_NAME = "delta.columnMapping.physicalName"
_ID = "delta.columnMapping.id"


@dataclass(frozen=True)
class Column:
    """A column, or a part of a nested one.

    Attributes:
        name: in the pinned version.
        kind: type in the pinned version.
        stored: name in the files.
        field_id: id in the files, if the version's columns are found by id.
        parts: fields of a struct, the element of a list, key and value of a map.
    """

    name: str
    kind: "pa.DataType"
    stored: str
    field_id: int | None = None
    parts: tuple["Column", ...] = ()

    def find(self, fields: Sequence["pa.Field"]) -> int | None:
        """Which of a file's fields is this one; None: the file is older than the column.

        Raises:
            InvalidInput: the column is to be found by its id, and the file's fields have none.
        """
        if self.field_id is None:
            return next((at for at, field in enumerate(fields) if field.name == self.stored), None)
        ids = [_id_of(field) for field in fields]
        if ids and not any(ids):
            raise InvalidInput(
                f"column {self.name!r} is stored by id (delta.columnMapping.mode is 'id'), and a file of the table has "
                "no ids; rewrite the table with REORG TABLE … APPLY (PURGE), then pin it again"
            )
        return ids.index(str(self.field_id)) if str(self.field_id) in ids else None


def _id_of(field: "pa.Field") -> str | None:
    found = (field.metadata or {}).get(b"PARQUET:field_id")
    return None if found is None else found.decode()


def of(schema_json: str, mapping: str | None) -> tuple[Column, ...]:
    """The columns of a Delta schema.

    Args:
        schema_json: as the log has it.
        mapping: ``name`` or ``id``; None: files name columns as the schema does. Lakes of older formats did not note
            it; then names are taken where the schema has them, which files of both modes are written with.

    Raises:
        InvalidInput: a type that this version cannot read, by name.
    """
    return _of(json.loads(schema_json)["fields"], mapping)


def _of(fields: Iterable[Mapping[str, Any]], mapping: str | None) -> tuple[Column, ...]:
    return tuple(_column(field, mapping) for field in fields)


def _column(field: Mapping[str, Any], mapping: str | None) -> Column:
    name, metadata = field["name"], field.get("metadata") or {}
    field_id = metadata.get(_ID) if mapping == "id" else None
    kind = types.arrow_type(field["type"], name)
    return Column(name, kind, metadata.get(_NAME, name), field_id, _parts(field["type"], name, mapping))


def _parts(kind: Any, name: str, mapping: str | None) -> tuple[Column, ...]:
    if isinstance(kind, str):
        return ()
    if kind["type"] == "struct":
        return _of(kind["fields"], mapping)
    inner = [kind["elementType"]] if kind["type"] == "array" else [kind["keyType"], kind["valueType"]]
    return tuple(Column(name, types.arrow_type(one, name), name, None, _parts(one, name, mapping)) for one in inner)
