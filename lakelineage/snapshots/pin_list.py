"""Pins and snapshots of a lake, listed: until when each is kept, by what, and whether it can be read back today."""

from typing import TYPE_CHECKING, Any

from lakelineage.errors import SnapshotLost
from lakelineage.model.moments import parse_time
from lakelineage.model.values import Protection
from lakelineage.snapshots import folders, loss, places, protect, records, states
from lakelineage.snapshots.retention import Retention
from lakelineage.snapshots.snapshot import Snapshot

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Reads

_LISTED = f"""
select p.snapshot_id, s.table_uri, s.version, i.name,
  case when l.archived then 'archived' else p.protection end as protection,
  p.state, p.until, p.rule, p.run_id, p.user_id, p.pinned_at, p.comment
from ({states.STATES}) p join ({records.DISTINCT}) s using (snapshot_id)
left join ({records.ALL_LEVELS}) l using (snapshot_id)
left join (select snapshot_id, run_id, min(name) as name from inputs group by all) i
  on i.snapshot_id = p.snapshot_id and i.run_id = p.run_id
where $every or p.state = '{states.PINNED}'
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
  from ({states.STATES}) where state = '{states.PINNED}' group by snapshot_id
) p using (snapshot_id)
order by s.ingested_at, s.writer, s.seq
"""


def list_snapshots(reads: "Reads") -> "pa.Table":
    """Every snapshot of the lake, oldest first: table, version, size, protection, number of pins and of runs."""
    return reads.query(_SNAPSHOTS, {"now": reads.now})


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
            expired), until, rule, run_id, user_id, pinned_at, comment; and, if checked, ``readable``,
            ``read_from`` (table, archive, or both), and ``problem``: what became of files that are lost, or why the
            table's properties no longer keep what they are to keep.
        """
        found = self._reads.query(_LISTED, {"every": every, "now": self._reads.now})
        return _checked(self._reads, found) if check else found

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._reads.root.uri}: list>"


def _checked(reads: "Reads", pins: "pa.Table") -> "pa.Table":
    import pyarrow as pa

    ids = pins.column("snapshot_id").to_pylist()
    known = {snapshot: records.load(reads, snapshot) for snapshot in dict.fromkeys(ids)}
    erased = {each for each, snapshot in known.items() if records.is_erased(reads, snapshot)}
    told = {each: None if each in erased else where_read(snapshot) for each, snapshot in known.items()}
    lost = {
        each: "rows of it were forgotten" if each in erased else _loss(known[each])
        for each, place in told.items()
        if place is None
    }
    problems = [lost.get(pin["snapshot_id"]) or _unkept(known[pin["snapshot_id"]], pin) for pin in pins.to_pylist()]
    return (
        pins.append_column("readable", pa.array([told[each] is not None for each in ids], pa.bool_()))
        .append_column("read_from", pa.array([told[each] for each in ids], pa.string()))
        .append_column("problem", pa.array(problems, pa.string()))
    )


def _loss(snapshot: Snapshot) -> str:
    """What became of the files of a snapshot that are lost."""
    pinned = snapshot.pinned()
    found = places.look(snapshot.lake.root, pinned)
    missing = [pin.file.path for pin, place in zip(pinned.files, found, strict=True) if place is None]
    if missing:
        return loss.summary(loss.explain(pinned, missing))
    return "files of it are lost" if snapshot.kind == folders.KIND else "files of its deletion vectors are lost"


def _unkept(snapshot: Snapshot, pin: "dict[str, Any]") -> str | None:
    """Why a protected pin is not protected any more, or not until its end; None for other pins."""
    if pin["protection"] != Protection.PROTECTED or pin["state"] != states.PINNED:
        return None
    until = None if pin["until"] is None else parse_time(pin["until"])
    return protect.problem(snapshot, Retention(until, pin["rule"]).certain)


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


def _where_contents_are(snapshot: Snapshot) -> str | None:
    from lakelineage.snapshots.folders import files

    try:
        return files.where_read(snapshot.lake.root, snapshot)
    except SnapshotLost:
        return None


def _has_vectors(snapshot: Snapshot) -> bool:
    """Whether the deletion vectors of its files, if it has some, are there."""
    if all(pin.file.deletion_vector is None for pin in snapshot.files):
        return True
    try:
        snapshot.check_files()
    except SnapshotLost:
        return False
    return True
