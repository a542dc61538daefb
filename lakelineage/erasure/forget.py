"""Forgetting rows: everything that was ever pinned of a table, without them.

A snapshot is what it is, so one that loses rows ends: reading it raises ``SnapshotErased``, for ever, and (mode
``rewrite``) another one takes its place, with files that were written anew. First the new files are written, then all
is recorded in one change, then the old bytes go. Whoever dies on the way leaves a call that can be made again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

from lakelineage.display.progress import Progress, reporting
from lakelineage.erasure import plan as plans
from lakelineage.erasure import rewrite
from lakelineage.erasure.plan import FileKey, Holding, Plan, key_of
from lakelineage.errors import ConcurrentWrite, InvalidInput
from lakelineage.model import ids, nodes
from lakelineage.model.changes import Rows
from lakelineage.registry import activity
from lakelineage.snapshots import folders, levels, pins, records, states, sweep
from lakelineage.snapshots.places import PinnedFile
from lakelineage.snapshots.retention import Retention
from lakelineage.snapshots.snapshot import Snapshot
from lakelineage.store import faults, source_write
from lakelineage.store.locks import Lease
from lakelineage.tables import ERASURES
from lakelineage.tracking.capture import current_user

if TYPE_CHECKING:
    from lakelineage.engine import Engine

Mode = Literal["rewrite", "drop"]
_MODES: tuple[Mode, ...] = ("rewrite", "drop")
_TIMEOUT = 60.0


@dataclass(frozen=True)
class Forgotten:
    """What was found, and (unless it was a dry run) done.

    Attributes:
        plan: what holds matching rows.
        mode: rewrite or drop.
        dry_run: whether nothing was changed.
        erasure_id: of the rows of the table ``erasures``; None for a dry run, or if there was nothing to do.
        successors: snapshot → the snapshot of what is left of it.
        removed: files that were removed from the archive and from managed tables.
    """

    plan: Plan
    mode: Mode
    dry_run: bool
    erasure_id: str | None = None
    successors: Mapping[str, str] | None = None
    removed: int = 0


def forget(
    engine: "Engine",
    table: str,
    where: str,
    *,
    mode: Mode = "rewrite",
    dry_run: bool = True,
    comment: str | None = None,
    progress: Progress = None,
) -> Forgotten:
    """Find the rows in all that was ever pinned of a table and, unless it is a dry run, forget them.

    Args:
        engine: the open lake.
        table: path or URI of the table, of the file that it was made from, or its id.
        where: rows, as a SQL condition.
        mode: ``rewrite`` keeps what is left of each snapshot as another one; ``drop`` keeps nothing of it.
        dry_run: only tell what would be done.
        comment: why, such as the number of the request. It is kept; the condition is not, since it may name somebody.
        progress: True for a bar; or a function that is told how many snapshots are done.

    Raises:
        TableNotFound: nothing was ever pinned of it.
        InvalidInput: the condition cannot be understood, or there is no such mode.
        ConcurrentWrite: other processes of this host keep pinning.
    """
    if mode not in _MODES:
        raise InvalidInput(f"mode {mode!r} is unknown; choose one of {', '.join(_MODES)}")
    with reporting(progress, "looking", None, " snapshots") as told:
        if dry_run:
            return Forgotten(plans.make(engine, table, where, told), mode, dry_run)
        engine.flush()  # what other processes of this host pinned is seen, too
        lease = Lease(engine.spool / levels.LOCK)
        if not lease.acquire(_TIMEOUT):
            raise ConcurrentWrite("other processes keep pinning; try again")
        try:
            return _forget(engine, plans.make(engine, table, where, told), mode, comment)
        finally:
            lease.release()


def _forget(engine: "Engine", plan: Plan, mode: Mode, comment: str | None) -> Forgotten:
    if not plan.holdings:
        return Forgotten(plan, mode, False)
    erasure, actor = ids.new_id(), current_user()
    rewritten: dict[FileKey, PinnedFile | None] = {}
    change: list[Any] = []
    successors: dict[str, str] = {}
    for holding in (each for each in plan.holdings if not each.erased):
        successor = None if mode == "drop" else _successor(engine, holding, plan.where, rewritten)
        if successor is not None:
            successors[holding.snapshot.id] = successor.id
            change += [records.snapshot_row(successor), records.file_rows(successor)]
        change += _pins(engine, holding.snapshot, successor, comment)
        change.append(_row(erasure, holding, plan.where, successor, actor, comment))
    if change:
        faults.reach("forget.before_record")
        engine.append(tuple(change))
        engine.flush()
        faults.reach("forget.after_record")
    for table_id in sorted({holding.snapshot.table_id for holding in plan.holdings}):
        act = activity.Act(actor, activity.FORGET, str(nodes.dataset(table_id)), None, mode, comment)
        activity.note(engine, act)
    removed = _remove(engine, plan, successors)
    return Forgotten(plan, mode, False, erasure, successors, removed)


def _successor(
    engine: "Engine", holding: Holding, where: str, rewritten: dict[FileKey, PinnedFile | None]
) -> Snapshot | None:
    """What is left of a snapshot; None if that is nothing."""
    snapshot, held = holding.snapshot, {pin.file.path for pin in holding.files}
    left: list[PinnedFile] = []
    for pin in snapshot.files:
        key = key_of(snapshot, pin)
        if pin.file.path not in held:
            left.append(pin)
            continue
        if key not in rewritten:
            rewritten[key] = rewrite.without(engine, snapshot, pin, where)
        made = rewritten[key]
        if made is not None:
            left.append(made)
    files = tuple(sorted(left, key=lambda pin: pin.file.path))
    table = replace(records.as_table(snapshot), files=tuple(pin.file for pin in files))
    left_of = replace(
        snapshot,
        id=records.snapshot_id(table),
        num_rows=records.num_rows(table),
        num_files=len(files),
        bytes=sum(pin.file.size for pin in files),
        origin=snapshot.origin,
        _files=files,
    )
    return left_of if snapshot.kind == "table" else plans.with_contents(left_of, plans.contents_left(holding, where))


def _pins(engine: "Engine", snapshot: Snapshot, successor: Snapshot | None, comment: str | None) -> list[Any]:
    """The snapshot's pins end; those of its successor begin."""
    live = pins.Pins(engine).live(snapshot.id)
    change = [pins.state_rows(live, states.RELEASED, comment)] if live else []
    if successor is not None:
        of = live or [pins.Pin(successor.id, None, successor.protection, Retention())]
        change.append(pins.state_rows([replace(pin, snapshot_id=successor.id) for pin in of], states.PINNED, comment))
    return change


def _row(
    erasure: str,
    holding: Holding,
    where: str,
    successor: Snapshot | None,
    actor: str,
    comment: str | None,
) -> Rows:
    row = ERASURES.row(
        erasure_id=erasure,
        snapshot_id=holding.snapshot.id,
        action="dropped" if successor is None else "rewritten",
        num_rows=holding.rows,
        num_files=len(holding.files),
        successor_id=None if successor is None else successor.id,
        condition_sha256=sha256(where.encode()).hexdigest(),
        runs=list(holding.runs),
        models=list(holding.models),
        user_id=actor,
        comment=comment,
    )
    return Rows(ERASURES.name, (row,))


def _remove(engine: "Engine", plan: Plan, successors: Mapping[str, str]) -> int:
    """Remove the bytes: kept files, and files of managed tables, which get a version without the rows first."""
    gone: set[str] = set()
    for holding in plan.holdings:
        snapshot = holding.snapshot
        gone.update(pin.kept_as for pin in holding.files if pin.kept_as is not None)
        if snapshot.kind == folders.KIND:
            gone.update(_contents_gone(engine, holding, plan.where))
        if plans.is_managed(snapshot):
            folder = snapshot.table_uri.removeprefix(engine.root.uri + "/")
            gone.update(f"{folder}/{pin.file.path}" for pin in holding.files)
    for managed in _managed(plan):
        left = successors.get(managed.id)
        _renew(engine, managed, None if left is None else records.load(engine, left))
    for path in gone:
        engine.root.remove(path)
    return len(gone)


def _contents_gone(engine: "Engine", holding: Holding, where: str) -> set[str]:
    """Kept files of a pinned folder that match, less those that hold the same as a file that does not."""
    left = {pin.file.path for pin in plans.contents_left(holding, where)}
    matching = {pin.kept_as for pin in holding.snapshot.contents if pin.file.path not in left and pin.kept_as}
    needed = engine.query(sweep.NEEDED, {"now": engine.now, "grace": 0}).column("path").to_pylist()
    return matching - set(needed)


def _managed(plan: Plan) -> list[Snapshot]:
    """The newest affected version of each managed table."""
    newest: dict[str, Snapshot] = {}
    for holding in plan.holdings:
        snapshot = holding.snapshot
        if plans.is_managed(snapshot) and snapshot.version >= newest.get(snapshot.table_uri, snapshot).version:
            newest[snapshot.table_uri] = snapshot
    return list(newest.values())


def _renew(engine: "Engine", managed: Snapshot, left: Snapshot | None) -> None:
    """Give a managed table a newest version without the rows, if its newest version has them."""
    from lakelineage.store import source

    if source.identify(managed.table_uri, engine.root.storage_options).version != managed.version:
        return
    folder = managed.table_uri.removeprefix(engine.root.uri + "/")
    batches: Callable[[], Any] = managed.table_schema.empty_table().to_batches if left is None else left.to_batches
    content = f"rest-of-{managed.id}"
    source_write.convert(engine.root, folder, content, managed.table_schema, batches)
