"""What the lake's tables say of snapshots: rows made from them, and they from rows."""

import json
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput, SnapshotErased, SnapshotNotFound
from lakelineage.model import ids, nodes, validate
from lakelineage.model.changes import Batch, Row, Rows
from lakelineage.model.values import Protection, Relation
from lakelineage.snapshots import states
from lakelineage.snapshots.places import PinnedFile
from lakelineage.snapshots.retention import Retention
from lakelineage.snapshots.snapshot import Snapshot
from lakelineage.store import forks
from lakelineage.store.source import DataFile, TableVersion, VersionHead
from lakelineage.tables import ERASURES, INPUTS, LINEAGE, PINS_HISTORY, SNAPSHOT_FILES, SNAPSHOTS
from lakelineage.tracking.capture import current_user

if TYPE_CHECKING:
    from lakelineage.engine import Reads

#: Begins the path of a file of a folder in ``snapshot_files``. No log of a table has such a path: it would be a URI
#: with a scheme that no store has.
_OF_FOLDER = "folder:"
#: Pinning again may add rows of the same snapshot (two processes at once, a higher level): one row counts.
#: The newest tells where the table is; when it was pinned, the oldest.
DISTINCT = """
select * exclude (first_pinned) replace (first_pinned as ingested_at) from (
  select *, min(ingested_at) over (partition by snapshot_id) as first_pinned from snapshots
  qualify row_number() over (partition by snapshot_id order by ingested_at desc, writer desc, seq desc) = 1
)
"""
#: Digits of a full id, and the fewest that are taken for the beginning of one.
_FULL, _FEWEST = 32, 4
#: A snapshot is archived if every file is, and every file that holds deletion vectors. Several rows may tell of a file.
_LEVELS = """
select snapshot_id, bool_and(kept) as archived from (
  select snapshot_id, path, bool_or(
    archived_as is not null
    and (deletion_vector is null or vector_archived_as is not null or deletion_vector like '%"storageType": "i"%')
  ) as kept from snapshot_files {where} group by all
) group by snapshot_id
"""
ALL_LEVELS = _LEVELS.format(where="")


def snapshot_id(table: TableVersion) -> str:
    """Hash of table id, schema and the sorted files with sizes, partition values and deletion vectors."""
    parts = [table.table_id, table.schema_json, json.dumps(table.partition_columns)]
    for file in table.files:
        values = json.dumps(file.partition_values) if file.partition_values else "[]"
        parts += [file.path, str(file.size), values, file.deletion_vector or ""]
    return ids.digest(parts)


def num_rows(table: TableVersion) -> int | None:
    """Rows of a version: those of its files less those that deletion vectors hide; None where the log does not tell."""
    total = 0
    for file in table.files:
        if file.num_rows is None:
            return None
        hidden = json.loads(file.deletion_vector)["cardinality"] if file.deletion_vector else 0
        total += file.num_rows - hidden
    return total


def as_table(snapshot: Snapshot) -> TableVersion:
    """A snapshot as the log of its table would tell of it."""
    return TableVersion(
        uri=snapshot.table_uri,
        table_id=snapshot.table_id,
        version=snapshot.version,
        committed_at=snapshot.committed_at,
        schema_json=snapshot.schema_json,
        partition_columns=snapshot.partition_columns,
        reader_features=snapshot.reader_features,
        column_mapping=snapshot.column_mapping,
        files=tuple(pin.file for pin in snapshot.files),
        storage_options=snapshot._options,
    )


def snapshot_row(snapshot: Snapshot) -> Rows:
    """The row of ``snapshots``."""
    row = SNAPSHOTS.row(
        snapshot_id=snapshot.id,
        table_uri=snapshot.table_uri,
        table_id=snapshot.table_id,
        version=snapshot.version,
        committed_at=snapshot.committed_at,
        schema=snapshot.schema_json,
        partition_columns=list(snapshot.partition_columns),
        num_files=snapshot.num_files,
        num_rows=snapshot.num_rows,
        bytes=snapshot.bytes,
        origin=snapshot.origin,
        kind=snapshot.kind,
        reader_features=list(snapshot.reader_features),
        column_mapping=snapshot.column_mapping,
    )
    return Rows(SNAPSHOTS.name, (row,))


def file_rows(snapshot: Snapshot) -> Batch:
    """The rows of ``snapshot_files``."""
    import pyarrow as pa

    contents = () if snapshot.kind == "table" else snapshot.contents
    pins = [*snapshot.files, *(_at(pin, _OF_FOLDER + pin.file.path) for pin in contents)]
    columns: dict[str, list[Any]] = {
        "snapshot_id": [snapshot.id] * len(pins),
        "path": [pin.file.path for pin in pins],
        "size": [pin.file.size for pin in pins],
        "partition_values": [list(pin.file.partition_values) for pin in pins],
        "deletion_vector": [pin.file.deletion_vector for pin in pins],
        "num_rows": [pin.file.num_rows for pin in pins],
        "archived_as": [pin.kept_as for pin in pins],
        "modified": [pin.modified for pin in pins],
        "etag": [pin.etag for pin in pins],
        "sha256": [pin.sha256 for pin in pins],
        "vector_archived_as": [pin.vector_kept_as for pin in pins],
    }
    return Batch(SNAPSHOT_FILES.name, pa.RecordBatch.from_pydict(columns, schema=SNAPSHOT_FILES.own_schema))


def pin_row(snapshot: Snapshot, run_id: str | None, retention: Retention) -> Rows:
    """The row of ``pins_history``."""
    row = PINS_HISTORY.row(
        snapshot_id=snapshot.id,
        protection=snapshot.protection,
        status="pinned",
        run_id=run_id,
        until=retention.until,
        rule=retention.rule,
        user_id=current_user(),
    )
    return Rows(PINS_HISTORY.name, (row,))


def use_rows(snapshot: Snapshot, run_id: str) -> tuple[Rows, Rows]:
    """The rows of ``inputs`` and ``lineage``."""
    used: Row = INPUTS.row(
        run_id=run_id,
        snapshot_id=snapshot.id,
        name=snapshot.name,
        context=snapshot.context,
        columns=None if snapshot.columns is None else list(snapshot.columns),
        predicate=snapshot.where,
    )
    edge = LINEAGE.row(
        source=str(nodes.dataset(snapshot.table_id, snapshot.version)),
        target=str(nodes.run(run_id)),
        relation=Relation.USED.value,
        run_id=run_id,
    )
    return Rows(INPUTS.name, (used,)), Rows(LINEAGE.name, (edge,))


def _at(pin: PinnedFile, path: str) -> PinnedFile:
    return replace(pin, file=replace(pin.file, path=path))


def contents_of(engine: "Reads", snapshot: str) -> tuple[PinnedFile, ...]:
    """The files of a pinned folder, sorted by path, which is relative to the folder."""
    pins = _files_of(engine, snapshot, f"starts_with(path, '{_OF_FOLDER}')")
    return tuple(_at(pin, pin.file.path.removeprefix(_OF_FOLDER)) for pin in pins)


def files_of(engine: "Reads", snapshot: str) -> tuple[PinnedFile, ...]:
    """The pinned files of the table, sorted by path; of several records of a file, one that has a kept copy."""
    return _files_of(engine, snapshot, f"not starts_with(path, '{_OF_FOLDER}')")


def _files_of(engine: "Reads", snapshot: str, which: str) -> tuple[PinnedFile, ...]:
    found = engine.query(
        "select *, epoch_us(modified) as modified_us from snapshot_files where snapshot_id = $id "
        f"and {which} "
        "qualify row_number() over (partition by path order by archived_as is null, "
        "ingested_at desc, writer desc, seq desc) = 1 "
        "order by path",
        {"id": snapshot},
    )
    return tuple(sorted(map(_pinned_file, found.to_pylist()), key=lambda pin: pin.file.path))


def some_kept_files(engine: "Reads", snapshot: str, count: int) -> tuple[PinnedFile, ...]:
    """At most so many of the kept files, chosen at random."""
    found = engine.query(
        "select * from (select *, epoch_us(modified) as modified_us from snapshot_files "
        f"where snapshot_id = $id and archived_as is not null) using sample {count:d} rows",
        {"id": snapshot},
    )
    return tuple(map(_pinned_file, found.to_pylist()))


def _pinned_file(row: Mapping[str, Any]) -> PinnedFile:
    values = tuple(_pairs(row["partition_values"]))
    return PinnedFile(
        DataFile(row["path"], row["size"], values, row["deletion_vector"], row["num_rows"]),
        row["archived_as"],
        row["modified_us"],
        row["etag"],
        row["sha256"],
        row["vector_archived_as"],
    )


def _pairs(value: Any) -> list[tuple[str, str | None]]:
    return list(value.items()) if isinstance(value, dict) else list(value or ())


def find(engine: "Reads", snapshot: str) -> Snapshot | None:
    """A snapshot by its id; None if the lake has none of this id."""
    levels = _LEVELS.format(where="where snapshot_id = $id")
    found = engine.query(
        f"select s.*, l.archived from (select * from ({DISTINCT}) where snapshot_id = $id) s "
        f"left join ({levels}) l using (snapshot_id)",
        {"id": snapshot},
    ).to_pylist()
    return _snapshot(engine, found[0], _protected(engine, found)) if found else None


def load(engine: "Reads", snapshot: str) -> Snapshot:
    """A snapshot by its id.

    Raises:
        SnapshotNotFound: the lake has none of this id.
    """
    found = find(engine, snapshot)
    if found is None:
        raise SnapshotNotFound(
            f"the lake has no snapshot {snapshot!r}; `lakelineage snapshot` without a source "
            "(in Python lake.snapshots) lists them"
        )
    return found


def loaded(engine: "Reads", snapshot: Snapshot | str) -> Snapshot:
    """A snapshot as the lake has it now, by itself, its id, or a unique beginning of that.

    Raises:
        SnapshotNotFound: there is none.
        InvalidInput: several ids begin so.
    """
    asked = snapshot.id if isinstance(snapshot, Snapshot) else validate.text(snapshot, "snapshot id", 64).strip()
    if isinstance(snapshot, Snapshot) or len(asked) >= _FULL or len(asked) < _FEWEST:
        return load(engine, asked)
    found = engine.query(
        "select distinct snapshot_id from snapshots where starts_with(snapshot_id, $id) limit 6", {"id": asked.lower()}
    )
    ids_ = found.column(0).to_pylist()
    if len(ids_) > 1:
        raise InvalidInput(f"several snapshots have an id that begins with {asked!r}: {', '.join(ids_)}; write more")
    return load(engine, ids_[0] if ids_ else asked)


#: Snapshot → version of the table ``erasures`` in which it was not.
_not_erased: "weakref.WeakKeyDictionary[Reads, dict[str, int]]" = weakref.WeakKeyDictionary()


def is_erased(engine: "Reads", snapshot: Snapshot) -> bool:
    """Whether rows of a snapshot were forgotten on purpose."""
    try:
        refuse_erased(engine, snapshot)
    except SnapshotErased:
        return True
    return False


def refuse_erased(engine: "Reads", snapshot: Snapshot) -> None:
    """Refuse a snapshot whose rows were forgotten.

    Also where its files are still at their place, and as of a moment before.

    Raises:
        SnapshotErased: somebody used the right to be forgotten.
    """
    if not forks.usable():
        return  # a forked child (of a data loader, say) reads what its parent was given
    present = engine.present
    # Each read asks, so it costs no query where the table is not there (a local lake), or is as it was.
    version = present.store.newest_version_on_disk(ERASURES)
    if present.root.local is not None and version is None:
        return
    known = _not_erased.setdefault(present, {})
    if version is not None and known.get(snapshot.id) == version:
        return
    found = engine.present.query(
        "select *, (select sum(num_rows) from erasures where snapshot_id = $id) as forgotten from erasures "
        "where snapshot_id = $id order by ingested_at desc, writer desc, seq desc limit 1",
        {"id": snapshot.id},
    ).to_pylist()
    if not found:
        if version is not None:
            known[snapshot.id] = version
        return
    (row,) = found
    left = "nothing of it was kept" if row["successor_id"] is None else f"snapshot {row['successor_id']} has the rest"
    why = f" ({row['comment']})" if row["comment"] else ""
    raise SnapshotErased(
        f"snapshot {snapshot.id} of {snapshot.table_uri} (version {snapshot.version}) cannot be read back: "
        f"{row['forgotten']:,} of its rows were forgotten on {row['ingested_at']:%Y-%m-%d} by "
        f"{row['user_id']}{why}; {left}",
        row["successor_id"],
        row["forgotten"],
    )


def of_version(engine: "Reads", head: VersionHead) -> Snapshot | None:
    """The snapshot of a version of a table; None if the lake has none.

    Place, id, number and time of the commit tell a version from any other: also from one of a copy of the table that
    went its own way, or of a table that was restored from a backup and went another.
    """
    found = engine.query(
        "select snapshot_id from snapshots where table_uri = $uri and table_id = $table and version = $version "
        "and epoch_us(committed_at) = $committed "
        "and snapshot_id not in (select successor_id from erasures where successor_id is not null) limit 1",
        {"uri": head.uri, "table": head.table_id, "version": head.version, "committed": head.committed_at},
    ).to_pylist()
    return find(engine, found[0]["snapshot_id"]) if found else None


def newest_of(engine: "Reads", uri: str, version: int, table_id: str | None = None) -> Snapshot | None:
    """The snapshot of a version of the table at a place that was pinned last; None if the lake has none.

    Args:
        engine: the lake.
        uri: absolute path without a trailing slash, or object-store URI.
        version: Delta version.
        table_id: of the table that was there; None: whichever was.
    """
    found = engine.query(
        "select snapshot_id from snapshots where table_uri = $uri and version = $version "
        "and ($table is null or table_id = $table) order by ingested_at desc, writer desc, seq desc limit 1",
        {"uri": uri, "version": version, "table": table_id},
    ).to_pylist()
    return find(engine, found[0]["snapshot_id"]) if found else None


class Inputs(Mapping[str, Snapshot]):
    """What a run used, by name, in the order of use; read-only.

    Args:
        run_id: the run.
        by_name: its inputs.
    """

    def __init__(self, run_id: str, by_name: Mapping[str, Snapshot]) -> None:
        self._run_id = run_id
        self._by_name = dict(by_name)

    def __getitem__(self, name: str) -> Snapshot:
        """The input of this name.

        Raises:
            SnapshotNotFound: the run has none; the message names those it has.
        """
        if name not in self._by_name:
            there = ", ".join(map(repr, self._by_name)) or "none"
            raise SnapshotNotFound(f"run {self._run_id} has no input {name!r}; its inputs: {there}")
        return self._by_name[name]

    # Mapping's own `in` and `get` wait for a KeyError, which our error is not.
    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def get(self, name: str, default: Any = None) -> Any:
        """The input of this name, or the default if the run has none."""
        return self._by_name.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __repr__(self) -> str:
        return f"Inputs({self._by_name!r})"


def inputs_of(engine: "Reads", run_id: str) -> Mapping[str, Snapshot]:
    """What a run used: name → snapshot with the columns and rows that the run chose, in the order of use."""
    found = engine.query(
        f"select i.name, i.context, i.columns as chosen_columns, i.predicate, i.ingested_at as used_at, "
        "i.writer as used_by, i.seq as used_seq, "
        f"s.*, l.archived from inputs i join ({DISTINCT}) s using (snapshot_id) "
        f"left join ({ALL_LEVELS}) l using (snapshot_id) where i.run_id = $run order by used_at, used_by, used_seq",
        {"run": run_id},
    ).to_pylist()
    protected = _protected(engine, found)
    inputs: dict[str, Snapshot] = {}
    for row in found:
        inputs.setdefault(row["name"], _snapshot(engine, row, protected))
    return Inputs(run_id, inputs)


def _protected(engine: "Reads", rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Those of some snapshots that a live pin has at the level ``protected``. Most lakes have none: asked first."""
    ever = engine.query(
        "select distinct snapshot_id from pins_history where protection = 'protected' "
        "and list_contains($ids, snapshot_id)",
        {"ids": [row["snapshot_id"] for row in rows]},
    )
    if not ever.num_rows:
        return set()
    now = engine.query(states.PROTECTED, {"now": engine.now}).column(0).to_pylist()
    return set(ever.column(0).to_pylist()).intersection(now)


def _protection(row: Mapping[str, Any], protected: set[str]) -> Protection:
    if row["archived"]:
        return Protection.ARCHIVED
    return Protection.PROTECTED if row["snapshot_id"] in protected else Protection.REFERENCE


def _snapshot(engine: "Reads", row: Mapping[str, Any], protected: set[str]) -> Snapshot:
    from lakelineage.model.moments import parse_time

    chosen = row.get("chosen_columns")
    return Snapshot(
        id=row["snapshot_id"],
        table_uri=row["table_uri"],
        table_id=row["table_id"],
        version=row["version"],
        committed_at=None if row["committed_at"] is None else parse_time(row["committed_at"]),
        num_rows=row["num_rows"],
        num_files=row["num_files"],
        bytes=row["bytes"],
        protection=_protection(row, protected).value,
        name=row.get("name"),
        columns=None if chosen is None else tuple(chosen),
        where=row.get("predicate"),
        context=row.get("context"),
        origin=row["origin"],
        schema_json=row["schema"],
        partition_columns=tuple(row["partition_columns"] or ()),
        kind=row["kind"] or "table",
        reader_features=tuple(row["reader_features"] or ()),
        column_mapping=row["column_mapping"],
        _engine=engine,
        _options=engine.root.storage_options,
    )
