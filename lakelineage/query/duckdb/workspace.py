"""A DuckDB database of its own, for work that may be larger than memory: it spills to a temporary folder."""

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput, SnapshotLost, StorageFull
from lakelineage.query.duckdb.session import text

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

#: Memory of a workspace when nothing else is said; DuckDB knows the limits of a container.
MEMORY_LIMIT = "25%"
#: Rows of a batch that goes out.
BATCH_ROWS = 65_536
_REFUSED = "refused: "


class Workspace:
    """Tables in memory that spill. Not safe to share between threads.

    Args:
        memory_limit: as DuckDB takes it, such as ``"2GB"`` or ``"25%"``.

    Raises:
        InvalidInput: it is none.
    """

    def __init__(self, memory_limit: str = MEMORY_LIMIT) -> None:
        import duckdb

        if not isinstance(memory_limit, str):
            raise InvalidInput(f"memory_limit must be a text such as '2GB' or '25%', not {memory_limit!r}")
        # Not TemporaryDirectory: in a forked child that exits, its finalizer would remove the parent's folder.
        self._folder = tempfile.mkdtemp(prefix="lakelineage-work-")
        self._remove = weakref.finalize(self, _remove, self._folder, os.getpid())
        options: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
        self._database = duckdb.connect(":memory:", config=options)
        self._connection = self._database.cursor()
        try:
            self._database.execute("SET memory_limit = $1", [memory_limit])
        except duckdb.Error as error:
            self.close()
            raise InvalidInput(f"memory_limit {memory_limit!r} is no amount such as '2GB' or '25%': {error}") from error
        self._database.execute("SET temp_directory = $1", [self._folder])
        self._database.execute("SET preserve_insertion_order = false")
        self._database.execute("SET GLOBAL TimeZone = 'UTC'")

    @property
    def connection(self) -> "duckdb.DuckDBPyConnection":
        """To hand relations over to, until :meth:`let_go`."""
        return self._connection

    def type_names(self, schema: "pa.Schema") -> list[str]:
        """How DuckDB writes the types of a schema."""
        kinds: Any = self._connection.from_arrow(schema.empty_table()).types
        return [str(kind) for kind in kinds]

    def check_open(self) -> None:
        """Refuse what needs the workspace after it was closed.

        Raises:
            InvalidInput: it was.
        """
        if not self._remove.alive:
            raise InvalidInput("its rows were let go of by close(); use them before")

    def execute(self, sql: str) -> None:
        """Run a statement.

        Raises:
            SnapshotLost, StorageFull, InvalidInput: as :func:`failures` tells.
        """
        with failures():
            self._connection.execute(sql)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The answer to a question, whole. Errors as in :meth:`execute`."""
        with failures():
            return self._connection.execute(sql).fetchall()

    def stream(self, sql: str, schema: "pa.Schema") -> "pa.RecordBatchReader":
        """The answer to a question in batches, with the types of a schema. Several streams may be open at a time.

        Errors as in :meth:`execute`, also while batches are taken.
        """
        import pyarrow as pa

        with failures():
            reader = self._database.cursor().sql(sql).to_arrow_reader(BATCH_ROWS)
        return pa.RecordBatchReader.from_batches(schema, self._typed(reader, schema))

    def _typed(self, reader: "pa.RecordBatchReader", schema: "pa.Schema") -> "Iterator[pa.RecordBatch]":
        import pyarrow as pa

        # That the workspace is named here keeps its folder until the last batch.
        while True:
            self.check_open()
            with failures():
                batch = next(reader, None)
            if batch is None:
                return
            pairs = zip(batch.columns, schema, strict=True)
            arrays = [array if array.type == field.type else array.cast(field.type) for array, field in pairs]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def let_go(self) -> None:
        """Let go of all relations that were handed over, and of what they hold; tables of the workspace stay."""
        self._connection.close()
        self._connection = self._database.cursor()

    def close(self) -> None:
        """Let go of memory and of the folder. More than once is no error."""
        self._connection.close()
        self._database.close()
        self._remove()


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def failures() -> Iterator[None]:
    """DuckDB's errors as ours.

    Raises:
        StorageFull: memory and the temporary folder do not do.
        SnapshotLost: a file cannot be read.
        InvalidInput: a value that does not fit.
    """
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise StorageFull(
            f"memory and the temporary folder ({tempfile.gettempdir()}) do not do: {error}; give more with "
            "memory_limit, make room there, or name another folder in the variable TMPDIR"
        ) from error
    except duckdb.IOException as error:
        raise SnapshotLost(f"a file cannot be read any more: {error}") from error
    except duckdb.Error as error:
        told = str(error)
        raise InvalidInput(told.split(_REFUSED, 1)[1] if _REFUSED in told else f"comparing rows: {told}") from error


def refusal(message: str) -> str:
    """An SQL expression that fails with a message of ours."""
    return f"error({text(_REFUSED + message)})"


def quoted(name: str) -> str:
    """An identifier."""
    return '"' + name.replace('"', '""') + '"'


def listed(items: Sequence[str]) -> str:
    """Parts of a list."""
    return ", ".join(items)
