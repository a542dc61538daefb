"""A table lives through everything that owners do to tables, with pins taken on the way.

After each step, every pin reads back bit for bit what a plain copy taken at pin time holds, or raises ``SnapshotLost``
exactly where its level promises no more:

- ``archived`` always reads back.
- ``protected`` reads back until somebody vacuums whatever the table's properties say, drops the table, or puts another
  file in the place of one of its files.
- ``reference`` reads back as long as the files of its version are at their place as they were.

What is lost is named, file by file. And VACUUM by lakelineage takes no file that any pin needs.

A failure prints the steps that lead to it, shortened, and how to run just them again.
"""

import hashlib
import os
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import lakelineage as ll
from lakelineage import Snapshot
from lakelineage.errors import SnapshotLost

#: What the partition column may hold: nothing, the empty text, and what paths must escape.
PLACES = st.sampled_from([None, "", "oslo", "a/b=c %41", "ü*?[x]"])
NUMBERS = st.sampled_from([0.5, -0.0, 0.0, float("nan"), float("inf"), None, 1e-308])
LEVELS = st.sampled_from(["reference", "archived"])


#: How often a pin of a level was read back, or rightly lost: a law that nothing was asked of proves nothing.
SEEN: Counter[tuple[str, str]] = Counter()


@dataclass
class Taken:
    """A pin, and what was there when it was taken.

    Attributes:
        pin: the snapshot.
        copy: its rows, read by the Delta engine.
        files: path in the log → digest of the content.
        is_wronged: whether something happened since that a protected pin does not promise to survive.
    """

    pin: Snapshot
    copy: pa.Table
    files: dict[str, str]
    is_wronged: bool = False


def digest(file: Path) -> str | None:
    """Of a file's content; None if there is no file."""
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None


def exactly(rows: pa.Table) -> list[tuple[Any, ...]]:
    """Rows in the order of their ids, floats by their bits."""
    floats = rows.column("x").cast(pa.float64()).combine_chunks()
    bits = pa.Array.from_buffers(pa.int64(), len(floats), floats.buffers(), floats.null_count, floats.offset)
    columns = [rows.column(name).to_pylist() for name in rows.column_names if name != "x"]
    return sorted(zip(*columns, bits.to_pylist(), strict=True), key=repr)


class LifeOfATable(RuleBasedStateMachine):
    """One table, one lake, and the pins that were taken."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.lake = ll.open(self.folder / "lake", durability="process")
        self.uri = str(self.folder / "table")
        self.taken: list[Taken] = []
        #: Snapshot → what it was raised to. Objects that were made before know nothing of it, and need not.
        self.levels: dict[str, str] = {}
        self.last_id = 0
        self.by_place = False

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.lake.close()
        shutil.rmtree(self.folder)

    # The owner of the table, who knows nothing of pins.

    @initialize(by_place=st.booleans(), feed=st.booleans())
    def is_made(self, by_place: bool, feed: bool) -> None:
        """The table is made, partitioned or not, with change data feed or not."""
        self.by_place = by_place
        configuration: dict[str, str | None] = {"delta.deletedFileRetentionDuration": "interval 0 seconds"}
        if feed:
            configuration["delta.enableChangeDataFeed"] = "true"
        write_deltalake(self.uri, self.rows(["oslo"], [1.0]), partition_by=self.partitions, configuration=configuration)
        self.is_pinned("reference", 0)

    @property
    def partitions(self) -> list[str] | None:
        """Columns that the table is partitioned by."""
        return ["place"] if self.by_place else None

    @property
    def table(self) -> DeltaTable:
        """The table as it is now."""
        return DeltaTable(self.uri)

    def rows(self, places: list[str | None], numbers: list[float | None]) -> pa.Table:
        """New rows, with ids that no row had before."""
        pairs = list(zip(places, numbers, strict=False))
        ids = range(self.last_id, self.last_id + len(pairs))
        self.last_id += len(pairs)
        return pa.table(
            {
                "id": pa.array(ids, pa.int64()),
                "place": pa.array([place for place, _ in pairs], pa.string()),
                "x": pa.array([number for _, number in pairs], pa.float64()),
            }
        )

    @rule(places=st.lists(PLACES, max_size=5), numbers=st.lists(NUMBERS, min_size=5, max_size=5))
    def is_appended_to(self, places: list[str | None], numbers: list[float | None]) -> None:
        """Rows come in; none at times."""
        write_deltalake(self.uri, self.rows(places, numbers), mode="append", schema_mode="merge")

    @rule(below=st.integers(0, 12))
    def is_updated(self, below: int) -> None:
        """Some rows get another number."""
        self.table.update({"x": "x + 1"}, predicate=f"id < {below}")

    @rule(below=st.integers(0, 8))
    def is_deleted_from(self, below: int) -> None:
        """Some rows go, or all."""
        self.table.delete(f"id < {below}")

    @rule(places=st.lists(PLACES, min_size=1, max_size=3), numbers=st.lists(NUMBERS, min_size=3, max_size=3))
    def is_merged_into(self, places: list[str | None], numbers: list[float | None]) -> None:
        """Rows are updated or inserted."""
        incoming = self.rows(places, numbers)
        self.last_id = max(self.last_id - 1, 1)  # so that the next to come in meets a row that is there
        merge = self.table.merge(incoming, "old.id = new.id", source_alias="new", target_alias="old")
        merge.when_matched_update({"x": "new.x"}).when_not_matched_insert(
            {"id": "new.id", "place": "new.place", "x": "new.x"}
        ).execute()

    @rule(places=st.lists(PLACES, min_size=1, max_size=3))
    def is_overwritten(self, places: list[str | None]) -> None:
        """All rows are replaced."""
        write_deltalake(self.uri, self.rows(places, [2.0] * 3), mode="overwrite", schema_mode="merge")

    @rule()
    def gets_a_column(self) -> None:
        """The schema evolves."""
        if "more" not in self.table.schema().to_arrow().names:
            more = self.rows(["oslo"], [3.0]).append_column("more", pa.array(["m"]))
            write_deltalake(self.uri, more, mode="append", schema_mode="merge")

    @rule()
    def is_compacted(self) -> None:
        """OPTIMIZE: the same rows in fewer files."""
        self.table.optimize.compact()

    @rule()
    def is_z_ordered(self) -> None:
        """OPTIMIZE ZORDER: the same rows in other files."""
        self.table.optimize.z_order(["id"])

    @rule()
    def is_vacuumed_at_once(self) -> None:
        """VACUUM with zero retention, whatever the properties say: what the newest version does not need is gone."""
        self.table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True)
        self.wrongs_all()

    @rule()
    def is_vacuumed(self) -> None:
        """VACUUM as the table's properties say, which is at once if nobody protected it."""
        self.table.vacuum(dry_run=False, full=True)

    @rule()
    def is_vacuumed_by_lakelineage(self) -> None:
        """``lakelineage vacuum`` with zero retention: what pins need stays."""
        before = [self.lost_files(each) for each in self.taken]
        self.lake.vacuum(self.uri, retention_hours=0, enforce_retention_duration=False, dry_run=False)
        for each, lost in zip(self.taken, before, strict=True):
            assert self.level(each) == "archived" or self.lost_files(each) == lost

    def as_told(self, rows: pa.Table) -> pa.Table:
        """The engine that makes the plain copies takes the empty text for null where it is a partition's value."""
        at = rows.column_names.index("place")
        places = [place or None for place in rows.column("place").to_pylist()]
        return rows.set_column(at, "place", pa.array(places, pa.string())) if self.by_place else rows

    def wrongs_all(self) -> None:
        """Something happens that no protected pin survives."""
        for each in self.taken:
            each.is_wronged = True

    @rule()
    def has_its_log_cleaned(self) -> None:
        """After a checkpoint, the log tells of the newest version only."""
        self.table.create_checkpoint()
        for entry in Path(self.uri, "_delta_log").glob("*.json"):
            os.utime(entry, (0, 0))
        self.table.cleanup_metadata()

    @rule()
    def is_dropped_and_made_again(self) -> None:
        """Another table is at the same place."""
        self.wrongs_all()
        shutil.rmtree(self.uri)
        write_deltalake(self.uri, self.rows(["again"], [4.0]), partition_by=self.partitions)

    @rule()
    def comes_back_from_a_backup(self) -> None:
        """The folder is copied away and back, with the times of its files."""
        shutil.copytree(self.uri, f"{self.uri}-backup")
        shutil.rmtree(self.uri)
        shutil.copytree(f"{self.uri}-backup", self.uri)
        shutil.rmtree(f"{self.uri}-backup")

    @precondition(lambda self: self.taken)
    @rule(which=st.integers(0, 9))
    def has_a_file_replaced(self, which: int) -> None:
        """A file that the newest version does not need gets another content of the same size, under the same name."""
        needed = {Path(self.uri, *self.parts(path)) for path in self.paths(self.table)}
        files = [path for path in Path(self.uri).rglob("*.parquet") if "_delta_log" not in path.parts]
        files = sorted((path for path in files if path not in needed), key=lambda path: path.stat().st_mtime_ns)
        if files:
            file = files[which % len(files)]
            content = bytearray(file.read_bytes())
            content[len(content) // 2] = (content[len(content) // 2] + 1) % 256
            self.wrongs_all()
            file.unlink()  # hard links of the old content stay what they are
            file.write_bytes(content)

    # Whoever trains on it.

    @rule()
    def is_pinned_by_reference(self) -> None:
        """The newest version; the most common case comes often."""
        self.is_pinned("reference", 0)

    @rule()
    def is_pinned_and_archived(self) -> None:
        """The same, kept for ever."""
        self.is_pinned("archived", 0)

    @rule(level=LEVELS, back=st.integers(1, 3))
    def is_pinned_as_it_was(self, level: str, back: int) -> None:
        """An older version, if its files are still there."""
        self.is_pinned(level, back)

    def is_pinned(self, level: str, back: int) -> None:
        """Pin a version, and keep a plain copy of it beside."""
        newest = self.table.version()
        try:
            old = DeltaTable(self.uri, version=max(0, newest - back))
            copy = old.to_pyarrow_table()
            whole = all(digest(Path(self.uri, *self.parts(path))) for path in self.paths(old))
        except (DeltaError, OSError):  # the Delta engine cannot read it any more: there is nothing to compare with
            return
        if not whole or self.was_altered(old):
            return
        pin = self.lake.snapshot(self.uri, version=old.version(), protection=level)
        files = {path: str(digest(Path(self.uri, *self.parts(path)))) for path in (f.file.path for f in pin.files)}
        self.taken.append(Taken(pin, copy, files))
        if level == "archived":
            self.levels[pin.id] = level

    def was_altered(self, table: DeltaTable) -> bool:
        """Whether a file of the version is not what some pin knows it to be."""
        known: dict[str, str] = {}
        for earlier in self.taken:
            if earlier.pin.table_id == table.metadata().id:
                known.update(earlier.files)
        return any(digest(Path(self.uri, *self.parts(p))) != known[p] for p in self.paths(table) if p in known)

    @staticmethod
    def paths(table: DeltaTable) -> list[str]:
        """Files of a version, as its log names them."""
        return [str(path) for path in pa.table(table.get_add_actions()).column("path").to_pylist()]

    @staticmethod
    def parts(path: str) -> tuple[str, ...]:
        """A path of the log on disk."""
        from urllib.parse import unquote

        return Path(unquote(path)).parts

    @precondition(lambda self: self.taken)
    @rule(which=st.integers(0, 9))
    def has_a_pin_archived_later(self, which: int) -> None:
        """A pin is raised to archived, if its files are there."""
        chosen = self.taken[which % len(self.taken)]
        if self.lost_files(chosen):
            return
        self.lake.pins.archive(chosen.pin)
        self.levels[chosen.pin.id] = "archived"

    @precondition(lambda self: self.taken)
    @rule()
    def is_pinned_and_protected(self) -> None:
        """The owner lets the table keep what is pinned now."""
        self.is_pinned("reference", 0)
        self.has_a_pin_protected(-1)

    @precondition(lambda self: self.taken)
    @rule(which=st.integers(0, 9))
    def has_a_pin_protected_later(self, which: int) -> None:
        """The owner lets the table keep an older pin."""
        self.has_a_pin_protected(which)

    def has_a_pin_protected(self, which: int) -> None:
        """Protect a pin, if its files are there and the table is the one that was pinned."""
        chosen = self.taken[which % len(self.taken)]
        same_table = self.table.metadata().id == chosen.pin.table_id
        if self.level(chosen) != "reference" or self.lost_files(chosen) or not same_table:
            return
        self.lake.pins.protect(chosen.pin)
        self.levels[chosen.pin.id] = "protected"
        for each in self.taken:
            each.is_wronged = each.is_wronged and each.pin.id != chosen.pin.id

    @rule()
    def lake_is_maintained(self) -> None:
        """Compacts, publishes, vacuums the lake's own tables, and sweeps its archive."""
        self.lake.maintain()

    @rule()
    def lake_is_opened_anew(self) -> None:
        """Nothing depends on what a process remembers."""
        self.lake.close()
        self.lake = ll.open(self.folder / "lake", durability="process")
        for each in self.taken:
            each.pin = self.lake.load_snapshot(each.pin.id)

    # What holds after each step.

    def level(self, taken: Taken) -> str:
        """The level of a pin now."""
        return self.levels.get(taken.pin.id, "reference")

    def lost_files(self, taken: Taken) -> list[str]:
        """Files of a pin that are not at their place as they were."""
        now = {path: digest(Path(self.uri, *self.parts(path))) for path in taken.files}
        return sorted(path for path, was in taken.files.items() if now[path] != was)

    @invariant()
    def every_pin_keeps_its_promise(self) -> None:
        """Read back bit for bit, or lost where the level promises no more."""
        for taken in self.taken:
            level = self.level(taken)
            is_safe = level == "archived" or (level == "protected" and not taken.is_wronged)
            lost = [] if is_safe else self.lost_files(taken)
            SEEN[(level, "lost" if lost else "read")] += 1
            if not lost:
                back = taken.pin.to_arrow()
                assert back.column_names == taken.copy.column_names
                assert exactly(self.as_told(back)) == exactly(self.as_told(taken.copy))
                continue
            with pytest.raises(SnapshotLost) as told:
                taken.pin.to_arrow()
            assert sorted(told.value.missing) == lost


LifeOfATable.TestCase.settings = settings(max_examples=15, stateful_step_count=25)


@pytest.mark.slow
@pytest.mark.timeout(900)
class TestLifeOfATable(LifeOfATable.TestCase):  # type: ignore[misc, name-defined]
    """Hypothesis makes up the lives."""

    def runTest(self) -> None:  # noqa: N802 - unittest's name
        """Live them, and see that they had something to tell."""
        SEEN.clear()
        super().runTest()
        expected = [("archived", "read"), ("protected", "read"), ("reference", "read"), ("reference", "lost")]
        assert min(SEEN[case] for case in expected) > 10, SEEN
