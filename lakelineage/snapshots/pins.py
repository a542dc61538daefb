"""Pins: what keeps a snapshot, until when, on whose behalf, and whether it can be read back today.

A pin is a snapshot and the run that asked for it (or nobody, where it was pinned outside a run). It is kept until it is
released or ends by itself (:mod:`lakelineage.snapshots.retention`). Files in the archive stay as long as any pin of any
snapshot that has them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lakelineage.display.progress import Progress, reporting
from lakelineage.errors import Conflict, SnapshotLost
from lakelineage.model.changes import Rows
from lakelineage.model.values import Protection
from lakelineage.snapshots import folders, levels, places, records, retention
from lakelineage.snapshots.levels import Level
from lakelineage.snapshots.retention import Retention, Until
from lakelineage.snapshots.snapshot import Snapshot
from lakelineage.tables import PINS_HISTORY
from lakelineage.tracking.capture import current_user

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine, Reads

PINNED, RELEASED, EXPIRED = "pinned", "released", "expired"

#: The newest state of every pin, and whether it is over.
STATES = f"""
select p.*, case
  when status = '{RELEASED}' then '{RELEASED}'
  when until is null or until > make_timestamp($now) at time zone 'UTC' then '{PINNED}'
  when rule like '%{retention.REGISTERED}' and exists (
    select 1 from model_versions m where m.run_id = p.run_id and m.lifecycle_stage = 'active') then '{PINNED}'
  else '{EXPIRED}' end as state
from (
  select *, min(ingested_at) over (partition by snapshot_id, run_id) as pinned_at from pins_history
  qualify row_number() over (partition by snapshot_id, run_id order by ingested_at desc, writer desc, seq desc) = 1
) p
"""
_LISTED = f"""
select p.snapshot_id, s.table_uri, s.version, i.name,
  case when l.archived then 'archived' else p.protection end as protection,
  p.state, p.until, p.rule, p.run_id, p.user_id, p.pinned_at, p.comment
from ({STATES}) p join ({records.DISTINCT}) s using (snapshot_id)
left join ({records.ALL_LEVELS}) l using (snapshot_id)
left join (select snapshot_id, run_id, min(name) as name from inputs group by all) i
  on i.snapshot_id = p.snapshot_id and i.run_id = p.run_id
where $every or p.state = '{PINNED}'
order by p.pinned_at, p.snapshot_id, p.run_id
"""


_SNAPSHOTS = f"""
select s.snapshot_id, s.table_uri, s.table_id, s.version, s.committed_at, s.num_files, s.num_rows, s.bytes,
  case when l.archived and p.pins > 0 then 'archived' when p.protected then 'protected' else 'reference' end
    as protection,
  s.origin, s.ingested_at as pinned_at, coalesce(p.pins, 0) as pins,
  (select count(distinct i.run_id) from inputs i where i.snapshot_id = s.snapshot_id) as runs
from ({records.DISTINCT}) s
left join ({records.ALL_LEVELS}) l using (snapshot_id)
left join (
  select snapshot_id, count(*) as pins, bool_or(protection = 'protected') as protected
  from ({STATES}) where state = '{PINNED}' group by snapshot_id
) p using (snapshot_id)
order by s.ingested_at, s.writer, s.seq
"""


def list_snapshots(reads: "Reads") -> "pa.Table":
    """Every snapshot of the lake, oldest first: table, version, size, protection, number of pins and of runs."""
    return reads.query(_SNAPSHOTS, {"now": reads.now})


@dataclass(frozen=True, slots=True)
class Pin:
    """A pin as it is now.

    Attributes:
        snapshot_id: what is pinned.
        run_id: the run that asked for it; None outside a run.
        protection: its level.
        retention: when it ends by itself.
    """

    snapshot_id: str
    run_id: str | None
    protection: str
    retention: Retention


class PinList:
    """The pins of a lake, to be read.

    Args:
        reads: the open lake, as it is or as it was.
    """

    def __init__(self, reads: "Reads") -> None:
        self._reads = reads

    def list(self, *, every: bool = False, check: bool = True) -> "pa.Table":
        """Pins, the oldest first.

        Args:
            every: those that were released or have expired, too.
            check: look whether each can be read back now: every file is there (in the table, or else in the archive)
                and is, by size and time or etag, what was pinned.

        Returns:
            snapshot_id, table_uri, version, name (of the input in its run), protection, state (pinned, released or
            expired), until, rule, run_id, user_id, pinned_at, comment; and, if checked, ``readable``, and
            ``read_from`` (table, archive, or both).
        """
        found = self._reads.query(_LISTED, {"every": every, "now": self._reads.now})
        return _checked(self._reads, found) if check else found

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._reads.root.uri}: list>"


def _checked(reads: "Reads", pins: "pa.Table") -> "pa.Table":
    import pyarrow as pa

    ids = pins.column("snapshot_id").to_pylist()
    told = {snapshot: where_read(records.load(reads, snapshot)) for snapshot in dict.fromkeys(ids)}
    readable = pa.array([told[snapshot] is not None for snapshot in ids], pa.bool_())
    read_from = pa.array([told[snapshot] for snapshot in ids], pa.string())
    return pins.append_column("readable", readable).append_column("read_from", read_from)


def where_read(snapshot: Snapshot) -> str | None:
    """Where a snapshot's files are now: table (or folder), archive or both; None if some are lost."""
    found = places.look(snapshot.lake.root, snapshot.pinned())
    if None in found or not _has_vectors(snapshot):
        return None
    if snapshot.kind == folders.KIND:
        return _where_contents_are(snapshot)
    kept = {snapshot.lake.root.child(pin.kept_as) for pin in snapshot.files if pin.kept_as}
    sources = {"archive" if place in kept else "table" for place in found}
    return "both" if len(sources) > 1 else next(iter(sources), "table")


def _has_vectors(snapshot: Snapshot) -> bool:
    """Whether the deletion vectors of its files, if it has some, are there."""
    if all(pin.file.deletion_vector is None for pin in snapshot.files):
        return True
    try:
        snapshot.check_files()
    except SnapshotLost:
        return False
    return True


def _where_contents_are(snapshot: Snapshot) -> str | None:
    from lakelineage.snapshots.folders import files

    try:
        return files.where_read(snapshot.lake.root, snapshot)
    except SnapshotLost:
        return None


class Pins(PinList):
    """The pins of a lake.

    Args:
        engine: the open lake.
    """

    def __init__(self, engine: "Engine") -> None:
        super().__init__(engine)
        self._engine = engine

    def keep(
        self, snapshot: Snapshot | str, until: Until | None, *, run: str | None = None, comment: str | None = None
    ) -> None:
        """Say when a pin ends; a pin that was released or has expired is a pin again.

        Args:
            snapshot: snapshot, its id, or a unique beginning of it.
            until: see :mod:`lakelineage.snapshots.retention`; None: it does not end by itself.
            run: the run whose pin is meant; default the pin outside runs, or the only one there is.
            comment: why.

        Raises:
            SnapshotNotFound: there is no such snapshot.
            InvalidInput: the end cannot be understood or has passed; or several runs pinned it.
        """
        found, ends = records.loaded(self._engine, snapshot), retention.parse(until)
        pin = _one(found.id, self._pins(found.id), run)
        self._write([replace(pin, retention=ends)], PINNED, comment)

    def release(
        self, snapshot: Snapshot | str, *, run: str | None = None, every: bool = False, comment: str | None = None
    ) -> int:
        """Let go of a snapshot. What the archive keeps for nobody any more goes with the next maintenance.

        The record stays: which version, which files, who used it.

        Args:
            snapshot: snapshot, its id, or a unique beginning of it.
            run: the run whose pin is released; default the pin outside runs, or the only one there is.
            every: release all its pins.
            comment: why.

        Returns:
            Pins of the snapshot that are left.

        Raises:
            SnapshotNotFound: there is no such snapshot.
            Conflict: nothing pins it.
            InvalidInput: several runs pin it; say which, or all.
        """
        found = records.loaded(self._engine, snapshot)
        live = self.live(found.id)
        if not live:
            raise Conflict(f"snapshot {found.id} has no pin that could be released; lake.pins.list(every=True) tells")
        gone = live if every else [_one(found.id, live, run)]
        self._write(gone, RELEASED, comment)
        return len(live) - len(gone)

    def archive(self, snapshot: Snapshot | str, *, progress: Progress = None, comment: str | None = None) -> Snapshot:
        """Keep a snapshot's files themselves: by hard links, by copies inside the object store, or by copies.

        Files that are kept already are not copied again: a call that was interrupted goes on where it stopped.

        Args:
            snapshot: snapshot, its id, or a unique beginning of it.
            progress: True for a bar; or a function that is told how many bytes are done.
            comment: why.

        Raises:
            SnapshotNotFound: there is no such snapshot.
            SnapshotLost: files are gone or altered.
            StorageFull: no space for copies.
        """
        found = records.loaded(self._engine, snapshot)
        with levels.keeping(self._engine), reporting(progress, "archiving", found.bytes, "B") as told:
            done = 0

            def tell(count: int) -> None:
                nonlocal done
                done += count
                if told is not None:
                    told(done)

            kept = levels.reach(self._engine, found, found.files, Level(Protection.ARCHIVED), tell)
            if kept.files != found.files or kept.protection != found.protection:
                self._engine.append((records.file_rows(kept),))
            pins = self.live(found.id) or [Pin(found.id, None, kept.protection, Retention())]
            self._write([replace(pin, protection=kept.protection) for pin in pins], PINNED, comment)
        return kept

    def live(self, snapshot: str) -> "list[Pin]":
        """The pins of a snapshot that are neither released nor expired."""
        return self._pins(snapshot, live=True)

    def _pins(self, snapshot: str, live: bool = False) -> "list[Pin]":
        rows = self._engine.query(
            f"select *, epoch_us(until) as until_us from ({STATES}) where snapshot_id = $id order by pinned_at",
            {"id": snapshot, "now": self._engine.now},
        ).to_pylist()
        return [
            Pin(row["snapshot_id"], row["run_id"], row["protection"], Retention(row["until_us"], row["rule"]))
            for row in rows
            if not live or row["state"] == PINNED
        ]

    def _write(self, pins: Sequence[Pin], status: str, comment: str | None) -> None:
        self._engine.append((state_rows(pins, status, comment),))


def state_rows(pins: Sequence[Pin], status: str, comment: str | None = None) -> Rows:
    """The rows of ``pins_history`` that put pins into a state."""
    actor = current_user()
    rows = [
        PINS_HISTORY.row(
            snapshot_id=pin.snapshot_id,
            protection=pin.protection,
            status=status,
            run_id=pin.run_id,
            until=pin.retention.until,
            rule=pin.retention.rule,
            user_id=actor,
            comment=comment,
        )
        for pin in pins
    ]
    return Rows(PINS_HISTORY.name, tuple(rows))


def _one(snapshot: str, pins: "Sequence[Pin]", run: str | None) -> Pin:
    """The pin that is meant.

    Raises:
        InvalidInput: none is, or several may be.
    """
    from lakelineage.errors import InvalidInput

    by_run = {pin.run_id: pin for pin in pins}
    if run is not None:
        matching = [pin for of, pin in by_run.items() if of is not None and of.startswith(run.lower())]
        if len(matching) == 1:
            return matching[0]
    elif None in by_run:
        return by_run[None]
    elif len(pins) == 1:
        return pins[0]
    elif not pins:
        return Pin(snapshot, None, Protection.REFERENCE.value, Retention())
    known = ", ".join(str(of) for of in by_run if of is not None) or "no run"
    asked = "say which run's pin is meant, or all" if run is None else f"{run!r} is not one run of them"
    raise InvalidInput(f"snapshot {snapshot} is pinned by {known}; {asked}")
