"""Searching experiments: filters, orders, pages, refusals."""

from collections.abc import Callable
from typing import Any

import pytest
from mlflow.entities import ViewType

Refuses = Callable[..., str]
INVALID = "INVALID_PARAMETER_VALUE"
#: Ends of names, and tags.
EXPERIMENTS: dict[str, dict[str, str]] = {
    "a": {"team": "blue", "k.e y": "x"},
    "B": {"team": "Blue"},
    "b": {"team": "red", "note": "it's"},
    "é": {"note": "日本"},
    "100%": {},
    "gone": {"team": "blue"},
}
LIVE = set(EXPERIMENTS) - {"gone"}


@pytest.fixture(scope="module")
def names(stage: Any) -> dict[str, tuple[str, str]]:
    """Ends of names → (name, id); all names start alike, and with nothing that other tests make."""
    made = {}
    for end, tags in EXPERIMENTS.items():
        name = f"found-{stage.token}-{end}"
        made[end] = (name, stage.experiment(name, tags=tags))
    stage.tracking.delete_experiment(made["gone"][1])
    return made


def found(stage: Any, filter_string: str, **more: Any) -> list[str]:
    """Ends of the names that are found among ours, in order."""
    ours = f"name LIKE 'found-{stage.token}-%'"
    both = f"{ours} AND {filter_string}" if filter_string else ours
    return [one.name.split("-", 2)[2] for one in stage.tracking.search_experiments(filter_string=both, **more)]


FILTERS: dict[str, set[str]] = {
    "": LIVE,
    "name = '{a}'": {"a"},
    'name = "{a}"': {"a"},
    "attribute.name = '{a}'": {"a"},
    "name != '{a}'": LIVE - {"a"},
    "name LIKE '%-b'": {"b"},
    "name ILIKE '%-B'": {"b", "B"},
    "name LIKE '%-_'": {"a", "b", "B", "é"},
    "name LIKE '%é'": {"é"},
    "name LIKE '%100%%'": {"100%"},
    "name = '{gone}'": set(),
    "experiment_id = '{id:a}'": {"a"},
    "attribute.experiment_id != '{id:a}'": LIVE - {"a"},
    "experiment_id IN ('{id:a}', '{id:b}', '{id:gone}')": {"a", "b"},
    "experiment_id NOT IN ('{id:a}', '{id:b}')": LIVE - {"a", "b"},
    "creation_time > 0": LIVE,
    "creation_time < 1000": set(),
    "attribute.creation_time >= 1000 AND last_update_time != 0": LIVE,
    "last_update_time <= 9999999999999": LIVE,
    "last_update_time = 0": set(),
    "tags.team = 'blue'": {"a"},
    "tag.team = 'blue'": {"a"},
    "tags.team != 'blue'": {"B", "b"},
    "tags.team LIKE '%lue'": {"a", "B"},
    "tags.team ILIKE 'BLUE'": {"a", "B"},
    "tags.`k.e y` = 'x'": {"a"},
    "tags.\"k.e y\" = 'x'": {"a"},
    'tags.note = "it\'s"': {"b"},
    "tags.note = '日本'": {"é"},
    "tags.team IS NULL": {"é", "100%"},
    "tags.team IS NOT NULL": {"a", "B", "b"},
    "tags.team = 'red' AND tags.note LIKE 'it%'": {"b"},
    "tags.team = 'red' AND tags.team = 'blue'": set(),
    "tags.nothing = 'x'": set(),
    "tags.nothing != 'x'": set(),
}


@pytest.mark.parametrize("filter_string", FILTERS)
def test_a_filter_finds_what_fits_it(stage: Any, names: dict[str, tuple[str, str]], filter_string: str) -> None:
    filled = filter_string
    for end, (name, made) in names.items():
        filled = filled.replace(f"{{{end}}}", name).replace(f"{{id:{end}}}", made)
    seen = found(stage, filled)
    assert set(seen) == FILTERS[filter_string]
    assert len(seen) == len(FILTERS[filter_string])


@pytest.mark.parametrize(
    ("view", "expected"),
    [(ViewType.ACTIVE_ONLY, LIVE), (ViewType.DELETED_ONLY, {"gone"}), (ViewType.ALL, set(EXPERIMENTS))],
    ids=["active", "deleted", "all"],
)
def test_a_view_shows_active_or_deleted_ones_or_both(
    stage: Any, names: dict[str, tuple[str, str]], view: int, expected: set[str]
) -> None:
    assert set(found(stage, "", view_type=view)) == expected


BY_NAME = ["100%", "B", "a", "b", "é"]
ORDERS: dict[tuple[str, ...], list[str]] = {
    ("name",): BY_NAME,
    ("name ASC",): BY_NAME,
    ("attribute.name desc",): BY_NAME[::-1],
    ("experiment_id",): ["a", "B", "b", "é", "100%"],
    ("experiment_id DESC",): ["100%", "é", "b", "B", "a"],
    ("name", "experiment_id"): BY_NAME,
}


@pytest.mark.parametrize("order_by", ORDERS, ids=", ".join)
def test_an_order_is_kept(stage: Any, names: dict[str, tuple[str, str]], order_by: tuple[str, ...]) -> None:
    assert found(stage, "", order_by=list(order_by)) == ORDERS[order_by]


@pytest.mark.parametrize(
    "order_by", [None, [], ["creation_time"], ["creation_time DESC"], ["last_update_time ASC"]], ids=str
)
def test_an_order_by_time_is_kept(stage: Any, names: dict[str, tuple[str, str]], order_by: list[str] | None) -> None:
    seen = stage.tracking.search_experiments(filter_string=f"name LIKE 'found-{stage.token}-%'", order_by=order_by)

    def key(one: Any) -> tuple[int, int]:
        if not order_by:  # the newest first, then by id upwards
            return -one.creation_time, int(one.experiment_id)
        field, _, way = order_by[0].partition(" ")
        return getattr(one, field) * (-1 if way == "DESC" else 1), -int(one.experiment_id)

    assert [one.experiment_id for one in seen] == [one.experiment_id for one in sorted(seen, key=key)]
    assert len(seen) == len(LIVE)


def test_ids_are_ordered_as_numbers(alone: Any) -> None:
    made = [alone.experiment() for _ in range(11)]
    seen = alone.tracking.search_experiments(order_by=["experiment_id"])
    assert [one.experiment_id for one in seen] == ["0", *made]


@pytest.mark.parametrize("size", [1, 2, 4, 5, 100])
def test_pages_are_cut_from_the_order(
    stage: Any, names: dict[str, tuple[str, str]], pages: Callable[..., list[Any]], size: int
) -> None:
    def page(**token: Any) -> Any:
        ours = f"name LIKE 'found-{stage.token}-%'"
        return stage.tracking.search_experiments(filter_string=ours, max_results=size, order_by=["name"], **token)

    assert [one.name.split("-", 2)[2] for one in pages(page, size)] == BY_NAME


@pytest.mark.parametrize("size", [None, 0, -1, 50_001])
def test_sizes_of_pages_have_bounds(refuses: Refuses, size: Any) -> None:
    refuses(lambda side: side.tracking.search_experiments(max_results=size), INVALID, str(size))


@pytest.mark.parametrize("token", ["x", "%%%", "eyJhIjogMX0="])
def test_a_token_that_nobody_gave_is_refused(refuses: Refuses, token: str) -> None:
    refuses(lambda side: side.tracking.search_experiments(page_token=token), INVALID)


@pytest.mark.parametrize(
    "filter_string",
    [
        "nothing = 'x'",
        "attribute.nothing = 'x'",
        "name > 'x'",
        "name = 5",
        "name IN ('x')",
        "name IS NULL",
        "foo.bar = 'x'",
        "attributes.name = 'x'",
        "lifecycle_stage = 'active'",
        "experiment_id = 'abc'",
        "experiment_id > '1'",
        "experiment_id LIKE '1%'",
        "experiment_id IN ()",
        "experiment_id IN ('x')",
        "creation_time = 'x'",
        "creation_time > 1.5",
        "creation_time LIKE '1'",
        "creation_time IN (1)",
        "tags.a > 'x'",
        "tags.a = 5",
        "tags.a IN ('x')",
        "metrics.a = 1",
        "params.a = 'x'",
        "name = 'a' OR name = 'b'",
        "(name = 'a')",
        "name",
        "name = 'a'; name = 'b'",
        "name = 'a' 'b' 5",
    ],
)
def test_other_filters_are_refused(refuses: Refuses, filter_string: str) -> None:
    refuses(lambda side: side.tracking.search_experiments(filter_string=filter_string), INVALID)


@pytest.mark.parametrize(
    "order_by", ["", "nothing", "tags.a", "name down", "name ASC DESC", "metrics.a", "lifecycle_stage", "1"]
)
def test_other_orders_are_refused(refuses: Refuses, order_by: str) -> None:
    refuses(lambda side: side.tracking.search_experiments(order_by=[order_by]), INVALID)
