"""Rows that somebody has a right to have forgotten are gone from all that was pinned; what went with them is told."""

import json
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lakelineage as ll
from lakelineage.errors import InvalidInput, SnapshotErased, SnapshotLost, TableNotFound
from lakelineage.registry import activity

if TYPE_CHECKING:
    import subprocess

Start = Callable[..., "subprocess.Popen[str]"]
ADA = "who = 'ada'"


def rows(*names: str) -> pa.Table:
    return pa.table({"n": pa.array(range(len(names)), pa.int64()), "who": list(names)})


@pytest.fixture
def people(tmp_path: Path) -> str:
    """A table of two versions: ada and bob; then cy, in a file of its own."""
    uri = str(tmp_path / "people")
    write_deltalake(uri, rows("ada", "bob"))
    write_deltalake(uri, rows("cy"), mode="append")
    return uri


def bytes_of(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in folder.rglob("*") if file.is_file()]


def names_in(folder: Path) -> set[str]:
    """Names that any Parquet file below a folder holds."""
    found: set[str] = set()
    for file in folder.rglob("*"):
        if file.is_file() and file.read_bytes()[:4] == b"PAR1" and "who" in pq.read_schema(file).names:
            found |= set(pq.read_table(file, partitioning=None).column("who").to_pylist())
    return found


def test_a_dry_run_tells_all_and_changes_nothing(lake: ll.Lake, people: str, tmp_path: Path) -> None:
    pinned = lake.snapshot(people)
    with lake.start_run("x") as run:
        run.use(people, version=0)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.parquet")}
    found = lake.forget(people, ADA)
    assert (found.dry_run, found.erasure_id, found.removed) == (True, None, 0)
    assert {(h.snapshot.version, h.rows, len(h.files)) for h in found.plan.holdings} == {(0, 1, 1), (1, 1, 1)}
    assert [h.runs for h in found.plan.holdings if h.snapshot.version == 0] == [(run.id,)]
    assert found.plan.rows == 1
    assert (len(found.plan.in_table), found.plan.in_newest) == (1, True)
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert pinned.to_arrow().num_rows == 3
    assert lake.sql("select * from erasures").num_rows == 0


def test_forgotten_rows_are_nowhere_and_the_rest_is_all_there(lake: ll.Lake, people: str, tmp_path: Path) -> None:
    old = {version: lake.snapshot(people, version=version) for version in (0, 1)}
    whole = {version: pin.to_arrow() for version, pin in old.items()}
    done = lake.forget(people, ADA, dry_run=False, comment="request 17")
    assert done.removed == 1
    DeltaTable(people).delete(ADA)
    DeltaTable(people).vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    assert names_in(tmp_path) == {"bob", "cy"}
    for version, pin in old.items():
        with pytest.raises(SnapshotErased, match=r"1 of its rows were forgotten .*request 17.*has the rest") as lost:
            pin.to_arrow()
        assert (lost.value.num_rows, lost.value.successor) == (1, done.successors[pin.id])
        rest = lake.load_snapshot(done.successors[pin.id]).to_arrow()
        assert rest.schema == whole[version].schema
        assert rest.to_pylist() == [row for row in whole[version].to_pylist() if row["who"] != "ada"]


def test_dropping_keeps_nothing_of_a_snapshot_that_held_such_rows(lake: ll.Lake, people: str, tmp_path: Path) -> None:
    pinned = lake.snapshot(people)
    other = lake.snapshot(rows("eve"), name="others")
    done = lake.forget(people, ADA, mode="drop", dry_run=False)
    assert done.successors == {}
    with pytest.raises(SnapshotErased, match="nothing of it was kept"):
        pinned.to_arrow()
    shutil.rmtree(people)
    lake.maintain()
    assert names_in(tmp_path) == {"eve"}
    assert other.to_arrow().num_rows == 1


def test_no_form_reads_an_erased_snapshot_though_its_files_are_at_their_place(lake: ll.Lake, people: str) -> None:
    import duckdb

    pinned = lake.snapshot(people, protection="reference")
    other = lake.snapshot(rows("eve"), name="other")
    before = lake.sql("select max(ingested_at) as t from pins_history").column(0)[0].as_py()
    lake.forget(people, ADA, dry_run=False)
    readings = (
        pinned.to_arrow,
        pinned.to_polars,
        lambda: pinned.scan().collect(),
        lambda: list(pinned.to_batches()),
        lambda: pinned.to_duckdb(duckdb.connect()).fetchall(),
        lambda: lake.snapshot(people).to_arrow(),
        lambda: lake.diff(pinned, other).counts,
        lambda: lake.at(before).load_snapshot(pinned.id).to_arrow(),
    )
    for read in readings:
        with pytest.raises(SnapshotErased, match="forgotten"):
            read()


def test_a_run_says_what_is_left_of_its_input(lake: ll.Lake, people: str) -> None:
    with lake.start_run("x") as run:
        run.use(people)
    done = lake.forget(people, ADA, dry_run=False)
    with pytest.raises(SnapshotErased) as lost:
        lake.run(run.id).inputs["people"].to_arrow()
    assert lost.value.successor is not None
    assert lake.load_snapshot(lost.value.successor).to_arrow().num_rows == 2
    (record,) = lake.sql("select * from erasures").to_pylist()
    assert (record["erasure_id"], record["runs"], record["num_rows"]) == (done.erasure_id, [run.id], 1)


def test_the_record_names_models_that_descend_but_not_the_condition(lake: ll.Lake, people: str, tmp_path: Path) -> None:
    def double(x: Any) -> Any:
        return x

    with lake.start_run("x") as run:
        run.use(people)
        run.log_model(double, "model")
    lake.models.register("doubler", run)
    lake.forget(people, "who = 'ada lovelace of london' or who = 'ada'", dry_run=False, comment="17")
    (record,) = lake.sql("select * from erasures").to_pylist()
    assert record["models"] == ["model:doubler@1"]
    (act,) = lake.sql("select * from activity where action = 'forget'").to_pylist()
    assert (act["comment"], act["to_state"]) == ("17", "rewrite")
    assert activity.check(lake._engine).broken == ()
    lake.flush()
    assert not any(b"lovelace of london" in content for content in bytes_of(tmp_path / "lake"))


def test_pins_go_over_to_what_is_left(lake: ll.Lake, people: str) -> None:
    with lake.start_run("x") as run:
        old = run.use(people, until="90d")
    lake.snapshot(people)
    done = lake.forget(people, ADA, dry_run=False)
    states = lake.pins.list(every=True).to_pylist()
    assert {(row["snapshot_id"], row["state"]) for row in states} == {
        (old.id, "released"),
        (done.successors[old.id], "pinned"),
    }
    moved = [row for row in states if row["state"] == "pinned"]
    assert {(row["run_id"], row["until"] is None, row["readable"]) for row in moved} == {
        (run.id, False, True),
        (None, True, True),
    }


def test_data_that_was_no_table_is_forgotten_and_can_be_pinned_anew(lake: ll.Lake, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("who,n\nada,1\nbob,2\n")
    first = lake.snapshot(file)
    file.write_text("who,n\nbob,2\n")
    clean = lake.snapshot(file)
    done = lake.forget(file, ADA, dry_run=False)
    assert list(done.successors) == [first.id]
    assert clean.to_arrow().num_rows == 1
    assert names_in(tmp_path / "lake" / "datasets") | names_in(tmp_path / "lake" / "archive") == {"bob"}
    file.write_text("who,n\nada,1\nbob,2\n")  # its owner insists
    again = lake.snapshot(file)
    assert again.id != first.id
    assert again.to_arrow().num_rows == 2


def test_the_newest_version_of_managed_data_stays_a_table_that_others_read(lake: ll.Lake) -> None:
    pinned = lake.snapshot(rows("ada", "bob"), name="frame")
    lake.forget("frame", ADA, dry_run=False)
    assert DeltaTable(pinned.table_uri).to_pyarrow_table().column("who").to_pylist() == ["bob"]


def test_several_people_are_forgotten_one_after_the_other(lake: ll.Lake, people: str) -> None:
    first = lake.snapshot(people)
    second = lake.forget(people, ADA, dry_run=False).successors[first.id]
    third = lake.forget(people, "who = 'cy'", dry_run=False).successors[second]
    assert lake.load_snapshot(third).to_arrow().column("who").to_pylist() == ["bob"]
    with pytest.raises(SnapshotErased, match=third):
        lake.load_snapshot(second).to_arrow()
    assert not lake.forget(people, ADA).plan.holdings


def test_what_nobody_can_tell_of_is_named(lake: ll.Lake, tmp_path: Path) -> None:
    uri = str(tmp_path / "t")
    write_deltalake(uri, pa.table({"n": [1]}))
    older = lake.snapshot(uri)
    write_deltalake(uri, rows("ada"), mode="overwrite", schema_mode="overwrite")
    newer = lake.snapshot(uri)
    plan = lake.forget(uri, ADA).plan
    assert [holding.snapshot.id for holding in plan.holdings] == [newer.id]
    assert [(each.snapshot.id, "who" in str(each.problem)) for each in plan.unknown] == [(older.id, True)]


def test_files_that_are_gone_hold_nothing(lake: ll.Lake, people: str) -> None:
    pinned = lake.snapshot(people, version=0, protection="reference")
    DeltaTable(people).delete(ADA)
    DeltaTable(people).vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    found = lake.forget(people, ADA, dry_run=False)
    assert (found.plan.holdings, found.plan.unknown) == ((), ())
    with pytest.raises(SnapshotLost):
        pinned.to_arrow()


def test_wrong_calls_change_nothing(lake: ll.Lake, people: str, tmp_path: Path) -> None:
    pinned = lake.snapshot(people)
    with pytest.raises(TableNotFound, match="nothing was ever pinned of"):
        lake.forget(tmp_path / "elsewhere", ADA, dry_run=False)
    for where in ("whoo = 'ada'", "who", "", "count(*) > 1"):
        with pytest.raises(InvalidInput, match="where"):
            lake.forget(people, where, dry_run=False)
    mode: Any = "hide"
    with pytest.raises(InvalidInput, match="'hide' is unknown"):
        lake.forget(people, ADA, mode=mode, dry_run=False)
    assert pinned.to_arrow().num_rows == 3


FORGET = """
import sys, lakelineage
with lakelineage.open(sys.argv[1]) as lake:
    lake.forget(sys.argv[2], "who = 'ada'", dry_run=False)
"""


@pytest.mark.parametrize("step", ["forget.before_record", "forget.after_record"])
def test_forgetting_that_was_killed_is_completed_by_the_next(
    step: str, tmp_path: Path, people: str, start: Start
) -> None:
    place = tmp_path / "lake"
    with ll.open(place) as lake:
        pinned = lake.snapshot(people)
    process = start(FORGET, place, people, LAKELINEAGE_FAULT=step)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    with ll.open(place) as lake:
        if step == "forget.before_record":
            assert pinned.id in {h.snapshot.id for h in lake.forget(people, ADA).plan.holdings}
        lake.forget(people, ADA, dry_run=False)
        assert lake.sql("select count(*) as n from erasures").column(0).to_pylist() == [1]
        shutil.rmtree(people)
        assert names_in(tmp_path) <= {"bob", "cy"}
        lake.maintain()
        (live,) = lake.pins.list().to_pylist()
        assert set(lake.load_snapshot(live["snapshot_id"]).to_arrow().column("who").to_pylist()) == {"bob", "cy"}


_HISTORIES = st.lists(st.lists(st.sampled_from(["ada", "bob", "cy", None]), max_size=6), min_size=1, max_size=4)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(parts=_HISTORIES, by=st.booleans(), level=st.sampled_from(["reference", "archived"]))
def test_just_the_matching_rows_of_any_history_are_forgotten(parts: list[list[Any]], by: bool, level: str) -> None:
    folder = Path(tempfile.mkdtemp())
    uri = str(folder / "t")
    with ll.open(folder / "lake", durability="process") as lake:
        pins = []
        for part in parts:
            data = pa.table({"who": pa.array(part, pa.string()), "n": pa.array(range(len(part)), pa.int64())})
            write_deltalake(uri, data, mode="append", partition_by=["who"] if by else None)
            pins.append((pin := lake.snapshot(uri, protection=level), pin.to_arrow()))
        done = lake.forget(uri, ADA, dry_run=False)
        for pin, whole in {each[0].id: each for each in pins}.values():
            expected = [row for row in whole.to_pylist() if row["who"] != "ada"]
            kept = pin.id if len(expected) == whole.num_rows else done.successors[pin.id]
            assert lake.load_snapshot(kept).to_arrow().to_pylist() == expected
            assert lake.load_snapshot(kept).num_rows == len(expected)
    shutil.rmtree(folder)


def test_the_command_lists_asks_and_tells(lake: ll.Lake, people: str, tmp_path: Path, capsys: Any) -> None:
    from lakelineage.cli import main

    pinned = lake.snapshot(people)
    place = str(tmp_path / "lake")
    assert main(["--lake", place, "forget", people, "--where", ADA, "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["dry_run"], told["snapshots"][0]["snapshot_id"]) == (1, True, pinned.id)
    assert main(["--lake", place, "forget", people, "--where", ADA, "--json"]) == 2
    assert main(["--lake", place, "forget", people, "--where", ADA]) == 2  # no terminal, nobody to ask
    assert "--yes" in capsys.readouterr().err
    assert main(["--lake", place, "forget", people, "--where", ADA, "--yes", "--comment", "17"]) == 0
    out = capsys.readouterr().out
    assert pinned.id in out
    assert "the record is in the table erasures" in out
    assert main(["--lake", place, "snapshot", "list", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2
