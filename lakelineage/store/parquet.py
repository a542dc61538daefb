"""How data files of the lake's own tables are written."""

from typing import TYPE_CHECKING

from lakelineage.tables import Table

if TYPE_CHECKING:
    from deltalake import WriterProperties

#: Numbers that mostly count up: differences take a third of the room that they take as they are (decisions/008).
_COUNTED = ("int64", "timestamp")


def writer_properties(table: Table) -> "WriterProperties":
    """Compression, row groups and encodings of a table's files. Every engine reads them."""
    from deltalake import ColumnProperties, WriterProperties

    counted = ColumnProperties(dictionary_enabled=False, encoding="DELTA_BINARY_PACKED")
    measured = ColumnProperties(dictionary_enabled=False)
    columns = {column.name: counted for column in table.all_columns if column.type in _COUNTED}
    columns |= {column.name: measured for column in table.all_columns if column.type == "double"}
    return WriterProperties(compression="ZSTD", max_row_group_size=131_072, column_properties=columns)
