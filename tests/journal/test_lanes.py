"""Who owns a lane: one living process at a time, and after it the next one."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lakelineage.engine import Engine
from lakelineage.errors import UnsuitableStorage
from lakelineage.journal import lanes
from lakelineage.journal.segment import MAGIC, encode
from lakelineage.model.changes import Change, Rows
from lakelineage.tables import METRICS

if TYPE_CHECKING:
    import subprocess

Start = Callable[..., "subprocess.Popen[str]"]
OTHER_BOOT = "00000000-0123456789"

WRITER = """
import sys
from lakelineage.journal.writer import Journal
from lakelineage.model.changes import Rows
from pathlib import Path
journal = Journal(Path(sys.argv[1]), "process", lambda size: None)
for number in range(int(sys.argv[2])):
    row = ("r", sys.argv[3], number, 0, 0.0, None, None, None)
    print(journal.append((Rows("metrics", (row,)),)).writer, flush=True)
sys.stdin.read()
"""


def change(key: str, step: int = 0) -> Change:
    return (Rows(METRICS.name, (("r", key, step, 0, 0.0, None, None, None),)),)


def die(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def steps(folder: Path) -> list[tuple[str, int]]:
    records = [r for s in lanes.segments(folder) for r in s.records()]
    return sorted((row[1], row[2]) for r in records for part in r.parts for row in part.body if isinstance(row, list))


def test_processes_that_live_at_once_own_lanes_of_their_own(tmp_path: Path, start: Start) -> None:
    processes = [start(WRITER, tmp_path, 1, f"p{i}") for i in range(8)]
    writers = [p.stdout.readline().strip() for p in processes if p.stdout]
    assert len(set(writers)) == 8
    assert steps(tmp_path) == [(f"p{i}", 0) for i in range(8)]


def test_a_lane_is_taken_over_from_the_dead_and_its_numbers_go_on(tmp_path: Path, start: Start) -> None:
    writers, wanted = set(), []
    for life in range(4):
        process = start(WRITER, tmp_path, 3, f"life{life}")
        assert process.stdout
        writers |= {process.stdout.readline().strip() for _ in range(3)}
        die(process)
        wanted += [(f"life{life}", step) for step in range(3)]
    assert len(writers) == 1
    assert steps(tmp_path) == wanted
    numbers = [r.seq for s in lanes.segments(tmp_path) for r in s.records()]
    assert numbers == sorted(set(numbers))


def test_a_living_owner_keeps_its_lane_while_the_committer_releases_it(lake_path: Path, start: Start) -> None:
    engine = Engine(lake_path, durability="process")
    process = start(WRITER, engine.host_folder, 2, "alive")
    assert process.stdout
    writer, again = (process.stdout.readline().strip() for _ in range(2))
    assert writer == again
    engine.flush()
    assert engine.append(change("other")).writer != writer
    assert [s.writer for s in lanes.segments(engine.host_folder)].count(writer) == 1
    engine.close()


def test_lanes_are_as_many_as_processes_at_once_not_as_processes_ever(lake_path: Path) -> None:
    writers = set()
    for number in range(6):
        engine = Engine(lake_path, durability="process")
        writers.add(engine.append(change(f"k{number}")).writer)
        engine.close()
    assert len(writers) == 1
    engine = Engine(lake_path)
    assert engine.query("SELECT key FROM metrics ORDER BY key").column("key").to_pylist() == [f"k{n}" for n in range(6)]
    assert len(list(engine.host_folder.glob("*.seg"))) == 1
    engine.close()


def test_lanes_of_an_earlier_boot_are_drained_removed_and_never_written(lake_path: Path) -> None:
    engine = Engine(lake_path, durability="process")
    folder = engine.host_folder
    (folder / f"{OTHER_BOOT}.{1:020d}.seg").write_bytes(MAGIC + encode(change("old"), 1, 1))
    (folder / f"{OTHER_BOOT}.lock").touch()
    assert engine.append(change("new")).writer != OTHER_BOOT
    engine.flush()
    assert not list(folder.glob(f"{OTHER_BOOT}*"))
    assert engine.query("SELECT key FROM metrics ORDER BY key").column("key").to_pylist() == ["new", "old"]
    engine.close()


def test_what_processes_that_died_left_is_committed_by_the_next_that_opens_the_lake(
    lake_path: Path, start: Start
) -> None:
    first = Engine(lake_path, durability="process")
    process = start(WRITER, first.host_folder, 5, "left")
    assert process.stdout
    assert [process.stdout.readline() for _ in range(5)][-1]
    die(process)
    first.close()
    second = Engine(lake_path)
    assert second.query("SELECT step FROM metrics ORDER BY step").column("step").to_pylist() == [0, 1, 2, 3, 4]
    deadline = time.monotonic() + 120
    while sum(f.num_rows for f in second.store.snapshot(METRICS).files) != 5:
        assert time.monotonic() < deadline, "nobody committed what was left"
        time.sleep(0.05)
    second.close()


def test_the_next_owner_that_came_and_went_while_lanes_were_released_loses_nothing(lake_path: Path) -> None:
    """The committer lists a lane; before it holds the lease, another process takes the lane over, logs and dies."""
    engine = Engine(lake_path, durability="process")
    engine.append(change("a"))
    engine.flush()  # committed, but kept as long as its owner lives
    engine.journal.close()
    listed = lanes.segments(engine.host_folder)
    other = Engine(lake_path, durability="process")
    assert other.append(change("b")).writer == listed[0].writer
    other.journal.close()
    assert engine._committer is not None
    engine._committer._release_lane(engine.host_folder, listed)
    for _ in range(2):
        assert engine.query("SELECT key FROM metrics ORDER BY key").column("key").to_pylist() == ["a", "b"]
        engine.flush()
    other.close()
    engine.close()


def test_a_segment_whose_beginning_was_never_written_is_no_obstacle(lake_path: Path) -> None:
    engine = Engine(lake_path, durability="process")
    for size in range(len(MAGIC)):
        (engine.host_folder / f"{lanes.boot_id()}-{size:010x}.{1:020d}.seg").write_bytes(MAGIC[:size])
    engine.append(change("a"))
    engine.flush()
    assert engine.query("SELECT key FROM metrics").column("key").to_pylist() == ["a"]
    engine.close()


def test_the_file_system_under_a_folder_is_told_even_if_the_folder_is_not_there_yet(tmp_path: Path) -> None:
    kind = lanes.file_system(tmp_path / "not" / "there")
    assert kind
    assert not lanes.is_network(kind)
    assert lanes.file_system(Path("/proc/self")) == "proc"


def test_a_network_file_system_under_the_journal_of_a_remote_lake_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No network file system can be mounted where tests run, so the operating system's list of mounts is replaced.
    import psutil
    from psutil._ntuples import sdiskpart

    mounts = [sdiskpart("/dev/vda", "/", "ext4", "rw"), sdiskpart("filer:/home", str(tmp_path), "nfs4", "rw")]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: mounts)
    lanes.require_local(tmp_path.parent)
    with pytest.raises(UnsuitableStorage, match=r"nfs4.*LAKELINEAGE_SPOOL") as caught:
        lanes.require_local(tmp_path / "spool")
    assert str(tmp_path / "spool") in str(caught.value)


def test_the_boot_id_is_the_same_in_every_process_of_this_boot(start: Start, done: Callable[..., str]) -> None:
    assert done(start("from lakelineage.journal.lanes import boot_id; print(boot_id())")).strip() == lanes.boot_id()
    assert len(lanes.boot_id()) == 8
