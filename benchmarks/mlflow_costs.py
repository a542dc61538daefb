"""What MLflow's own client costs on a lake, beside the same client on SQLite, in one run and at equal durability."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure, Report, each, median
from benchmarks.search_probe import FILTER, ORDER

_POINTS = 100_000
#: Question (as the figures of the peer name it) → MLflow's client asking it, given experiments and the id of a run.
QUESTIONS: dict[str, Callable[[Any, list[str], str], object]] = {
    "filter and order, first 100": lambda c, e, _: c.search_runs(e, FILTER, order_by=ORDER, max_results=100),
    "newest 100": lambda c, e, _: c.search_runs(e, order_by=["attributes.start_time DESC"], max_results=100),
    "one run": lambda c, _, r: c.get_run(r),
}
#: (question, runs, state of MLflow's store) → how many times faster it is to be.
_FASTER = {
    ("filter and order, first 100", 10_000, "MLflow as shipped"): 20,
    ("filter and order, first 100", 100_000, "MLflow as shipped"): 500,
    ("filter and order, first 100", 100_000, "MLflow after ANALYZE"): 10,
    ("one run", 10_000, "MLflow as shipped"): 1,
    ("one run", 100_000, "MLflow as shipped"): 1,
}


def _clients(folder: Path) -> dict[str, tuple[Any, str]]:
    """A client and an experiment of each side."""
    from mlflow import MlflowClient

    found = {}
    for name, uri in (("lake", f"lakelineage://{folder.absolute()}/lake"), ("peer", f"sqlite:///{folder}/peer.db")):
        client = MlflowClient(uri)
        found[name] = client, client.create_experiment("bench", artifact_location=str(folder / "artifacts"))
    return found


def logging(report: Report, folder: Path, times: int) -> None:
    """Single metrics, batches, runs and fluent runs: both sides take turns, so that they share the weather."""
    import mlflow
    from mlflow.entities import Metric

    sides = _clients(folder)
    runs = {name: client.create_run(experiment).info.run_id for name, (client, experiment) in sides.items()}

    def metric(name: str) -> Callable[[int], object]:
        client, run_id = sides[name][0], runs[name]
        return lambda i: client.log_metric(run_id, "loss", 0.5, step=i)

    def batch(name: str) -> Callable[[int], object]:
        client, run_id = sides[name][0], runs[name]
        return lambda i: client.log_batch(
            run_id, [Metric("b", 0.5 * k, 1_000 + k, 1_000 * i + k) for k in range(1_000)]
        )

    def begin(name: str) -> Callable[[int], object]:
        client, experiment = sides[name]
        return lambda _: client.create_run(experiment)

    def fluent(name: str) -> Callable[[int], object]:
        client, experiment = sides[name]

        def whole_run(_: int) -> None:
            mlflow.set_tracking_uri(client.tracking_uri)
            with mlflow.start_run(experiment_id=experiment):
                for k in range(10):
                    mlflow.log_param(f"p{k}", k)
                for k in range(10):
                    mlflow.log_metric(f"m{k}", 0.1 * k)

        return whole_run

    for what, make, share, least in (
        ("log_metric", metric, 1.0, 8),
        ("log_batch of 1,000 metrics", batch, 0.05, 4),
        ("create_run", begin, 0.2, None),
        ("fluent run, 10 params, 10 metrics", fluent, 0.05, 4),
    ):
        acts = {name: make(name) for name in sides}
        taken: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(5):
            for name, act in acts.items():
                taken[name] += each(max(3, int(times * share / 5)), act, warm_up=2)
        _beside(report, f"MLflow's client: {what}", taken["lake"], taken["peer"], least)


def _beside(report: Report, name: str, ours: list[float], peers: list[float], least: float | None) -> None:
    value, spread = median(ours, 1e3)
    peer, peer_spread = median(peers, 1e3)
    report.add(Figure(f"{name}, on SQLite", peer, "ms", peer_spread))
    goal = "" if least is None else f"at least {least:g} times faster"
    met = None if least is None else peer / value >= least
    report.add(Figure(f"{name}, on a lake", value, "ms", spread, peer / value, "SQLite's speed", goal, met))


def histories(report: Report, folder: Path) -> None:
    """The whole history of a metric of 100,000 points."""
    from mlflow.entities import Metric

    taken = {}
    for name, (client, experiment) in _clients(folder).items():
        run_id = client.create_run(experiment).info.run_id
        for first in range(0, _POINTS, 1_000):
            points = [Metric("loss", 1.0 / (1 + i), 1_000 + i, i) for i in range(first, first + 1_000)]
            client.log_batch(run_id, points)
        taken[name] = each(5, lambda _, c=client, r=run_id: c.get_metric_history(r, "loss"), warm_up=1)
    _beside(report, f"MLflow's client: history of {_POINTS:,} points", taken["lake"], taken["peer"], 10)


def by_size(report: Report, folder: Path, sizes: list[int]) -> None:
    """Searches and look-ups on the lakes of :mod:`benchmarks.search_costs`, beside what it measured of MLflow."""
    from mlflow import MlflowClient

    peers = {(f.question, f.runs, f.store): f.value for f in report.figures if f.store.startswith("MLflow")}
    for runs in sizes:
        client = MlflowClient(f"lakelineage://{folder.absolute()}/lake-{runs}")
        experiments = [e.experiment_id for e in client.search_experiments() if e.name.startswith("experiment-")]
        run_id = client.search_runs(experiments, "metrics.rmse > 0.2", order_by=["metrics.metric_3"], max_results=1)[
            0
        ].info.run_id
        for question, ask in QUESTIONS.items():
            act = lambda _, ask=ask: ask(client, experiments, run_id)  # noqa: B023 - asked at once
            for _ in range(3):  # the second read copies what the host has not cached
                act(0)
            value, spread = median(each(20, act, warm_up=1), 1e3)
            for state in ("MLflow as shipped", "MLflow after ANALYZE"):
                peer, least = peers[question, runs, state], _FASTER.get((question, runs, state))
                goal = "" if least is None else f"at least {least} times faster" if least > 1 else "no slower"
                met = None if least is None else peer / value >= least
                name = f"MLflow's client on a lake: {question}, {runs:,} runs"
                report.add(
                    Figure(name, value, "ms", spread, peer / value, f"{state.removeprefix('MLflow ')}", goal, met)
                )


def imports(report: Report) -> None:
    """What the plugin adds to ``import mlflow``: the time of its modules, as Python tells it in fresh processes."""
    command = [sys.executable, "-X", "importtime", "-c", "import mlflow, mlflow.data, mlflow.tracking"]
    added = []
    for _ in range(5):
        told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        added.append(sum(_own_modules(told)) / 1e6)
    value, spread = median(added, 1e3)
    report.add(Figure("plugin at `import mlflow`", value, "ms", spread, goal="under 50 ms", met=value < 50))


def _own_modules(told: str) -> list[int]:
    """Cumulative µs of each outermost import of the package, from the output of ``-X importtime``."""
    found: list[int] = []
    outside = -1
    for line in reversed(told.splitlines()):  # the importing module is told after what it imports
        if not line.startswith("import time:") or "cumulative" in line:
            continue
        _, cumulative, name = line.removeprefix("import time:").split("|")
        depth = len(name) - len(name.lstrip())
        if 0 <= outside < depth:
            continue
        ours = name.strip().split(".")[0] == "lakelineage"
        outside = depth if ours else -1
        if ours:
            found.append(int(cumulative))
    return found


def first_page(report: Report, folder: Path, runs: int) -> None:
    """What a browser waits for when it opens an experiment of a lake with so many runs, asked of a real server."""
    from mlflow import MlflowClient

    from benchmarks.server import served

    uri = f"lakelineage://{folder.absolute()}/lake-{runs}"
    experiment = MlflowClient(uri).get_experiment_by_name("experiment-1").experiment_id
    with served(uri, folder) as ask:

        def page(_: int) -> None:
            ask("/")
            ask("/ajax-api/2.0/mlflow/experiments/search", {"max_results": 25})
            ask("/ajax-api/2.0/mlflow/experiments/get?experiment_id=" + experiment)
            ask("/ajax-api/2.0/mlflow/runs/search", {"experiment_ids": [experiment], "max_results": 100})

        begun = time.perf_counter()
        page(0)
        first = (time.perf_counter() - begun) * 1e3
        value, spread = median(each(7, page, warm_up=1), 1e3)
    report.add(Figure(f"MLflow's UI, requests of the first page, {runs:,} runs", value, "ms", spread))
    name = f"MLflow's UI, the first page of a fresh server, {runs:,} runs"
    report.add(Figure(name, first, "ms", goal="under 1,000 ms", met=first < 1_000))
