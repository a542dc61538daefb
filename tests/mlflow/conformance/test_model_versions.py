"""Model versions: their numbers, sources, stages, aliases and tags."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from mlflow.entities.model_registry import ModelVersionTag
from mlflow.exceptions import MlflowException
from mlflow.utils.time import get_current_time_millis

Refuses = Callable[..., str]
MISSING, INVALID = "RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"


def versions(models: Any) -> list[int]:
    return [one.version for one in models]


def test_a_version_is_what_was_made(side: Any) -> None:
    before, name = get_current_time_millis(), side.model()
    tags = [ModelVersionTag("a", "1"), ModelVersionTag("ß", "日本"), ModelVersionTag("a", "2")]
    made = side.registry.create_model_version(name, "s3://b/x", "r" * 32, tags, "http://run", "first")
    for one in (made, side.registry.get_model_version(name, 1), side.registry.get_model_version(name, "1")):
        assert (one.name, one.version, one.current_stage, one.status) == (name, 1, "None", "READY")
        assert (one.source, one.run_id, one.run_link, one.description) == ("s3://b/x", "r" * 32, "http://run", "first")
        assert (one.tags, one.aliases, one.user_id, one.status_message) == ({"a": "2", "ß": "日本"}, [], None, None)
        assert before <= one.creation_timestamp == one.last_updated_timestamp <= get_current_time_millis()
    assert side.registry.get_registered_model(name).last_updated_timestamp == made.creation_timestamp


def test_what_was_not_given_is_missing(side: Any) -> None:
    name = side.model(versions=1)
    one = side.registry.get_model_version(name, 1)
    assert (one.run_id, one.run_link, one.description, one.tags, one.aliases) == (None, None, None, {}, [])


def test_versions_are_counted_from_one_and_never_again(side: Any) -> None:
    name = side.model(versions=3)
    side.registry.delete_model_version(name, 3)
    side.registry.delete_model_version(name, 1)
    assert side.registry.create_model_version(name, "s3://x", None).version == 4
    assert versions(side.registry.search_model_versions(f"name = '{name}'", order_by=["version_number"])) == [2, 4]


def test_threads_get_versions_of_their_own(side: Any) -> None:
    name = side.model()

    def make(number: int) -> int:
        while True:  # MLflow's SQL store gives up after a few attempts
            with suppress(MlflowException):
                return int(side.registry.create_model_version(name, f"s3://{number}", None).version)

    with ThreadPoolExecutor(4) as threads:
        made = dict(zip(range(8), threads.map(make, range(8)), strict=True))
    assert sorted(made.values()) == list(range(1, 9))
    assert all(side.registry.get_model_version(name, v).source == f"s3://{n}" for n, v in made.items())


def test_a_description_is_written_over(side: Any) -> None:
    name = side.model(versions=1)
    for description in ("x", "", None, "日本"):
        updated = side.registry.update_model_version(name, 1, description)
        found = side.registry.get_model_version(name, 1)
        assert updated.description == found.description == description
        assert found.last_updated_timestamp >= found.creation_timestamp


@pytest.mark.parametrize("version", [2, "2", 0, -1, 10**6])
def test_a_version_that_is_not_there_is_said_to_be_missing(refuses: Refuses, version: Any) -> None:
    for call in (
        lambda side, name: side.registry.get_model_version(name, version),
        lambda side, name: side.registry.update_model_version(name, version, "x"),
        lambda side, name: side.registry.delete_model_version(name, version),
        lambda side, name: side.registry.transition_model_version_stage(name, version, "Staging", False),
        lambda side, name: side.registry.set_model_version_tag(name, version, ModelVersionTag("a", "b")),
        lambda side, name: side.registry.delete_model_version_tag(name, version, "a"),
        lambda side, name: side.registry.set_registered_model_alias(name, "a", version),
        lambda side, name: side.registry.get_model_version_download_uri(name, version),
    ):
        refuses(lambda side, call=call: call(side, side.standing()), MISSING, str(version))


@pytest.mark.parametrize("version", ["x", "1.5", "", "latest"])
def test_a_version_is_a_number(refuses: Refuses, version: Any) -> None:
    for call in (
        lambda side, name: side.registry.get_model_version(name, version),
        lambda side, name: side.registry.delete_model_version(name, version),
        lambda side, name: side.registry.set_model_version_tag(name, version, ModelVersionTag("a", "b")),
        lambda side, name: side.registry.set_registered_model_alias(name, "a", version),
    ):
        refuses(lambda side, call=call: call(side, side.standing()), INVALID)


def test_a_deleted_version_is_gone_with_its_aliases(side: Any, refuses: Refuses) -> None:
    name = side.model(versions=2)
    for alias, version in (("one", 1), ("two", 2), ("also-two", 2)):
        side.registry.set_registered_model_alias(name, alias, version)
    side.registry.delete_model_version(name, 2)
    assert side.registry.get_registered_model(name).aliases == {"one": 1}
    assert versions(side.registry.get_registered_model(name).latest_versions) == [1]
    assert versions(side.registry.search_model_versions(f"name = '{name}'")) == [1]

    def again(side: Any) -> None:
        name = side.model(versions=1)
        side.registry.delete_model_version(name, 1)
        side.registry.delete_model_version(name, 1)

    refuses(again, MISSING)


def test_a_source_may_be_a_version_of_a_model(side: Any) -> None:
    first, second, third = side.model(), side.model(), side.model()
    side.registry.create_model_version(first, "s3://bucket/place", None)
    copy = side.registry.create_model_version(second, f"models:/{first}/1", None)
    assert copy.source == f"models:/{first}/1"
    side.registry.create_model_version(third, f"models:/{second}/1", None)
    for name in (first, second, third):
        assert side.registry.get_model_version_download_uri(name, 1) == "s3://bucket/place"
    side.registry.rename_registered_model(first, side.unique())
    assert side.registry.get_model_version_download_uri(second, "1") == "s3://bucket/place"


def test_a_source_may_be_a_logged_model(side: Any) -> None:
    run = side.run()
    logged = side.tracking.create_logged_model(side.tracking.get_run(run).info.experiment_id, "net", run)
    name = side.model()
    made = side.registry.create_model_version(name, f"models:/{logged.model_id}", None)
    assert (made.version, made.source, made.run_id) == (1, f"models:/{logged.model_id}", run)
    assert side.registry.get_model_version_download_uri(name, 1) == logged.artifact_location
    other = side.registry.create_model_version(name, f"models:/{logged.model_id}", "given")
    assert other.run_id == "given"
    by_id = side.registry.create_model_version(name, "s3://x", None, model_id=logged.model_id)
    assert (by_id.run_id, by_id.source) == (run, "s3://x")


def test_a_source_that_means_no_model_is_refused(refuses: Refuses) -> None:
    for source in ("models:/nothing-at-all/1", "models:/m-" + "0" * 32, "models:/", "models:/a/b/c"):
        make = lambda side, source=source: side.registry.create_model_version(side.standing(), source, None)
        refuses(make, "INTERNAL_ERROR", source, until="Error:")
    missing = "m-" + "0" * 32
    refuses(
        lambda side: side.registry.create_model_version(side.standing(), "s3://x", None, model_id=missing),
        MISSING,
        missing,
    )


@pytest.mark.parametrize("stage", ["None", "Staging", "Production", "Archived", "staging", "PRODUCTION"])
def test_a_version_moves_to_any_stage(side: Any, stage: str) -> None:
    name = side.model(versions=1)
    moved = side.registry.transition_model_version_stage(name, "1", stage, False)
    found = side.registry.get_model_version(name, 1)
    assert moved.current_stage == found.current_stage == stage.title()
    assert found.last_updated_timestamp >= found.creation_timestamp
    assert side.registry.get_registered_model(name).last_updated_timestamp == found.last_updated_timestamp


def test_a_stage_may_be_cleared_for_one_version(side: Any) -> None:
    name = side.model(versions=4)
    for version in (1, 2):
        side.registry.transition_model_version_stage(name, version, "Production", False)
    side.registry.transition_model_version_stage(name, 3, "Staging", False)
    side.registry.transition_model_version_stage(name, 4, "production", True)
    stages = {one.version: one.current_stage for one in side.registry.search_model_versions(f"name = '{name}'")}
    assert stages == {1: "Archived", 2: "Archived", 3: "Staging", 4: "Production"}
    side.registry.transition_model_version_stage(name, "4", "Production", True)  # what is there stays
    assert side.registry.get_model_version(name, 4).current_stage == "Production"


@pytest.mark.parametrize(
    ("stage", "archive", "code"),
    [
        ("nowhere", False, INVALID),
        ("", False, INVALID),
        ("Deleted_Internal", False, INVALID),
        ("Archived", True, "INTERNAL_ERROR"),
        ("None", True, "INTERNAL_ERROR"),
        ("nowhere", True, INVALID),
    ],
)
def test_other_stages_are_refused(refuses: Refuses, stage: str, archive: bool, code: str) -> None:
    refuses(lambda side: side.registry.transition_model_version_stage(side.standing(), 1, stage, archive), code, stage)


def test_the_latest_version_of_each_stage_is_known(side: Any, refuses: Refuses) -> None:
    name = side.model(versions=6)
    for version, stage in ((1, "Production"), (2, "Staging"), (3, "Production"), (4, "Archived")):
        side.registry.transition_model_version_stage(name, version, stage, False)
    side.registry.set_registered_model_alias(name, "best", 3)
    side.registry.delete_model_version(name, 6)

    def latest(stages: list[str] | None = None) -> dict[str, int]:
        return {one.current_stage: one.version for one in side.registry.get_latest_versions(name, stages)}

    every = {"None": 5, "Staging": 2, "Production": 3, "Archived": 4}
    assert latest() == latest([]) == every
    assert latest(["production", "Staging"]) == {"Production": 3, "Staging": 2}
    assert latest(["None"]) == {"None": 5}
    assert {one.current_stage: one.version for one in side.registry.get_registered_model(name).latest_versions} == every
    assert {one.version: one.aliases for one in side.registry.get_latest_versions(name)}[3] == ["best"]
    assert side.registry.get_latest_versions(side.model()) == []
    refuses(lambda side: side.registry.get_latest_versions(side.standing(), ["nowhere"]), INVALID, "nowhere")


def test_tags_are_set_written_over_and_deleted(side: Any) -> None:
    name = side.model(versions=2)
    for key, value in (("a", "1"), ("a", "2"), ("b.c/d e", "日本"), ("empty", ""), ("long", "v" * 100_000)):
        side.registry.set_model_version_tag(name, "1", ModelVersionTag(key, value))
    tags = side.registry.get_model_version(name, 1).tags
    assert tags == {"a": "2", "b.c/d e": "日本", "empty": "", "long": "v" * 100_000}
    assert side.registry.get_model_version(name, 2).tags == {}
    side.registry.delete_model_version_tag(name, "1", "a")
    side.registry.delete_model_version_tag(name, 1, "a")  # what is not there is not missed
    assert "a" not in side.registry.get_model_version(name, 1).tags


@pytest.mark.parametrize(
    ("key", "value"),
    [(None, "v"), ("", "v"), ("a" * 251, "v"), ("a", "v" * 100_001), ("a;b", "v"), ("a", None)],
    ids=range(6),
)
def test_tags_that_break_the_rules_are_refused(refuses: Refuses, key: Any, value: Any) -> None:
    tag = ModelVersionTag(key, value)
    refuses(lambda side: side.registry.set_model_version_tag(side.standing(), 1, tag), INVALID)
    refuses(lambda side: side.registry.create_model_version(side.standing(), "s3://x", None, [tag]), INVALID)


def test_an_alias_points_at_one_version(side: Any, refuses: Refuses) -> None:
    name = side.model(versions=2)
    for alias, version in (("best", 1), ("Best", "2"), ("also_1", 1), ("best", 2)):
        side.registry.set_registered_model_alias(name, alias, version)
    assert side.registry.get_registered_model(name).aliases == {"best": 2, "Best": 2, "also_1": 1}
    found = side.registry.get_model_version_by_alias(name, "best")
    assert (found.version, set(found.aliases)) == (2, {"best", "Best"})
    assert side.registry.get_model_version(name, 1).aliases == ["also_1"]
    side.registry.delete_registered_model_alias(name, "best")
    side.registry.delete_registered_model_alias(name, "best")  # what is not there is not missed
    assert side.registry.get_registered_model(name).aliases == {"Best": 2, "also_1": 1}
    refuses(lambda side: side.registry.get_model_version_by_alias(side.standing(), "nothing"), INVALID, "nothing")


def test_the_latest_is_the_highest_version_whatever_its_stage(side: Any, refuses: Refuses) -> None:
    name = side.model(versions=3)
    side.registry.transition_model_version_stage(name, 2, "Production", False)
    for alias in ("latest", "LATEST"):
        assert side.registry.get_model_version_by_alias(name, alias).version == 3
    refuses(lambda side: side.registry.get_model_version_by_alias(side.model(), "latest"), MISSING)


@pytest.mark.parametrize(
    "alias", [None, "", "a b", "a/b", "a.b", "🌊", "a" * 256, "latest", "Latest", "v1", "V99"], ids=range(11)
)
def test_some_texts_are_no_aliases(refuses: Refuses, alias: Any) -> None:
    refuses(lambda side: side.registry.set_registered_model_alias(side.standing(), alias, 1), INVALID)


@pytest.mark.parametrize("alias", ["v", "v1a", "1", "_", "-", "größe", "a" * 255, "vv1"])
def test_most_words_are_aliases(side: Any, alias: str) -> None:
    name = side.model(versions=1)
    side.registry.set_registered_model_alias(name, alias, 1)
    assert side.registry.get_model_version_by_alias(name, alias).version == 1


def test_a_copy_has_what_its_original_had(side: Any, capsys: pytest.CaptureFixture[str]) -> None:
    name, into = side.model(), side.unique("copy")
    tags = [ModelVersionTag("a", "1")]
    made = side.registry.create_model_version(name, "s3://bucket/place", "r" * 32, tags, "http://run", "first")
    for number in (1, 2):
        copy = side.registry.copy_model_version(made, into)
        assert (copy.name, copy.version, copy.source) == (into, number, f"models:/{name}/1")
        assert (copy.run_id, copy.run_link, copy.description, copy.tags) == (
            "r" * 32,
            "http://run",
            "first",
            {"a": "1"},
        )
        assert side.registry.get_model_version_download_uri(into, number) == "s3://bucket/place"
    assert into in capsys.readouterr().err


def test_a_version_that_is_gone_is_not_copied(refuses: Refuses) -> None:
    def copy(side: Any) -> None:
        name = side.model(versions=1)
        made = side.registry.get_model_version(name, 1)
        side.registry.delete_model_version(name, 1)
        side.registry.copy_model_version(made, side.unique())

    refuses(copy, "INTERNAL_ERROR", until="Error:")
