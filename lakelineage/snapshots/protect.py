"""Protection by the table itself: properties for which every engine's VACUUM and log clean-up keep a pinned version.

Files go by the commit that removed them, or by their age where the log no longer tells; the log goes by the age of
its entries; and Spark refuses to read a version that is older than the time for which files are kept. So both
properties must reach from the earliest of these moments to the end of the pin. What no property stops is a VACUUM that
is told a shorter time (``RETAIN 0 HOURS``), and whoever changes the properties back.
"""

import datetime as dt
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lakelineage.errors import ConcurrentWrite, InvalidInput, LakelineageError, NotProtectable
from lakelineage.snapshots import places
from lakelineage.store import files, log_history, table_properties
from lakelineage.store.table_properties import DEFAULTS, FILES, LOG, Properties

if TYPE_CHECKING:
    from lakelineage.snapshots.snapshot import Snapshot

#: Property in which a table remembers what its properties were before, and what they were changed to.
MEMORY = "lakelineage.protection"
#: As good as for ever, and what every engine understands.
FOREVER = dt.timedelta(days=36_500)
_DAY_US = 86_400_000_000
_ATTEMPTS = 20
_ARCHIVE = "Keep the files themselves instead: `lakelineage snapshot archive {id}` (in Python lake.pins.archive)"


@dataclass(frozen=True, slots=True)
class Change:
    """A property that has to change.

    Attributes:
        property: its name.
        before: its value; None if it has none, and Delta's default counts.
        after: its value then.
    """

    property: str
    before: str | None
    after: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to change in a table, or was changed.

    Attributes:
        snapshot_id: the pinned snapshot that it is about.
        table_uri: the table.
        table_id: its id.
        until: until when the properties are to keep the snapshot, µs since 1970 UTC; None: as good as for ever.
        changes: the properties; empty if they are right already.
        version: the version that the change made; None if nothing was changed.
    """

    snapshot_id: str
    table_uri: str
    table_id: str
    until: int | None
    changes: tuple[Change, ...]
    version: int | None = None

    @property
    def states(self) -> tuple[dict[str, str | None], dict[str, str | None]]:
        """The properties before and after."""
        return {c.property: c.before for c in self.changes}, {c.property: c.after for c in self.changes}


def plan(snapshot: "Snapshot", until: int | None) -> Plan:
    """What has to change so that the table keeps a snapshot.

    Args:
        snapshot: the pinned snapshot.
        until: µs since 1970 UTC; None: as good as for ever.

    Raises:
        NotProtectable: no properties would keep it: files are gone already, lie outside of the table, or the table is.
    """
    return _planned(snapshot, _properties(snapshot), until)


def apply(snapshot: "Snapshot", until: int | None) -> Plan:
    """Change the table's properties so that it keeps a snapshot; nothing is committed if they do already.

    Raises:
        NotProtectable: no properties would keep it, or they cannot be changed.
        ConcurrentWrite: others kept writing to the table.
    """

    def values(now: Properties) -> tuple[Plan, Mapping[str, str]]:
        made = _planned(snapshot, now, until)
        memory = _memory(now)
        for change in made.changes:
            before = memory.get(change.property, [change.before])[0]
            memory[change.property] = [before, change.after]
        return made, {**{c.property: c.after for c in made.changes}, MEMORY: json.dumps(memory)}

    return _changed(snapshot, values)


def planned_back(snapshot: "Snapshot") -> Plan:
    """What has to change so that a table's properties are what they were before they were to keep snapshots.

    Properties that somebody else changed meanwhile are left alone.
    """
    return _planned_back(snapshot, _properties(snapshot))


def take_back(snapshot: "Snapshot") -> Plan:
    """Change a table's properties back.

    Raises:
        NotProtectable: they cannot be changed.
        ConcurrentWrite: others kept writing to the table.
    """

    def values(now: Properties) -> tuple[Plan, Mapping[str, str]]:
        made = _planned_back(snapshot, now)
        return made, {**{c.property: c.after for c in made.changes}, MEMORY: "{}"}

    return _changed(snapshot, values)


def problem(snapshot: "Snapshot", until: int | None) -> str | None:
    """Why a table's properties do not keep a snapshot until then; None if they do."""
    try:
        changes = plan(snapshot, until).changes
    except LakelineageError as error:
        return str(error)
    if not changes:
        return None
    told = ", ".join(f"{change.property} is {change.before or DEFAULTS[change.property]}" for change in changes)
    return f"the table's properties would not keep it: {told}"


def require(snapshot: "Snapshot", until: int | None) -> None:
    """Refuse a pin at the level ``protected`` where the table's properties would have to change for it.

    Raises:
        InvalidInput: they would.
        NotProtectable: no properties would keep it.
    """
    changes = plan(snapshot, until).changes
    if changes:
        told = ", ".join(f"{c.property} from {c.before or DEFAULTS[c.property]!r} to {c.after!r}" for c in changes)
        raise InvalidInput(
            "protection 'protected' is an act of the table's owner, since it changes properties of "
            f"{snapshot.table_uri} ({told}): pin it, then `lakelineage snapshot protect SNAPSHOT` (in Python "
            "lake.pins.protect)"
        )


def _changed(snapshot: "Snapshot", values: Callable[[Properties], tuple[Plan, Mapping[str, str]]]) -> Plan:
    for attempt in range(_ATTEMPTS):
        now = _properties(snapshot)
        made, wanted = values(now)
        if not made.changes:
            return made
        try:
            return replace(made, version=table_properties.change(now, snapshot._options, wanted))
        except ConcurrentWrite:
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _properties(snapshot: "Snapshot") -> Properties:
    """The table's properties, if it is the table that was pinned.

    Raises:
        NotProtectable: it is not, or has no properties.
    """
    if snapshot.kind != "table":
        raise NotProtectable(
            f"snapshot {snapshot.id} is a {snapshot.kind}, which has no properties. {_ARCHIVE.format(id=snapshot.id)}"
        )
    try:
        now = table_properties.read(snapshot.table_uri, snapshot._options)
    except LakelineageError as error:
        raise NotProtectable(f"{error}. {_ARCHIVE.format(id=snapshot.id)}") from error
    if now.table_id != snapshot.table_id:
        raise NotProtectable(
            f"{snapshot.table_uri} is another table by now ({now.table_id}, not {snapshot.table_id}). "
            f"{_ARCHIVE.format(id=snapshot.id)}"
        )
    return now


def _planned(snapshot: "Snapshot", now: Properties, until: int | None) -> Plan:
    needed = FOREVER
    earliest = _earliest(snapshot, now)
    if until is not None:
        needed = min(FOREVER, dt.timedelta(days=-((earliest - until) // _DAY_US) + 1))
    changes = []
    for name in (FILES, LOG):
        present = now.interval(name)
        if present is None:
            raise NotProtectable(
                f"{name} of {snapshot.table_uri} is {now.values[name]!r}, which cannot be understood; set it in days "
                f"first, or leave it. {_ARCHIVE.format(id=snapshot.id)}"
            )
        if present < needed:
            changes.append(Change(name, now.values.get(name), f"interval {needed.days} days"))
    return Plan(snapshot.id, snapshot.table_uri, snapshot.table_id, until, tuple(changes))


def _earliest(snapshot: "Snapshot", now: Properties) -> int:
    """The moment from which engines count how long to keep what a version needs; µs since 1970 UTC.

    Raises:
        NotProtectable: files are gone, or outside of the table.
    """
    pinned = snapshot.pinned()
    names = {log_history.plain(pinned.uri, path): path for path in places.needed(pinned)}
    outside = [name for name in names if name.startswith("/") or "://" in name]
    if outside:
        raise NotProtectable(
            f"{len(outside)} files of version {snapshot.version} are outside of {snapshot.table_uri} (a shallow "
            f"clone): {outside[0]}; its properties do not reach them. {_ARCHIVE.format(id=snapshot.id)}"
        )
    gone = places.not_original(pinned)
    if gone:
        raise NotProtectable(
            f"{len(gone)} of {len(names)} files of version {snapshot.version} are no longer in {snapshot.table_uri}: "
            f"{gone[0]}. {_ARCHIVE.format(id=snapshot.id)}"
        )
    known = log_history.files(pinned.uri, pinned.options, now.version)
    moments = [at for name in names if (at := known.removed.get(name))]
    untold = [path for name, path in names.items() if name not in known.active and not known.removed.get(name)]
    states = files.states(pinned.uri, pinned.options, untold)
    moments += [state.modified for state in states if state is not None]
    if snapshot.committed_at is not None:
        moments.append(snapshot.committed_at)
    return min(moments, default=_now())


def _now() -> int:
    return int(dt.datetime.now(dt.UTC).timestamp() * 1_000_000)


def _planned_back(snapshot: "Snapshot", now: Properties) -> Plan:
    changes = [
        Change(name, after, before or DEFAULTS[name])
        for name, (before, after) in _memory(now).items()
        if name in DEFAULTS and now.values.get(name) == after
    ]
    return Plan(snapshot.id, snapshot.table_uri, snapshot.table_id, None, tuple(changes))


def _memory(now: Properties) -> dict[str, list[str | None]]:
    try:
        found = json.loads(now.values.get(MEMORY) or "{}")
    except ValueError:
        return {}  # somebody else wrote it: there is nothing to go back to
    return found if isinstance(found, dict) else {}
