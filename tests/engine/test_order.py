"""The one order of the lake, also among hosts whose clocks disagree."""

import os
from pathlib import Path

import lakelineage
from lakelineage.journal.lanes import boot_id
from lakelineage.journal.segment import MAGIC, encode
from lakelineage.model.changes import Change, Rows
from lakelineage.model.clock import wall_clock
from lakelineage.tables import FACTS, RUNS_HISTORY, TAGS_HISTORY

HOUR = 3_600_000_000


def log_elsewhere(lake: lakelineage.Lake, change: Change, ahead: int) -> None:
    """What a host whose clock is ahead left in its journal."""
    folder = lake._engine.host_folder.parent / "other-host"
    folder.mkdir(exist_ok=True)
    path = folder / f"{boot_id()}-{os.urandom(5).hex()}.{1:020d}.seg"
    path.write_bytes(MAGIC + encode(change, 1, wall_clock() + ahead))


def test_a_run_that_was_ended_by_a_clock_ahead_of_ours_is_resumed_and_ended_by_us(lake_path: Path) -> None:
    with lakelineage.open(lake_path) as lake:
        run = lake.start_run()
        ended = run._state.row()
        row = tuple("FINISHED" if name == "status" else v for name, v in zip(RUNS_HISTORY.names, ended, strict=True))
        tag = (run.id, "t", "theirs")
        log_elsewhere(lake, (Rows(RUNS_HISTORY.name, (row,)), Rows(TAGS_HISTORY.name, (tag,))), HOUR)
        assert lake.run(run.id).status == "FINISHED"
    with lakelineage.open(lake_path) as lake:
        resumed = lake.resume_run(run.id)
        assert lake.run(run.id).status == "RUNNING"
        resumed.set_tag("t", "ours")
        resumed.end("KILLED")
        for _ in range(2):
            assert (lake.run(run.id).status, lake.run(run.id).tags) == ("KILLED", {"t": "ours"})
            lake.maintain()


def test_places_in_the_order_are_unique_and_grow_with_each_record(lake: lakelineage.Lake) -> None:
    for number in range(20):
        with lake.start_run(f"e{number % 3}") as run:
            run.log_metrics({"a": 1, "b": 2})
            run.log_metric_table({"c": [1.0, 2.0, 3.0]})
            run.set_tag("t", number)
    for _ in range(2):
        places = [
            (r["ingested_at"], r["writer"], r["seq"])
            for table in FACTS
            for r in lake.sql(f"SELECT ingested_at, writer, seq FROM {table.name}").to_pylist()
        ]
        assert len(set(places)) == len(places)
        by_seq = sorted(places, key=lambda p: p[2])
        assert [p[0] for p in by_seq] == sorted(p[0] for p in places)
        lake.maintain()
