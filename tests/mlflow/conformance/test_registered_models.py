"""Registered models: made, described, renamed, deleted, made again, tagged, searched."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from mlflow.entities.model_registry import RegisteredModelTag
from mlflow.exceptions import MlflowException
from mlflow.utils.time import get_current_time_millis

Refuses = Callable[..., str]
MISSING, TAKEN, INVALID = "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_PARAMETER_VALUE"
NO_NAMES = [None, "", "  ", "a/b", "a:b", ".", "..", "./a"]


def code(call: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(MlflowException) as raised:
        call(*arguments)
    return str(raised.value.error_code)


def test_a_model_is_what_was_made(side: Any) -> None:
    before, name = get_current_time_millis(), side.unique()
    tags = [RegisteredModelTag("a", "1"), RegisteredModelTag("ß", "日本"), RegisteredModelTag("a", "2")]
    made = side.registry.create_registered_model(name, tags, "what it is for")
    for model in (made, side.registry.get_registered_model(name)):
        assert (model.name, model.description, model.tags) == (name, "what it is for", {"a": "2", "ß": "日本"})
        assert (model.latest_versions, model.aliases) == ([], {})
        assert before <= model.creation_timestamp == model.last_updated_timestamp <= get_current_time_millis()


@pytest.mark.parametrize(
    "stem", ["x", " a b ", "日本 🌊", "it's", 'a"b`c', "a@b", "100%", "a.b", "\\", "v1", "~2", "A" * 200]
)
def test_most_texts_are_names(side: Any, stem: str) -> None:
    name = side.unique(stem)
    side.model(name, versions=1)
    assert side.registry.get_registered_model(name).name == name
    assert side.registry.get_model_version(name, 1).name == name
    side.registry.set_registered_model_alias(name, "a", 1)
    assert side.registry.get_model_version_by_alias(name, "a").version == 1
    (found,) = side.registry.search_registered_models(order_by=["timestamp DESC"], max_results=1)
    assert found.name == name


@pytest.mark.parametrize("name", NO_NAMES, ids=repr)
def test_some_texts_are_no_names(refuses: Refuses, name: Any) -> None:
    for call in (
        lambda side: side.registry.create_registered_model(name),
        lambda side: side.registry.get_registered_model(name),
        lambda side: side.registry.update_registered_model(name, "x"),
        lambda side: side.registry.delete_registered_model(name),
        lambda side: side.registry.rename_registered_model(side.standing(), name),
        lambda side: side.registry.create_model_version(name, "s3://x", None),
        lambda side: side.registry.set_registered_model_tag(name, RegisteredModelTag("a", "b")),
    ):
        refuses(call, INVALID)


def test_names_differ_by_case(side: Any) -> None:
    name = side.unique("Name")
    side.model(name)
    side.model(name.upper())
    assert code(side.registry.get_registered_model, name.lower()) == MISSING


def test_a_name_is_taken_once(refuses: Refuses) -> None:
    refuses(lambda side: side.model(side.standing()), TAKEN)


def test_a_model_that_is_not_there_is_said_to_be_missing(refuses: Refuses) -> None:
    for call in (
        lambda side: side.registry.get_registered_model("nothing"),
        lambda side: side.registry.update_registered_model("nothing", "x"),
        lambda side: side.registry.delete_registered_model("nothing"),
        lambda side: side.registry.rename_registered_model("nothing", side.unique()),
        lambda side: side.registry.get_latest_versions("nothing"),
        lambda side: side.registry.set_registered_model_tag("nothing", RegisteredModelTag("a", "b")),
        lambda side: side.registry.delete_registered_model_tag("nothing", "a"),
        lambda side: side.registry.create_model_version("nothing", "s3://x", None),
        lambda side: side.registry.delete_registered_model_alias("nothing", "a"),
        lambda side: side.registry.get_model_version_by_alias("nothing", "a"),
        lambda side: side.registry.get_model_version_by_alias("nothing", "latest"),
    ):
        refuses(call, MISSING, "nothing")


@pytest.mark.parametrize("description", ["new", "", None, "日本\n**x**", "d" * 5_000], ids=range(5))
def test_a_description_is_written_over(side: Any, description: Any) -> None:
    name = side.unique()
    made = side.registry.create_registered_model(name, description="old")
    updated = side.registry.update_registered_model(name, description)
    found = side.registry.get_registered_model(name)
    assert updated.description == found.description == description
    assert made.creation_timestamp == found.creation_timestamp <= found.last_updated_timestamp


def test_a_renamed_model_keeps_all_it_has(side: Any) -> None:
    old, new = side.model(versions=2), side.unique("new")
    side.registry.set_registered_model_tag(old, RegisteredModelTag("a", "1"))
    side.registry.set_registered_model_alias(old, "best", 2)
    side.registry.transition_model_version_stage(old, 1, "Production", False)
    before = side.registry.get_registered_model(old)
    renamed = side.registry.rename_registered_model(old, new)
    found = side.registry.get_registered_model(new)
    assert renamed.name == found.name == new
    assert (found.tags, found.aliases, found.creation_timestamp) == ({"a": "1"}, {"best": 2}, before.creation_timestamp)
    assert {(one.name, one.version, one.current_stage) for one in found.latest_versions} == {
        (new, 1, "Production"),
        (new, 2, "None"),
    }
    assert side.registry.get_model_version(new, 1).source == "s3://somewhere/1"
    assert side.registry.get_model_version_by_alias(new, "best").version == 2
    assert [one.version for one in side.registry.search_model_versions(f"name = '{new}'")] == [2, 1]
    assert side.registry.search_model_versions(f"name = '{old}'") == []
    assert code(side.registry.get_registered_model, old) == MISSING
    assert code(side.registry.get_model_version, old, 1) == MISSING
    assert side.registry.create_model_version(new, "s3://x", None).version == 3
    side.model(old)  # the old name is free
    assert side.registry.get_latest_versions(old) == []


def test_a_model_is_not_renamed_to_a_taken_name(refuses: Refuses) -> None:
    refuses(lambda side: side.registry.rename_registered_model(side.model(), side.standing()), TAKEN, until="Error:")


def test_names_may_be_exchanged(side: Any) -> None:
    first, second, between = side.model(versions=1), side.model(versions=2), side.unique()
    for old, new in ((first, between), (second, first), (between, second)):
        side.registry.rename_registered_model(old, new)
    assert len(side.registry.search_model_versions(f"name = '{first}'")) == 2
    assert len(side.registry.search_model_versions(f"name = '{second}'")) == 1


def test_a_model_made_again_starts_anew(side: Any) -> None:
    name = side.model(versions=3)
    side.registry.set_registered_model_tag(name, RegisteredModelTag("a", "1"))
    side.registry.set_registered_model_alias(name, "best", 2)
    side.registry.delete_registered_model(name)
    assert code(side.registry.get_registered_model, name) == MISSING
    assert code(side.registry.get_model_version, name, 1) == MISSING
    assert side.registry.search_model_versions(f"name = '{name}'") == []
    side.model(name)
    found = side.registry.get_registered_model(name)
    assert (found.tags, found.aliases, found.latest_versions) == ({}, {}, [])
    assert side.registry.create_model_version(name, "s3://new", None).version == 1
    assert side.registry.get_model_version(name, 1).source == "s3://new"
    assert code(side.registry.get_model_version_by_alias, name, "best") == INVALID
    side.registry.delete_registered_model(name)
    side.model(name)


def test_tags_are_set_written_over_and_deleted(side: Any) -> None:
    name = side.model()
    for key, value in (("a", "1"), ("a", "2"), ("b.c/d e", "日本"), ("empty", ""), ("long", "v" * 100_000)):
        side.registry.set_registered_model_tag(name, RegisteredModelTag(key, value))
    tags = side.registry.get_registered_model(name).tags
    assert tags == {"a": "2", "b.c/d e": "日本", "empty": "", "long": "v" * 100_000}
    side.registry.delete_registered_model_tag(name, "a")
    side.registry.delete_registered_model_tag(name, "a")  # what is not there is not missed
    assert "a" not in side.registry.get_registered_model(name).tags


@pytest.mark.parametrize(
    ("key", "value"), [(None, "v"), ("", "v"), ("a" * 251, "v"), ("a", "v" * 100_001), ("a;b", "v"), ("../a", "v")]
)
def test_tags_that_break_the_rules_are_refused(refuses: Refuses, key: Any, value: str) -> None:
    tag = RegisteredModelTag(key, value)
    refuses(lambda side: side.registry.set_registered_model_tag(side.standing(), tag), INVALID)
    refuses(lambda side: side.registry.create_registered_model(side.unique(), [tag]), INVALID)


def test_of_many_threads_one_makes_the_model(side: Any) -> None:
    name = side.unique("raced")

    def make(_: int) -> str:
        try:
            return str(side.registry.create_registered_model(name).name)
        except MlflowException as error:
            return str(error.error_code)

    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(make, range(6)))
    assert sorted(answers) == sorted([name, *[TAKEN] * 5])


#: Ends of names → tags.
MODELS = {
    "a": {"team": "blue", "k y": "x"},
    "B": {"team": "Blue"},
    "b": {"team": "red", "k y": "x"},
    "é": {},
    "100%": {"note": "it's"},
}


@pytest.fixture(scope="module")
def prefix(stage: Any) -> str:
    """What the names of our models start with."""
    start = f"found-{stage.token}-"
    for end, tags in MODELS.items():
        stage.registry.create_registered_model(start + end, [RegisteredModelTag(*tag) for tag in tags.items()])
    prompt = [RegisteredModelTag("mlflow.prompt.is_prompt", "true"), RegisteredModelTag("team", "blue")]
    stage.registry.create_registered_model(start + "prompt", prompt) if stage.name == "mlflow" else None
    return start


def ends(models: Any) -> list[str]:
    return [model.name.split("-", 2)[2] for model in models]


@pytest.mark.parametrize(
    ("filter_string", "expected"),
    [
        ("name LIKE '{}%'", set(MODELS)),
        ("name = '{}a'", {"a"}),
        ('name = "{}a"', {"a"}),
        ("attribute.name = '{}a'", {"a"}),
        ("name LIKE '{}%' AND name != '{}a'", set(MODELS) - {"a"}),
        ("name LIKE '{}_'", {"a", "B", "b", "é"}),
        ("name ILIKE '{}B'", {"B", "b"}),
        ("name like '{}100%%'", {"100%"}),
        ("name IN ('{}a', '{}é', '{}x')", {"a", "é"}),
        ("name LIKE '{}%' and name NOT IN ('{}a', '{}é')", {"B", "b", "100%"}),
        ("name LIKE '{}%' AND tags.team = 'blue'", {"a"}),
        ("name LIKE '{}%' AND tag.team != 'blue'", {"B", "b"}),
        ("name LIKE '{}%' AND tags.team ILIKE 'bl%'", {"a", "B"}),
        ("name LIKE '{}%' AND tags.team LIKE '%e%' AND tags.`k y` = 'x'", {"a", "b"}),
        ("name LIKE '{}%' AND tags.team = 'blue' AND tags.team = 'red'", set()),
        ("name LIKE '{}%' AND tags.note = \"it's\"", {"100%"}),
        ("name = '{}nothing'", set()),
    ],
    ids=range(17),
)
def test_a_filter_finds_what_fits_it(stage: Any, prefix: str, filter_string: str, expected: set[str]) -> None:
    seen = ends(stage.registry.search_registered_models(filter_string.replace("{}", prefix)))
    assert set(seen) == expected
    assert len(seen) == len(expected)


@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        (None, ["100%", "B", "a", "b", "é"]),
        (["name"], ["100%", "B", "a", "b", "é"]),
        (["name DESC"], ["é", "b", "a", "B", "100%"]),
        (["`name` asc"], ["100%", "B", "a", "b", "é"]),
    ],
    ids=range(4),
)
def test_an_order_is_kept(
    stage: Any, prefix: str, order_by: list[str] | None, expected: list[str], pages: Callable[..., list[Any]]
) -> None:
    ours = f"name LIKE '{prefix}%'"
    assert ends(stage.registry.search_registered_models(ours, order_by=order_by)) == expected
    for size in (1, 2, 5):

        def page(size: int = size, **token: Any) -> Any:
            return stage.registry.search_registered_models(ours, max_results=size, order_by=order_by, **token)

        assert ends(pages(page, size)) == expected


@pytest.mark.parametrize("key", ["timestamp", "last_updated_timestamp"])
def test_an_order_by_time_is_kept(stage: Any, prefix: str, key: str) -> None:
    for way, sign in (("", 1), (" ASC", 1), (" DESC", -1)):
        models = stage.registry.search_registered_models(f"name LIKE '{prefix}%'", order_by=[key + way])
        keys = [(sign * model.last_updated_timestamp, model.name) for model in models]
        assert keys == sorted(keys)


def test_a_model_that_is_found_shows_its_latest_versions(side: Any) -> None:
    name = side.model(versions=3)
    side.registry.transition_model_version_stage(name, 2, "Staging", False)
    side.registry.set_registered_model_alias(name, "best", 1)
    (found,) = side.registry.search_registered_models(f"name = '{name}'")
    assert {(one.version, one.current_stage) for one in found.latest_versions} == {(3, "None"), (2, "Staging")}
    assert found.aliases == {"best": 1}


@pytest.mark.parametrize("size", [1_001, 10**9])
def test_sizes_of_pages_have_bounds(refuses: Refuses, size: int) -> None:
    refuses(lambda side: side.registry.search_registered_models(max_results=size), INVALID, str(size))


@pytest.mark.parametrize("token", ["x", "%%%", "eyJhIjogMX0="])
def test_a_token_that_nobody_gave_is_refused(refuses: Refuses, token: str) -> None:
    refuses(lambda side: side.registry.search_registered_models(page_token=token), INVALID)


@pytest.mark.parametrize(
    "filter_string",
    [
        "nothing = 'x'",
        "name > 'x'",
        "name = 5",
        "name IN ()",
        "name IN (1)",
        "tags.a > 'x'",
        "tags.a IN ('x')",
        "tags.a = 5",
        "run_id = 'x'",
        "params.a = 'x'",
        "name = 'a' OR name = 'b'",
        "(name = 'a')",
        "name",
        "name = 'a'; name = 'b'",
    ],
)
def test_other_filters_are_refused(refuses: Refuses, filter_string: str) -> None:
    refuses(lambda side: side.registry.search_registered_models(filter_string), INVALID)


@pytest.mark.parametrize(
    "order_by", ["", "nothing", "description", "name down", "name ASC DESC", "creation_timestamp", "version"]
)
def test_other_orders_are_refused(refuses: Refuses, order_by: str) -> None:
    refuses(lambda side: side.registry.search_registered_models(order_by=[order_by]), INVALID)


def test_a_field_orders_once(refuses: Refuses) -> None:
    for order_by in (["name", "name DESC"], ["timestamp", "last_updated_timestamp"]):
        refuses(
            lambda side, order_by=order_by: side.registry.search_registered_models(order_by=order_by), "INTERNAL_ERROR"
        )
