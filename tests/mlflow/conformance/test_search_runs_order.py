"""Searching runs: their order, with ties, NaN and what is missing; their pages; what is refused."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from mlflow.entities import ViewType

Refuses = Callable[..., str]
INVALID = "INVALID_PARAMETER_VALUE"
#: Names of runs: (start, end, metric m, param p, tag t). None: it has none.
RUNS: dict[str, tuple[int, int | None, float | None, str | None, str | None]] = {
    "a": (10, 90, 3.0, "x", "b"),
    "b": (20, None, -1.0, "X", None),
    "c": (30, 70, math.nan, None, "a"),
    "d": (40, 80, None, "日", "B"),
    "e": (50, 70, 3.0, "", "é"),
    "f": (60, None, 1e300, "10", ""),
    "g": (70, 0, 0.0, "9", "b"),
}


@pytest.fixture(scope="module")
def experiment(stage: Any) -> str:
    made = stage.experiment()
    for name, (start, end, m, p, t) in RUNS.items():
        stage.run(
            made,
            name=name,
            start=start,
            end=end,
            metrics={} if m is None else {"m": m, "m x": m},
            params={} if p is None else {"p": p},
            tags={} if t is None else {"t": t},
        )
    return str(made)


ORDERS: dict[tuple[str, ...], str] = {
    (): "gfedcba",  # the newest first
    ("start_time",): "abcdefg",
    ("start_time ASC",): "abcdefg",
    ("attributes.start_time DESC",): "gfedcba",
    ("created",): "abcdefg",
    ("attributes.Created desc",): "gfedcba",
    # What has no value is last, whichever way; NaN before it.
    ("metrics.m",): "bgeafcd",
    ("metrics.m ASC",): "bgeafcd",
    ("metrics.m DESC",): "feagbcd",
    ("metrics.m desc", "start_time"): "faegbcd",
    ("metric.m", "start_time"): "bgaefcd",
    ("metrics.`m x` DESC", "attributes.start_time ASC"): "faegbcd",
    ('metrics."m x"',): "bgeafcd",
    ("params.p",): "efgbadc",
    ("params.p DESC",): "dabgfec",
    ("params.`p` asc",): "efgbadc",
    ("tags.t",): "fdcgaeb",
    ("tags.t DESC",): "egacdfb",
    ("tags.t DESC", "start_time ASC"): "eagcdfb",
    ("end_time",): "gecdafb",
    ("end_time DESC",): "adecgfb",
    ("end_time", "metrics.m DESC", "start_time"): "gecdafb",
    ("tags.`mlflow.runName` DESC",): "gfedcba",
    ("attributes.status", "start_time"): "abcdefg",
    ("run_name",): "abcdefg",
    ("attributes.run_name DESC",): "gfedcba",
    ("attributes.`run_name` DESC",): "gfedcba",
    ("user_id", "run_name"): "abcdefg",
    ("metrics.nothing",): "gfedcba",
    ("params.nothing DESC", "start_time ASC"): "abcdefg",
    ("tags.t ASC", "metrics.m ASC", "params.p DESC"): "fdcgaeb",
}


@pytest.mark.parametrize("order_by", ORDERS, ids=", ".join)
def test_an_order_is_kept(stage: Any, experiment: str, order_by: tuple[str, ...]) -> None:
    assert "".join(stage.found(experiment, order_by=list(order_by))) == ORDERS[order_by]


@pytest.mark.parametrize(
    "order_by", [*ORDERS, ("metrics.m DESC", "tags.t"), ("params.p", "end_time DESC")], ids=", ".join
)
@pytest.mark.parametrize("size", [1, 3])
def test_pages_are_cut_from_the_order(
    stage: Any, experiment: str, pages: Callable[..., list[Any]], order_by: tuple[str, ...], size: int
) -> None:
    def page(**token: Any) -> Any:
        view = ViewType.ACTIVE_ONLY
        return stage.tracking.search_runs([experiment], "", view, max_results=size, order_by=list(order_by), **token)

    found = [run.info.run_name for run in pages(page, size)]
    assert found == stage.found(experiment, order_by=list(order_by))


def test_runs_that_are_equal_in_all_else_go_by_their_ids(side: Any, pages: Callable[..., list[Any]]) -> None:
    experiment = side.experiment()
    ids = sorted(side.run(experiment, name="same", start=5, metrics={"m": 1.0}) for _ in range(9))
    for order_by in (
        [],
        ["metrics.m"],
        ["metrics.m DESC"],
        ["start_time DESC"],
        ["tags.t"],
        ["attributes.run_name DESC"][:0],
    ):

        def page(order_by: list[str] = order_by, **token: Any) -> Any:
            return side.tracking.search_runs([experiment], "", ViewType.ALL, max_results=2, order_by=order_by, **token)

        assert [run.info.run_id for run in pages(page, 2)] == ids


def test_an_order_by_ids_is_one(side: Any) -> None:
    experiment = side.experiment()
    ids = sorted(side.run(experiment) for _ in range(5))
    for order_by, expected in (("run_id", ids), ("attributes.run_id DESC", ids[::-1])):
        found = side.tracking.search_runs([experiment], "", ViewType.ALL, order_by=[order_by])
        assert [run.info.run_id for run in found] == expected


def test_orders_and_filters_go_together(stage: Any, experiment: str) -> None:
    assert stage.found(experiment, "metrics.m > -1", order_by=["metrics.m DESC", "start_time ASC"]) == list("faeg")
    assert stage.found(experiment, "params.p != 'x'", order_by=["tags.t DESC"], max_results=3) == ["e", "g", "d"]
    assert stage.found(experiment, "tags.t IS NULL", order_by=["metrics.m"]) == ["b"]


def test_there_is_a_token_only_where_there_is_more(stage: Any, experiment: str) -> None:
    def token(size: int) -> Any:
        return stage.tracking.search_runs([experiment], "", ViewType.ALL, max_results=size).token

    assert token(7) is None
    assert token(8) is None
    assert token(6)
    last = stage.tracking.search_runs([experiment], "", ViewType.ALL, max_results=6, page_token=token(6))
    assert [run.info.run_name for run in last] == ["a"]
    assert last.token is None


def test_a_page_beyond_the_end_is_empty(stage: Any, experiment: str) -> None:
    token = stage.tracking.search_runs([experiment], "", ViewType.ALL, max_results=6).token
    found = stage.tracking.search_runs([experiment], "params.p = 'x'", ViewType.ALL, max_results=5, page_token=token)
    assert list(found) == []
    assert found.token is None


def test_tokens_may_be_text_or_bytes(stage: Any, experiment: str) -> None:
    token = stage.tracking.search_runs([experiment], "", ViewType.ALL, max_results=4).token
    other = token.decode() if isinstance(token, bytes) else token.encode()
    for one in (token, other):
        found = stage.tracking.search_runs([experiment], "", ViewType.ALL, max_results=9, page_token=one)
        assert "".join(run.info.run_name for run in found) == "cba"


@pytest.mark.parametrize("size", [0, -1, -100, 50_001, 1_000_000])
def test_sizes_of_pages_have_bounds(refuses: Refuses, size: int) -> None:
    refuses(
        lambda side: side.tracking.search_runs([side.experiment()], "", ViewType.ALL, max_results=size),
        INVALID,
        str(size),
    )


def test_the_largest_page_and_none_at_all_are_taken(side: Any) -> None:
    experiment = side.experiment()
    for _ in range(3):
        side.run(experiment)
    assert len(side.found(experiment, max_results=50_000)) == 3
    assert len(side.found(experiment, max_results=None)) == 3


@pytest.mark.parametrize(
    "token", ["x", "%%%", "eyJhIjogMX0=", "bm90IGpzb24=", "eyJvZmZzZXQiOiAieCJ9", "eyJvZmZzZXQiOiAwfQ=="]
)
def test_a_token_that_nobody_gave_is_refused(refuses: Refuses, token: str) -> None:
    refuses(lambda side: side.tracking.search_runs([side.experiment()], "", ViewType.ALL, page_token=token), INVALID)


REFUSED = [
    "metrics.acc = 'text'",
    "metrics.acc = abc",
    "metrics.acc LIKE '0%'",
    "metrics.acc IN (1, 2)",
    "metrics.acc IS NULL",
    "metrics.acc == 1",
    "metrics.acc <> 1",
    "metrics.acc",
    "metrics.acc >",
    "metrics.acc > 1 2",
    "= 1",
    "1 = metrics.acc",
    "'x' = params.p",
    "params.p > 'x'",
    "params.p = 5",
    "params.p = x.y",
    "params.p IN ('x')",
    "params.p = 'x",
    "params.p RLIKE 'x'",
    "tags.t < 'x'",
    "tags.t = 5",
    "tags.t IN ('x')",
    "tags.t = `x`",
    "attributes.status > 'x'",
    "attributes.status = 5",
    "attributes.status IN ('FINISHED')",
    "attributes.status IS NULL",
    "attributes.nothing = 'x'",
    "nothing = 'x'",
    "attributes.lifecycle_stage = 'active'",
    "attributes.experiment_id = '1'",
    "start_time = 'x'",
    "start_time LIKE '1%'",
    "start_time IN (1)",
    "end_time IS NULL",
    "run_id IN ()",
    "run_id IN (1, 2)",
    "run_id IN ('a' 'b', 3)",
    "run_id NOT IN ()",
    "run_name IN ('a')",
    "dataset.nothing = 'x'",
    "dataset.name > 'x'",
    "dataset.name = 5",
    "dataset.name IS NULL",
    "dataset.name IN ()",
    "dataset.profile LIKE '%'",
    "model.x = 'y'",
    "foo.bar = 'baz'",
    "metrics.a = 1 or metrics.b = 2",
    "not metrics.a = 1",
    "(metrics.a = 1)",
    "metrics.a = 1 and (metrics.b = 2)",
    "metrics.a = 1, metrics.b = 2",
    "metrics.a = 1; metrics.b = 2",
    "metrics.a between 1 and 2",
    "params.a.b.c",
    "random text",
    "tags.t IS",
    "tags.t IS NOT",
    "tags.t NULL",
    "-- comment",
]


@pytest.mark.parametrize("filter_string", REFUSED)
def test_other_filters_are_refused(refuses: Refuses, filter_string: str) -> None:
    refuses(lambda side: side.tracking.search_runs([side.experiment()], filter_string, ViewType.ALL), INVALID)


@pytest.mark.parametrize(
    "order_by",
    ["", "nothing", "attributes.nothing", "foo.bar", "metrics.m down", "metrics.m ASC DESC", "metrics.m, params.p",
     "dataset.name", "metrics.m;", "1", "m x y z"],
)  # fmt: skip
def test_other_orders_are_refused(refuses: Refuses, order_by: str) -> None:
    refuses(lambda side: side.tracking.search_runs([side.experiment()], "", ViewType.ALL, order_by=[order_by]), INVALID)


@pytest.mark.parametrize(
    "order_by", [["metrics.m", "metrics.m DESC"], ["start_time", "created"], ["params.p", "param.p"]]
)
def test_a_field_orders_once(refuses: Refuses, order_by: list[str]) -> None:
    refuses(
        lambda side: side.tracking.search_runs([side.experiment()], "", ViewType.ALL, order_by=order_by),
        "INTERNAL_ERROR",
    )
