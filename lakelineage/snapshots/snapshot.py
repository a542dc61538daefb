"""A pinned version of a table, and its rows in every form."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput, SnapshotLost
from lakelineage.model import ids
from lakelineage.snapshots import engines, folders, places, reader, types
from lakelineage.snapshots import predicate as predicates
from lakelineage.snapshots.engines import BATCH_ROWS
from lakelineage.snapshots.folders.verbs import FolderVerbs
from lakelineage.store import forks
from lakelineage.store.batches import rebatched
from lakelineage.store.source import Options, is_local

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from pyspark.sql import SparkSession

    from lakelineage.engine import Reads


@dataclass(frozen=True, repr=False)
class Snapshot(FolderVerbs):
    """A pinned version of a table. It stays what it is, whatever becomes of the table.

    Reading finds each file at its original place, if what is there is what was pinned, or in the lake's archive, and
    checks the number of rows. ``columns=`` and ``where=`` of each method take the place of those of the pin.

    Attributes:
        id: hash of table id, schema and list of files.
        table_uri: where the table was when it was pinned.
        table_id: id in the table's metadata.
        version: Delta version.
        committed_at: when that version was committed, µs since 1970 UTC; None if the log did not tell.
        num_rows: rows of the version, before ``where``; None if the log did not tell.
        num_files: files; of a folder, those in it.
        bytes: size of all files; of a folder, of those in it.
        name: what the run calls it; None outside a run, unless given.
        protection: ``reference`` (survives log clean-up), ``protected`` (and, until its pin ends, every engine's VACUUM
            that goes by the table's properties) or ``archived`` (survives anything).
        columns: columns chosen at the pin, None for all.
        where: rows chosen at the pin, as a SQL condition, None for all.
        context: training, validation, …; None outside a run.
        origin: file or folder that was converted to Delta, if it was one.
        kind: ``table``, or ``folder``: its rows are a manifest of files.
        reader_features: what the table's protocol asks of readers.
        column_mapping: how the table's files name columns: ``name`` or ``id``; None: as the schema does.
    """

    id: str
    table_uri: str
    table_id: str
    version: int
    committed_at: int | None
    num_rows: int | None
    num_files: int
    bytes: int
    protection: str
    name: str | None = None
    columns: tuple[str, ...] | None = None
    where: str | None = None
    context: str | None = None
    origin: str | None = None
    schema_json: str = ""
    partition_columns: tuple[str, ...] = ()
    kind: str = "table"
    reader_features: tuple[str, ...] = ()
    column_mapping: str | None = None
    _engine: "Reads | None" = field(default=None, compare=False)
    _files: tuple[places.PinnedFile, ...] | None = field(default=None, compare=False)
    _options: Options = field(default=None, compare=False)
    _contents: tuple[places.PinnedFile, ...] | None = field(default=None, compare=False)
    #: Read to find rows that are to be forgotten, whatever was forgotten before.
    _to_forget: bool = field(default=False, compare=False)

    def __repr__(self) -> str:
        rows = "" if self.num_rows is None else f", {self.num_rows:,} rows"
        chosen = "" if self.columns is None else f", columns {', '.join(self.columns)}"
        where = "" if self.where is None else f", where {self.where}"
        name = "" if self.name is None else f" {self.name!r}"
        if self.kind == folders.KIND:
            size = f"{self.num_files:,} files, {self.bytes:,} bytes"
            return f"<Snapshot{name} {self.origin}: {size}{where}, {self.protection}>"
        return f"<Snapshot{name} {self.table_uri}@{self.version}{rows}{chosen}{where}, {self.protection}>"

    def _repr_html_(self) -> str:
        from lakelineage.display import things

        return things.snapshot(self)

    @cached_property
    def table_schema(self) -> "pa.Schema":
        """Schema of the pinned version, all columns."""
        return types.arrow_schema(self.schema_json)

    @property
    def schema(self) -> "pa.Schema":
        """Schema of what is read: of the columns chosen."""
        return self._schema_of(self._chosen(None))

    @property
    def files(self) -> tuple[places.PinnedFile, ...]:
        """The pinned files, sorted by path."""
        if self._files is None:
            from lakelineage.snapshots import records

            object.__setattr__(self, "_files", records.files_of(self.lake, self.id))
        assert self._files is not None
        return self._files

    def pinned(self, files: "Sequence[places.PinnedFile] | None" = None) -> places.Pinned:
        """What is needed to find its files, or some of them."""
        chosen = self.files if files is None else tuple(files)
        return places.Pinned(self.id, self.table_uri, self.table_id, self.version, chosen, self._options)

    def to_arrow(
        self, columns: Sequence[str] | None = None, where: str | None = None, *, verify: bool = False
    ) -> "pa.Table":
        """The rows as one Arrow table with the types of the pinned version.

        Args:
            columns: instead of those of the pin.
            where: SQL condition, instead of that of the pin.
            verify: compare every byte with its checksum first, not only sizes, times and numbers of rows.

        Raises:
            SnapshotLost: files are gone or altered; ``missing`` lists them.
            SnapshotErased: rows of it were forgotten on purpose.
            InvalidInput: no such column, a condition that cannot be understood, a table feature that this version
                cannot read faithfully, or files without a checksum that were to be compared.
        """
        chosen = self._chosen(columns)
        return self._rows(verify).table(chosen, self._condition(where))

    def to_polars(
        self, columns: Sequence[str] | None = None, where: str | None = None, *, verify: bool = False
    ) -> "pl.DataFrame":
        """The rows as a Polars frame. Arguments and errors as in :meth:`to_arrow`."""
        chosen = self._chosen(columns)
        return engines.polars_frame(self._rows(verify), chosen, self._condition(where))

    def to_pandas(
        self, columns: Sequence[str] | None = None, where: str | None = None, *, verify: bool = False
    ) -> "pd.DataFrame":
        """The rows as a pandas frame. Arguments and errors as in :meth:`to_arrow`."""
        return self.to_arrow(columns, where, verify=verify).to_pandas()

    def scan(
        self, columns: Sequence[str] | None = None, where: str | None = None, *, verify: bool = False
    ) -> "pl.LazyFrame":
        """The rows as a Polars lazy frame: the files are found and checked now, and read when it is collected."""
        chosen = self._chosen(columns)
        return engines.polars_scan(self._rows(verify), chosen, self._condition(where))

    def to_batches(
        self,
        batch_size: int = BATCH_ROWS,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        *,
        verify: bool = False,
    ) -> "Iterator[pa.RecordBatch]":
        """The rows as Arrow batches of exactly ``batch_size`` rows (the last may be shorter), in bounded memory.

        Raises:
            InvalidInput: as in :meth:`to_arrow`, or ``batch_size`` is no positive integer.
            SnapshotLost: as in :meth:`to_arrow`; a file that vanishes while reading ends the stream with it.
        """
        if type(batch_size) is not int or batch_size < 1:
            raise InvalidInput(f"batch_size must be a positive integer, not {batch_size!r}")
        chosen = self._chosen(columns)
        condition = self._condition(where)
        stream = self._rows(verify).batches(chosen, condition, min(batch_size, BATCH_ROWS))
        return rebatched(stream, batch_size)

    def to_duckdb(
        self,
        con: Any,
        name: str | None = None,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        *,
        verify: bool = False,
    ) -> Any:
        """The rows as a relation on a DuckDB connection, and under a name if one is given.

        Without a condition DuckDB reads the files itself, when asked. With one, the rows chosen go to a temporary table
        of the connection first, so that they are the same ones as in every other form.

        Args:
            con: the user's connection.
            name: name to register, replacing a view or temporary table of that name.
            columns: instead of those of the pin.
            where: SQL condition, instead of that of the pin.
            verify: as in :meth:`to_arrow`.

        Returns:
            The relation (``duckdb.DuckDBPyRelation``).
        """
        chosen = self._chosen(columns)
        condition = self._condition(where)
        base = f"snapshot_{ids.digest([self.id, *chosen, condition.text if condition else ''])[:16]}"
        return engines.duckdb_relation(con, name, self._rows(verify), chosen, condition, base)

    def to_spark(
        self,
        spark: "SparkSession",
        columns: Sequence[str] | None = None,
        where: str | None = None,
        *,
        verify: bool = False,
    ) -> Any:
        """The rows as a Spark DataFrame, in no certain order.

        Without a condition Spark reads the files itself, when asked. With one, the rows chosen are read here and handed
        over, so that they are the same ones as in every other form; they must fit the driver's memory.

        Args:
            spark: the user's session.
            columns: instead of those of the pin.
            where: SQL condition, instead of that of the pin.
            verify: as in :meth:`to_arrow`.

        Returns:
            A ``pyspark.sql.DataFrame``.

        Raises:
            InvalidInput: as in :meth:`to_arrow`, or the table is on an object store.
            SnapshotLost: as in :meth:`to_arrow`.
        """
        if not is_local(self.table_uri):
            raise InvalidInput(f"to_spark does not reach object stores yet ({self.table_uri}); use to_arrow")
        chosen, condition = self._chosen(columns), self._condition(where)
        return engines.spark_frame(spark, self._rows(verify), self.schema_json, chosen, condition)

    def _chosen(self, columns: Sequence[str] | None) -> list[str]:
        self._check_features()
        given = self.columns if columns is None else columns
        return (
            self.table_schema.names
            if given is None
            else list(check_columns(given, self.table_schema, may_be_none=True))
        )

    def _condition(self, where: str | None) -> predicates.Predicate | None:
        text = self.where if where is None else where
        return None if text is None else predicates.parse(text, self.table_schema)

    def _schema_of(self, columns: Sequence[str]) -> "pa.Schema":
        import pyarrow as pa

        return pa.schema([self.table_schema.field(name) for name in columns])

    def _rows(self, verify: bool = False) -> reader.Rows:
        from lakelineage.snapshots import records

        if not self._to_forget:
            records.refuse_erased(self.lake, self)
        try:
            return self._found(verify)
        except SnapshotLost:
            if self._to_forget or not forks.usable():
                raise
            # Its files may have been archived, or their checksums taken, since this object was made.
            newest = records.files_of(self.lake, self.id)
            if not newest or newest == self.files:
                raise
            object.__setattr__(self, "_files", newest)
            return self._found(verify)

    def _found(self, verify: bool) -> reader.Rows:
        if verify:
            places.check_content(self.lake.root, self.pinned())
        return reader.rows(self.lake.root, self.pinned(), self.schema_json, self.column_mapping)

    def _check_features(self) -> None:
        blocked = types.hindrance(self.reader_features)
        if blocked is not None:
            raise InvalidInput(f"version {self.version} of {self.table_uri} is pinned, but it uses {blocked}")

    def check_files(self) -> None:
        """Look whether all its files are there, and by their footers have the rows that were pinned.

        Raises:
            SnapshotLost: files are gone or altered.
        """
        self._rows().check_files()

    @property
    def lake(self) -> "Reads":
        """The lake that it is pinned in.

        Raises:
            InvalidInput: it has none: it was not made by ``lake.snapshot`` or ``run.use``.
        """
        if self._engine is None:
            raise InvalidInput(f"snapshot {self.id} has no lake to be read from; get it with lake.snapshot or run.use")
        return self._engine


def check_columns(columns: Sequence[str], schema: "pa.Schema", *, may_be_none: bool = False) -> tuple[str, ...]:
    """The columns, if the schema has them all.

    Args:
        columns: names.
        schema: of the table.
        may_be_none: whether an empty list is fine: rows without columns, which can be counted.

    Raises:
        InvalidInput: not a list of names, empty, repeated or unknown.
    """
    if isinstance(columns, str) or not all(isinstance(name, str) for name in columns):
        raise InvalidInput(f"columns must be a list of column names, not {columns!r}")
    chosen = tuple(columns)
    unknown = [name for name in chosen if name not in schema.names]
    if unknown:
        raise InvalidInput(f"the table has no columns {unknown}; it has {schema.names}")
    if not (chosen or may_be_none) or len(set(chosen)) < len(chosen):
        raise InvalidInput(f"columns {list(chosen)} must name at least one column, and none twice")
    return chosen
