"""Pins: what keeps a snapshot, until when, on whose behalf, and whether it can be read back today.

A pin is a snapshot and the run that asked for it (or nobody, where it was pinned outside a run). It is kept until it is
released or ends by itself (:mod:`lakelineage.snapshots.retention`). Files in the archive stay as long as any pin of any
snapshot that has them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lakelineage.display.progress import Progress, reporting
from lakelineage.errors import Conflict, NotProtectable
from lakelineage.model import nodes
from lakelineage.model.changes import Rows
from lakelineage.model.values import Protection
from lakelineage.registry import activity
from lakelineage.registry.activity import Act
from lakelineage.snapshots import levels, protect, records, retention, states
from lakelineage.snapshots.levels import Level
from lakelineage.snapshots.pin_list import PinList
from lakelineage.snapshots.protect import Plan
from lakelineage.snapshots.retention import Retention, Until
from lakelineage.snapshots.snapshot import Snapshot
from lakelineage.tables import PINS_HISTORY
from lakelineage.tracking.capture import current_user

if TYPE_CHECKING:
    from lakelineage.engine import Engine

#: Snapshots of a table that a live pin has at the level ``protected``.
_PROTECTED_PINS = f"""
select p.snapshot_id from ({states.PROTECTED}) p join ({records.DISTINCT}) s using (snapshot_id)
where s.table_id = $table
"""


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
        self._write([replace(pin, retention=ends)], states.PINNED, comment)

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
        self._write(gone, states.RELEASED, comment)
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
            self._write([replace(pin, protection=kept.protection) for pin in pins], states.PINNED, comment)
        return kept

    def live(self, snapshot: str) -> "list[Pin]":
        """The pins of a snapshot that are neither released nor expired."""
        return self._pins(snapshot, live=True)

    def protect(
        self,
        snapshot: Snapshot | str,
        *,
        until: Until | None = None,
        run: str | None = None,
        comment: str | None = None,
        dry_run: bool = False,
    ) -> Plan:
        """Have the table itself keep a snapshot: an act of the table's owner.

        Sets ``delta.deletedFileRetentionDuration`` and ``delta.logRetentionDuration`` of the table so that VACUUM and
        log clean-up of every engine keep the version's files and log until its pins end. It never lowers them, and
        commits nothing if they suffice already. **Commits of other writers that are in flight fail**, and have to be
        run again. A VACUUM that is told a shorter time (``RETAIN 0 HOURS``) does not heed them.

        Args:
            snapshot: snapshot, its id, or a unique beginning of it.
            until: new end of the pin; default: each pin keeps its own.
            run: the run whose pin is meant; default all pins of the snapshot, or (with ``until``) the one outside runs.
            comment: why.
            dry_run: change nothing; only say what would be changed.

        Returns:
            The properties with their values before and after.

        Raises:
            SnapshotNotFound: there is no such snapshot.
            InvalidInput: the end cannot be understood or has passed, or no such run pins it.
            NotProtectable: no properties would keep it (files are gone, or outside of the table), or they cannot be
                changed; archive it instead.
            ConcurrentWrite: others kept writing to the table.
        """
        found, ends = records.loaded(self._engine, snapshot), retention.parse(until)
        live = self._pins(found.id, live=True)
        if run is not None:
            pins = [_one(found.id, live, run)]
        elif until is None and live:
            pins = live
        else:
            pins = [pin for pin in live if pin.run_id is None] or [Pin(found.id, None, "", Retention())]
        if until is not None:
            pins = [replace(pin, retention=ends) for pin in pins]
        last = _latest([pin.retention.certain for pin in pins])
        if dry_run:
            return protect.plan(found, last)
        made = protect.apply(found, last)
        self._write([replace(pin, protection=Protection.PROTECTED.value) for pin in pins], states.PINNED, comment)
        self._note("protect", made, comment)
        return made

    def unprotect(self, snapshot: Snapshot | str, *, comment: str | None = None, dry_run: bool = False) -> Plan:
        """Take :meth:`protect` back: the snapshot's protected pins become references.

        If no other pin of this lake is protected by the table, its properties go back to what they were, too; those
        that somebody changed meanwhile stay. **Commits of other writers that are in flight fail then.** Other lakes
        that rely on the properties are not known: their ``pins.list`` tells them afterwards.

        Args:
            snapshot: snapshot, its id, or a unique beginning of it; one that was released, too.
            comment: why.
            dry_run: change nothing; only say what would be changed.

        Raises:
            SnapshotNotFound: there is no such snapshot.
            NotProtectable: the properties cannot be read or changed.
            ConcurrentWrite: others kept writing to the table.
        """
        found = records.loaded(self._engine, snapshot)
        mine = [pin for pin in self._pins(found.id, live=True) if pin.protection == Protection.PROTECTED]
        others = self._engine.query(_PROTECTED_PINS, {"now": self._engine.now, "table": found.table_id})
        if any(each != found.id for each in others.column(0).to_pylist()):
            made = Plan(found.id, found.table_uri, found.table_id, None, ())
        else:
            made = protect.planned_back(found) if dry_run else protect.take_back(found)
        if not dry_run:
            if mine:
                lower = Protection.REFERENCE.value
                self._write([replace(pin, protection=lower) for pin in mine], states.PINNED, comment)
            self._note("unprotect", made, comment)
        return made

    def releases_table(self, snapshot: Snapshot | str) -> bool:
        """Whether its table was made to keep a snapshot (:meth:`protect`), and no pin of this lake needs that now."""
        found = records.loaded(self._engine, snapshot)
        ever = self._engine.query(
            "select 1 from pins_history where snapshot_id = $id and protection = 'protected' limit 1", {"id": found.id}
        )
        if not ever.num_rows:
            return False
        left = self._engine.query(_PROTECTED_PINS, {"now": self._engine.now, "table": found.table_id})
        try:
            return not left.num_rows and bool(protect.planned_back(found).changes)
        except NotProtectable:  # the table is gone, or is another one: there is nothing to take back
            return False

    def _note(self, action: str, made: Plan, comment: str | None) -> None:
        """Record a change of a table's properties."""
        if made.changes:
            before, after = (json.dumps(values, sort_keys=True) for values in made.states)
            table = str(nodes.dataset(made.table_id))
            activity.note(self._engine, Act(current_user(), action, table, before, after, comment))

    def _pins(self, snapshot: str, live: bool = False) -> "list[Pin]":
        rows = self._engine.query(
            f"select *, epoch_us(until) as until_us from ({states.STATES}) where snapshot_id = $id order by pinned_at",
            {"id": snapshot, "now": self._engine.now},
        ).to_pylist()
        return [
            Pin(row["snapshot_id"], row["run_id"], row["protection"], Retention(row["until_us"], row["rule"]))
            for row in rows
            if not live or row["state"] == states.PINNED
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


def _latest(ends: "Sequence[int | None]") -> int | None:
    """The last of several ends; None is for ever."""
    certain = [end for end in ends if end is not None]
    return max(certain) if certain and len(certain) == len(ends) else None


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
