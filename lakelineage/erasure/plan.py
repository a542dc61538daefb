"""Which snapshots hold rows that are to be forgotten, file by file. Nothing is changed here.

What counts is what is stored: rows that a deletion vector hides are in the file all the same. A file that several
snapshots share is looked at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput, LakelineageError, NotFound, SnapshotLost, TableNotFound
from lakelineage.lineage import Lineage
from lakelineage.model import nodes
from lakelineage.snapshots import places, predicate, records
from lakelineage.snapshots.places import PinnedFile
from lakelineage.snapshots.snapshot import Snapshot
from lakelineage.store import source
from lakelineage.store.files import local_state

if TYPE_CHECKING:
    from lakelineage.engine import Engine

#: What tells a data file from any other: table id, path, size.
FileKey = tuple[str, str, int]


@dataclass(frozen=True)
class Holding:
    """A snapshot that holds rows to be forgotten, or may.

    Attributes:
        snapshot: which.
        rows: matching rows in its files, also such that a deletion vector hides.
        files: files that hold them.
        runs: runs that used it.
        models: node ids of the model versions that descend from it.
        erased: whether it lost rows before, and can no longer be read back.
        problem: why nobody can tell whether it holds such rows; None if that is known.
    """

    snapshot: Snapshot
    rows: int
    files: tuple[PinnedFile, ...]
    runs: tuple[str, ...]
    models: tuple[str, ...]
    erased: bool = False
    problem: str | None = None


@dataclass(frozen=True)
class Plan:
    """What is to be forgotten, and where it is.

    Attributes:
        table: as the user named it.
        where: the condition.
        holdings: snapshots that hold such rows.
        unknown: snapshots of which nobody can tell, with the reason.
        in_table: files at their place in the table itself that hold such rows; they are the owner's to delete.
        in_newest: whether the table's newest version has some of them.
    """

    table: str
    where: str
    holdings: tuple[Holding, ...]
    unknown: tuple[Holding, ...]
    in_table: tuple[str, ...] = ()
    in_newest: bool = False
    counts: dict[FileKey, int] = field(default_factory=dict, repr=False)

    @property
    def rows(self) -> int:
        """Matching rows, each file counted once."""
        return sum(self.counts.values())


def key_of(snapshot: Snapshot, pin: PinnedFile) -> FileKey:
    """What tells a file of a snapshot from any other."""
    return snapshot.table_id, pin.file.path, pin.file.size


def make(engine: "Engine", table: str, where: str, told: Callable[[int], Any] | None = None) -> Plan:
    """Look for matching rows in everything that was ever pinned of a table.

    Args:
        engine: the open lake.
        table: path or URI of the table, of the file that it was made from, or its id.
        where: rows, as a SQL condition.
        told: is called with the number of snapshots that are done.

    Raises:
        TableNotFound: nothing was ever pinned of it.
        InvalidInput: the condition cannot be understood, for any of the snapshots.
    """
    snapshots = _snapshots(engine, table)
    judges = {each.id: _judge(each, where) for each in snapshots}
    if snapshots and all(isinstance(judge, str) for judge in judges.values()):
        raise InvalidInput(next(str(judge) for judge in judges.values()))
    counts: dict[FileKey, int] = {}
    problems: dict[FileKey, str] = {}
    for done, snapshot in enumerate(snapshots, 1):
        judge = judges[snapshot.id]
        if not isinstance(judge, str):
            _count(engine, snapshot, where, counts, problems)
        if told is not None:
            told(done)
    erased = set(engine.query("select distinct snapshot_id from erasures").column(0).to_pylist())
    holdings = [_holding(engine, each, counts, problems, judges[each.id], erased) for each in snapshots]
    found = {key: count for key, count in counts.items() if count}
    left, in_newest = _in_table(snapshots, found)
    return Plan(
        table,
        where,
        tuple(each for each in holdings if each.rows),
        tuple(each for each in holdings if each.problem is not None and not each.rows),
        left,
        in_newest,
        found,
    )


def _snapshots(engine: "Engine", table: str) -> list[Snapshot]:
    """Everything ever pinned of the table, the oldest first."""
    spelled = sorted({table, source.absolute(table), engine.root.child("datasets", table)})
    found = engine.query(
        "select snapshot_id, min(ingested_at) as first from snapshots "
        "where list_contains($places, table_uri) or list_contains($places, origin) or table_id = $table "
        "group by snapshot_id order by first",
        {"places": spelled, "table": table},
    )
    ids = found.column("snapshot_id").to_pylist()
    if not ids:
        raise TableNotFound(
            f"nothing was ever pinned of {table}; `lakelineage snapshot list` shows what was, by table_uri and origin"
        )
    return [records.load(engine, each) for each in ids]


def _judge(snapshot: Snapshot, where: str) -> predicate.Predicate | str:
    """The condition for the snapshot's columns; or why it cannot be asked of them."""
    try:
        return predicate.parse(where, snapshot.table_schema)
    except InvalidInput as error:
        return str(error)


def _count(
    engine: "Engine",
    snapshot: Snapshot,
    where: str,
    counts: dict[FileKey, int],
    problems: dict[FileKey, str],
) -> None:
    """Count the matching rows of files that no other snapshot was asked for yet."""
    fresh = [pin for pin in snapshot.files if key_of(snapshot, pin) not in counts]
    found = places.look(engine.root, snapshot.pinned(fresh))
    for pin, place in zip(fresh, found, strict=True):
        key = key_of(snapshot, pin)
        if place is None:
            counts[key] = 0  # the file is gone, and so are its rows
            continue
        try:
            counts[key] = sum(batch.num_rows for batch in only(snapshot, [pin]).to_batches(where=where))
            problems.pop(key, None)
        except LakelineageError as error:
            problems[key] = str(error)


def only(snapshot: Snapshot, pins: Sequence[PinnedFile]) -> Snapshot:
    """The snapshot as if it had only these files, and no row of them were hidden."""
    bare = tuple(replace(pin, file=replace(pin.file, deletion_vector=None)) for pin in pins)
    return replace(snapshot, columns=None, where=None, _files=bare, _to_forget=True)


def contents_left(holding: Holding, where: str) -> tuple[PinnedFile, ...]:
    """The files of a pinned folder that do not match."""
    matching = only(holding.snapshot, holding.files).to_arrow(["path"], where).column("path").to_pylist()
    gone = set(matching)
    return tuple(pin for pin in holding.snapshot.contents if pin.file.path not in gone)


def with_contents(snapshot: Snapshot, contents: tuple[PinnedFile, ...]) -> Snapshot:
    """The snapshot of a folder, with these files."""
    size = sum(pin.file.size for pin in contents)
    return replace(snapshot, num_files=len(contents), bytes=size, _contents=contents)


def _holding(
    engine: "Engine",
    snapshot: Snapshot,
    counts: dict[FileKey, int],
    problems: dict[FileKey, str],
    judge: predicate.Predicate | str,
    erased: set[str],
) -> Holding:
    held = tuple(pin for pin in snapshot.files if counts.get(key_of(snapshot, pin)))
    if snapshot.id in erased and not is_managed(snapshot):  # what the table still has is not the lake's
        kept = [pin for pin in held if pin.kept_as is not None]
        found = places.kept_places(engine.root, snapshot.pinned(kept), kept)
        held = tuple(pin for pin, place in zip(kept, found, strict=True) if place is not None)
    rows = sum(counts[key_of(snapshot, pin)] for pin in held)
    keys = [key_of(snapshot, pin) for pin in snapshot.files]
    unread = [problems[key] for key in keys if key in problems]
    if isinstance(judge, str) and any(key not in counts for key in keys):
        unread.insert(0, judge)
    runs, models = descendants(engine, snapshot) if rows else ((), ())
    return Holding(snapshot, rows, held, runs, models, snapshot.id in erased, next(iter(unread), None))


def descendants(engine: "Engine", snapshot: Snapshot) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Runs that used a snapshot, and node ids of the model versions that descend from it."""
    used = engine.query(
        "select distinct run_id from inputs where snapshot_id = $id order by run_id", {"id": snapshot.id}
    ).column(0)
    try:
        below = Lineage(engine, nodes.dataset(snapshot.table_id, snapshot.version)).downstream()
    except NotFound:
        return tuple(used.to_pylist()), ()
    pairs = zip(below.column("kind").to_pylist(), below.column("node").to_pylist(), strict=True)
    return tuple(used.to_pylist()), tuple(sorted(node for kind, node in pairs if kind == "model"))


def _in_table(snapshots: Sequence[Snapshot], counts: dict[FileKey, int]) -> tuple[tuple[str, ...], bool]:
    """Matching files that are still in the users' tables themselves, and whether a newest version has some."""
    left: set[str] = set()
    in_newest = False
    for snapshot in snapshots:
        own = [pin.file.path for pin in snapshot.files if key_of(snapshot, pin) in counts]
        if not own or is_managed(snapshot):
            continue
        if source.is_local(snapshot.table_uri):
            left.update(path for path in own if local_state(f"{snapshot.table_uri}/{path}") is not None)
        else:
            left.update(own)
        in_newest = in_newest or bool(set(own) & _newest(snapshot))
    return tuple(sorted(left)), in_newest


def _newest(snapshot: Snapshot) -> set[str]:
    try:
        now = source.resolve(snapshot.table_uri, snapshot._options)
    except (NotFound, SnapshotLost):
        return set()
    return {file.path for file in now.files} if now.table_id == snapshot.table_id else set()


def is_managed(snapshot: Snapshot) -> bool:
    """Whether its table belongs to the lake: data that was no table when it was pinned."""
    return snapshot.table_uri.startswith(snapshot.lake.root.child("datasets") + "/")
