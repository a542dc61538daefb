"""The log of the lake's own tables stays short, and nobody is led astray by that."""

from pathlib import Path

import pytest

import lakelineage as ll
from lakelineage.engine import Engine
from lakelineage.store import log_files
from lakelineage.tables import METRICS


def entries(lake_path: Path) -> list[int]:
    log = lake_path / "tables" / METRICS.name / "_delta_log"
    return sorted(int(entry.name[:20]) for entry in log.glob("*.json"))


def count(engine: Engine) -> int:
    return int(engine.query("select count(*) as n from metrics").to_pylist()[0]["n"])


def test_the_log_is_trimmed_behind_the_checkpoint_and_stale_readers_and_writers_find_their_way(
    lake: ll.Lake, lake_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files, "_KEPT_COMMITS", 20)
    run = lake.start_run()
    run.log_metric("loss", 0.0)
    lake.flush()
    behind = Engine(lake_path, durability="process")
    assert count(behind) == 1
    for step in range(1, 140):
        run.log_metric("loss", 1.0, step=step)
        lake.flush()
    lake.maintain()
    kept = entries(lake_path)
    assert kept[0] >= kept[-1] - 20 - 50  # behind the newest checkpoint, and what came after it
    assert len(kept) < 80
    assert count(behind) == 140

    run.log_metric("loss", 1.0, step=140)
    behind.flush()  # the other one commits, from where it was left behind
    assert count(behind) == 141
    assert count(Engine(lake_path, durability="process")) == 141
    behind.close()
