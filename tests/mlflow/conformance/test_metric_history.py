"""Histories: their order, their pages, those of many runs at once, and samples of long ones."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from mlflow.entities import Metric

Refuses = Callable[..., str]
INVALID = "INVALID_PARAMETER_VALUE"
Point = tuple[float, int, int]


def logged(side: Any, points: list[Point], key: str = "m", experiment: str | None = None) -> str:
    run = side.run(experiment)
    for start in range(0, len(points), 1_000):
        side.tracking.log_batch(run, [Metric(key, *point) for point in points[start : start + 1_000]], [], [])
    return run


def steps(count: int) -> list[Point]:
    return [(float(step), step, step) for step in range(count)]


def shown(metrics: Any) -> list[Point]:
    return [(one.value, one.timestamp, one.step) for one in metrics]


def test_a_history_goes_by_time_then_step_then_value(side: Any) -> None:
    points = [(3.0, 5, 0), (1.0, 1, 9), (2.0, 1, -4), (9.0, 1, 2), (7.0, 1, 2), (0.0, 0, 100)]
    run = logged(side, points)
    assert shown(side.tracking.get_metric_history(run, "m")) == sorted(points, key=lambda p: (p[1], p[2], p[0]))


def test_what_was_never_logged_has_an_empty_history(side: Any) -> None:
    run = side.run(metrics={"m": 1.0})
    for found in (
        side.tracking.get_metric_history(run, "M"),
        side.tracking.get_metric_history(run, "nothing", max_results=5),
        side.tracking.get_metric_history("0" * 32, "m"),
        side.tracking.get_metric_history("", ""),
    ):
        assert list(found) == []
        assert found.token is None


def test_a_deleted_run_still_has_its_history(side: Any) -> None:
    run = side.run(metrics={"m": 1.0}, deleted=True)
    assert [one.value for one in side.tracking.get_metric_history(run, "m")] == [1.0]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10, 11, 1_000])
def test_pages_of_a_history_are_the_history(side: Any, pages: Callable[..., list[Any]], size: int) -> None:
    run = logged(side, steps(10))
    found = pages(lambda **page: side.tracking.get_metric_history(run, "m", max_results=size, **page), size)
    assert shown(found) == steps(10)


def test_a_history_without_a_size_is_whole(side: Any) -> None:
    run = logged(side, steps(1_500))
    found = side.tracking.get_metric_history(run, "m")
    assert len(found) == 1_500
    assert found.token is None
    page = side.tracking.get_metric_history(run, "m", max_results=1_000)
    rest = side.tracking.get_metric_history(run, "m", page_token=page.token)
    assert shown(rest) == steps(1_500)[1_000:]


@pytest.mark.parametrize("token", ["x", "%%%", "eyJhIjogMX0=", "bm90IGpzb24=", "eyJvZmZzZXQiOiAieCJ9"])
def test_a_token_that_nobody_gave_is_refused(refuses: Refuses, token: str) -> None:
    refuses(lambda side: side.tracking.get_metric_history(side.run(), "m", max_results=5, page_token=token), INVALID)


def test_histories_of_many_runs_come_by_run(side: Any) -> None:
    experiment = side.experiment()
    runs = [logged(side, [(3.0, 2, 1), (1.0, 1, 1), (2.0, 1, 0)], experiment=experiment) for _ in range(3)]
    found = side.tracking.get_metric_history_bulk([*runs, "0" * 32], "m", 100)
    assert [one.run_id for one in found] == [run for run in sorted(runs) for _ in range(3)]
    assert shown(found[:3]) == [(2.0, 1, 0), (1.0, 1, 1), (3.0, 2, 1)]
    assert [one.key for one in found] == ["m"] * 9
    assert len(side.tracking.get_metric_history_bulk(runs, "m", 4)) == 4
    assert side.tracking.get_metric_history_bulk([], "m", 100) == []
    assert side.tracking.get_metric_history_bulk(runs, "nothing", 100) == []


@pytest.mark.parametrize(
    "points", [[], [(1.0, 1, 5)], [(1.0, 1, -5), (2.0, 2, -9)], [(1.0, 1, 0), (9.0, 9, 3)]], ids=range(4)
)
def test_the_highest_step_is_known(side: Any, points: list[Point]) -> None:
    run = logged(side, points)
    assert side.tracking.get_max_step_for_metric(run, "m") == max((step for *_, step in points), default=0)
    assert side.tracking.get_max_step_for_metric(run, "nothing") == 0


def test_chosen_steps_come_by_step_and_time(side: Any) -> None:
    points = [(float(value), time, step) for step in range(5) for time in (9, 3) for value in (2, 1)]
    run = logged(side, points)
    chosen = side.tracking.get_metric_history_bulk_interval_from_steps
    expected = sorted((p for p in points if p[2] in {1, 3}), key=lambda p: (p[2], p[1], p[0]))
    assert shown(chosen(run, "m", [3, 1, 99, 1], 100)) == expected
    assert shown(chosen(run, "m", [1, 3], 3)) == expected[:3]
    assert chosen(run, "m", [], 100) == []
    assert chosen(run, "m", [99], 100) == []
    assert {one.run_id for one in chosen(run, "m", [1], 100)} == {run}


def sampled(side: Any, runs: list[str], size: int, start: int | None = None, end: int | None = None) -> list[Point]:
    return shown(side.tracking.get_metric_history_bulk_interval(runs, "m", size, start, end))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9, 10, 99, 100, 101, 1_000])
@pytest.mark.parametrize("count", [1, 2, 100])
def test_a_sample_has_first_and_last_and_no_more_than_was_asked(side: Any, count: int, size: int) -> None:
    run = logged(side, steps(count))
    found = sampled(side, [run], size)
    assert len(found) == min(size, count)
    assert found == sorted(found)
    assert set(found) <= set(steps(count))
    assert found[-1] == steps(count)[-1]
    if size > 1:
        assert found[0] == steps(count)[0]


def test_a_sample_is_spread_evenly(side: Any) -> None:
    run = logged(side, steps(100))
    assert [step for *_, step in sampled(side, [run], 10)] == [0, 10, 20, 30, 40, 50, 60, 70, 80, 99]
    assert [step for *_, step in sampled(side, [run], 3)] == [0, 34, 99]
    assert [step for *_, step in sampled(side, [run], 3, 10, 19)] == [10, 14, 19]


def test_a_sample_of_one_step_keeps_to_its_size(side: Any) -> None:
    run = logged(side, [(float(value), value, 0) for value in range(500)])
    found = sampled(side, [run], 10)
    assert len(found) == 10
    assert (found[0][0], found[-1][0]) == (0.0, 499.0)


def test_a_sample_keeps_nan_at_its_ends(side: Any) -> None:
    run = logged(side, [(math.nan, 0, 0), *steps(10)[1:9], (math.nan, 9, 9)])
    found = sampled(side, [run], 4)
    assert math.isnan(found[0][0])
    assert math.isnan(found[-1][0])
    assert len(found) == 4


def test_a_sample_is_of_the_steps_asked_for(side: Any) -> None:
    run = logged(side, steps(50))
    assert sampled(side, [run], 100, 10, 12) == steps(50)[10:13]
    assert sampled(side, [run], 100, -5, 1) == steps(50)[:2]
    assert sampled(side, [run], 100, 49, 49) == steps(50)[49:]
    assert sampled(side, [run], 100, 12, 10) == []
    assert sampled(side, [run], 100, 60, 70) == []


def test_a_sample_of_no_size_is_the_last_point(side: Any) -> None:
    run = logged(side, steps(5))
    for size in (0, -1, 1):
        assert sampled(side, [run], size) == steps(5)[-1:]


def test_samples_of_many_runs_come_in_the_order_asked_for(side: Any) -> None:
    experiment = side.experiment()
    runs = sorted((logged(side, steps(count), experiment=experiment) for count in (5, 1, 8)), reverse=True)
    found = side.tracking.get_metric_history_bulk_interval([*runs, "0" * 32, runs[0]], "m", 3, None, None)
    assert list(dict.fromkeys(one.run_id for one in found)) == runs
    assert found[0].run_id == found[-1].run_id == runs[0]
    assert side.tracking.get_metric_history_bulk_interval([], "m", 3, None, None) == []


@pytest.mark.parametrize(("start", "end"), [(1, None), (None, 1)])
def test_a_range_of_steps_has_two_ends(refuses: Refuses, start: int | None, end: int | None) -> None:
    refuses(lambda side: sampled(side, [side.run()], 5, start, end), INVALID)
