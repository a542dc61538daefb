"""A version of a Delta table that nobody pinned, read as pins are: it is there as long as its owner keeps it."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakelineage.errors import InvalidInput
from lakelineage.snapshots import engines, places, predicate, reader, records, types
from lakelineage.snapshots.places import PinnedFile
from lakelineage.snapshots.snapshot import check_columns
from lakelineage.store import source
from lakelineage.store.root import Root
from lakelineage.store.source import Options, TableVersion

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa


def find(
    uri: str, storage_options: Options = None, version: int | None = None, as_of: dt.datetime | str | None = None
) -> "Unpinned":
    """Find a version of a Delta table; the newest if neither ``version`` nor ``as_of`` is given.

    Raises:
        TableNotFound, VersionNotFound: there is none.
        InvalidInput: both were given, or cannot be understood.
    """
    return Unpinned(source.resolve(uri, storage_options, version=version, as_of=as_of))


@dataclass(frozen=True)
class Unpinned:
    """A version of a Delta table.

    Attributes:
        table: it, with its files.
    """

    table: TableVersion

    def to_arrow(self, columns: Sequence[str] | None = None, where: str | None = None) -> "pa.Table":
        """The rows as one Arrow table.

        Args:
            columns: names; default all.
            where: SQL condition; default all rows.

        Raises:
            SnapshotLost: files are gone.
            InvalidInput: no such column, a condition that cannot be understood, or a table feature that this version
                cannot read faithfully.
        """
        rows, chosen, condition = self._asked(columns, where)
        return rows.table(chosen, condition)

    def to_polars(self, columns: Sequence[str] | None = None, where: str | None = None) -> "pl.DataFrame":
        """The rows as a Polars frame. Arguments and errors as in :meth:`to_arrow`."""
        return engines.polars_frame(*self._asked(columns, where))

    def to_pandas(self, columns: Sequence[str] | None = None, where: str | None = None) -> "pd.DataFrame":
        """The rows as a pandas frame. Arguments and errors as in :meth:`to_arrow`."""
        return self.to_arrow(columns, where).to_pandas()

    def _asked(
        self, columns: Sequence[str] | None, where: str | None
    ) -> tuple[reader.Rows, list[str], predicate.Predicate | None]:
        table = self.table
        blocked = types.hindrance(table.reader_features)
        if blocked is not None:
            raise InvalidInput(f"version {table.version} of {table.uri} uses {blocked}")
        schema = types.arrow_schema(table.schema_json)
        chosen = schema.names if columns is None else list(check_columns(columns, schema))
        condition = None if where is None else predicate.parse(where, schema)
        files = tuple(map(PinnedFile, table.files))
        pinned = places.Pinned(
            records.snapshot_id(table), table.uri, table.table_id, table.version, files, table.storage_options
        )
        # Nothing of it is kept in a lake: the root only says where its own files are.
        root = Root(table.uri, table.storage_options)
        return reader.rows(root, pinned, table.schema_json, table.column_mapping), chosen, condition
