"""What logging costs the caller."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lakelineage as ll
from benchmarks.measure import Figure, Report, each, median

if TYPE_CHECKING:
    from collections.abc import Callable


def imports(report: Report) -> None:
    """Time of ``import lakelineage`` in a fresh process, beside that of a process that imports nothing."""
    code = "import time; t = time.perf_counter(); import lakelineage; print(time.perf_counter() - t)"
    taken = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(9)]
    value, spread = median(taken, 1e3)
    report.add(Figure("import lakelineage", value, "ms", spread, goal="under 100 ms", met=value < 100))


def bare_sync(folder: Path, times: int) -> list[float]:
    """Seconds of appending 120 bytes to a file and syncing them: the least that durability costs here."""
    fd = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        return each(times, lambda _: (os.write(fd, b"x" * 120), os.fdatasync(fd)))
    finally:
        os.close(fd)


def mlflow_client(folder: Path) -> tuple[Any, str]:
    """MLflow's own client on a new SQLite store, and a run there."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.create_experiment("bench", artifact_location=str(folder / "artifacts"))
    return client, experiment


def one_metric(report: Report, folder: Path, times: int) -> None:
    """One ``log_metric``, beside a bare fdatasync and MLflow: they take turns, so that they share the weather."""
    client, experiment = mlflow_client(folder)
    peer = client.create_run(experiment).info.run_id
    power = ll.open(folder / "power", durability="power").start_run()
    process = ll.open(folder / "process", durability="process").start_run()
    acts: dict[str, Callable[[int], object]] = {
        "mlflow": lambda i: client.log_metric(peer, "loss", 0.5, step=i),
        "power": lambda i: power.log_metric("loss", 0.5, step=i),
        "process": lambda i: process.log_metric("loss", 0.5, step=i),
    }
    taken: dict[str, list[float]] = {name: [] for name in (*acts, "bare")}
    for _ in range(10):
        taken["bare"] += bare_sync(folder, times // 10)
        for name, act in acts.items():
            taken[name] += each(times // 10, act)
    bare, _ = median(taken["bare"], 1e6)
    peer_value, peer_spread = median(taken["mlflow"], 1e6)
    report.add(Figure("bare fdatasync of 120 bytes", *_figure(taken["bare"])))
    report.add(Figure("log_metric, MLflow on SQLite", peer_value, "us", peer_spread))
    for name, least in (("power", 10.0), ("process", 30.0)):
        value, spread = median(taken[name], 1e6)
        against_peer = peer_value / value
        report.add(
            Figure(
                f"log_metric, durability {name}: times faster than MLflow",
                value,
                "us",
                spread,
                against_peer,
                "MLflow's speed",
                f"at least {least:.0f} times faster",
                against_peer >= least,
            )
        )
    value, _ = median(taken["power"], 1e6)
    met = value / bare <= 1.5
    report.add(
        Figure("log_metric, durability power", value, "us", None, value / bare, "a bare fdatasync", "at most 1.5", met)
    )


def _figure(seconds: list[float]) -> tuple[float, str, tuple[float, float]]:
    value, spread = median(seconds, 1e6)
    return value, "us", spread


def run_of_ten(report: Report, folder: Path, times: int) -> None:
    """A whole run with 10 params and 10 metrics, call by call, at process durability."""
    lake = ll.open(folder / "runs", durability="process")
    client, experiment = mlflow_client(folder)

    def ours(_: int) -> None:
        with lake.start_run("bench") as run:
            for k in range(10):
                run.log_param(f"p{k}", k)
            for k in range(10):
                run.log_metric(f"m{k}", 0.1 * k)

    def peers(_: int) -> None:
        run_id = client.create_run(experiment).info.run_id
        for k in range(10):
            client.log_param(run_id, f"p{k}", k)
        for k in range(10):
            client.log_metric(run_id, f"m{k}", 0.1 * k)
        client.set_terminated(run_id)

    value, spread = median(each(times, ours), 1e3)
    peer, peer_spread = median(each(max(10, times // 20), peers), 1e3)
    report.add(Figure("run, 10 params, 10 metrics, MLflow on SQLite", peer, "ms", peer_spread))
    name = "run, 10 params, 10 metrics, durability process"
    report.add(Figure(name, value, "ms", spread, peer / value, "MLflow's speed", "under 1.5 ms", value < 1.5))
    lake.close()


def bulk(report: Report, folder: Path, points: int) -> None:
    """A table of metrics in one call, at both durabilities."""
    import numpy as np
    import pyarrow as pa

    table = pa.table({"step": np.arange(points), "loss": np.random.default_rng(0).random(points)})
    for durability in ("process", "power"):
        lake = ll.open(folder / f"bulk-{durability}", durability=durability)  # type: ignore[arg-type]
        run = lake.start_run()
        run.log_metric("warm", 1.0)
        taken = each(5, lambda _, run=run: run.log_metric_table(table), warm_up=1)
        rate = points / sorted(taken)[2]
        name, goal = f"log_metric_table, durability {durability}", "at least 500,000 points/s"
        report.add(Figure(name, rate, "points/s", None, goal=goal, met=rate >= 5e5))
        lake.close()


def seen_by_others(report: Report, folder: Path) -> None:
    """Time from the return of ``log_metric`` to its being in the answer that another process of the host gives."""
    lake = ll.open(folder / "seen", durability="process")
    run = lake.start_run()
    run.log_metric("tick", 0.0)
    code = (
        "import sys, lakelineage as ll\n"
        f"lake = ll.open({str(folder / 'seen')!r}, create=False)\n"
        "for line in sys.stdin:\n"
        "    print(lake.sql(\"select max(step) s from metrics where key = 'tick'\").to_pylist()[0]['s'], flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        late, taken = 0, []
        for step in range(1, 60):
            run.log_metric("tick", 1.0, step=step)
            begun = time.perf_counter()
            reader.stdin.write("?\n")
            reader.stdin.flush()
            late += int(reader.stdout.readline()) != step
            taken.append(time.perf_counter() - begun)
        reader.stdin.close()
    value, spread = median(taken[5:], 1e3)
    goal = "each read has all that was acknowledged before it"
    report.add(Figure("read by another process, everything included", value, "ms", spread, goal=goal, met=late == 0))
    lake.close()
