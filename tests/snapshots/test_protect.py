"""Laws of the level ``protected``: what engines do to a table whose owner protected a pinned version of it."""

import datetime as dt
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

import lakelineage
from lakelineage.errors import InvalidInput, NotProtectable
from lakelineage.store import table_properties
from lakelineage.store.table_properties import FILES, LOG

DAY = 86_400


@pytest.fixture
def lake(tmp_path: Path) -> Any:
    with lakelineage.open(tmp_path / "lake", protection="reference") as opened:
        yield opened


def properties(uri: str) -> dict[str, str]:
    return dict(DeltaTable(uri).metadata().configuration)


def days(uri: str) -> tuple[int, int]:
    now = table_properties.read(uri, None)
    files, log = now.interval(FILES), now.interval(LOG)
    assert files is not None
    assert log is not None
    return files.days, log.days


def age(folder: str | Path, by_days: float, *, data: bool = False) -> None:
    """Let commits and tombstones of a table be older; its data files too, if nobody has pinned them yet."""
    for file in Path(folder).rglob("*"):
        if file.is_file() and (data or file.parent.name == "_delta_log"):
            state = file.stat()
            if file.suffix == ".json" and file.parent.name == "_delta_log":
                _age_commit(file, by_days)
            os.utime(file, (state.st_atime - by_days * DAY, state.st_mtime - by_days * DAY))


def _age_commit(file: Path, by_days: float) -> None:
    millis = int(by_days * DAY * 1000)
    actions = [json.loads(line) for line in file.read_text().splitlines()]
    for action in actions:
        for kind, key in (("commitInfo", "timestamp"), ("remove", "deletionTimestamp")):
            if kind in action and action[kind].get(key):
                action[kind][key] -= millis
    file.write_text("\n".join(json.dumps(action) for action in actions) + "\n")


def test_a_protected_version_survives_the_vacuum_and_the_log_clean_up_of_the_engine(lake: Any, patients: str) -> None:
    pinned = lake.snapshot(patients, version=0)
    before = pinned.to_arrow()
    made = lake.pins.protect(pinned)
    assert {change.property for change in made.changes} == {FILES, LOG}
    write_deltalake(patients, before.slice(0, 1), mode="overwrite")
    age(patients, 400)
    table = DeltaTable(patients)
    table.create_checkpoint()
    table.vacuum(dry_run=False)
    table.vacuum(dry_run=False, full=True)
    table.cleanup_metadata()
    assert DeltaTable(patients, version=0).to_pyarrow_table().num_rows == before.num_rows
    assert lake.load_snapshot(pinned.id).to_arrow().equals(before)
    (pin,) = lake.pins.list().to_pylist()
    assert (pin["protection"], pin["readable"], pin["problem"]) == ("protected", True, None)


def test_without_protection_the_same_vacuum_takes_the_files(lake: Any, patients: str) -> None:
    pinned = lake.snapshot(patients, version=0)
    write_deltalake(patients, pinned.to_arrow().slice(0, 1), mode="overwrite")
    age(patients, 400)
    DeltaTable(patients).vacuum(dry_run=False)
    assert lake.pins.list().column("readable").to_pylist() == [False]


def test_the_interval_reaches_from_the_removal_to_the_end_of_the_pin(lake: Any, patients: str) -> None:
    age(patients, 5)
    pinned = lake.snapshot(patients, version=1)
    lake.pins.protect(pinned, until="90d")
    assert all(95 <= each <= 97 for each in days(patients))
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(days=90)
    (pin,) = lake.pins.list().to_pylist()
    assert abs(pin["until"] - ends) < dt.timedelta(minutes=5)
    assert pin["problem"] is None


def test_a_pin_without_end_or_while_registered_is_kept_as_good_as_for_ever(lake: Any, patients: str) -> None:
    lake.pins.protect(lake.snapshot(patients), until="90d, while registered")
    assert days(patients) == (36_500, 36_500)


def test_what_the_owner_set_is_never_lowered_and_nothing_is_committed_if_it_suffices(lake: Any, patients: str) -> None:
    pinned = lake.snapshot(patients)
    DeltaTable(patients).alter.set_table_properties({LOG: "interval 4000 days"})
    lake.pins.protect(pinned, until="100d")
    files, log = days(patients)
    assert (files < 110, log) == (True, 4000)
    version = DeltaTable(patients).version()
    again = lake.pins.protect(pinned, until="90d")
    assert (again.changes, again.version, DeltaTable(patients).version()) == ((), None, version)


def test_a_dry_run_tells_old_and_new_and_changes_nothing(lake: Any, patients: str) -> None:
    pinned = lake.snapshot(patients)
    version = DeltaTable(patients).version()
    plan = lake.pins.protect(pinned, dry_run=True)
    assert [(c.before, c.after) for c in plan.changes] == [(None, "interval 36500 days")] * 2
    assert DeltaTable(patients).version() == version
    assert lake.load_snapshot(pinned.id).protection == "reference"


def test_protecting_makes_the_commit_in_flight_of_another_process_fail(
    lake: Any, patients: str, start: Callable[..., Any]
) -> None:
    pinned = lake.snapshot(patients)
    writer = start(
        """
        import sys, pyarrow as pa
        from deltalake import DeltaTable, write_deltalake
        from deltalake.exceptions import CommitFailedError
        table = DeltaTable(sys.argv[1])
        print("read", flush=True)
        input()
        try:
            write_deltalake(table, pa.table({"id": [99], "name": ["x"], "score": [1.0]}), mode="append")
        except CommitFailedError:
            print("failed", flush=True)
        """,
        patients,
    )
    assert writer.stdout.readline() == "read\n"
    lake.pins.protect(pinned)
    out, err = writer.communicate("go\n", timeout=60)
    assert out == "failed\n", err
    write_deltalake(patients, pa.table({"id": [99], "name": ["x"], "score": [1.0]}), mode="append")


def test_files_that_are_gone_cannot_be_protected_and_the_remedy_is_the_archive(lake: Any, patients: str) -> None:
    pinned = lake.snapshot(patients, version=1, protection="archived")
    DeltaTable(patients).vacuum(0, dry_run=False, enforce_retention_duration=False)
    with pytest.raises(NotProtectable, match=rf"no longer in .*lakelineage snapshot archive {pinned.id}"):
        lake.pins.protect(pinned)


def test_another_table_at_the_place_and_no_table_cannot_be_protected(lake: Any, patients: str) -> None:
    pinned = lake.snapshot(patients)
    shutil.rmtree(patients)
    with pytest.raises(NotProtectable, match=r"does not exist.*archive"):
        lake.pins.protect(pinned)
    write_deltalake(patients, pa.table({"id": [1]}))
    with pytest.raises(NotProtectable, match=r"another table by now.*archive"):
        lake.pins.protect(pinned)


def test_a_table_that_the_engine_cannot_write_is_archived_instead(lake: Any, patients: str) -> None:
    pinned = lake.snapshot(patients)
    entry = Path(patients, "_delta_log", f"{3:020d}.json")
    protocol = {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["unheardOf"]}
    entry.write_text(json.dumps({"protocol": protocol}) + "\n")
    with pytest.raises(NotProtectable, match=r"cannot be changed.*archive"):
        lake.pins.protect(pinned)
    assert lake.load_snapshot(pinned.id).protection == "reference"


def test_an_interval_that_cannot_be_understood_is_not_overwritten(lake: Any, patients: str) -> None:
    pinned = lake.snapshot(patients)
    DeltaTable(patients).alter.set_table_properties({LOG: "interval 3 months"})
    with pytest.raises(NotProtectable, match=r"interval 3 months.*cannot be understood"):
        lake.pins.protect(pinned)


def test_managed_tables_need_nothing(lake: Any) -> None:
    pinned = lake.snapshot(pa.table({"a": [1, 2]}), name="d", protection="protected")
    assert pinned.protection == lake.load_snapshot(pinned.id).protection == "protected"
    assert lake.pins.protect(pinned).changes == ()
    assert DeltaTable(pinned.table_uri).version() == 0


def test_pinning_as_protected_commits_nothing_and_is_refused_where_it_would_have_to(lake: Any, patients: str) -> None:
    with pytest.raises(InvalidInput, match=r"act of the table's owner.*lakelineage snapshot protect"):
        lake.snapshot(patients, protection="protected")
    assert lake.snapshots.num_rows == 0
    lake.pins.protect(lake.snapshot(patients, version=0), until="100d")
    version = DeltaTable(patients).version()
    kept = lake.snapshot(patients, version=1, protection="protected", until="30d")
    assert (kept.protection, DeltaTable(patients).version()) == ("protected", version)
    with pytest.raises(InvalidInput, match="act of the table's owner"):
        lake.snapshot(patients, version=1, protection="protected")
    assert lake.snapshot(patients, version=2).protection == "reference"


def test_properties_that_the_owner_lowered_show_as_a_problem(lake: Any, patients: str) -> None:
    lake.pins.protect(lake.snapshot(patients))
    DeltaTable(patients).alter.set_table_properties({FILES: "interval 2 days"})
    (problem,) = lake.pins.list().column("problem").to_pylist()
    assert f"{FILES} is interval 2 days" in problem


def test_unprotecting_brings_the_properties_back_once_no_other_pin_needs_them(lake: Any, patients: str) -> None:
    DeltaTable(patients).alter.set_table_properties({LOG: "interval 60 days"})
    first, second = lake.snapshot(patients, version=0), lake.snapshot(patients, version=1)
    lake.pins.protect(first, until="100d")
    lake.pins.protect(second)
    assert lake.pins.unprotect(first).changes == ()
    assert days(patients) == (36_500, 36_500)
    assert lake.load_snapshot(first.id).protection == "reference"
    lake.pins.release(second)
    assert lake.pins.unprotect(second, dry_run=True).changes
    assert days(patients) == (36_500, 36_500)
    lake.pins.unprotect(second)
    assert days(patients) == (7, 60)
    assert lake.pins.unprotect(second).changes == ()


def test_unprotecting_leaves_what_the_owner_set_since(lake: Any, patients: str) -> None:
    pinned = lake.snapshot(patients)
    lake.pins.protect(pinned)
    DeltaTable(patients).alter.set_table_properties({FILES: "interval 14 days"})
    lake.pins.unprotect(pinned)
    assert days(patients) == (14, 30)


def test_who_changed_which_properties_is_on_record(lake: Any, patients: str) -> None:
    pinned = lake.snapshot(patients)
    lake.pins.protect(pinned, comment="audit")
    lake.pins.unprotect(pinned)
    acts = lake.sql("select action, object, to_state, comment, actor from activity order by acted_at").to_pylist()
    assert [act["action"] for act in acts] == ["protect", "unprotect"]
    assert acts[0]["object"] == f"dataset:{pinned.table_id}"
    assert json.loads(acts[0]["to_state"]) == {FILES: "interval 36500 days", LOG: "interval 36500 days"}
    assert acts[0]["comment"] == "audit"
    assert acts[0]["actor"]


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("interval 1 week", 168),
        ("INTERVAL 4 DAYS", 96),
        ("5 days", 120),
        ("interval 2 days 3 hours", 51),
        ("interval 1 month", None),
        ("", None),
        ("interval", None),
    ],
)
def test_intervals_are_read_as_engines_read_them(text: str, hours: int | None) -> None:
    found = table_properties.parse(text)
    assert found == (None if hours is None else dt.timedelta(hours=hours))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
def test_spark_vacuums_and_travels_as_the_properties_say(lake: Any, patients: str, spark: Any) -> None:
    kept, bare = patients, str(Path(patients).with_name("bare"))
    write_deltalake(bare, DeltaTable(kept, version=0).to_pyarrow_table())
    for uri in (kept, bare):
        age(uri, 60, data=True)
    pinned, lost = lake.snapshot(kept, version=0), lake.snapshot(bare, version=0)
    before = pinned.to_arrow()
    lake.pins.protect(pinned, until="300d")
    for uri in (kept, bare):
        write_deltalake(uri, before.slice(0, 1), mode="overwrite")
        age(uri, 40)
        spark.sql(f"vacuum delta.`{uri}`")
    assert lake.load_snapshot(pinned.id).to_arrow().equals(before)
    assert spark.sql(f"select * from delta.`{kept}` version as of 0").count() == before.num_rows
    by_id = {pin["snapshot_id"]: pin for pin in lake.pins.list().to_pylist()}
    assert (by_id[pinned.id]["readable"], by_id[lost.id]["readable"]) == (True, False)
    assert "VACUUM in version" in by_id[lost.id]["problem"]
