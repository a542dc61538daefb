"""Metrics: what a value may be, and which of a key's points is its latest."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from mlflow.entities import Metric

Refuses = Callable[..., str]
MISSING, INVALID = "RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"
KEYS = ["a", "a.b", "a/b/c", "a b", "a-b_c:d", "größe", "日本", "0", "m" * 250]
NO_KEYS = [None, "", ".", "..", "/a", "a/", "a//b", "a/../b", "./a", "a;b", "🌊", "a(b)", "a" * 251]


def points(side: Any, run: str, key: str = "m") -> list[tuple[float, int, int]]:
    return [(one.value, one.timestamp, one.step) for one in side.tracking.get_metric_history(run, key)]


def latest(side: Any, run: str, key: str = "m") -> Any:
    return side.tracking.get_run(run).data.metrics[key]


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_a_metric_is_what_was_logged(side: Any, key: str) -> None:
    run = side.run()
    side.tracking.log_metric(run, Metric(key, 0.1 + 0.2, 1_700_000_000_123, 7))
    (found,) = side.tracking.get_metric_history(run, key)
    assert (found.key, found.value, found.timestamp, found.step) == (key, 0.1 + 0.2, 1_700_000_000_123, 7)
    (shown,) = side.tracking.get_run(run).data._metric_objs
    assert (shown.key, shown.value, shown.timestamp, shown.step) == (key, 0.1 + 0.2, 1_700_000_000_123, 7)


@pytest.mark.parametrize("key", NO_KEYS, ids=range(len(NO_KEYS)))
def test_a_key_that_breaks_the_rules_is_refused(refuses: Refuses, key: Any) -> None:
    refuses(lambda side: side.tracking.log_metric(side.run(), Metric(key, 1.0, 1, 0)), INVALID)
    good = Metric("good", 1.0, 1, 0)
    refuses(lambda side: side.tracking.log_batch(side.run(), [good, Metric(key, 1.0, 1, 0)], [], []), INVALID)


@pytest.mark.parametrize(
    "value",
    [
        0,
        7,
        -3,
        1.5,
        -0.0,
        1e-300,
        1.7e308,
        -1.7e308,
        5e-324,
        2**53,
        np.float64(2.5),
        np.float32(0.5),
        np.int64(4),
        np.int32(-4),
    ],
    ids=repr,
)
def test_numbers_of_every_kind_are_kept_as_floats(side: Any, value: Any) -> None:
    run = side.run()
    side.tracking.log_metric(run, Metric("m", value, 1, 0))
    side.tracking.log_batch(run, [Metric("batch", value, 1, 0)], [], [])
    for key in ("m", "batch"):
        for found in (latest(side, run, key), side.tracking.get_metric_history(run, key)[0].value):
            assert isinstance(found, float)
            assert found == value


@pytest.mark.parametrize("nan", [math.nan, np.nan, np.float32("nan"), -math.nan], ids=repr)
def test_nan_stays_nan(side: Any, nan: Any) -> None:
    run = side.run()
    side.tracking.log_metric(run, Metric("m", nan, 1, 0))
    side.tracking.log_batch(run, [Metric("batch", nan, 1, 0)], [], [])
    for key in ("m", "batch"):
        assert math.isnan(latest(side, run, key))
        assert math.isnan(side.tracking.get_metric_history(run, key)[0].value)


@pytest.mark.parametrize("value", [None, "1.0", "nan", True, False, [1.0]], ids=repr)
def test_what_is_no_number_is_refused(refuses: Refuses, value: Any) -> None:
    refuses(lambda side: side.tracking.log_metric(side.run(), Metric("m", value, 1, 0)), INVALID)
    refuses(lambda side: side.tracking.log_batch(side.run(), [Metric("m", value, 1, 0)], [], []), INVALID)


@pytest.mark.parametrize(("timestamp", "step"), [(-1, 0), ("1", 0), (None, 0), (1, "0"), (1, None)], ids=repr)
def test_wrong_times_and_steps_are_refused(refuses: Refuses, timestamp: Any, step: Any) -> None:
    refuses(lambda side: side.tracking.log_metric(side.run(), Metric("m", 1.0, timestamp, step)), INVALID)
    refuses(lambda side: side.tracking.log_batch(side.run(), [Metric("m", 1.0, timestamp, step)], [], []), INVALID)


@pytest.mark.parametrize("step", [0, -1, -(2**63), 2**63 - 1, 10**12])
@pytest.mark.parametrize("timestamp", [0, 2**63 // 1000 - 1])
def test_steps_reach_as_far_as_64_bits_and_times_to_the_year_294_246(side: Any, step: int, timestamp: int) -> None:
    run = side.run()
    side.tracking.log_metric(run, Metric("m", 1.0, timestamp, step))
    assert points(side, run) == [(1.0, timestamp, step)]


@pytest.mark.parametrize(
    ("logged", "value"),
    [
        ([(1.0, 1, 0), (2.0, 2, 0)], 2.0),  # the later
        ([(1.0, 2, 0), (2.0, 1, 0)], 1.0),
        ([(1.0, 9, 0), (2.0, 1, 1)], 2.0),  # the higher step, however old
        ([(2.0, 1, 1), (1.0, 9, 0)], 2.0),
        ([(5.0, 1, -2), (6.0, 1, -3)], 5.0),
        ([(5.0, 1, -2), (6.0, 1, 0)], 6.0),
        ([(1.0, 1, 0), (math.nan, 1, 1)], math.nan),
        ([(math.nan, 1, 1), (1.0, 1, 0)], math.nan),
        ([(math.nan, 1, 0), (1.0, 1, 1)], 1.0),
        ([(1.0, 1, 0), (2.0, 1, 0)], 2.0),  # of a tie, the higher and, here, the later one to arrive
        ([(3.0, 1, 5), (2.0, 9, 4), (1.0, 3, 5), (0.0, 2, 5)], 1.0),
    ],
    ids=range(11),
)
def test_the_latest_is_of_the_highest_step_then_time(
    side: Any, logged: list[tuple[float, int, int]], value: float
) -> None:
    one_by_one, at_once = side.run(), side.run()
    metrics = [Metric("m", *point) for point in logged]
    for metric in metrics:
        side.tracking.log_metric(one_by_one, metric)
    side.tracking.log_batch(at_once, metrics, [], [])
    for run in (one_by_one, at_once):
        found = latest(side, run)
        assert found == value or (math.isnan(found) and math.isnan(value))
        (shown,) = side.tracking.get_run(run).data._metric_objs
        assert (shown.timestamp, shown.step) in {(time, step) for _, time, step in logged}
        assert shown.step == max(step for *_, step in logged)


def test_the_same_point_twice_is_one_point(side: Any) -> None:
    run = side.run()
    for _ in range(3):
        side.tracking.log_metric(run, Metric("m", 1.0, 1, 0))
        side.tracking.log_metric(run, Metric("nan", math.nan, 1, 0))
    side.tracking.log_batch(run, [Metric("m", 1.0, 1, 0), Metric("m", 1.0, 1, 0), Metric("m", 2.0, 1, 0)], [], [])
    assert points(side, run) == [(1.0, 1, 0), (2.0, 1, 0)]
    assert len(side.tracking.get_metric_history(run, "nan")) == 1


def test_points_that_differ_in_anything_are_all_kept(side: Any) -> None:
    run = side.run()
    logged = [(1.0, 1, 0), (1.0, 1, 1), (1.0, 2, 0), (2.0, 1, 0), (math.nan, 5, 0), (0.0, 5, 0)]
    for point in logged:
        side.tracking.log_metric(run, Metric("m", *point))
    assert len(points(side, run)) == len(logged)


def test_metrics_of_other_keys_and_runs_do_not_matter(side: Any) -> None:
    experiment = side.experiment()
    first, second = side.run(experiment, metrics={"m": 1.0, "M": 2.0}), side.run(experiment, metrics={"m": 3.0})
    assert side.tracking.get_run(first).data.metrics == {"m": 1.0, "M": 2.0}
    assert side.tracking.get_run(second).data.metrics == {"m": 3.0}
    assert points(side, first, "nothing") == []


def test_every_point_of_many_threads_is_there(side: Any) -> None:
    run = side.run()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda step: side.tracking.log_metric(run, Metric("m", float(step), 1, step)), range(64)))
    assert sorted(step for *_, step in points(side, run)) == list(range(64))
    assert latest(side, run) == 63.0
