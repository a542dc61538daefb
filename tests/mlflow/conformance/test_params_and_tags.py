"""Params are set once; tags are set, written over and deleted."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from mlflow.entities import Param, RunTag
from mlflow.exceptions import MlflowException

Refuses = Callable[..., str]
MISSING, INVALID = "RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"
TRUNCATE = "MLFLOW_TRUNCATE_LONG_VALUES"
KEYS = ["a", "a.b", "a/b/c", "a b", "a-b_c:d", "größe", "日本", "0", "A" * 250, ".a", "a."]
NO_KEYS = [
    None,
    "",
    "...",
    ".",
    "..",
    "/",
    "/a",
    "a/",
    "a//b",
    "a/./b",
    "a/../b",
    "./a",
    "a;b",
    "a\nb'",
    "🌊",
    'a"b',
    "a" * 251,
]


@pytest.mark.parametrize("key", KEYS)
def test_keys_keep_to_letters_digits_and_a_few_signs(side: Any, key: str) -> None:
    run = side.run()
    side.tracking.log_param(run, Param(key, "v"))
    side.tracking.set_tag(run, RunTag(key, "v"))
    found = side.tracking.get_run(run).data
    assert found.params == {key: "v"}
    assert found.tags[key] == "v"


@pytest.mark.parametrize("key", NO_KEYS, ids=range(len(NO_KEYS)))
def test_other_keys_are_refused(refuses: Refuses, key: Any) -> None:
    refuses(lambda side: side.tracking.log_param(side.run(), Param(key, "v")), INVALID)
    refuses(lambda side: side.tracking.set_tag(side.run(), RunTag(key, "v")), INVALID)
    refuses(lambda side: side.tracking.log_batch(side.run(), [], [Param("a", "b"), Param(key, "v")], []), INVALID)
    refuses(lambda side: side.tracking.log_batch(side.run(), [], [], [RunTag("a", "b"), RunTag(key, "v")]), INVALID)


def test_keys_differ_by_case(side: Any) -> None:
    run = side.run(params={"k": "1", "K": "2"}, tags={"k": "1", "K": "2"})
    found = side.tracking.get_run(run).data
    assert found.params == {"k": "1", "K": "2"}
    assert (found.tags["k"], found.tags["K"]) == ("1", "2")


@pytest.mark.parametrize("value", ["", " ", "None", "0.1", "日本 🌊", "a\nb\t'\"\\%", "x" * 6_000], ids=range(7))
def test_a_value_is_kept_letter_by_letter(side: Any, value: str) -> None:
    run = side.run()
    side.tracking.log_param(run, Param("p", value))
    side.tracking.log_batch(run, [], [Param("batch", value)], [RunTag("batch", value)])
    side.tracking.set_tag(run, RunTag("t", value))
    found = side.tracking.get_run(run).data
    assert found.params == {"p": value, "batch": value}
    assert (found.tags["t"], found.tags["batch"]) == (value, value)


def test_the_same_value_again_is_no_change(side: Any) -> None:
    run = side.run(params={"p": "1"})
    side.tracking.log_param(run, Param("p", "1"))
    side.tracking.log_batch(run, [], [Param("p", "1"), Param("q", "2")], [])
    assert side.tracking.get_run(run).data.params == {"p": "1", "q": "2"}


@pytest.mark.parametrize(("old", "new"), [("1", "2"), ("1", "1.0"), ("", "x"), ("a", "A"), ("日", "本")])
def test_another_value_is_refused_and_the_first_stays(side: Any, refuses: Refuses, old: str, new: str) -> None:
    message = refuses(lambda s: s.tracking.log_param(s.run(params={"p": old}), Param("p", new)), INVALID, "'p'")
    assert f"'{old}'" in message
    assert f"'{new}'" in message
    refuses(lambda s: s.tracking.log_batch(s.run(params={"p": old}), [], [Param("p", new)], []), INVALID, "'p'")
    run = side.run(params={"p": old})
    with pytest.raises(MlflowException):
        side.tracking.log_param(run, Param("p", new))
    assert side.tracking.get_run(run).data.params == {"p": old}


def test_a_batch_tells_of_every_param_that_would_change(refuses: Refuses) -> None:
    def change(side: Any) -> None:
        run = side.run(params={"a": "1", "b": "2", "c": "3"})
        side.tracking.log_batch(run, [], [Param("c", "9"), Param("d", "4"), Param("b", "2"), Param("a", "8")], [])

    assert "'b'" not in refuses(change, INVALID, "'c'")


def test_params_of_other_runs_do_not_matter(side: Any) -> None:
    experiment = side.experiment()
    first, second = side.run(experiment, params={"p": "1"}), side.run(experiment, params={"p": "2"})
    assert side.tracking.get_run(first).data.params == {"p": "1"}
    assert side.tracking.get_run(second).data.params == {"p": "2"}


def test_long_values_are_cut_to_the_limit(side: Any) -> None:
    run = side.run()
    side.tracking.log_param(run, Param("p", "x" * 6_001))
    side.tracking.log_param(run, Param("p", "x" * 9_999))  # is the same once it is cut
    side.tracking.set_tag(run, RunTag("t", "y" * 8_001))
    side.tracking.log_batch(run, [], [Param("q", "z" * 7_000)], [RunTag("u", "w" * 9_000)])
    found = side.tracking.get_run(run).data
    assert found.params == {"p": "x" * 6_000, "q": "z" * 6_000}
    assert (found.tags["t"], found.tags["u"]) == ("y" * 8_000, "w" * 8_000)


def test_long_values_are_refused_where_they_are_not_to_be_cut(
    refuses: Refuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRUNCATE, "false")
    for call in (
        lambda side: side.tracking.log_param(side.run(), Param("p", "x" * 6_001)),
        lambda side: side.tracking.set_tag(side.run(), RunTag("t", "x" * 8_001)),
        lambda side: side.tracking.log_batch(side.run(), [], [Param("p", "x" * 6_001)], []),
        lambda side: side.tracking.log_batch(side.run(), [], [], [RunTag("t", "x" * 8_001)]),
    ):
        refuses(call, INVALID)


def test_a_param_without_a_value_is_refused(refuses: Refuses) -> None:
    refuses(lambda side: side.tracking.log_param(side.run(), Param("p", None)), "BAD_REQUEST", until="(sqlite3")
    refuses(
        lambda side: side.tracking.log_batch(side.run(), [], [Param("p", None)], []), "BAD_REQUEST", until="(sqlite3"
    )


def test_values_that_are_no_text_are_refused(refuses: Refuses) -> None:
    refuses(lambda side: side.tracking.log_param(side.run(), Param("p", 5)), "TypeError")
    refuses(lambda side: side.tracking.set_tag(side.run(), RunTag("t", 5)), "INTERNAL_ERROR")


def test_a_tag_is_written_over(side: Any) -> None:
    run = side.run(tags={"t": "1"})
    for value in ("2", "", "3"):
        side.tracking.set_tag(run, RunTag("t", value))
        assert side.tracking.get_run(run).data.tags["t"] == value
    side.tracking.log_batch(run, [], [], [RunTag("t", "4"), RunTag("u", "5")])
    tags = side.tracking.get_run(run).data.tags
    assert (tags["t"], tags["u"]) == ("4", "5")


def test_a_deleted_tag_is_gone_until_it_is_set_again(side: Any) -> None:
    run = side.run(tags={"t": "1", "kept": "2"})
    side.tracking.delete_tag(run, "t")
    tags = side.tracking.get_run(run).data.tags
    assert "t" not in tags
    assert tags["kept"] == "2"
    side.tracking.set_tag(run, RunTag("t", "3"))
    assert side.tracking.get_run(run).data.tags["t"] == "3"


def test_a_tag_that_is_not_there_is_not_deleted(refuses: Refuses) -> None:
    refuses(lambda side: side.tracking.delete_tag(side.run(), "nothing"), MISSING, "nothing")

    def twice(side: Any) -> None:
        run = side.run(tags={"t": "1"})
        side.tracking.delete_tag(run, "t")
        side.tracking.delete_tag(run, "t")

    refuses(twice, MISSING)


def test_mlflows_own_tags_are_kept_like_any_other(side: Any) -> None:
    tags = {
        "mlflow.user": "grace",
        "mlflow.source.name": "train.py",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": "abc123",
        "mlflow.note.content": "**x**",
        "mlflow.parentRunId": "0" * 32,
    }
    run = side.run(tags=tags, user="ada")
    found = side.tracking.get_run(run)
    assert {key: found.data.tags[key] for key in tags} == tags
    assert set(found.data.tags) == {*tags, "mlflow.runName"}
    assert found.info.user_id == "ada"
    side.tracking.set_tag(run, RunTag("mlflow.user", "alan"))
    side.tracking.delete_tag(run, "mlflow.source.name")
    found = side.tracking.get_run(run)
    assert (found.data.tags["mlflow.user"], found.info.user_id) == ("alan", "ada")
    assert "mlflow.source.name" not in found.data.tags


def test_of_threads_that_set_a_param_otherwise_one_is_heard(side: Any) -> None:
    run = side.run()

    def log(number: int) -> str:
        try:
            side.tracking.log_param(run, Param("p", str(number)))
        except MlflowException as error:
            return error.error_code
        return str(number)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(log, range(8)))
    assert answers.count(INVALID) == 7
    assert side.tracking.get_run(run).data.params["p"] in answers
