"""Batches: their limits, and that a refused batch leaves nothing behind."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

Refuses = Callable[..., str]
INVALID = "INVALID_PARAMETER_VALUE"


def metrics(count: int, key: str = "m") -> list[Metric]:
    return [Metric(key, float(step), 1, step) for step in range(count)]


def params(count: int) -> list[Param]:
    return [Param(f"p{number}", str(number)) for number in range(count)]


def tags(count: int) -> list[RunTag]:
    return [RunTag(f"t{number}", str(number)) for number in range(count)]


def test_a_batch_logs_all_of_it(side: Any) -> None:
    run = side.run()
    side.tracking.log_batch(run, [*metrics(3), Metric("nan", math.nan, 1, 0)], params(2), tags(2))
    found = side.tracking.get_run(run).data
    assert found.metrics["m"] == 2.0
    assert math.isnan(found.metrics["nan"])
    assert found.params == {"p0": "0", "p1": "1"}
    assert {key: value for key, value in found.tags.items() if key[0] == "t"} == {"t0": "0", "t1": "1"}
    assert [one.value for one in side.tracking.get_metric_history(run, "m")] == [0.0, 1.0, 2.0]


def test_an_empty_batch_is_nothing(side: Any) -> None:
    run = side.run(name="x")
    before = side.tracking.get_run(run).to_dictionary()
    side.tracking.log_batch(run, [], [], [])
    assert side.tracking.get_run(run).to_dictionary() == before


@pytest.mark.parametrize(("m", "p", "t"), [(1_000, 0, 0), (800, 100, 100), (0, 100, 0), (0, 0, 100), (900, 100, 0)])
def test_a_batch_as_large_as_may_be_is_taken(side: Any, m: int, p: int, t: int) -> None:
    run = side.run()
    side.tracking.log_batch(run, metrics(m), params(p), tags(t))
    found = side.tracking.get_run(run).data
    assert len(found.params) == p
    assert len(found.tags) == t + 1
    assert len(side.tracking.get_metric_history(run, "m")) == m


@pytest.mark.parametrize(("m", "p", "t"), [(1_001, 0, 0), (0, 101, 0), (0, 0, 101), (801, 100, 100), (1_000, 1, 0)])
def test_a_larger_batch_is_refused(refuses: Refuses, m: int, p: int, t: int) -> None:
    refuses(lambda side: side.tracking.log_batch(side.run(), metrics(m), params(p), tags(t)), INVALID)


def test_a_thousand_keys_are_logged_at_once(side: Any) -> None:
    run = side.run()
    side.tracking.log_batch(run, [Metric(f"m{number}", float(number), 1, 0) for number in range(1_000)], [], [])
    assert side.tracking.get_run(run).data.metrics == {f"m{number}": float(number) for number in range(1_000)}


@pytest.mark.parametrize("second", ["1", "2"])
def test_a_param_is_in_a_batch_once(refuses: Refuses, second: str) -> None:
    given = [Param("p", "1"), Param("q", "1"), Param("p", second)]
    refuses(lambda side: side.tracking.log_batch(side.run(), [], given, []), INVALID, "'p'")


def test_of_a_tag_given_twice_the_last_is_kept(side: Any) -> None:
    run = side.run(tags={"old": "1"})
    given = [RunTag("t", "1"), RunTag("old", "2"), RunTag("t", "2"), RunTag("old", "3"), RunTag("t", "3")]
    side.tracking.log_batch(run, [], [], given)
    found = side.tracking.get_run(run).data.tags
    assert (found["t"], found["old"]) == ("3", "3")


@pytest.mark.parametrize(
    ("m", "p", "t"),
    [
        ([], [Param("taken", "other")], []),
        ([], [Param("p", "1"), Param("p", "2")], []),
        ([], [Param("bad;key", "1")], []),
        ([Metric("m", "text", 1, 0)], [], []),
        ([Metric("bad;key", 1.0, 1, 0)], [], []),
        ([Metric("m", 1.0, -1, 0)], [], []),
        ([], [], [RunTag("bad;key", "1")]),
        ([], [], [RunTag(None, "1")]),
    ],
    ids=range(8),
)
def test_a_refused_batch_leaves_nothing_behind(side: Any, m: list[Metric], p: list[Param], t: list[RunTag]) -> None:
    run = side.run(params={"taken": "1"})
    before = side.tracking.get_run(run).to_dictionary()
    with pytest.raises(MlflowException) as raised:
        side.tracking.log_batch(run, [*metrics(2, "good"), *m], [Param("good", "1"), *p], [RunTag("good", "1"), *t])
    assert raised.value.error_code == INVALID
    assert side.tracking.get_run(run).to_dictionary() == before
    assert side.tracking.get_metric_history(run, "good") == []


@pytest.mark.parametrize("run", ["", "/", "a b", "-x", "日", "x" * 257, "../up"], ids=range(7))
def test_a_batch_wants_an_id_that_could_be_one(refuses: Refuses, run: str) -> None:
    refuses(lambda side: side.tracking.log_batch(run, [], [], []), INVALID)


def test_a_batch_wants_a_run_that_is_there(refuses: Refuses) -> None:
    refuses(lambda side: side.tracking.log_batch("0" * 32, [], [], []), "RESOURCE_DOES_NOT_EXIST")
    refuses(lambda side: side.tracking.log_batch("0" * 32, metrics(1), params(1), tags(1)), "RESOURCE_DOES_NOT_EXIST")


def test_a_batch_names_the_entry_that_is_wrong(refuses: Refuses) -> None:
    for place, given in (
        ("metrics[1]", ([*metrics(1), Metric("a;b", 1.0, 1, 0)], [], [])),
        ("params[1]", ([], [*params(1), Param("a;b", "1")], [])),
        ("tags[1]", ([], [], [*tags(1), RunTag("a;b", "1")])),
    ):
        refuses(lambda side, given=given: side.tracking.log_batch(side.run(), *given), INVALID, place)
