"""Laws of ``lake.vacuum``: what goes, what pins keep, and what is told of it."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

import lakelineage
from lakelineage.errors import InvalidInput, SnapshotLost, TableNotFound
from lakelineage.store import log_history

NOW: dict[str, Any] = {"retention_hours": 0, "enforce_retention_duration": False, "dry_run": False}
TEXTS = ["plain", "a b/c=d", "ü%41?#&", "", None]


@pytest.fixture
def lake(tmp_path: Path) -> Any:
    with lakelineage.open(tmp_path / "lake", protection="reference") as opened:
        yield opened


def rows(start: int, stop: int) -> pa.Table:
    numbers = range(start, stop)
    return pa.table({"id": pa.array(numbers, pa.int64()), "text": pa.array([TEXTS[n % 5] for n in numbers])})


@pytest.fixture
def partitioned(tmp_path: Path) -> str:
    """Four versions of a table partitioned by texts that folders cannot be called by; the last drops half of all."""
    uri = str(tmp_path / "odd")
    write_deltalake(uri, rows(0, 10), partition_by=["text"])
    write_deltalake(uri, rows(10, 20), mode="append")
    DeltaTable(uri).update({"id": "id + 100"}, predicate="id < 5")
    DeltaTable(uri).delete("id >= 10")
    return uri


def held(uri: str) -> set[str]:
    """Data files on the disk."""
    found = {p.relative_to(uri).as_posix() for p in Path(uri).rglob("*.parquet")}
    return {path for path in found if not path.startswith("_delta_log/")}


def content(uri: str, version: int | None = None) -> list[dict[str, Any]]:
    return sorted(DeltaTable(uri, version=version).to_pyarrow_table().to_pylist(), key=str)


def test_without_pins_only_what_the_table_has_now_stays(lake: Any, partitioned: str) -> None:
    before = content(partitioned)
    done = lake.vacuum(partitioned, **NOW)
    assert done.files > 0
    assert not any(Path(partitioned, path).exists() for path in done.paths)
    assert held(partitioned) == log_history.files(partitioned, None, 3).active
    assert content(partitioned) == before


def test_every_pinned_version_comes_back_and_all_else_goes(lake: Any, partitioned: str) -> None:
    pins = [lake.snapshot(partitioned, version=version) for version in (0, 2)]
    expected = [pin.to_arrow() for pin in pins]
    done = lake.vacuum(partitioned, **NOW)
    assert {kept.version for kept in done.kept_for} == {0, 2}
    assert done.kept_files > 0
    for pin, rows_ in zip(pins, expected, strict=True):
        assert lake.load_snapshot(pin.id).to_arrow().equals(rows_)
    lake.pins.release(pins[0])
    second = lake.vacuum(partitioned, **NOW)
    assert second.files > 0
    assert lake.load_snapshot(pins[1].id).to_arrow().equals(expected[1])
    with pytest.raises(SnapshotLost):
        lake.load_snapshot(pins[0].id).to_arrow()


def test_a_dry_run_is_the_default_and_tells_just_what_goes_then(lake: Any, partitioned: str) -> None:
    lake.snapshot(partitioned, version=1)
    before = held(partitioned)
    told = lake.vacuum(partitioned, retention_hours=0, enforce_retention_duration=False)
    assert (told.dry_run, held(partitioned)) == (True, before)
    assert told.bytes == sum(os.path.getsize(f"{partitioned}/{path}") for path in told.paths)
    done = lake.vacuum(partitioned, **NOW)
    assert done.paths == told.paths
    assert held(partitioned) == before - set(told.paths)
    assert lake.vacuum(partitioned, **NOW).files == 0


def test_files_stay_for_the_table_s_own_retention_by_default(lake: Any, partitioned: str) -> None:
    assert (lake.vacuum(partitioned).retention_hours, lake.vacuum(partitioned).files) == (168, 0)
    DeltaTable(partitioned).alter.set_table_properties({"delta.deletedFileRetentionDuration": "interval 0 hours"})
    assert lake.vacuum(partitioned).files > 0


def test_a_retention_shorter_than_the_table_s_is_refused_unless_allowed(lake: Any, partitioned: str) -> None:
    with pytest.raises(InvalidInput, match="--no-enforce-retention-duration"):
        lake.vacuum(partitioned, retention_hours=167, dry_run=False)
    for wrong in (-1, float("nan"), float("inf")):
        with pytest.raises(InvalidInput, match="0 or more"):
            lake.vacuum(partitioned, retention_hours=wrong, enforce_retention_duration=False)


def test_archived_pins_do_not_hold_the_originals_back_and_damaged_copies_do(
    lake: Any, partitioned: str, tmp_path: Path
) -> None:
    pinned = lake.snapshot(partitioned, version=1, protection="archived")
    before = pinned.to_arrow()
    assert lake.vacuum(partitioned, retention_hours=0, enforce_retention_duration=False).kept_files == 0
    for copy in (tmp_path / "lake" / "archive").rglob("*"):
        if copy.is_file():
            copy.unlink()
    assert lake.vacuum(partitioned, **NOW).kept_files > 0
    assert lake.load_snapshot(pinned.id).to_arrow().equals(before)


def test_archived_pins_come_back_after_their_originals_went(lake: Any, partitioned: str) -> None:
    pinned = lake.snapshot(partitioned, version=1, protection="archived")
    before = pinned.to_arrow()
    done = lake.vacuum(partitioned, **NOW)
    assert (done.kept_files, done.files > 0) == (0, True)
    assert lake.load_snapshot(pinned.id).to_arrow().equals(before)


def test_protected_pins_keep_the_originals_whatever_is_archived(lake: Any, partitioned: str) -> None:
    lake.snapshot(partitioned, version=1, protection="archived")
    lake.pins.protect(lake.snapshot(partitioned, version=1))
    done = lake.vacuum(partitioned, **NOW)
    assert done.kept_files > 0
    assert len(content(partitioned, 1)) == 20


def test_change_data_between_pinned_versions_stays(lake: Any, tmp_path: Path) -> None:
    uri = str(tmp_path / "cdf")
    write_deltalake(uri, rows(0, 5), configuration={"delta.enableChangeDataFeed": "true"})
    for value in range(4):
        DeltaTable(uri).update({"id": f"id + {value}"}, predicate="id >= 0")
    lake.snapshot(uri, version=1)
    lake.snapshot(uri, version=3)
    commits = {commit.version: commit.changes for commit in log_history.newest_first(uri, None)}
    lake.vacuum(uri, **NOW)
    left = {path for path in held(uri) if path.startswith("_change_data/")}
    assert left == commits[2] | commits[3] != set()


def test_deletion_vectors_of_the_table_and_of_pins_stay(lake: Any, tmp_path: Path) -> None:
    """The vectors' names are worked out from the log as the protocol says; its own example is the first."""
    uri = tmp_path / "dv"
    write_deltalake(str(uri), rows(0, 5))
    pinned_name = log_history.vector_path({"storageType": "u", "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^"})
    assert pinned_name == "ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin"
    (file,) = (name for name in held(str(uri)))
    vectors = {"old": "ab^-aqEH.-t@S}K{vb[*k^", "now": "vBn[lx{q8@P<9BNH/isA"}
    commits = [_with_vector(uri, file, vectors["old"], None), _with_vector(uri, file, vectors["now"], vectors["old"])]
    names = [log_history.vector_path({"storageType": "u", "pathOrInlineDv": text}) for text in vectors.values()]
    for name in [*names, "deletion_vector_00000000-0000-0000-0000-000000000000.bin"]:
        Path(uri, str(name)).parent.mkdir(exist_ok=True)
        Path(uri, str(name)).write_bytes(b"x")
    for at, actions in enumerate(commits, 1):
        Path(uri, "_delta_log", f"{at:020d}.json").write_text("\n".join(map(json.dumps, actions)) + "\n")
    lake.snapshot(uri, version=1)
    lake.vacuum(uri, **NOW)
    left = {p.relative_to(uri).as_posix() for p in uri.rglob("*.bin")}
    assert left == set(names)
    assert held(str(uri)) == {file}


def _with_vector(uri: Path, file: str, vector: str, before: str | None) -> list[dict[str, Any]]:
    def descriptor(text: str) -> dict[str, Any]:
        return {"storageType": "u", "pathOrInlineDv": text, "offset": 1, "sizeInBytes": 36, "cardinality": 1}

    millis = int(time.time() * 1000)
    features = ["deletionVectors"]
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features}
    remove: dict[str, Any] = {"path": file, "deletionTimestamp": millis, "dataChange": True}
    if before is not None:
        remove["deletionVector"] = descriptor(before)
    add = {
        "path": file,
        "partitionValues": {},
        "size": (uri / file).stat().st_size,
        "modificationTime": millis,
        "dataChange": True,
        "stats": '{"numRecords":5}',
        "deletionVector": descriptor(vector),
    }
    info = {"timestamp": millis, "operation": "DELETE"}
    return [{"commitInfo": info}, {"protocol": protocol}, {"remove": remove}, {"add": add}]


def test_what_is_hidden_or_another_table_s_or_the_lake_s_stays(tmp_path: Path, patients: str) -> None:
    write_deltalake(f"{patients}/inner", rows(0, 3))
    for name in ("_notes/x", ".hidden/y", "orphan.parquet", "sub/orphan"):
        Path(patients, name).parent.mkdir(exist_ok=True)
        Path(patients, name).write_text("x")
    with lakelineage.open(f"{patients}/lake") as inside, inside.start_run() as run:
        run.log_text("hello", "notes.txt")
        inside.flush()
        gone = set(inside.vacuum(patients, **NOW).paths)
        assert {"orphan.parquet", "sub/orphan"} <= gone
        assert not any(path.startswith(("_notes", ".hidden", "inner", "lake")) for path in gone)
        assert DeltaTable(f"{patients}/inner").to_pyarrow_table().num_rows == 3


def test_files_that_the_log_does_not_know_go_by_their_age(lake: Any, patients: str) -> None:
    for name, age_hours in (("old.parquet", 30), ("young.parquet", 10)):
        Path(patients, name).write_text("x")
        moment = time.time() - age_hours * 3600
        os.utime(Path(patients, name), (moment, moment))
    found = lake.vacuum(patients, retention_hours=24, enforce_retention_duration=False)
    assert found.paths == ("old.parquet",)


def test_the_lake_s_own_tables_and_what_is_no_table_are_refused(lake: Any, tmp_path: Path) -> None:
    lake.flush()
    with pytest.raises(InvalidInput, match="lakelineage maintain"):
        lake.vacuum(f"{lake.uri}/tables/runs")
    with pytest.raises(TableNotFound):
        lake.vacuum(tmp_path / "none")


def test_who_vacuumed_is_told_by_the_lake_and_by_the_table_whose_rows_are_the_same(lake: Any, partitioned: str) -> None:
    before, version = content(partitioned), DeltaTable(partitioned).version()
    done = lake.vacuum(partitioned, comment="space", **NOW)
    (act,) = lake.sql("select * from activity").to_pylist()
    assert (act["action"], act["object"], act["comment"]) == ("vacuum", f"dataset:{done.table_id}", "space")
    assert f"{done.files} files" in act["to_state"]
    newest = DeltaTable(partitioned)
    assert (newest.version(), content(partitioned)) == (version + 1, before)
    (told,) = newest.history(1)
    assert json.loads(told[log_history.VACUUM_KEY])["files"] == done.files
    assert told["userName"] == act["actor"]
    assert lake.vacuum(partitioned, **NOW).files == 0
    assert DeltaTable(partitioned).version() == version + 1


ON_S3 = """
import json, sys
import pyarrow as pa
import lakelineage
from deltalake import DeltaTable, write_deltalake
base, options = sys.argv[1], json.loads(sys.argv[2])
uri = f"{base}/data/odd"
for start in (0, 10, 20):
    data = pa.table({"id": range(start, start + 10), "text": ["plain", "a b/c=d", "\u00fc%41?#&", "", None] * 2})
    write_deltalake(uri, data, partition_by=["text"], mode="overwrite", storage_options=options)
with lakelineage.open(f"{base}/lake", storage_options=options, protection="reference") as lake:
    pinned = lake.snapshot(uri, version=0)
    before = pinned.to_arrow()
    done = lake.vacuum(uri, retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert (done.kept_files, done.files) == (5, 5), done
    assert lake.load_snapshot(pinned.id).to_arrow().equals(before)
    assert DeltaTable(uri, storage_options=options).to_pyarrow_table().num_rows == 10
    assert lake.pins.protect(pinned).version is not None
    assert lake.pins.protect(pinned).version is None
print("fine")
"""


def test_tables_on_s3_too(s3: tuple[str, dict[str, str]], start: Callable[..., Any], done: Callable[..., str]) -> None:
    """In a process of its own: the server is a thread of this one."""
    assert done(start(ON_S3, s3[0], json.dumps(s3[1]))) == "fine\n"


@settings(max_examples=25)
@given(
    st.lists(st.sampled_from(["append", "delete", "overwrite", "compact", "checkpoint"]), min_size=1, max_size=5),
    st.sets(st.integers(0, 5)),
)
def test_whatever_became_of_a_table_each_pin_comes_back(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], pinned: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("v")
    uri = str(folder / "t")
    write_deltalake(uri, rows(0, 5))
    with lakelineage.open(folder / "lake", protection="reference", durability="process") as lake:
        expected = {}
        for at, step in enumerate(["nothing", *steps]):
            _do(uri, step, at)
            if at in pinned:
                pin = lake.snapshot(uri)
                expected[pin.id] = pin.to_arrow()
        now = content(uri)
        lake.vacuum(uri, **NOW)
        assert content(uri) == now
        for snapshot, data in expected.items():
            assert lake.load_snapshot(snapshot).to_arrow().equals(data)
        needed = {pin.file.path for each in expected for pin in lake.load_snapshot(each).files}
        assert held(uri) == needed | log_history.files(uri, None, DeltaTable(uri).version()).active


def _do(uri: str, step: str, at: int) -> None:
    table = DeltaTable(uri)
    if step == "append":
        write_deltalake(table, rows(at * 10, at * 10 + 5), mode="append")
    elif step == "overwrite":
        write_deltalake(table, rows(at * 10, at * 10 + 5), mode="overwrite")
    elif step == "delete":
        table.delete(f"id % {at + 1} = 0")
    elif step == "compact":
        table.optimize.compact()
    elif step == "checkpoint":
        table.create_checkpoint()
