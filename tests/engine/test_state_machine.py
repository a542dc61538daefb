"""A lake beside a plain-dictionary model: whatever is done in whatever order, both tell the same."""

import math
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

import lakelineage
from lakelineage.errors import ParamConflict, RunFinished
from lakelineage.tracking.active import ActiveRun

KEYS = st.sampled_from(["a", "b", "ключ/ä b", "q\"uo'te"])
VALUES = st.one_of(
    st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324]), st.floats(allow_nan=False), st.integers(-9, 9)
)
STEPS = st.one_of(st.integers(-2, 3), st.sampled_from([-(2**63), 2**63 - 1]))
#: ms since 1970; few, so that ties of (step, timestamp) are common.
TIMES = st.sampled_from([0, 1, -1, 1_700_000_000_123])
TEXTS = st.sampled_from(["", "x", "y", "long " * 50, "ünï\n'\"`"])
EXPERIMENTS = st.sampled_from(["Default", "e1", "e2"])


class Run:
    """What the model knows of a run."""

    def __init__(self, experiment: str, name: str | None, tags: dict[str, str]) -> None:
        self.experiment = experiment
        self.name = name
        self.status = "RUNNING"
        self.tags = dict(tags)
        self.params: dict[str, str] = {}
        self.metrics: list[
            tuple[str, int, int, float]
        ] = []  # key, step, timestamp in µs, value; in the order of the lake

    def latest(self) -> dict[str, float]:
        found: dict[str, tuple[int, int, float]] = {}
        for key, step, timestamp, value in self.metrics:
            if key not in found or (step, timestamp) >= found[key][:2]:
                found[key] = (step, timestamp, value)
        return {key: value for key, (_, _, value) in found.items()}


def exact(value: float) -> str:
    """Text of a double by which NaN equals NaN and -0.0 differs from 0.0."""
    return "nan" if math.isnan(value) else value.hex()


class LakeMachine(RuleBasedStateMachine):
    runs = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="lakelineage-"))
        self.model: dict[str, Run] = {}
        self.lakes: list[lakelineage.Lake] = []

    @initialize()
    def open_two(self) -> None:
        """One lake opened twice: what two processes of a host hold."""
        self.lakes = [self._open(), self._open()]

    def _open(self) -> lakelineage.Lake:
        return lakelineage.open(self.folder / "lake", durability="process")

    @rule(
        target=runs,
        experiment=EXPERIMENTS,
        name=st.none() | KEYS,
        tags=st.dictionaries(KEYS, TEXTS, max_size=2),
        at=st.integers(0, 1),
    )
    def start_run(self, experiment: str, name: str | None, tags: dict[str, str], at: int) -> ActiveRun:
        run = self.lakes[at].start_run(experiment, name, tags=tags)
        self.model[run.id] = Run(experiment, name, tags)
        return run

    @rule(run=runs, params=st.dictionaries(KEYS, TEXTS, min_size=1, max_size=3))
    def log_params(self, run: ActiveRun, params: dict[str, str]) -> None:
        known = self.model[run.id].params
        if run.status.ended:
            with pytest.raises(RunFinished):
                run.log_params(params)
        elif any(run._params.get(k, v) != v for k, v in params.items()):
            with pytest.raises(ParamConflict):
                run.log_params(params)
        else:
            run.log_params(params)
            for key, value in params.items():
                known.setdefault(key, value)  # set by another holder of the run: the first in the order holds

    @rule(run=runs, metrics=st.dictionaries(KEYS, VALUES, min_size=1, max_size=3), step=STEPS, time=TIMES)
    def log_metrics(self, run: ActiveRun, metrics: dict[str, float], step: int, time: int) -> None:
        if run.status.ended:
            with pytest.raises(RunFinished):
                run.log_metrics(metrics, step, time)
        else:
            run.log_metrics(metrics, step, time)
            self.model[run.id].metrics += [(k, step, time * 1000, float(v)) for k, v in metrics.items()]

    @rule(
        run=runs,
        rows=st.lists(st.tuples(KEYS, STEPS, TIMES, VALUES), max_size=6),
        form=st.sampled_from(["arrow", "dicts"]),
    )
    def log_metric_table(self, run: ActiveRun, rows: list[tuple[str, int, int, float]], form: str) -> None:
        if run.status.ended or not rows:
            return
        data: Any = [{"key": k, "step": s, "timestamp": t, "value": float(v)} for k, s, t, v in rows]
        assert run.log_metric_table(pa.Table.from_pylist(data) if form == "arrow" else data) == len(rows)
        self.model[run.id].metrics += [(k, s, t * 1000, float(v)) for k, s, t, v in rows]

    @rule(run=runs, tags=st.dictionaries(KEYS, TEXTS, min_size=1, max_size=2))
    def set_tags(self, run: ActiveRun, tags: dict[str, str]) -> None:
        run.set_tags(tags)
        self.model[run.id].tags.update(tags)

    @rule(run=runs, key=KEYS)
    def delete_tag(self, run: ActiveRun, key: str) -> None:
        run.delete_tag(key)
        self.model[run.id].tags.pop(key, None)

    @rule(run=runs, status=st.sampled_from(["FINISHED", "FAILED", "KILLED"]))
    def end(self, run: ActiveRun, status: str) -> None:
        if run.status.ended and run.status != status:
            with pytest.raises(RunFinished):
                run.end(status)
        else:
            changes = not run.status.ended
            run.end(status)
            if changes:
                self.model[run.id].status = status

    @rule(target=runs, run=runs, at=st.integers(0, 1))
    def resume(self, run: ActiveRun, at: int) -> ActiveRun:
        resumed = self.lakes[at].resume_run(run.id)
        known = self.model[run.id]
        known.status = "RUNNING"
        assert (resumed.id, resumed.name, resumed.status) == (run.id, known.name, "RUNNING")
        assert resumed._params == known.params
        assert resumed._state.start_time == run._state.start_time
        return resumed

    @rule(at=st.integers(0, 1))
    def flush(self, at: int) -> None:
        self.lakes[at].flush()

    @rule(at=st.integers(0, 1))
    def maintain(self, at: int) -> None:
        self.lakes[at].maintain()

    @rule(at=st.integers(0, 1))
    def close_and_open(self, at: int) -> None:
        """Runs of the closed lake stay in use: what they log must be as safe as before."""
        self.lakes[at].close()
        self.lakes[at] = self._open()

    @invariant()
    def both_tell_the_same(self) -> None:
        for lake in self.lakes:
            self._check_metrics(lake)
            self._check_runs(lake)

    def _check_metrics(self, lake: lakelineage.Lake) -> None:
        rows = lake.sql("SELECT run_id, key, step, epoch_us(timestamp) AS t, value FROM metrics").to_pylist()
        found = Counter((r["run_id"], r["key"], r["step"], r["t"], exact(r["value"])) for r in rows)
        assert found == Counter(
            (run_id, k, s, t, exact(v)) for run_id, run in self.model.items() for k, s, t, v in run.metrics
        )

    def _check_runs(self, lake: lakelineage.Lake) -> None:
        rows = lake.search_runs().to_pylist()
        assert sorted(r["run_id"] for r in rows) == sorted(self.model)
        names = {r["experiment_id"]: r["name"] for r in lake.experiments.list().to_pylist()}
        assert {run.experiment for run in self.model.values()} == set(names.values())
        for row in rows:
            run = self.model[row["run_id"]]
            assert names[row["experiment_id"]] == run.experiment
            assert (row["name"], row["status"]) == (run.name, run.status)
            assert (row["end_time"] is None) == (run.status == "RUNNING")
            assert dict(row["params"]) == run.params
            assert dict(row["tags"]) == run.tags
            # Adding 0.0: DuckDB's arg_max gives 0.0 for -0.0 (the metrics themselves keep the sign).
            assert {k: exact(v + 0.0) for k, v in row["metrics"]} == {
                k: exact(v + 0.0) for k, v in run.latest().items()
            }

    @rule(run=runs, key=KEYS, at=st.integers(0, 1))
    def read_history(self, run: ActiveRun, key: str, at: int) -> None:
        rows = self.lakes[at].run(run.id).history(key)
        found = list(zip(rows.column("step").to_pylist(), map(exact, rows.column("value").to_pylist()), strict=True))
        mine = sorted((m for m in self.model[run.id].metrics if m[0] == key), key=lambda m: (m[1], m[2]))
        assert found == [(step, exact(value)) for _, step, _, value in mine]

    def teardown(self) -> None:
        for lake in self.lakes:
            lake.close()
        shutil.rmtree(self.folder)


TestLakeBesideAModel = LakeMachine.TestCase
TestLakeBesideAModel.settings = settings(
    settings.get_profile("ci"),
    max_examples=15,
    stateful_step_count=20,
    suppress_health_check=list(HealthCheck),
)
TestLakeBesideAModel.pytestmark = [pytest.mark.slow]
