"""What asking costs, by the number of runs, beside MLflow on SQLite as shipped and after ``ANALYZE``."""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lakelineage as ll
from benchmarks import big_lakes
from benchmarks.measure import Figure, Report, each, median
from benchmarks.search_probe import FILTER, ORDER

#: Goals in ms (MiB for memory), by the number of runs and the probe's names.
_GOALS = {
    100_000: {
        "first search of a process, imports included": 1_000,
        "filter and order, first 100": 50,
        "newest 100": 10,
        "one run": 2,
    },
    1_000_000: {"filter and order, first 100": 200, "memory of the process": 1_536},
}
_SLOW = 5.0


def by_size(report: Report, folder: Path, sizes: list[int], times: int) -> None:
    """All questions, on lakes of so many runs."""
    for runs in sizes:
        lake = big_lakes.fill(folder / f"lake-{runs}", runs)
        lake.close()
        found = _probe(folder / f"lake-{runs}", times)
        for name, value in found.items():
            goal = _GOALS.get(runs, {}).get(name)
            unit = "MiB" if name.startswith("memory") else "ms"
            figure = Figure(f"{name}, {runs:,} runs", value, unit, runs=runs, question=name, store="lakelineage")
            if goal is not None:
                figure.goal, figure.met = f"under {goal:,} {unit}", value < goal
            report.add(figure)


def _probe(lake: Path, times: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.search_probe", str(lake), str(times)]
    found: dict[str, float] = json.loads(subprocess.check_output(command, cwd=Path(__file__).parents[1]))
    return found


def histories(report: Report, folder: Path, points: int) -> None:
    """The curve of a metric: of 100,000 points whole, of so many points sampled to 1,000."""
    import numpy as np
    import pyarrow as pa

    lake = ll.open(folder / "histories", durability="process")
    short, long = lake.start_run(), lake.start_run()
    rng = np.random.default_rng(0)
    short.log_metric_table(pa.table({"step": np.arange(100_000), "loss": rng.random(100_000)}))
    for first in range(0, points, 500_000):
        steps = np.arange(first, min(first + 500_000, points))
        long.log_metric_table(pa.table({"step": steps, "loss": rng.random(len(steps))}))
        lake.flush()
    lake.maintain()
    whole = median(each(20, lambda _: lake.metric_history(short, "loss"), warm_up=3), 1e3)
    report.add(Figure("history of 100,000 points", *_told(whole), goal="under 40 ms", met=whole[0] < 40))
    sampled = median(each(10, lambda _: lake.metric_history(long, "loss", max_points=1_000), warm_up=2), 1e3)
    name = f"history of {points:,} points, sampled to 1,000"
    report.add(Figure(name, *_told(sampled), goal="under 300 ms", met=sampled[0] < 300))
    lake.close()


def _told(found: tuple[float, tuple[float, float]]) -> tuple[float, str, tuple[float, float]]:
    return found[0], "ms", found[1]


def logging_beside_many(report: Report, folder: Path, runs: int, times: int) -> None:
    """Opening and logging on the lake of so many runs (made before), beside an empty one; they take turns."""
    code = (
        "import sys, time, lakelineage as ll; t = time.perf_counter(); "
        "lake = ll.open(sys.argv[1], durability='process'); lake.start_run('experiment-1'); "
        "print(time.perf_counter() - t); lake.close()"
    )
    places = {"empty": folder / "empty", "many": folder / f"lake-{runs}"}
    ll.open(places["empty"], durability="process").close()
    opened: dict[str, list[float]] = {name: [] for name in places}
    for _ in range(7):
        for name, place in places.items():
            opened[name].append(float(subprocess.check_output([sys.executable, "-c", code, str(place)])))
    _beside(report, f"open and start a run, {runs:,} runs", opened)
    lakes = {name: ll.open(place, durability="process") for name, place in places.items()}
    logged: dict[str, list[float]] = {name: [] for name in places}
    for _ in range(10):
        for name, lake in lakes.items():
            logged[name] += each(times, lambda _, lake=lake: _run_of_ten(lake), warm_up=1)
    _beside(report, f"run of 10 params and 10 metrics, {runs:,} runs", logged)
    for lake in lakes.values():
        lake.close()


def _run_of_ten(lake: ll.Lake) -> None:
    with lake.start_run("experiment-1") as run:
        run.log_params({f"p{i}": i for i in range(10)})
        run.log_metrics({f"m{i}": float(i) for i in range(10)})


def _beside(report: Report, name: str, taken: dict[str, list[float]]) -> None:
    empty, _ = median(taken["empty"], 1e3)
    value, spread = median(taken["many"], 1e3)
    ratio = value / empty
    report.add(Figure(name, value, "ms", spread, ratio, "an empty lake", "at most 1.3", ratio <= 1.3))


def mlflow_by_size(report: Report, folder: Path, sizes: list[int]) -> None:
    """MLflow's client on SQLite, asked the same."""
    for runs in sizes:
        client, experiments, run_id = _mlflow_store(folder / f"mlflow-{runs}.db", runs)
        asked: dict[str, Callable[[int], object]] = {
            "filter and order, first 100": lambda _, c=client, e=experiments: c.search_runs(
                e, FILTER, order_by=ORDER, max_results=100
            ),
            "newest 100": lambda _, c=client, e=experiments: c.search_runs(
                e, order_by=["attributes.start_time DESC"], max_results=100
            ),
            "one run": lambda _, c=client, r=run_id: c.get_run(r),
        }
        for state in ("as shipped", "after ANALYZE"):
            if state == "after ANALYZE":
                with sqlite3.connect(folder / f"mlflow-{runs}.db") as database:
                    database.execute("ANALYZE")
            for name, act in asked.items():
                value, store = patiently(act) * 1e3, f"MLflow {state}"
                report.add(
                    Figure(f"{store}: {name}, {runs:,} runs", value, "ms", runs=runs, question=name, store=store)
                )


def patiently(act: Callable[[int], object]) -> float:
    """Median seconds of five calls, or of one if that is slow."""
    begun = time.perf_counter()
    act(0)
    first = time.perf_counter() - begun
    return first if first > _SLOW else median(each(5, act, warm_up=0), 1)[0]


def _mlflow_store(place: Path, runs: int) -> tuple[Any, list[str], str]:
    """A store with runs as :func:`big_lakes.fill` makes them: MLflow makes the schema, SQLite takes the rows."""
    import numpy as np
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place}")
    experiments = [client.create_experiment(f"experiment-{i}", artifact_location=str(place)) for i in range(10)]
    rng = np.random.default_rng(0)
    begin = int(time.time() * 1e3) - runs
    ids = [f"{i:032x}" for i in range(runs)]
    database = sqlite3.connect(place)
    with database:
        database.executemany(
            "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, "
            "start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id) "
            "VALUES (?, ?, 'LOCAL', '', '', 'bench', 'FINISHED', ?, ?, '', 'active', '', ?)",
            ((r, f"run-{i}", begin + i, begin + i + 1, int(experiments[i % 10])) for i, r in enumerate(ids)),
        )
        models = rng.integers(0, len(big_lakes.MODELS), runs)
        params = rng.integers(0, 1_000, (runs, big_lakes.KEYS))
        values = rng.random((runs, big_lakes.KEYS))
        database.executemany(
            "INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)",
            (
                (key, big_lakes.MODELS[models[i]] if key == "model" else str(params[i, k]), r)
                for i, r in enumerate(ids)
                for k, key in enumerate(big_lakes.param_keys())
            ),
        )
        for table in ("metrics", "latest_metrics"):
            database.executemany(
                f"INSERT INTO {table} (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, 0, 0, ?)",
                (
                    (key, float(values[i, k]), begin + i, r)
                    for i, r in enumerate(ids)
                    for k, key in enumerate(big_lakes.metric_keys())
                ),
            )
        database.executemany(
            "INSERT INTO tags (key, value, run_uuid) VALUES ('mlflow.runName', ?, ?)",
            ((f"run-{i}", r) for i, r in enumerate(ids)),
        )
    database.close()
    return client, experiments, ids[runs // 2]
