"""Timing, and results as a table and as JSON."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path


@dataclass
class Figure:
    """One line of the results.

    Attributes:
        name: what was measured.
        value: median, in ``unit``.
        unit: of the value.
        spread: (10th, 90th) percentile, in ``unit``.
        ratio: beside what it is compared with.
        against: what that is.
        goal: what was asked for, in words; met says whether.
        met: None where nothing was asked for.
        runs: in the store that was asked, where it is about growth; question says what, and store whom.
        question: what was asked.
        store: lakelineage, or MLflow in one of its states.
    """

    name: str
    value: float
    unit: str
    spread: tuple[float, float] | None = None
    ratio: float | None = None
    against: str = ""
    goal: str = ""
    met: bool | None = None
    runs: int | None = None
    question: str = ""
    store: str = ""


@dataclass
class Report:
    """All figures of a run."""

    size: str
    figures: list[Figure] = field(default_factory=list)

    def add(self, figure: Figure) -> Figure:
        """Print a figure and keep it."""
        self.figures.append(figure)
        spread = f" ({figure.spread[0]:.3g} to {figure.spread[1]:.3g})" if figure.spread else ""
        ratio = f"  {figure.ratio:.2f} x {figure.against}" if figure.ratio is not None else ""
        goal = "" if figure.met is None else f"  [{'met' if figure.met else 'MISSED'}: {figure.goal}]"
        print(f"{figure.name:<58} {figure.value:>10.4g} {figure.unit}{spread}{ratio}{goal}", flush=True)
        return figure

    def write(self, path: Path) -> None:
        """Keep the run as JSON, with the versions that it was measured with."""
        machine, versions = describe()
        content = {
            "size": self.size,
            "machine": machine,
            "versions": versions,
            "figures": [asdict(figure) for figure in self.figures],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n")


def describe() -> tuple[str, dict[str, str]]:
    """The machine in words, and the versions of what was measured."""
    packages = ("deltalake", "duckdb", "pyarrow", "polars", "mlflow")
    cores = len(os.sched_getaffinity(0))
    machine = f"{platform.system()} {platform.machine()}, {cores} cores, Python {platform.python_version()}"
    return machine, {name: version(name) for name in packages}


def each(times: int, act: Callable[[int], object], warm_up: int = 5) -> list[float]:
    """Seconds of each of so many calls, after some that do not count."""
    for i in range(warm_up):
        act(-1 - i)
    taken = []
    for i in range(times):
        begun = time.perf_counter()
        act(i)
        taken.append(time.perf_counter() - begun)
    return taken


def median(seconds: list[float], scale: float) -> tuple[float, tuple[float, float]]:
    """Median and (10th, 90th) percentile, times ``scale``."""
    deciles = statistics.quantiles(seconds, n=10)
    return statistics.median(seconds) * scale, (deciles[0] * scale, deciles[-1] * scale)
