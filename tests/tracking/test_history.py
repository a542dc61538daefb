"""Metric curves: whole, and sampled so that a plot shows the same peaks."""

import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lakelineage
from lakelineage.errors import InvalidInput, RunNotFound


def points(table: pa.Table) -> list[tuple[int, str]]:
    rows = table.select(["step", "value"]).to_pylist()
    return [(row["step"], repr(row["value"])) for row in rows]


def test_the_history_of_several_runs_comes_run_by_run_each_in_the_order_of_steps(lake: lakelineage.Lake) -> None:
    a, b, empty = (lake.start_run(name=name) for name in "abc")
    for step in (2, 0, 1):
        a.log_metric("m", step * 1.5, step=step)
        b.log_metric("m", -step, step=step)
    a.log_metric("other", 1)
    found = lake.metric_history([b, a.id, empty, b.id], "m")
    assert found.schema.names == ["run_id", "step", "timestamp", "value"]
    assert [(r["run_id"], r["step"], r["value"]) for r in found.to_pylist()] == [
        *((b.id, step, -float(step)) for step in range(3)),
        *((a.id, step, step * 1.5) for step in range(3)),
    ]
    assert lake.metric_history(a, "m").num_rows == 3
    assert lake.metric_history(empty, "m", 5).num_rows == 0
    assert lake.metric_history([b, a], "m", 2).column("run_id").to_pylist() == [b.id, b.id, a.id, a.id]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Any:
    lake = lakelineage.open(tmp_path_factory.mktemp("history") / "lake", durability="process")
    yield lake
    lake.close()


_values = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1.0]) | st.floats(-100, 100)
_steps = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 50)


@given(st.lists(st.tuples(_steps, _values), min_size=1, max_size=60), st.integers(1, 20))
@settings(max_examples=60)
def test_a_sample_is_small_in_order_and_keeps_ends_and_peaks(
    opened: lakelineage.Lake, logged: list[tuple[int, float]], most: int
) -> None:
    run = opened.start_run()
    run.log_metric_table({"key": ["m"] * len(logged), "step": [s for s, _ in logged], "value": [v for _, v in logged]})
    whole, sample = points(opened.metric_history(run, "m")), points(opened.metric_history(run, "m", most))
    assert len(sample) <= most
    assert [step for step, _ in sample] == sorted(step for step, _ in sample)
    assert set(sample) <= set(whole)
    if len(whole) <= most:
        assert sample == whole
        return
    assert sample[-1][0] == whole[-1][0]
    if most > 1:
        assert sample[0][0] == whole[0][0]
    if most >= 4:
        numbers = [float(value) for _, value in whole if value != "nan"]
        kept = [float(value) for _, value in sample if value != "nan"]
        assert not numbers or (min(kept), max(kept)) == (min(numbers), max(numbers))


def test_points_of_one_step_are_divided_by_time(opened: lakelineage.Lake) -> None:
    run = opened.start_run()
    times = [1_000 * i for i in range(1_000)]
    run.log_metric_table({"key": ["m"] * 1_000, "timestamp": times, "value": [float(i % 100) for i in range(1_000)]})
    found = opened.metric_history(run, "m", 22)
    assert 12 <= found.num_rows <= 22
    assert found.column("value").to_pylist().count(99.0) >= 9


def test_every_range_of_steps_keeps_its_least_and_greatest(opened: lakelineage.Lake) -> None:
    run = opened.start_run()
    values = [math.sin(i * 0.7) * i for i in range(10_000)]
    run.log_metric_table({"key": ["m"] * 10_000, "step": list(range(10_000)), "value": values})
    kept = opened.metric_history(run, "m", 102).column("value").to_pylist()
    for start in range(0, 10_000, 200):
        part = values[start : start + 200]
        assert {min(part), max(part)} <= set(kept)


def test_what_cannot_be_asked_is_refused(lake: lakelineage.Lake) -> None:
    run = lake.start_run()
    for most in (0, -1, True, 1.5):
        with pytest.raises(InvalidInput, match="max_points"):
            lake.metric_history(run, "m", most)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="no run is named"):
        lake.metric_history([], "m")
    with pytest.raises(InvalidInput, match="metric key"):
        lake.metric_history(run, "")
    with pytest.raises(RunNotFound):
        lake.metric_history([run, "0" * 32], "m")
