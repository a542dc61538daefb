"""A lake that logged for long holds as few files, and as short a log, as a new one."""

from pathlib import Path

import pytest

import lakelineage
from lakelineage.tables import METRICS


@pytest.mark.slow
def test_after_many_small_flushes_there_are_tens_of_files_a_short_log_and_every_row(lake_path: Path) -> None:
    flushes = 600
    lake = lakelineage.open(lake_path, durability="process")
    run = lake.start_run()
    most = 0
    for number in range(flushes):
        run.log_metric("m", number, step=number)
        lake.flush()
        most = max(most, len(lake._engine.store.snapshot(METRICS).files))
    assert most <= 60
    log = lake_path / "tables" / "metrics" / "_delta_log"
    newest = max(int(p.name[:20]) for p in log.glob("*.json"))
    assert newest >= flushes
    checkpoint = max(int(p.name[:20]) for p in log.glob("*.checkpoint.parquet"))
    assert newest - checkpoint <= 100
    history = lake.run(run.id).history("m")
    assert history.column("step").to_pylist() == list(range(flushes))
    assert lake.run(run.id).metrics == {"m": float(flushes - 1)}
    assert len(list(lake._engine.host_folder.glob("*.seg"))) == 1
    lake.close()
    with lakelineage.open(lake_path) as again:
        assert again.sql("SELECT count(*) n, count(DISTINCT step) d FROM metrics").to_pylist() == [
            {"n": flushes, "d": flushes}
        ]
