"""Searching model versions: filters, orders, pages, refusals."""

from collections.abc import Callable
from typing import Any

import pytest
from mlflow.entities.model_registry import ModelVersionTag

Refuses = Callable[..., str]
INVALID = "INVALID_PARAMETER_VALUE"
#: Versions as "model + number" → run, source, tags.
VERSIONS: dict[str, tuple[str | None, str, dict[str, str]]] = {
    "a1": ("r1", "s3://b/one", {"team": "blue"}),
    "a2": ("r2", "s3://b/two", {"team": "Blue", "k y": "x"}),
    "a3": (None, "/local/three", {"team": "red", "note": "it's"}),
    "b1": ("r1", "S3://b/ONE", {"k y": "x"}),
    "b2": ("R1", "runs:/r1/model", {}),
    "b3": ("r3", "gone", {"team": "blue"}),
}
LIVE = set(VERSIONS) - {"b3"}


@pytest.fixture(scope="module")
def token(stage: Any) -> str:
    """What the names of our models end with."""
    for short, (run, source, tags) in VERSIONS.items():
        name = f"{short[0]}-{stage.token}"
        if short.endswith("1"):
            stage.registry.create_registered_model(name)
        given = [ModelVersionTag(*tag) for tag in tags.items()]
        stage.registry.create_model_version(name, source, run and f"{run}-{stage.token}", given)
    stage.registry.delete_model_version(f"b-{stage.token}", 3)
    return str(stage.token)


def found(stage: Any, token: str, filter_string: str = "", **more: Any) -> list[str]:
    ours = f"name LIKE '%-{token}'"
    both = f"{ours} AND {filter_string}" if filter_string else ours
    seen = stage.registry.search_model_versions(both.replace("{}", token), **more)
    return [f"{one.name[0]}{one.version}" for one in seen]


FILTERS: dict[str, set[str]] = {
    "": LIVE,
    "name = 'a-{}'": {"a1", "a2", "a3"},
    "attribute.name = 'a-{}'": {"a1", "a2", "a3"},
    "name != 'a-{}'": {"b1", "b2"},
    "name ILIKE 'A-%'": {"a1", "a2", "a3"},
    "name LIKE '_-%'": LIVE,
    "name IN ('a-{}', 'c-{}')": {"a1", "a2", "a3"},
    "name NOT IN ('a-{}')": {"b1", "b2"},
    "run_id = 'r1-{}'": {"a1", "b1"},
    "run_id != 'r1-{}'": {"a2", "b2"},
    "run_id LIKE 'r%'": {"a1", "a2", "b1"},
    "run_id ILIKE 'r1%'": {"a1", "b1", "b2"},
    "run_id IN ('r1-{}', 'r2-{}')": {"a1", "a2", "b1"},
    "run_id in ('R1-{}')": {"b2"},
    "run_id NOT IN ('r1-{}')": {"a2", "b2"},
    "source_path = 's3://b/one'": {"a1"},
    "source_path LIKE 's3://%'": {"a1", "a2"},
    "source_path ILIKE 's3://b/o%'": {"a1", "b1"},
    "source_path != 's3://b/one'": LIVE - {"a1"},
    "source_path = 'gone'": set(),
    "version_number = 1": {"a1", "b1"},
    "version_number > 1": {"a2", "a3", "b2"},
    "version_number >= 2 AND version_number < 3": {"a2", "b2"},
    "version_number != 1 and name = 'a-{}'": {"a2", "a3"},
    "version_number <= 0": set(),
    "version_number = '2'": {"a2", "b2"},
    "tags.team = 'blue'": {"a1"},
    "tag.team != 'blue'": {"a2", "a3"},
    "tags.team ILIKE 'BLUE'": {"a1", "a2"},
    "tags.team LIKE '%e%'": {"a1", "a2", "a3"},
    "tags.`k y` = 'x'": {"a2", "b1"},
    "tags.`k y` = 'x' AND tags.team LIKE 'B%'": {"a2"},
    'tags.note = "it\'s"': {"a3"},
    "tags.nothing = 'x'": set(),
}


@pytest.mark.parametrize("filter_string", FILTERS)
def test_a_filter_finds_what_fits_it(stage: Any, token: str, filter_string: str) -> None:
    seen = found(stage, token, filter_string)
    assert set(seen) == FILTERS[filter_string]
    assert len(seen) == len(set(seen))


ORDERS = {
    ("name ASC",): ["a3", "a2", "a1", "b2", "b1"],
    ("name DESC",): ["b2", "b1", "a3", "a2", "a1"],
    ("version_number",): ["a1", "b1", "a2", "b2", "a3"],
    ("version_number DESC",): ["a3", "a2", "b2", "a1", "b1"],
    ("version_number DESC", "name DESC"): ["a3", "b2", "a2", "b1", "a1"],
    ("name", "version_number ASC"): ["a1", "a2", "a3", "b1", "b2"],
}


@pytest.mark.parametrize("order_by", ORDERS, ids=", ".join)
def test_an_order_is_kept(stage: Any, token: str, order_by: tuple[str, ...], pages: Callable[..., list[Any]]) -> None:
    assert found(stage, token, order_by=list(order_by)) == ORDERS[order_by]
    for size in (1, 2, 5):

        def page(size: int = size, **more: Any) -> Any:
            ours = f"name LIKE '%-{token}'"
            return stage.registry.search_model_versions(ours, max_results=size, order_by=list(order_by), **more)

        assert [f"{one.name[0]}{one.version}" for one in pages(page, size)] == ORDERS[order_by]


@pytest.mark.parametrize("key", ["creation_timestamp", "last_updated_timestamp"])
def test_an_order_by_time_is_kept(stage: Any, token: str, key: str) -> None:
    for way, sign in (("", 1), (" DESC", -1)):
        seen = stage.registry.search_model_versions(f"name LIKE '%-{token}'", order_by=[key + way])
        keys = [(sign * getattr(one, key), one.name, -one.version) for one in seen]
        assert keys == sorted(keys)


def test_without_an_order_what_was_updated_last_is_first(stage: Any, token: str) -> None:
    for order_by in (None, []):
        seen = stage.registry.search_model_versions(f"name LIKE '%-{token}'", order_by=order_by)
        keys = [(-one.last_updated_timestamp, one.name, -one.version) for one in seen]
        assert keys == sorted(keys)


def test_a_version_that_is_found_is_whole(stage: Any, token: str) -> None:
    (seen,) = stage.registry.search_model_versions(f"name = 'a-{token}' AND version_number = 3")
    same = stage.registry.get_model_version(f"a-{token}", 3)
    assert dict(seen) == dict(same)


@pytest.mark.parametrize("size", [0, -1, 200_001, None, 1.5, "5"])
def test_sizes_of_pages_have_bounds(refuses: Refuses, size: Any) -> None:
    refuses(lambda side: side.registry.search_model_versions(max_results=size), INVALID, str(size))


@pytest.mark.parametrize("token_given", ["x", "%%%", "eyJhIjogMX0="])
def test_a_token_that_nobody_gave_is_refused(refuses: Refuses, token_given: str) -> None:
    refuses(lambda side: side.registry.search_model_versions(page_token=token_given), INVALID)


@pytest.mark.parametrize(
    "filter_string",
    [
        "nothing = 'x'",
        "name > 'x'",
        "name = 5",
        "name IN ()",
        "name IN (1)",
        "run_id IN ('a', 1)",
        "run_id > 'x'",
        "source_path IN ('x')",
        "version_number = 'x'",
        "version_number LIKE '1'",
        "version_number = 1.5",
        "tags.a > 'x'",
        "tags.a IN ('x')",
        "tags.a = 5",
        "params.a = 'x'",
        "version = 1",
        "current_stage = 'None'",
        "aliases = 'x'",
        "name = 'a' OR name = 'b'",
        "(name = 'a')",
        "name",
        "name = 'a'; name = 'b'",
        "creation_timestamp > 1",
    ],
)
def test_other_filters_are_refused(refuses: Refuses, filter_string: str) -> None:
    refuses(lambda side: side.registry.search_model_versions(filter_string), INVALID)


@pytest.mark.parametrize(
    "order_by", ["", "nothing", "run_id", "tags.a", "name down", "name ASC DESC", "version", "metrics.a"]
)
def test_other_orders_are_refused(refuses: Refuses, order_by: str) -> None:
    refuses(lambda side: side.registry.search_model_versions(order_by=[order_by]), INVALID)


def test_a_field_orders_once(refuses: Refuses) -> None:
    refuses(lambda side: side.registry.search_model_versions(order_by=["name", "name DESC"]), "INTERNAL_ERROR")
