"""Asks a lake as a fresh process would: ``python -m benchmarks.search_probe LAKE [TIMES]`` prints figures as JSON.

All times in ms, memory in MiB.
"""

import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

FILTER = "metrics.rmse < 0.5 and params.model = 'tree'"
ORDER = ["metrics.rmse"]


def probe(place: str, times: int) -> dict[str, float]:
    """All figures of one lake."""
    begun = time.perf_counter()
    import lakelineage as ll

    lake = ll.open(place, durability="process", create=False)
    opened = time.perf_counter()
    lake.search_runs(FILTER, order_by=ORDER, limit=100)
    found = time.perf_counter()
    for _ in range(3):  # the second read copies what the host has not cached
        lake.search_runs(FILTER, order_by=ORDER, limit=100)
    newest = lake.search_runs(limit=100)
    some = (
        lake.search_runs("metrics.rmse > 0.2", order_by=["metrics.metric_3"], limit=1_000).column("run_id").to_pylist()
    )
    ids = random.Random(7).choices(some, k=max(times, 20))

    def take(act: Callable[[int], object]) -> float:
        taken = []
        for i in range(times):
            start = time.perf_counter()
            act(i)
            taken.append(time.perf_counter() - start)
        return statistics.median(taken) * 1e3

    figures = {
        "import and open": (opened - begun) * 1e3,
        "first search of a process, imports included": (found - begun) * 1e3,
        "filter and order, first 100": take(lambda _: lake.search_runs(FILTER, order_by=ORDER, limit=100)),
        "order alone, first 100": take(lambda _: lake.search_runs(order_by=ORDER, limit=100)),
        "newest 100": take(lambda _: lake.search_runs(limit=100)),
        "one run": take(lambda i: lake.run(ids[i])),
        "SQL: group by experiment": take(
            lambda _: lake.sql("select experiment_id, min(metrics['rmse']) from runs group by all")
        ),
        "memory of the process": _peak_memory(),
    }
    assert newest.num_rows == min(100, len(lake.search_runs(limit=100)))
    lake.close()
    return figures


def _peak_memory() -> float:
    """Greatest resident set so far; unlike that of ``getrusage``, not that of the parent before it forked us."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    print(json.dumps(probe(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20)))
