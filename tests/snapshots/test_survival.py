"""What pins survive, by level, and how losses are told."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, Schema, write_deltalake
from deltalake.transaction import AddAction, create_table_with_add_actions

from lakelineage import snapshots
from lakelineage.engine import Engine
from lakelineage.errors import InvalidInput, SnapshotLost
from lakelineage.snapshots.verify import verify


def people(start: int, stop: int) -> pa.Table:
    return pa.table({"id": range(start, stop), "name": ["x"] * (stop - start), "score": [0.5] * (stop - start)})


def _change(uri: str) -> None:
    write_deltalake(uri, people(20, 30), mode="append")
    DeltaTable(uri).update({"score": "score + 1"}, predicate="id > 5")
    DeltaTable(uri).delete("id < 3")


def _vacuum(uri: str) -> None:
    DeltaTable(uri).vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)


def _clean_log(uri: str) -> None:
    table = DeltaTable(uri)
    table.alter.set_table_properties({"delta.logRetentionDuration": "interval 0 seconds"})
    table = DeltaTable(uri)
    table.create_checkpoint()
    for entry in Path(uri, "_delta_log").glob("*.json"):
        os.utime(entry, (0, 0))
    table.cleanup_metadata()
    assert not Path(uri, "_delta_log", f"{0:020d}.json").exists()


def _all(uri: str) -> None:
    _change(uri)
    _vacuum(uri)
    _clean_log(uri)


def _drop(uri: str) -> None:
    shutil.rmtree(uri)


def _replace(uri: str) -> None:
    shutil.rmtree(uri)
    write_deltalake(uri, people(100, 110))


@pytest.mark.parametrize("ruin", [_change, _vacuum, _all, _drop, _replace])
@pytest.mark.parametrize("version", [0, 1, 2])
def test_archived_rows_survive_anything(
    engine: Engine, patients: str, ruin: Callable[[str], None], version: int
) -> None:
    pinned = snapshots.pin(engine, patients, version=version)
    assert pinned.protection == "archived"
    before = pinned.to_arrow()
    ruin(patients)
    assert pinned.to_arrow().equals(before)
    assert snapshots.load(engine, pinned.id).to_arrow().equals(before)
    assert snapshots.load(engine, pinned.id).scan().collect().to_arrow().cast(before.schema).equals(before)


def test_archiving_takes_no_space_and_each_file_once(engine: Engine, patients: str, tmp_path: Path) -> None:
    snapshots.pin(engine, patients, version=0)
    snapshots.pin(engine, patients, version=1)
    kept = [f for f in (tmp_path / "lake" / "archive").rglob("*") if f.is_file()]
    originals = {f.stat().st_ino for f in Path(patients).glob("*.parquet")}
    assert len(kept) == 2
    assert {f.stat().st_ino for f in kept} < originals


@pytest.mark.parametrize("ruin", [_change, _clean_log])
def test_a_reference_survives_changes_and_log_cleaning(
    engine: Engine, patients: str, ruin: Callable[[str], None]
) -> None:
    pinned = snapshots.pin(engine, patients, version=0, protection="reference")
    before = pinned.to_arrow()
    ruin(patients)
    assert snapshots.load(engine, pinned.id).to_arrow().equals(before)


@pytest.mark.parametrize("ruin", [_all, _drop, _replace])
def test_a_lost_reference_says_which_files_are_gone(engine: Engine, patients: str, ruin: Callable[[str], None]) -> None:
    pinned = snapshots.pin(engine, patients, version=0, protection="reference")
    (path,) = [pin.file.path for pin in pinned.files]
    ruin(patients)
    for read in (pinned.to_arrow, snapshots.load(engine, pinned.id).to_polars):
        with pytest.raises(SnapshotLost, match=path) as lost:
            read()
        assert lost.value.missing == (path,)


def test_a_table_made_anew_with_the_same_file_names_and_sizes_is_not_mistaken(engine: Engine, tmp_path: Path) -> None:
    uri = tmp_path / "t"
    _table_of_named_file(uri, [1, 2, 3])
    by_reference = snapshots.pin(engine, uri, protection="reference")
    shutil.rmtree(uri)
    _table_of_named_file(uri, [7, 8, 9])
    assert snapshots.pin(engine, uri).to_arrow().column("n").to_pylist() == [7, 8, 9]
    with pytest.raises(SnapshotLost, match=r"part-0\.parquet"):
        by_reference.to_arrow()


def _table_of_named_file(uri: Path, numbers: list[int]) -> None:
    uri.mkdir()
    table = pa.table({"n": numbers})
    pq.write_table(table, uri / "part-0.parquet", compression="none", use_dictionary=False)
    size = (uri / "part-0.parquet").stat().st_size
    add = AddAction("part-0.parquet", size, {}, 0, True, '{"numRecords": 3}')
    create_table_with_add_actions(str(uri), Schema.from_arrow(table.schema), [add], mode="error")


def test_a_file_rewritten_in_place_is_noticed_through_its_hard_link(engine: Engine, tmp_path: Path) -> None:
    uri = tmp_path / "t"
    _table_of_named_file(uri, [1, 2, 3])
    pinned = snapshots.pin(engine, uri)
    assert pinned.to_arrow().column("n").to_pylist() == [1, 2, 3]
    file = uri / "part-0.parquet"
    inode, size = file.stat().st_ino, file.stat().st_size
    pq.write_table(pa.table({"n": [7, 8, 9]}), file, compression="none", use_dictionary=False)
    assert (file.stat().st_ino, file.stat().st_size) == (inode, size)
    with pytest.raises(SnapshotLost, match="overwritten in place"):
        pinned.to_arrow()


def test_a_file_cut_short_is_read_from_the_archive_only_if_that_is_whole(engine: Engine, patients: str) -> None:
    kept = snapshots.pin(engine, patients, version=0)
    before = kept.to_arrow()
    (path,) = [pin.file.path for pin in kept.files]
    file = Path(patients, path)
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(data[:-1])
    assert kept.to_arrow().equals(before)


def test_a_lake_that_was_copied_still_has_its_archive(engine: Engine, patients: str, tmp_path: Path) -> None:
    pinned = snapshots.pin(engine, patients, version=1)
    before = pinned.to_arrow()
    engine.close()
    shutil.copytree(tmp_path / "lake", tmp_path / "moved", copy_function=shutil.copyfile)
    shutil.rmtree(tmp_path / "lake")
    shutil.rmtree(patients)
    moved = Engine(tmp_path / "moved")
    try:
        assert snapshots.load(moved, pinned.id).to_arrow().equals(before)
    finally:
        moved.close()


def test_a_reference_can_be_raised_to_archived_later(engine: Engine, patients: str) -> None:
    first = snapshots.pin(engine, patients, version=0, protection="reference")
    before = first.to_arrow()
    assert snapshots.load(engine, first.id).protection == "reference"
    assert snapshots.pin(engine, patients, version=0, protection="archived").id == first.id
    shutil.rmtree(patients)
    loaded = snapshots.load(engine, first.id)
    assert (loaded.protection, loaded.to_arrow().equals(before)) == ("archived", True)


def test_an_archived_snapshot_is_a_source_even_after_its_table_is_gone(engine: Engine, patients: str) -> None:
    pinned = snapshots.pin(engine, patients, version=0)
    before = pinned.to_arrow()
    shutil.rmtree(patients)
    again = snapshots.use(engine, "r" * 32, snapshots.load(engine, pinned.id), name="old")
    assert again.protection == "archived"
    assert again.to_arrow().equals(before)


def test_a_damaged_archive_is_mended_by_pinning_again(engine: Engine, patients: str, tmp_path: Path) -> None:
    pinned = snapshots.pin(engine, patients, version=0)
    before = pinned.to_arrow()
    shutil.rmtree(tmp_path / "lake" / "archive")
    snapshots.pin(engine, patients, version=0)
    shutil.rmtree(patients)
    assert snapshots.load(engine, pinned.id).to_arrow().equals(before)


def test_pinning_a_table_whose_files_are_gone_fails_and_records_nothing(engine: Engine, patients: str) -> None:
    _change(patients)
    _vacuum(patients)
    with pytest.raises(SnapshotLost, match="cannot be pinned: 1 of its 1 files are missing or altered"):
        snapshots.pin(engine, patients, version=0)
    assert snapshots.list_snapshots(engine).num_rows == 0


def test_a_lake_may_set_the_level(tmp_path: Path, patients: str) -> None:
    careful = Engine(tmp_path / "careful", protection="reference")
    try:
        assert snapshots.pin(careful, patients).protection == "reference"
        assert snapshots.pin(careful, patients, protection="archived").protection == "archived"
    finally:
        careful.close()


@pytest.fixture
def other_disk() -> "os.PathLike[str]":
    """A folder on another file system than the tests' own, or a skip."""
    place = Path("/dev/shm")
    if not place.is_dir() or not os.access(place, os.W_OK):
        pytest.skip("this machine has no second file system to try")
    return place


def test_across_file_systems_the_default_is_a_reference_and_archived_copies(
    engine: Engine, tmp_path: Path, other_disk: Path
) -> None:
    if os.stat(other_disk).st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("the second file system is the first")
    uri = other_disk / f"lakelineage-{os.getpid()}"
    try:
        write_deltalake(str(uri), people(0, 10))
        assert snapshots.pin(engine, uri).protection == "reference"
        pinned = snapshots.pin(engine, uri, protection="archived")
        before = pinned.to_arrow()
    finally:
        shutil.rmtree(uri)
    assert snapshots.load(engine, pinned.id).to_arrow().equals(before)


def test_managed_tables_are_archived_too(engine: Engine, tmp_path: Path) -> None:
    pinned = snapshots.pin(engine, people(0, 5), name="d")
    shutil.rmtree(tmp_path / "lake" / "datasets")
    assert snapshots.load(engine, pinned.id).to_arrow().equals(people(0, 5))


def test_levels_that_are_not_there_are_refused(engine: Engine, patients: str) -> None:
    with pytest.raises(InvalidInput, match="choose one of reference, protected, archived"):
        snapshots.pin(engine, patients, protection="eternal")


def _flip_a_bit(file: Path) -> None:
    """Another content, of the same size, with the same times, at the same inode."""
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    os.chmod(file, 0o644)
    with file.open("r+b") as opened:
        opened.write(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("protection", ["reference", "archived"])
def test_checksums_see_a_bit_that_nothing_else_sees(engine: Engine, patients: str, protection: str) -> None:
    pinned = snapshots.pin(engine, patients, version=0, protection=protection)
    with pytest.raises(InvalidInput, match=r"1 of 1 files of snapshot .* have no checksum yet"):
        pinned.to_arrow(verify=True)
    (taken,) = verify(engine, depth="checksums")
    assert (taken.ok, taken.taken, taken.checksums) == (True, 1, 0)
    known = snapshots.load(engine, pinned.id)
    assert known.to_arrow(verify=True).equals(pinned.to_arrow())
    _flip_a_bit(Path(patients, pinned.files[0].file.path))
    forms = (known.to_arrow, known.to_polars, known.to_pandas, known.scan, known.to_batches)
    for read in forms:
        with pytest.raises(SnapshotLost, match="not what it was when its checksum was taken") as lost:
            read(verify=True)
        assert lost.value.missing == (pinned.files[0].file.path,)
    (found,) = verify(engine, depth="checksums")
    assert (found.ok, "checksum" in str(found.problem)) == (False, True)


def test_copies_have_their_checksums_from_the_start(engine: Engine, patients: str, other_disk: Path) -> None:
    uri = other_disk / f"lakelineage-{os.getpid()}-copies"
    try:
        shutil.copytree(patients, uri)
        pinned = snapshots.pin(engine, uri, protection="archived")
    finally:
        shutil.rmtree(uri)
    if any(pin.sha256 is None for pin in pinned.files):
        pytest.skip("the second file system is the first: files were linked")
    assert snapshots.load(engine, pinned.id).to_arrow(verify=True).num_rows == 14
    kept = pinned.files[0].kept_as
    assert kept is not None
    _flip_a_bit(Path(engine.root.uri, kept))
    with pytest.raises(SnapshotLost, match="checksum"):
        snapshots.load(engine, pinned.id).to_arrow(verify=True)


def test_a_table_restored_with_other_times_is_known_by_its_checksums(engine: Engine, patients: str) -> None:
    pinned = snapshots.pin(engine, patients, version=0, protection="reference")
    before = pinned.to_arrow()
    list(verify(engine, depth="checksums"))
    file = Path(patients, pinned.files[0].file.path)
    os.utime(file, (1, 1))
    assert pinned.to_arrow().equals(before)
