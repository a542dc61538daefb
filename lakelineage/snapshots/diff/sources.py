"""Where the rows that differ can be read from: the files of which only one snapshot has, the table's log, or all files.

Each source gives rows that left A and rows that came to B, and perhaps some that did both; those cancel later.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lakelineage.errors import SnapshotLost
from lakelineage.snapshots import places
from lakelineage.snapshots.diff.columns import Matching
from lakelineage.snapshots.places import PinnedFile
from lakelineage.snapshots.snapshot import Snapshot
from lakelineage.store.source import DataFile
from lakelineage.store.source_changes import OPENING, changes_between

Name = Literal["nothing", "file lists", "change data", "all files"]
_CHANGE_TYPE = {"name": "_change_type", "type": "string", "nullable": True, "metadata": {}}


@dataclass(frozen=True, slots=True)
class Reading:
    """Files that are read in one way.

    Attributes:
        files: a snapshot of just these.
        of_a: whether it has the columns of A.
        sign: 1 for rows that came to B, -1 for rows that left A; with change data, that of an insert.
        change_data: whether rows tell by ``_change_type`` what they are.
    """

    files: Snapshot
    of_a: bool
    sign: int
    change_data: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """One way to have the rows that differ.

    Attributes:
        name: which.
        readings: what is read.
        bytes: size of all that.
        skipped: size of files of the two snapshots that are not read.
        whole: whether all rows of both are read.
    """

    name: Name
    readings: tuple[Reading, ...]
    bytes: int
    skipped: int
    whole: bool


def sources(a: Snapshot, b: Snapshot, matching: Matching, alike: bool) -> Iterator[Source]:
    """The sources that there are, that which reads least first.

    Args:
        a: before.
        b: after.
        matching: their columns.
        alike: whether the same rows are chosen of both (``where``); if not, rows that both tables have may differ.
    """
    same_table = a.table_id == b.table_id and alike
    # A file that both have may hold a column that was dropped by column mapping; else it cannot have what one lacks.
    cancel = same_table and not (matching.one_sided and (a.column_mapping or b.column_mapping))
    listed = _file_lists(a, b, cancel)
    tellable = cancel and bool(listed.readings) and _same_columns(a, b)
    files = sum(len(reading.files.files) for reading in listed.readings)
    logged = _change_data(a, b, listed.bytes + files * OPENING) if tellable else None
    if logged is not None:
        yield logged
    yield listed
    if logged is None and tellable:
        # More to read, but its files may be there where those of the lists are lost.
        larger = _change_data(a, b, math.inf)
        if larger is not None:
            yield larger


def there(source: Source) -> bool:
    """Whether all files of a source are."""
    try:
        for reading in source.readings:
            places.find(reading.files.lake.root, reading.files.pinned())
    except SnapshotLost:
        return False
    return True


def _same_columns(a: Snapshot, b: Snapshot) -> bool:
    """Whether the log's files can be read as those of either: change data files do not follow column mapping here."""
    mapped = a.column_mapping or b.column_mapping
    return a.version != b.version and a.schema_json == b.schema_json and not mapped


def _identity(pin: PinnedFile) -> tuple[object, ...]:
    return pin.file.path, pin.file.size, pin.file.partition_values, pin.file.deletion_vector


def _file_lists(a: Snapshot, b: Snapshot, cancel: bool) -> Source:
    in_a, in_b = {_identity(pin): pin for pin in a.files}, {_identity(pin): pin for pin in b.files}
    shared = in_a.keys() & in_b.keys() if cancel else set()
    only_a = [pin for name, pin in in_a.items() if name not in shared]
    only_b = [pin for name, pin in in_b.items() if name not in shared]
    readings = (*_readings(a, "a", True, -1, only_a), *_readings(b, "b", False, 1, only_b))
    read = sum(pin.file.size for pin in (*only_a, *only_b))
    skipped = sum(in_a[name].file.size for name in shared)
    return Source(_name(bool(readings), bool(shared)), readings, read, skipped, not shared)


def _name(reads: bool, skips: bool) -> Name:
    if not reads:
        return "nothing"
    return "file lists" if skips else "all files"


def _readings(
    snapshot: Snapshot, what: str, of_a: bool, sign: int, pins: Sequence[PinnedFile], change_data: bool = False
) -> Iterator[Reading]:
    """Readings in which no path comes twice: a restore can bring back a file that the log added before."""
    rounds: list[dict[str, PinnedFile]] = []
    for pin in sorted(pins, key=lambda pin: pin.file.path):
        free = next((taken for taken in rounds if pin.file.path not in taken), None)
        if free is None:
            rounds.append({pin.file.path: pin})
        else:
            free[pin.file.path] = pin
    for number, taken in enumerate(rounds):
        # An id of its own: engines may keep what belongs to the rows of a snapshot under its id.
        name = f"{snapshot.id}/{what}-{number}"
        yield Reading(replace(snapshot, id=name, columns=None, _files=tuple(taken.values())), of_a, sign, change_data)


def _change_data(a: Snapshot, b: Snapshot, most: float) -> Source | None:
    """What the log tells, if that costs at most so many bytes."""
    old, new = sorted((a, b), key=lambda pin: pin.version)
    found = changes_between(new.table_uri, new._options, new.table_id, old.version, new.version, new.schema_json, most)
    if found is None:
        return None
    pinned = {(pin.file.path, pin.file.deletion_vector): pin for pin in (*a.files, *b.files)}

    def pins(files: Sequence[DataFile]) -> list[PinnedFile]:
        """As they were pinned, if they were: those may be kept."""
        return [pinned.get((file.path, file.deletion_vector)) or PinnedFile(file) for file in files]

    forward = 1 if new is b else -1
    schema = json.loads(b.schema_json)
    schema["fields"].append(_CHANGE_TYPE)
    telling = replace(b, schema_json=json.dumps(schema))
    readings = (
        *_readings(b, "added", False, forward, pins(found.added)),
        *_readings(b, "removed", False, -forward, pins(found.removed)),
        *_readings(telling, "changes", False, forward, pins(found.change_data), change_data=True),
    )
    read = {(file.path, file.deletion_vector) for file in found.files}
    skipped = sum(pin.file.size for name, pin in pinned.items() if name not in read)
    return Source("change data", readings, found.bytes, skipped, False)
