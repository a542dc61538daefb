"""Searching logged models: filters, datasets, orders, pages, refusals."""

from collections.abc import Callable
from typing import Any

import pytest
from mlflow.entities import LoggedModelParameter, LoggedModelTag, Metric

Refuses = Callable[..., str]
INVALID = "INVALID_PARAMETER_VALUE"
#: Names → model type, params, tags, metrics (key, value, time, step, dataset name and digest).
MODELS: dict[str, dict[str, Any]] = {
    "a": {
        "model_type": "Agent",
        "params": {"lr": "0.1", "opt": "adam"},
        "tags": {"team": "blue", "a.b": "dot"},
        "metrics": [
            ("acc", 0.5, 1, 0, "train", "d1"),
            ("acc", 0.9, 2, 1, "test", "d2"),
            ("loss", 3.0, 1, 0, None, None),
        ],
    },
    "B": {
        "params": {"lr": "0.01", "opt": "ADAM"},
        "tags": {"team": "Blue"},
        "metrics": [("acc", 0.7, 1, 0, "train", "d1"), ("acc", 0.2, 5, 0, "train", "d3")],
    },
    "b": {"model_type": "Chain", "params": {"opt": "日本"}, "metrics": [("acc", 0.7, 1, 0, None, None)]},
    "é": {"tags": {"team": "red"}, "metrics": [("loss", -1.0, 1, 0, "test", "d2")]},
    "bare": {},
    "gone": {"params": {"lr": "0.1"}, "metrics": [("acc", 0.5, 1, 0, "train", "d1")]},
}
LIVE = set(MODELS) - {"gone"}


@pytest.fixture(scope="module")
def experiment(stage: Any) -> str:
    made = stage.experiment()
    run = stage.run(made)
    for name, given in MODELS.items():
        params = [LoggedModelParameter(key, value) for key, value in given.get("params", {}).items()]
        tags = [LoggedModelTag(key, value) for key, value in given.get("tags", {}).items()]
        create = stage.tracking.create_logged_model
        model = create(made, name, run if name == "a" else None, tags, params, given.get("model_type")).model_id
        for key, value, timestamp, step, dataset, digest in given.get("metrics", []):
            metric = Metric(key, value, timestamp, step, model_id=model, dataset_name=dataset, dataset_digest=digest)
            stage.tracking.log_metric(run, metric)
        if name == "gone":
            stage.tracking.delete_logged_model(model)
    stage.tracking.create_logged_model(stage.experiment(), "a")
    return str(made)


def found(stage: Any, experiment: str, filter_string: str | None = None, **more: Any) -> list[str]:
    return [one.name for one in stage.tracking.search_logged_models([experiment], filter_string, **more)]


FILTERS: dict[str, set[str]] = {
    "": LIVE,
    "name = 'a'": {"a"},
    "attributes.name = 'a'": {"a"},
    "name != 'a'": LIVE - {"a"},
    "name LIKE 'b%'": {"b", "bare"},
    "name ILIKE 'b'": {"b", "B"},
    "name like 'b%'": {"b", "bare"},
    "name IN ('a', 'é')": {"a", "é"},
    "name IN ('a')": {"a"},
    "name NOT IN ('a', 'é', 'gone')": {"B", "b", "bare"},
    "model_type = 'Agent'": {"a"},
    "model_type != 'Agent'": {"b"},
    "creation_timestamp > 0": LIVE,
    "creation_time > 0 AND creation_timestamp_ms < 9999999999999": LIVE,
    "last_updated_timestamp <= 1000": set(),
    "source_run_id = 'nothing'": set(),
    "params.lr = '0.1'": {"a"},
    "params.lr != '0.1'": {"B"},
    "params.opt LIKE 'a%'": {"a"},
    "params.opt ILIKE 'A%'": {"a", "B"},
    "params.opt IN ('adam', '日本')": {"a", "b"},
    "params.`opt` = '日本'": {"b"},
    "params.nothing = 'x'": set(),
    "tags.team = 'blue'": {"a"},
    "tags.team != 'blue'": {"B", "é"},
    "tags.team ILIKE 'bl%'": {"a", "B"},
    "tags.a.b = 'dot'": {"a"},
    "tags.`a.b` = 'dot'": {"a"},
    # Any of the points that a model has will do.
    "metrics.acc > 0.6": {"a", "B", "b"},
    "metrics.acc = 0.5": {"a"},
    "metrics.acc < 0.3": {"B"},
    "metrics.acc > 0.8 AND metrics.acc < 0.6": {"a"},
    "metrics.loss < 0": {"é"},
    "metrics.loss >= 3": {"a"},
    "metrics.acc != 0.7": {"a", "B"},
    "metrics.nothing > 0": set(),
    "metrics.acc > 0.6 AND params.opt = 'adam' and tags.team = 'blue' AND name = 'a'": {"a"},
}


@pytest.mark.parametrize("filter_string", FILTERS)
def test_a_filter_finds_what_fits_it(stage: Any, experiment: str, filter_string: str) -> None:
    seen = found(stage, experiment, filter_string)
    assert set(seen) == FILTERS[filter_string]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize(
    ("datasets", "filter_string", "expected"),
    [
        ([{"dataset_name": "train"}], None, {"a", "B"}),
        ([{"dataset_name": "train", "dataset_digest": "d3"}], None, {"B"}),
        ([{"dataset_name": "train", "dataset_digest": "d2"}], None, set()),
        ([{"dataset_name": "train"}, {"dataset_name": "test"}], None, {"a", "B", "é"}),
        ([{"dataset_name": "test"}], "metrics.acc > 0.6", {"a"}),
        ([{"dataset_name": "train"}], "metrics.acc > 0.6", {"B"}),
        ([{"dataset_name": "train", "dataset_digest": "d3"}], "metrics.acc > 0.6", set()),
        ([{"dataset_name": "train"}], "params.opt = 'adam'", {"a"}),
        ([{"dataset_name": "nothing"}], None, set()),
        ([], None, LIVE),
        (None, None, LIVE),
    ],
    ids=range(11),
)
def test_datasets_limit_the_metrics_that_are_looked_at(
    stage: Any, experiment: str, datasets: Any, filter_string: str | None, expected: set[str]
) -> None:
    assert set(found(stage, experiment, filter_string, datasets=datasets)) == expected


NAME = {"field_name": "name"}


def by(field: str, ascending: bool = True, **more: Any) -> dict[str, Any]:
    return {"field_name": field, "ascending": ascending, **more}


@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        ([NAME], ["B", "a", "b", "bare", "é"]),
        ([by("name", False)], ["é", "bare", "b", "a", "B"]),
        # By the latest point; models without one are last.
        ([by("metrics.acc"), NAME], ["B", "b", "a", "bare", "é"]),
        ([by("metrics.acc", False), NAME], ["a", "b", "B", "bare", "é"]),
        ([by("metrics.acc", True, dataset_name="train"), NAME], ["B", "a", "b", "bare", "é"]),
        ([by("metrics.acc", False, dataset_name="train", dataset_digest="d1"), NAME], ["B", "a", "b", "bare", "é"]),
        ([by("metrics.loss"), NAME], ["é", "a", "B", "b", "bare"]),
        ([by("metrics.nothing"), by("name", False)], ["é", "bare", "b", "a", "B"]),
        ([by("model_type"), NAME], ["a", "b", "B", "bare", "é"]),
        ([by("model_type", False), NAME], ["b", "a", "B", "bare", "é"]),
    ],
    ids=range(10),
)
def test_an_order_is_kept(stage: Any, experiment: str, order_by: list[dict[str, Any]], expected: list[str]) -> None:
    assert found(stage, experiment, order_by=order_by) == expected


@pytest.mark.parametrize(
    "field", ["creation_timestamp", "creation_time", "last_updated_timestamp", "creation_timestamp_ms"]
)
def test_an_order_by_time_is_kept(stage: Any, experiment: str, field: str) -> None:
    attribute = "last_updated_timestamp" if "last" in field else "creation_timestamp"
    for ascending in (True, False):
        models = stage.tracking.search_logged_models([experiment], order_by=[by(field, ascending)])
        times = [getattr(one, attribute) for one in models]
        assert times == sorted(times, reverse=not ascending)
        assert len(times) == len(LIVE)


def test_without_an_order_the_newest_is_first(stage: Any, experiment: str) -> None:
    models = stage.tracking.search_logged_models([experiment])
    keys = [(-one.creation_timestamp, one.model_id) for one in models]
    assert keys == sorted(keys)


def test_an_order_by_ids_is_kept(stage: Any, experiment: str) -> None:
    ids = [one.model_id for one in stage.tracking.search_logged_models([experiment], order_by=[by("model_id", False)])]
    assert ids == sorted(ids, reverse=True)


@pytest.mark.parametrize("size", [1, 2, 5, 6])
@pytest.mark.parametrize("filter_string", [None, "metrics.acc > 0.1"])
def test_pages_are_cut_from_the_order(
    stage: Any, experiment: str, pages: Callable[..., list[Any]], size: int, filter_string: str | None
) -> None:
    def page(**token: Any) -> Any:
        order_by = [by("metrics.acc"), by("name")]
        search = stage.tracking.search_logged_models
        return search([experiment], filter_string, max_results=size, order_by=order_by, **token)

    expected = found(stage, experiment, filter_string, order_by=[by("metrics.acc"), by("name")])
    assert [one.name for one in pages(page, size)] == expected


def test_a_model_that_is_found_is_whole(stage: Any, experiment: str) -> None:
    (one,) = stage.tracking.search_logged_models([experiment], "name = 'a'")
    same = stage.tracking.get_logged_model(one.model_id)
    assert (one.params, one.tags, one.artifact_location) == (same.params, same.tags, same.artifact_location)
    assert {(m.key, m.value, m.step) for m in one.metrics} == {(m.key, m.value, m.step) for m in same.metrics}
    assert found(stage, experiment, f"model_id = '{one.model_id}'") == ["a"]
    assert found(stage, experiment, f"source_run_id = '{one.source_run_id}'") == ["a"]


def test_only_the_experiments_asked_for_are_searched(side: Any) -> None:
    first, second = side.experiment(), side.experiment()
    side.tracking.create_logged_model(first, "x")
    side.tracking.create_logged_model(second, "y")
    assert found(side, first) == ["x"]
    assert len(side.tracking.search_logged_models([first, second])) == 2
    assert side.tracking.search_logged_models([]) == []
    assert side.tracking.search_logged_models(["987654321"]) == []


@pytest.mark.parametrize(
    "change", [{"filter_string": "name = 'x'"}, {"order_by": [NAME]}, {"experiment_ids": ["0"]}], ids=str
)
def test_a_token_is_for_the_search_that_gave_it(refuses: Refuses, change: dict[str, Any]) -> None:
    def search(side: Any) -> None:
        experiment = side.experiment()
        for _ in range(3):
            side.tracking.create_logged_model(experiment)
        given = {"experiment_ids": [experiment], "max_results": 2}
        token = side.tracking.search_logged_models(**given).token
        side.tracking.search_logged_models(**{**given, **change}, page_token=token)

    refuses(search, INVALID)


@pytest.mark.parametrize(
    "datasets", [[{}], [{"dataset_digest": "d1"}], [{"dataset_name": ""}], [{"dataset_name": None}]], ids=str
)
def test_datasets_are_named(refuses: Refuses, datasets: Any) -> None:
    refuses(lambda side: side.tracking.search_logged_models([side.experiment()], datasets=datasets), INVALID)


@pytest.mark.parametrize(
    "filter_string",
    [
        "foo.bar = 'x'",
        "metrics.acc LIKE 'x'",
        "params.a > 'x'",
        "name > 'x'",
        "tags.t < 'x'",
        "name = 'a' OR name = 'b'",
        "(name = 'a')",
        "random",
        "name = 'a'; name = 'b'",
        "creation_timestamp LIKE '1'",
        "metric.acc > 1",
        "name",
        "metrics.acc IN (1)",
        "params.a IS NULL",
    ],
)
def test_other_filters_are_refused(refuses: Refuses, filter_string: str) -> None:
    refuses(lambda side: side.tracking.search_logged_models([side.experiment()], filter_string), INVALID)


@pytest.mark.parametrize("field", ["nothing", "params.lr", "tags.team", "foo.bar"])
def test_other_orders_are_refused(refuses: Refuses, field: str) -> None:
    refuses(lambda side: side.tracking.search_logged_models([side.experiment()], order_by=[by(field)]), INVALID, field)
