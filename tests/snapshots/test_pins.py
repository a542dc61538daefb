"""Laws of pins: until when they hold, what the archive keeps for them, and what is noticed of damage."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

import lakelineage
from lakelineage.errors import Conflict, InvalidInput, SnapshotLost
from lakelineage.snapshots import pins as pin_room
from lakelineage.snapshots import states
from lakelineage.snapshots.retention import Retention


@pytest.fixture
def lake(tmp_path: Path) -> Any:
    with lakelineage.open(tmp_path / "lake", protection="reference") as opened:
        yield opened


def live(lake: Any) -> list[str]:
    return [str(each) for each in lake.pins.list(check=False).column("snapshot_id").to_pylist()]


def stored(lake: Any) -> set[str]:
    """Files in the archive."""
    return {path for path, _ in lake._engine.root.list("archive")}


def let_pass(lake: Any, snapshot: str, rule: str | None = None) -> None:
    """Put all pins of a snapshot into the state of having ended an hour ago."""
    gone = Retention(time.time_ns() // 1000 - 3_600_000_000, rule)
    pins = [replace(pin, retention=gone) for pin in lake.pins.live(snapshot)]
    lake._engine.append((pin_room.state_rows(pins, states.PINNED),))


def test_a_released_pin_is_none_and_its_record_stays(lake: Any, patients: str) -> None:
    first, second = lake.snapshot(patients, version=0), lake.snapshot(patients, version=1)
    assert lake.pins.release(first, comment="done") == 0
    assert live(lake) == [second.id]
    (told,) = [pin for pin in lake.pins.list(every=True).to_pylist() if pin["snapshot_id"] == first.id]
    assert (told["state"], told["comment"]) == ("released", "done")
    assert lake.load_snapshot(first.id).to_arrow().num_rows == 10
    with pytest.raises(Conflict, match="no pin that could be released"):
        lake.pins.release(first)
    lake.snapshot(patients, version=0)
    assert sorted(live(lake)) == sorted([first.id, second.id])


def test_each_run_has_a_pin_of_its_own(lake: Any, patients: str) -> None:
    runs = []
    for _ in range(2):
        with lake.start_run() as run:
            used = run.use(patients, version=0)
        runs.append(run.id)
    with pytest.raises(InvalidInput, match="say which run's pin is meant"):
        lake.pins.release(used)
    assert lake.pins.release(used, run=runs[0]) == 1
    assert lake.pins.list(check=False).column("run_id").to_pylist() == [runs[1]]
    assert lake.pins.release(used, every=True) == 0


def test_a_pin_ends_by_itself_and_can_be_kept_on(lake: Any, patients: str) -> None:
    pinned = lake.snapshot(patients, version=0, until="90d")
    assert live(lake) == [pinned.id]
    let_pass(lake, pinned.id)
    assert live(lake) == []
    assert lake.pins.list(every=True).column("state").to_pylist() == ["expired"]
    lake.pins.keep(pinned, "1 year")
    assert live(lake) == [pinned.id]


def test_a_pin_holds_while_a_model_of_its_run_is_registered(lake: Any, patients: str) -> None:
    with lake.start_run() as run:
        used = run.use(patients, version=0, until="30d, while registered")
        run.log_text("x", "model/weights.txt")
    let_pass(lake, used.id, "30 days, while registered")
    assert live(lake) == []
    lake.models.register("m", run.id)
    assert live(lake) == [used.id]


def test_a_pin_archived_later_survives_what_a_reference_does_not(lake: Any, patients: str) -> None:
    pinned = lake.snapshot(patients, version=0, until="90d")
    before = pinned.to_arrow()
    done: list[int] = []
    assert lake.pins.archive(pinned, progress=done.append).protection == "archived"
    assert done[-1] == pinned.bytes
    DeltaTable(patients).delete()
    DeltaTable(patients).vacuum(0, dry_run=False, enforce_retention_duration=False)
    assert lake.load_snapshot(pinned.id).to_arrow().equals(before)
    (told,) = lake.pins.list().to_pylist()
    assert (told["protection"], told["read_from"]) == ("archived", "archive")
    assert told["until"] is not None


def test_the_sweep_removes_exactly_what_no_pin_needs(lake: Any, patients: str) -> None:
    first = lake.snapshot(patients, version=0, protection="archived")
    second = lake.snapshot(patients, version=1, protection="archived")
    third = lake.snapshot(patients, version=2, protection="archived")
    assert lake.maintain().unpinned == 0
    lake.pins.release(first)
    assert lake.maintain().unpinned == 0, "the second has the same file"
    lake.pins.release(second)
    gone = {pin.kept_as for pin in second.files} - {pin.kept_as for pin in third.files}
    before = stored(lake)
    assert lake.maintain().unpinned == len(gone) > 0
    assert before - stored(lake) == gone
    let_pass(lake, third.id)
    lake.maintain()
    assert stored(lake) == set()


def test_a_half_copied_archive_is_noticed_and_mended(lake: Any, patients: str) -> None:
    pinned = lake.snapshot(patients, version=1, protection="archived")
    before = pinned.to_arrow()
    kept = Path(lake.uri, str(lake.load_snapshot(pinned.id).files[0].kept_as))
    whole = kept.read_bytes()
    kept.unlink()
    kept.write_bytes(whole[: len(whole) // 2])
    assert lake.pins.archive(pinned).protection == "archived"
    DeltaTable(patients).delete()
    DeltaTable(patients).vacuum(0, dry_run=False, enforce_retention_duration=False)
    assert lake.load_snapshot(pinned.id).to_arrow().equals(before)


def test_a_half_copied_archive_without_the_original_is_lost_and_never_read(lake: Any, patients: str) -> None:
    pinned = lake.snapshot(patients, version=0, protection="archived")
    kept = Path(lake.uri, str(lake.load_snapshot(pinned.id).files[0].kept_as))
    whole = kept.read_bytes()
    DeltaTable(patients).delete()
    DeltaTable(patients).vacuum(0, dry_run=False, enforce_retention_duration=False)
    kept.unlink()
    kept.write_bytes(whole[:-1])
    with pytest.raises(SnapshotLost):
        lake.load_snapshot(pinned.id).to_arrow()
    assert lake.pins.list().column("readable").to_pylist() == [False]


INTERRUPTED = """
import os, signal, sys
import lakelineage
lake = lakelineage.open(sys.argv[1])
lake.pins.archive(sys.argv[2], progress=lambda done: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_an_archive_that_was_killed_goes_on_where_it_stopped(
    lake: Any, patients: str, start: Callable[..., Any]
) -> None:
    pinned = lake.snapshot(patients, version=1)
    before = pinned.to_arrow()
    lake.flush()
    killed = start(INTERRUPTED, lake.uri, pinned.id)
    killed.communicate(timeout=60)
    assert killed.returncode == -9
    made = stored(lake)
    assert 0 < len(made) <= pinned.num_files
    assert lake.load_snapshot(pinned.id).protection == "reference"
    assert lake.pins.archive(pinned).protection == "archived"
    assert made <= stored(lake)
    assert len(stored(lake)) == pinned.num_files
    DeltaTable(patients).delete()
    DeltaTable(patients).vacuum(0, dry_run=False, enforce_retention_duration=False)
    assert lake.load_snapshot(pinned.id).to_arrow().equals(before)


def test_a_flipped_bit_with_the_old_time_shows_by_its_checksum(lake: Any, patients: str) -> None:
    pinned = lake.snapshot(patients, version=0)
    (first,) = lake.verify(depth="checksums")
    assert (first.ok, first.taken, first.checksums) == (True, 1, 0)
    place = Path(patients, pinned.files[0].file.path)
    content, state = bytearray(place.read_bytes()), place.stat()
    content[len(content) // 2] ^= 1
    place.write_bytes(content)
    os.utime(place, ns=(state.st_atime_ns, state.st_mtime_ns))
    (files,) = lake.verify(depth="files")
    assert files.ok, "neither size nor time tell"
    (second,) = lake.verify(depth="checksums")
    assert (second.ok, second.read_from) == (False, None)
    assert "not what it was when its checksum was taken" in str(second.problem)


def test_pins_as_of_a_moment_are_those_of_then(lake: Any, patients: str) -> None:
    pinned = lake.snapshot(patients, version=0)
    lake.flush()
    moment = datetime.now(UTC)
    time.sleep(0.01)
    lake.pins.release(pinned)
    lake.snapshot(patients, version=1)
    with lake.at(moment) as past:
        assert past.pins.list(check=False).column("snapshot_id").to_pylist() == [pinned.id]
        assert past.snapshots.column("pins").to_pylist() == [1]


def test_runs_of_an_experiment_pin_at_its_level(lake: Any, patients: str) -> None:
    lake.experiments.create("careful", protection="archived")
    lake.experiments.create("plain")

    def level(experiment: str, **asked: str) -> str:
        with lake.start_run(experiment) as run:
            return str(run.use(patients, version=0, name=f"{experiment}{len(asked)}", **asked).protection)

    assert (level("plain"), level("careful")) == ("reference", "archived")
    lake.experiments.set_protection("careful", "reference")
    lake.experiments.set_protection("plain", "archived")
    write_deltalake(patients, pa.table({"id": [1], "name": ["x"], "score": [1.0]}), mode="overwrite")
    with lake.start_run("careful") as run:
        assert run.use(patients).protection == "reference"
    with lake.start_run("plain") as run:
        assert run.use(patients).protection == "archived"
    for wrong in ("eternal", "", "Archived"):
        with pytest.raises(InvalidInput, match="choose one of reference, protected, archived"):
            lake.experiments.set_protection("plain", wrong)
        with pytest.raises(InvalidInput, match="choose one of"):
            lake.experiments.create("another", protection=wrong)
    lake.experiments.set_protection("plain", None)
    assert "lakelineage.protection" not in lake.experiments.get("plain").tags
