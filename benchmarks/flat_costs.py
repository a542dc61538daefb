"""A lake that has logged for long is not slower than a new one."""

import statistics
import time
from pathlib import Path

import lakelineage as ll
from benchmarks.measure import Figure, Report
from lakelineage.tables import METRICS


def many_small_flushes(report: Report, folder: Path, points: int, flushes: int) -> None:
    """Metric points over so many flushes; the last appends beside the first, and the files left."""
    import numpy as np
    import pyarrow as pa

    lake = ll.open(folder / "flat", durability="process")
    run = lake.start_run()
    run.log_metric("warm", 1.0)
    lake.flush()
    size = points // flushes
    taken = []
    for i in range(flushes):
        steps = np.arange(i * size, (i + 1) * size)
        run.log_metric_table(pa.table({"step": steps, "loss": steps * 0.5}))
        begun = time.perf_counter()
        lake.flush()
        taken.append(time.perf_counter() - begun)
    tenth = max(1, flushes // 100)
    first, last = statistics.median(taken[:tenth]) * 1e3, statistics.median(taken[-tenth:]) * 1e3
    report.add(Figure(f"flush of {size} points, first {tenth} of {flushes}", first, "ms"))
    name, goal = f"flush of {size} points, last {tenth} of {flushes}", "at most 2"
    report.add(Figure(name, last, "ms", None, last / first, "the first", goal, last / first <= 2))
    mean = statistics.mean(taken[-tenth * 10 :]) * 1e3
    report.add(Figure("the same as a mean, with the compactions in it", mean, "ms"))
    files = len(lake._engine.store.snapshot(METRICS).files)
    goal = "tens, not thousands"
    report.add(Figure("files of the table metrics after it", files, "files", goal=goal, met=files < 100))
    count = lake.sql("select count(*) n from metrics where key = 'loss'").to_pylist()[0]["n"]
    total = size * flushes
    report.add(Figure("points there", count, "points", goal=f"all {total}", met=count == total))
    lake.close()
