"""What ``SnapshotLost`` tells: which files, and what became of them."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

import lakelineage
from lakelineage.errors import SnapshotLost


@pytest.fixture
def lake(tmp_path: Path) -> Any:
    with lakelineage.open(tmp_path / "lake", protection="reference") as opened:
        yield opened


def vacuum(uri: str) -> int:
    """Zero retention; returns the version before it."""
    table = DeltaTable(uri)
    table.vacuum(0, dry_run=False, enforce_retention_duration=False)
    return table.version()


def lost(lake: Any, snapshot: str) -> SnapshotLost:
    with pytest.raises(SnapshotLost) as found:
        lake.load_snapshot(snapshot).to_arrow()
    assert str(found.value).count("\n") < 10
    return found.value


def test_it_names_the_commit_that_removed_a_file_and_the_vacuum_that_deleted_it(lake: Any, patients: str) -> None:
    pinned = lake.snapshot(patients, version=1)
    vacuum(patients)
    error = lost(lake, pinned.id)
    (removal,) = error.removals
    assert removal.path in error.missing
    assert (removal.operation, removal.version, removal.deleted_in) == ("DELETE", 2, 3)
    assert removal.at is not None
    assert removal.deleted_at is not None
    assert removal.at <= removal.deleted_at
    assert "removed by DELETE in version 2 (20" in str(error).lower().replace("delete", "DELETE")
    assert "VACUUM in version 3" in str(error)
    assert str(removal.by) in str(error)


def test_each_file_has_its_own_story(lake: Any, patients: str) -> None:
    pinned = lake.snapshot(patients, version=1)
    vacuum(patients)
    DeltaTable(patients).delete("id >= 10")
    second = vacuum(patients)
    error = lost(lake, pinned.id)
    by_version = {removal.version: removal for removal in error.removals}
    assert len(error.removals) == len(error.missing) == 2
    assert by_version[2].deleted_in == 3
    assert by_version[5].deleted_in == 6 <= second
    assert "1 files: removed by DELETE in version 5" in str(error)


def test_our_own_vacuum_is_told_with_who_called_it(lake: Any, patients: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKELINEAGE_USER", "ada")
    pinned = lake.snapshot(patients, version=1)
    lake.pins.release(pinned)
    lake.vacuum(patients, retention_hours=0, enforce_retention_duration=False, dry_run=False)
    error = lost(lake, pinned.id)
    assert "`lakelineage vacuum` in version 3" in str(error)
    assert error.removals[0].deleted_by == "ada"


def test_a_vacuum_with_a_longer_retention_is_not_blamed(lake: Any, patients: str) -> None:
    pinned = lake.snapshot(patients, version=1)
    millis = DeltaTable(patients).history(1)[0]["timestamp"] + 1
    start = {"timestamp": millis, "operation": "VACUUM START", "operationParameters": {"defaultRetentionMillis": 10**9}}
    Path(patients, "_delta_log", f"{3:020d}.json").write_text(json.dumps({"commitInfo": start}) + "\n")
    vacuum(patients)
    assert lost(lake, pinned.id).removals[0].deleted_in == 4


def test_a_log_that_was_cleaned_or_never_told_is_said_to_be_so(lake: Any, patients: str) -> None:
    pinned = lake.snapshot(patients, version=1)
    for file in pinned.files:
        os.unlink(f"{patients}/{file.file.path}")
    error = lost(lake, pinned.id)
    assert {removal.version for removal in error.removals} == {2, None}
    assert "the log does not tell what deleted it" in str(error)
    assert "does not tell of its removal" in str(error)
    for entry in Path(patients, "_delta_log").glob("*.json"):
        if entry.name != f"{2:020d}.json":
            entry.unlink()
    assert len(lost(lake, pinned.id).removals) == 2


def test_a_dropped_table_another_table_and_a_place_that_is_gone_are_told_apart(lake: Any, patients: str) -> None:
    pinned = lake.snapshot(patients, version=1)
    shutil.rmtree(f"{patients}/_delta_log")
    os.unlink(f"{patients}/{pinned.files[0].file.path}")
    assert "There is no table at" in str(lost(lake, pinned.id))
    shutil.rmtree(patients)
    assert "There is no table at" in str(lost(lake, pinned.id))
    write_deltalake(patients, pa.table({"id": [1]}))
    error = lost(lake, pinned.id)
    assert "is another table by now" in str(error)
    assert {removal.version for removal in error.removals} == {None}


@pytest.mark.parametrize("kind", ["size", "time"])
def test_an_altered_file_is_told_as_altered(lake: Any, patients: str, kind: str) -> None:
    pinned = lake.snapshot(patients, version=0)
    place = f"{patients}/{pinned.files[0].file.path}"
    if kind == "size":
        with open(place, "ab") as file:
            file.write(b"x")
        expected = r"Altered in place: [\d,]+ bytes, [\d,]+ were pinned"
    else:
        os.utime(place, (1_000_000_000, 1_000_000_000))
        expected = r"Altered in place: last changed 2001-09-09 01:46:40 UTC"
    with pytest.raises(SnapshotLost, match=expected):
        lake.load_snapshot(pinned.id).to_arrow()


def test_lists_of_pins_and_verify_tell_the_same(lake: Any, patients: str) -> None:
    lake.snapshot(patients, version=1)
    fine = lake.snapshot(patients, version=2)
    vacuum(patients)
    by_id = {pin["snapshot_id"]: pin["problem"] for pin in lake.pins.list().to_pylist()}
    assert by_id.pop(fine.id) is None
    (problem,) = by_id.values()
    assert "emoved by DELETE in version 2" in problem
    told = {each.snapshot_id: each.problem for each in lake.verify(depth="files")}
    assert told[fine.id] is None
    assert any("emoved by DELETE in version 2" in (each or "") for each in told.values())
