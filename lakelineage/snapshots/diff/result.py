"""What a diff found: schema, counts, and the rows themselves, kept where they need no memory."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from lakelineage.errors import InvalidInput
from lakelineage.snapshots.diff.columns import Matching, SchemaChange
from lakelineage.snapshots.diff.sources import Name, Source
from lakelineage.snapshots.snapshot import Snapshot

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.query.duckdb.diff import Kind
    from lakelineage.query.duckdb.workspace import Workspace

#: Columns that tables of changes have besides those of the data.
CHANGE, CHANGED_COLUMNS = "_change", "_changed_columns"


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of rows.

    Attributes:
        added: rows that only B has.
        removed: rows that only A has.
        changed: rows that both have by their key, with other values; 0 without a key.
        rows_a: rows of A, as the pin or the diff chose them; None if nothing told without reading all.
        rows_b: rows of B, likewise.
    """

    added: int
    removed: int
    changed: int
    rows_a: int | None
    rows_b: int | None

    @property
    def unchanged(self) -> int | None:
        """Rows that both have; None where ``rows_a`` and ``rows_b`` are not known."""
        if self.rows_a is not None:
            return self.rows_a - self.removed - self.changed
        return None if self.rows_b is None else self.rows_b - self.added - self.changed

    @property
    def add_up(self) -> bool:
        """Whether as many rows of A are unchanged as of B, as far as they were counted."""
        if self.rows_a is None or self.rows_b is None:
            return True
        return self.rows_a - self.removed == self.rows_b - self.added

    def to_dict(self) -> dict[str, int | None]:
        """As JSON has it, with ``unchanged``."""
        return {**asdict(self), "unchanged": self.unchanged}


@dataclass(frozen=True, slots=True)
class Read:
    """How the rows were found.

    Attributes:
        source: ``nothing`` (the same files), ``file lists`` (files that only one snapshot has), ``change data`` (the
            log between the two versions) or ``all files``.
        bytes: size of the files read.
        skipped: size of files of the two snapshots that were not read.
    """

    source: Name
    bytes: int
    skipped: int

    @classmethod
    def of(cls, source: Source) -> Self:
        """What a source reads."""
        return cls(source.name, source.bytes, source.skipped)


class Diff:
    """What differs between two snapshots, from A to B. Made by :meth:`lakelineage.Lake.diff`.

    The rows are kept in a workspace of limited memory that spills to a temporary folder; :meth:`close`, or the end of
    the last reference, removes it. Everything is computed when the diff is made but for :meth:`summary`.

    Attributes:
        a: before, with the rows that were chosen.
        b: after, likewise.
        key: columns that identify a row; empty for a diff of multisets.
        schema_changes: columns added, removed, renamed, or of another type; they may differ without any row that does.
        counts: rows added, removed, changed, unchanged.
        changed_columns: column → number of changed rows that have another value in it.
        read: what was read, and what was not.
    """

    def __init__(
        self,
        a: Snapshot,
        b: Snapshot,
        matching: Matching,
        keys: tuple[int, ...],
        counts: Counts,
        changed_columns: Mapping[str, int],
        read: Read,
        work: "Workspace",
    ) -> None:
        self.a, self.b = a, b
        self.key = tuple(matching.columns[i].name for i in keys)
        self.schema_changes: tuple[SchemaChange, ...] = matching.changes
        self.counts = counts
        self.changed_columns = dict(changed_columns)
        self.read = read
        self._matching, self._keys, self._work = matching, keys, work

    @property
    def schema(self) -> "pa.Schema":
        """Columns that were compared, with types that hold the values of both sides."""
        return self._matching.schema

    @property
    def differs(self) -> bool:
        """Whether anything does: rows or schema."""
        counts = self.counts
        return bool(self.schema_changes or counts.added or counts.removed or counts.changed)

    def added(self) -> "pa.RecordBatchReader":
        """Rows that only B has, in order of the key (without one, of all columns), in batches.

        ``.read_all()`` gives an Arrow table; Polars and DuckDB take the reader as it is.
        """
        from lakelineage.query.duckdb.diff import Kind, one_side

        return self._stream(one_side(Kind.ADDED, len(self.schema), self._keys), self.schema)

    def removed(self) -> "pa.RecordBatchReader":
        """Rows that only A has; as :meth:`added`."""
        from lakelineage.query.duckdb.diff import Kind, one_side

        return self._stream(one_side(Kind.REMOVED, len(self.schema), self._keys), self.schema)

    def changed(self) -> "pa.RecordBatchReader":
        """Rows that both have by their key, in its order, in batches.

        Columns are those of the key, ``<column>_before`` and ``<column>_after`` of each other, and
        ``_changed_columns``, a list of those that differ.

        Raises:
            InvalidInput: two columns would have the same name; leave one out of the diff.
        """
        from lakelineage.query.duckdb.diff import Kind

        return self._flat((Kind.CHANGED,), named=False)

    def rows(self, limit: int | None = None) -> "pa.RecordBatchReader":
        """All that differs as one table, in order of the key (without one, of all columns), in batches.

        ``_change`` is ``added``, ``removed`` or ``changed``. With a key, the other columns are those of
        :meth:`changed`; without one, each column is there once.

        Args:
            limit: at most so many rows.

        Raises:
            InvalidInput: as in :meth:`changed`.
        """
        from lakelineage.query.duckdb.diff import Kind

        return self._flat((Kind.ADDED, Kind.REMOVED, Kind.CHANGED), named=True, limit=limit)

    def summary(self, whole: bool = False) -> "pa.Table":
        """How the values of each column are distributed, in the rows that differ.

        Args:
            whole: look at all rows of A and B instead, which reads all of their files.

        Returns:
            A row for each column and part: ``column``, ``rows`` (``removed``, ``added``, ``before`` and ``after`` of
            changed rows; with ``whole`` ``a`` and ``b``), ``count``, ``nulls``, ``nans``, ``distinct`` (about), ``min``
            and ``max`` (as text), ``mean`` and ``std`` (of finite numbers), ``top`` (the three most frequent texts or
            truth values, with their numbers).

        Raises:
            SnapshotLost: with ``whole``, files are gone.
        """
        from lakelineage.snapshots.diff.summary import summary

        return summary(self._open, self, whole)

    def to_dict(self) -> dict[str, Any]:
        """All but the rows, as JSON has it."""
        return {
            "a": _side(self.a),
            "b": _side(self.b),
            "key": list(self.key),
            "differs": self.differs,
            "schema_changes": [change.to_dict() for change in self.schema_changes],
            "counts": self.counts.to_dict(),
            "changed_columns": self.changed_columns,
            "read": asdict(self.read),
        }

    def close(self) -> None:
        """Let go of the rows. More than once is no error."""
        self._work.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Diff {label(self.a)} -> {label(self.b)}: {self.headline}>"

    def __str__(self) -> str:
        lines = [f"{label(self.a)} -> {label(self.b)}", f"  {self.headline}"]
        lines += [f"  {name}: {number:,} rows changed" for name, number in self.changed_columns.items()]
        lines += [f"  schema: {change}" for change in self.schema_changes]
        lines.append(f"  read {self.read.source}: {self.read.bytes:,} bytes; not read: {self.read.skipped:,} bytes")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from lakelineage.display import things

        return things.diff(self)

    @property
    def headline(self) -> str:
        """The counts in words."""
        if not self.differs:
            return "nothing differs"
        counts = self.counts
        told = [f"{counts.added:,} added", f"{counts.removed:,} removed"]
        told += [f"{counts.changed:,} changed"] if self.key else []
        told += [] if counts.unchanged is None else [f"{counts.unchanged:,} unchanged"]
        schema = f"; {len(self.schema_changes)} changes of the schema" if self.schema_changes else ""
        return f"rows {', '.join(told)}{schema}"

    @property
    def _open(self) -> "Workspace":
        self._work.check_open()
        return self._work

    def _stream(self, sql: str, schema: "pa.Schema") -> "pa.RecordBatchReader":
        return self._open.stream(sql, schema)

    def _flat(self, kinds: "Sequence[Kind]", named: bool, limit: int | None = None) -> "pa.RecordBatchReader":
        from lakelineage.query.duckdb.diff import both_sides

        flat = bool(self._keys) or not named
        schema = self._flat_schema(flat, named)
        sql = both_sides(kinds, self.schema.names, self._keys, flat, named)
        return self._stream(sql if limit is None else f"{sql} LIMIT {limit:d}", schema)

    def _flat_schema(self, flat: bool, named: bool) -> "pa.Schema":
        import pyarrow as pa

        fields = [(CHANGE, pa.string())] if named else []
        for column in self._matching.columns:
            sides = ("_before", "_after") if flat and column.name not in self.key else ("",)
            fields += [(column.name + side, column.type) for side in sides]
        if flat:
            fields.append((CHANGED_COLUMNS, pa.list_(pa.string())))
        names = [name for name, _ in fields]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InvalidInput(f"two columns of the changes would be called {twice!r}; leave one out with columns=")
        return pa.schema(fields)


def label(snapshot: Snapshot) -> str:
    """A snapshot in few words."""
    return f"{snapshot.name or snapshot.table_uri}@{snapshot.version}"


def _side(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "snapshot_id": snapshot.id,
        "name": snapshot.name,
        "table_uri": snapshot.table_uri,
        "table_id": snapshot.table_id,
        "version": snapshot.version,
        "where": snapshot.where,
    }
