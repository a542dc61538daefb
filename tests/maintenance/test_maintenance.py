"""Maintenance keeps tables quick, and changes no answer."""

from collections import Counter
from pathlib import Path

import pytest

import lakelineage
from lakelineage.snapshots import levels
from lakelineage.store.locks import Lease
from lakelineage.tables import CURRENT, METRICS, RUNS


def log(lake: lakelineage.Lake, runs: int) -> None:
    for number in range(runs):
        with lake.start_run(f"e{number % 2}", name=f"r{number}", tags={"t": number}) as run:
            run.log_param("p", number)
            run.log_metrics({"m": number, "n": -number}, step=number)


def runs_of(lake: lakelineage.Lake) -> list[dict[str, object]]:
    return list(lake.sql("SELECT * EXCLUDE (updated_at) FROM runs ORDER BY run_id").to_pylist())


def test_published_tables_say_what_the_facts_say(lake: lakelineage.Lake) -> None:
    from deltalake import DeltaTable

    log(lake, 7)
    lake.maintain()
    log(lake, 3)
    lake.maintain()
    for table in CURRENT:
        answer = lake.sql(f"SELECT * FROM {table.name}").select(table.schema.names)
        if not answer.num_rows:
            continue
        stored = DeltaTable(f"{lake.uri}/tables/{table.name}").to_pyarrow_table().select(table.schema.names)
        assert Counter(map(repr, stored.to_pylist())) == Counter(map(repr, answer.to_pylist())), table.name


def test_published_tables_can_be_thrown_away_and_are_rebuilt(lake_path: Path) -> None:
    import shutil

    with lakelineage.open(lake_path) as lake:
        log(lake, 5)
        lake.maintain()
        before = runs_of(lake)
    for table in CURRENT:
        shutil.rmtree(lake_path / "tables" / table.name, ignore_errors=True)
    with lakelineage.open(lake_path) as lake:
        assert runs_of(lake) == before
        lake.maintain()
        assert runs_of(lake) == before
        assert sum(f.num_rows for f in lake._engine.store.snapshot(RUNS).files) == 5


def test_a_published_run_that_goes_on_is_told_with_all_that_it_logged_before(lake: lakelineage.Lake) -> None:
    run = lake.start_run()
    run.log_params({"a": 1})
    run.log_metric("old", 1)
    run.set_tags({"gone": 1, "kept": 1})
    lake.maintain()
    run.log_metric("new", 2)
    run.log_params({"b": 2})
    run.delete_tag("gone")
    for _ in range(2):
        seen = lake.run(run.id)
        assert (seen.params, seen.metrics, seen.tags) == (
            {"a": "1", "b": "2"},
            {"old": 1.0, "new": 2.0},
            {"kept": "1"},
        )
        lake.maintain()


def test_maintenance_of_another_process_at_the_same_time_is_waited_for_or_left_to_it(lake: lakelineage.Lake) -> None:
    log(lake, 2)
    lease = Lease(lake._engine.host_folder.parent / "maintenance.lock")
    assert lease.acquire()
    before = runs_of(lake)
    lake._maintenance._leased([METRICS], publish=True, vacuum=True)  # asks once, and gives way
    assert lake._engine.store.snapshot(RUNS).version == -1
    lease.release()
    lake.maintain()
    assert lake._engine.store.snapshot(RUNS).version >= 0
    assert runs_of(lake) == before


def test_compaction_leaves_one_file_of_many_and_every_row(lake: lakelineage.Lake) -> None:
    run = lake.start_run()
    for number in range(30):
        run.log_metric("m", number, step=number)
        lake.flush()
    assert len(lake._engine.store.snapshot(METRICS).files) == 30
    lake.maintain()
    assert len(lake._engine.store.snapshot(METRICS).files) == 1
    assert lake.run(run.id).history("m").column("step").to_pylist() == list(range(30))


def test_a_pin_that_takes_long_does_not_keep_the_lake_from_being_maintained(
    lake: lakelineage.Lake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import pyarrow as pa

    pinned = lake.snapshot(pa.table({"n": [1]}), name="n")
    lake.pins.release(pinned)
    log(lake, 2)
    monkeypatch.setattr("lakelineage.snapshots.sweep._TIMEOUT", 0.1)
    with levels.keeping(lake._engine):  # as a pin does while it copies
        done = lake.maintain()
    assert (done.published, done.unpinned) == (2, 0)
    assert "was not swept" in caplog.text
    assert lake.maintain().unpinned == 1
