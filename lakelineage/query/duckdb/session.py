"""One DuckDB connection, in memory, and what can go wrong with a statement."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidQuery, LakeDamaged, StorageFailed
from lakelineage.tables import BY_NAME, Table
from lakelineage.tables.declare import TypeName

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

Params = Sequence[Any] | Mapping[str, Any]

#: Schema for what is not for users: parts of views, and rows that they rest on.
INTERNAL = "internal"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOW_TABLES = re.compile(r"\s*show\s+(all\s+)?tables\s*;?\s*", re.IGNORECASE)
_TYPES: dict[TypeName, str] = {
    "string": "VARCHAR",
    "int64": "BIGINT",
    "double": "DOUBLE",
    "bool": "BOOLEAN",
    "timestamp": "TIMESTAMPTZ",
    "strings": "VARCHAR[]",
    "text_map": "MAP(VARCHAR, VARCHAR)",
    "number_map": "MAP(VARCHAR, DOUBLE)",
    "integer_map": "MAP(VARCHAR, BIGINT)",
}


class Moved(Exception):
    """Maintenance removed a file, or published anew, between two looks of one read."""


def declaration(table: Table) -> str:
    """Columns of a table as in ``CREATE TABLE``."""
    return ", ".join(f'"{column.name}" {_TYPES[column.type]}' for column in table.all_columns)


def text(value: str) -> str:
    """A string literal."""
    return "'" + value.replace("'", "''") + "'"


def parquet(paths: Iterable[str]) -> str:
    """The rows of Parquet files, as a relation. Columns that a file lacks are those of other files, as null."""
    listed = ", ".join(map(text, paths))
    return f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"


def _value(kind: TypeName, value: Any) -> Any:
    return _EPOCH + timedelta(microseconds=value) if kind == "timestamp" and value is not None else value


def values(table: Table, row: "pa.Table") -> dict[str, Any]:
    """A single row of Arrow as :meth:`Session.row` tells it."""
    import pyarrow as pa

    found: dict[str, Any] = {}
    for column in table.columns:
        if column.name in row.column_names:
            cells = row.column(column.name)
            if column.type == "timestamp":
                found[column.name] = _value(column.type, cells.cast(pa.int64())[0].as_py())
            elif column.type.endswith("_map"):
                found[column.name] = dict(cells[0].as_py() or ())
            else:
                found[column.name] = cells[0].as_py()
    return found


class Session:
    """A connection with views that are made when their SQL changes. Not safe to share between threads."""

    def __init__(self) -> None:
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._defined: dict[str, str] = {}

    def connect(self) -> "duckdb.DuckDBPyConnection":
        """The connection; made when first asked for."""
        if self._connection is None:
            import duckdb

            options: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
            self._connection = duckdb.connect(":memory:", config=options)
            self._connection.execute("SET TimeZone = 'UTC'")
            self._connection.execute("SET parquet_metadata_cache = true")  # data files never change
            self._connection.execute(f"CREATE SCHEMA {INTERNAL}")
        return self._connection

    def question(self, sql: str) -> str:
        """The statement to run for what a user asks.

        Only questions are answered: anything else could change the views that later answers rest on.

        Raises:
            InvalidQuery: no statement, several, or one that writes or sets something.
        """
        import duckdb

        if _SHOW_TABLES.fullmatch(sql):  # DuckDB would list our own parts besides
            return f"SELECT unnest([{', '.join(map(text, sorted(BY_NAME)))}]) AS name"
        try:
            statements = self.connect().extract_statements(sql)
        except duckdb.Error as error:
            raise InvalidQuery(f"SQL: {error}") from error
        allowed = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.MULTI)  # PIVOT
        if len(statements) != 1 or statements[0].type not in allowed:
            raise InvalidQuery(
                f"SQL: one SELECT (or SHOW, DESCRIBE, EXPLAIN, PIVOT) at a time, not {sql[:80]!r}; to make tables or "
                "files of an answer, take it to a DuckDB connection of yours, to Polars or to pandas"
            )
        return sql

    def run(self, sql: str, params: Params = ()) -> "pa.Table":
        """The answer to one statement.

        Raises:
            InvalidQuery: it is wrong; the message is DuckDB's.
            Moved: a file that a view rests on is gone.
        """
        import duckdb

        given: Any = params if isinstance(params, Mapping) else list(params)
        try:
            result: Any = self.connect().sql(sql, params=given) if given else self.connect().sql(sql)
            rows: pa.Table = result.to_arrow_table()
            return rows
        except duckdb.IOException as error:
            if "No files found" in str(error) or "No such file" in str(error):
                raise Moved from error
            raise InvalidQuery(f"SQL: {error}") from error
        except duckdb.Error as error:
            raise InvalidQuery(f"SQL: {error}") from error

    def row(self, table: Table, relations: Iterable[str], key: str, columns: Sequence[str]) -> dict[str, Any] | None:
        """Columns of the row with a key, from relations with those of a table: → value of Python, times in UTC.

        By way of tuples, which for a single row take two thirds of the time that Arrow takes.

        Raises:
            Moved: a file that a relation rests on is gone.
        """
        wanted = [column for column in table.columns if column.name in columns]
        told = ", ".join(f"epoch_us({c.name})" if c.type == "timestamp" else f'"{c.name}"' for c in wanted)
        scans = (f"SELECT {told} FROM {relation} WHERE {table.key[0]} = $1" for relation in relations)
        self.execute(" UNION ALL ".join(scans), [key])
        found = self.connect().fetchall()
        if not found:
            return None
        return {c.name: _value(c.type, value) for c, value in zip(wanted, found[0], strict=True)}

    def execute(self, sql: str, params: Sequence[Any] = ()) -> None:
        """Run a statement of our own.

        Raises:
            Moved: a file that it reads is gone.
            LakeDamaged: a file that it reads is not what was written.
            StorageFailed: memory or disk do not do.
        """
        import duckdb

        try:
            self.connect().execute(sql, list(params))
        except duckdb.IOException as error:
            raise Moved from error
        except duckdb.InvalidInputException as error:
            raise LakeDamaged(f"a data file cannot be read ({error}); `lakelineage doctor` tells which") from error
        except duckdb.Error as error:
            raise StorageFailed(f"reading the lake failed: {error}") from error

    def define(self, name: str, sql: str) -> None:
        """Make a view, unless it is there as asked for: binding one opens its files."""
        if self._defined.get(name) != sql:
            self.execute(f"CREATE OR REPLACE VIEW {name} AS {sql}")
            self._defined[name] = sql

    def register(self, name: str, rows: "pa.Table") -> None:
        """Give Arrow rows a name."""
        self.connect().register(name, rows)

    def forget(self) -> None:
        """Make every view anew when it is next asked for."""
        self._defined.clear()

    def close(self) -> None:
        """Let go of all memory."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._defined.clear()
