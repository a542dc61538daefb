"""Experiments: made, found by id and name, renamed, deleted, brought back, tagged."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import ExperimentTag, LifecycleStage, Metric, ViewType
from mlflow.exceptions import MlflowException
from mlflow.utils.time import get_current_time_millis

Refuses = Callable[..., str]
MISSING, TAKEN, INVALID = "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_PARAMETER_VALUE"
NAMES = ["x", " spaces around ", "a/b/c", "日本語 🌊", 'it\'s "quoted" `so`', "100% _sure", "-", "new\nline", "é" * 500]


def test_an_empty_store_has_the_default_experiment(alone: Any) -> None:
    found = alone.tracking.search_experiments(view_type=ViewType.ALL)
    assert [(one.experiment_id, one.name, one.lifecycle_stage) for one in found] == [("0", "Default", "active")]
    assert found.token is None
    assert alone.tracking.get_experiment("0").name == "Default"


def test_an_experiment_is_what_was_made(side: Any) -> None:
    before = get_current_time_millis()
    name = side.unique()
    made = side.experiment(name, tags={"team": "blue", "note": ""})
    found = side.tracking.get_experiment(made)
    assert isinstance(made, str)
    assert int(made) > 0
    assert (found.experiment_id, found.name, found.lifecycle_stage) == (made, name, LifecycleStage.ACTIVE)
    assert found.tags == {"team": "blue", "note": ""}
    assert before <= found.creation_time <= get_current_time_millis()
    assert found.creation_time == found.last_update_time
    assert found.artifact_location == f"{side.stores.artifacts}/{made}"


@pytest.mark.parametrize("stem", NAMES, ids=range(len(NAMES)))
def test_any_text_up_to_500_characters_is_a_name(side: Any, stem: str) -> None:
    name = stem[: 500 - 20] + side.unique("")
    made = side.experiment(name)
    assert side.tracking.get_experiment(made).name == name
    assert side.tracking.get_experiment_by_name(name).experiment_id == made


@pytest.mark.parametrize("name", ["", None, 7, ["x"], "x" * 501], ids=str)
def test_what_is_no_name_is_refused(refuses: Refuses, name: Any) -> None:
    refuses(lambda side: side.tracking.create_experiment(name), INVALID)
    refuses(lambda side: side.tracking.rename_experiment(side.experiment(), name), INVALID)


def test_names_differ_by_case_and_by_spaces(side: Any) -> None:
    name = side.unique("Name")
    ids = {side.experiment(name), side.experiment(name.lower()), side.experiment(name + " ")}
    assert len(ids) == 3
    assert side.tracking.get_experiment_by_name(name.upper()) is None


def test_a_name_is_taken_once(refuses: Refuses) -> None:
    def twice(side: Any) -> None:
        side.experiment("twice-" + side.token)
        side.tracking.create_experiment("twice-" + side.token)

    assert "twice-" in refuses(twice, TAKEN, until="Error:")


def test_a_deleted_experiment_keeps_its_name(refuses: Refuses) -> None:
    def again(side: Any) -> None:
        name = side.unique()
        side.tracking.delete_experiment(side.experiment(name))
        side.tracking.create_experiment(name)

    refuses(again, TAKEN, until="Error:")


@pytest.mark.parametrize("missing", ["987654321", 987654321, "-5"], ids=str)
def test_an_experiment_that_is_not_there_is_said_to_be_missing(refuses: Refuses, missing: Any) -> None:
    for call in (
        lambda side: side.tracking.get_experiment(missing),
        lambda side: side.tracking.delete_experiment(missing),
        lambda side: side.tracking.restore_experiment(missing),
        lambda side: side.tracking.rename_experiment(missing, side.unique()),
        lambda side: side.tracking.set_experiment_tag(missing, ExperimentTag("a", "b")),
        lambda side: side.tracking.delete_experiment_tag(missing, "a"),
        lambda side: side.tracking.create_run(missing, "ada", 0, [], None),
    ):
        refuses(call, MISSING, str(missing))


@pytest.mark.parametrize("wrong", ["abc", "1.5", "1; drop table", "日"])
def test_an_id_that_is_no_number_is_refused(refuses: Refuses, wrong: str) -> None:
    for call in (
        lambda side: side.tracking.get_experiment(wrong),
        lambda side: side.tracking.delete_experiment(wrong),
        lambda side: side.tracking.create_run(wrong, "ada", 0, [], None),
        lambda side: side.tracking.search_runs([wrong], "", ViewType.ALL),
        lambda side: side.tracking._search_datasets([wrong]),
    ):
        refuses(call, INVALID, wrong)


def test_an_id_is_read_as_a_number(side: Any) -> None:
    made = side.experiment()
    for written in (int(made), f"0{made}", f" {made} "):
        assert side.tracking.get_experiment(written).experiment_id == made
    for default in (None, "", 0):
        assert side.tracking.get_experiment(default).experiment_id == "0"


def test_nothing_has_an_unknown_name(side: Any) -> None:
    assert side.tracking.get_experiment_by_name(side.unique()) is None
    assert side.tracking.get_experiment_by_name("") is None
    assert side.tracking.get_experiment_by_name(None) is None


def test_a_renamed_experiment_has_its_new_name_only(side: Any) -> None:
    old, new = side.unique("old"), side.unique("new")
    made = side.experiment(old, tags={"a": "b"})
    run = side.run(made)
    before = side.tracking.get_experiment(made)
    side.tracking.rename_experiment(made, new)
    after = side.tracking.get_experiment(made)
    assert (after.name, after.tags, after.creation_time) == (new, {"a": "b"}, before.creation_time)
    assert after.last_update_time >= before.last_update_time
    assert side.tracking.get_experiment_by_name(old) is None
    assert side.tracking.get_run(run).info.experiment_id == made
    side.experiment(old)  # is free again
    side.tracking.rename_experiment(made, new)  # its own name is not taken from itself


def test_an_experiment_is_not_renamed_to_a_taken_name(refuses: Refuses) -> None:
    def onto(side: Any) -> None:
        name = side.unique()
        side.experiment(name)
        side.tracking.rename_experiment(side.experiment(), name)

    refuses(onto, "BAD_REQUEST", until="(sqlite3")


def test_a_deleted_experiment_is_not_renamed(refuses: Refuses) -> None:
    def rename(side: Any) -> None:
        made = side.experiment()
        side.tracking.delete_experiment(made)
        side.tracking.rename_experiment(made, side.unique())

    refuses(rename, "INVALID_STATE")


def test_deleting_an_experiment_deletes_its_runs_and_restoring_brings_all_back(side: Any) -> None:
    made = side.experiment()
    kept, gone = side.run(made, metrics={"m": 1.0}), side.run(made, deleted=True)
    before = side.tracking.get_experiment(made)
    side.tracking.delete_experiment(made)
    deleted = side.tracking.get_experiment(made)
    assert deleted.lifecycle_stage == LifecycleStage.DELETED
    assert deleted.last_update_time >= before.last_update_time
    assert side.tracking.get_experiment_by_name(deleted.name).lifecycle_stage == LifecycleStage.DELETED
    for run in (kept, gone):
        assert side.tracking.get_run(run).info.lifecycle_stage == LifecycleStage.DELETED
    side.tracking.restore_experiment(made)
    assert side.tracking.get_experiment(made).lifecycle_stage == LifecycleStage.ACTIVE
    for run in (kept, gone):
        assert side.tracking.get_run(run).info.lifecycle_stage == LifecycleStage.ACTIVE
    assert side.tracking.get_run(kept).data.metrics == {"m": 1.0}


def test_only_what_is_active_is_deleted_and_only_what_is_deleted_restored(refuses: Refuses) -> None:
    def delete_twice(side: Any) -> None:
        made = side.experiment()
        side.tracking.delete_experiment(made)
        side.tracking.delete_experiment(made)

    refuses(delete_twice, MISSING)
    refuses(lambda side: side.tracking.restore_experiment(side.experiment()), MISSING)


def test_a_deleted_experiment_takes_nothing(refuses: Refuses) -> None:
    def on_deleted(call: Callable[[Any, str], Any]) -> Callable[[Any], Any]:
        def run(side: Any) -> Any:
            made = side.experiment(tags={"a": "b"})
            side.tracking.delete_experiment(made)
            return call(side, made)

        return run

    for call in (
        lambda side, made: side.tracking.create_run(made, "ada", 0, [], None),
        lambda side, made: side.tracking.set_experiment_tag(made, ExperimentTag("a", "c")),
        lambda side, made: side.tracking.delete_experiment_tag(made, "a"),
        lambda side, made: side.tracking.create_logged_model(made),
    ):
        refuses(on_deleted(call), INVALID, "deleted")


def test_tags_are_set_written_over_and_deleted(side: Any) -> None:
    made = side.experiment(tags={"a": "1"})
    updated = side.tracking.get_experiment(made).last_update_time
    for key, value in (
        ("a", "2"),
        ("b", "日本"),
        ("c.d/e f-g:h", ""),
        ("long", "v" * 20_000),
        ("mlflow.note.content", "# x"),
    ):
        side.tracking.set_experiment_tag(made, ExperimentTag(key, value))
    found = side.tracking.get_experiment(made)
    assert found.tags == {"a": "2", "b": "日本", "c.d/e f-g:h": "", "long": "v" * 20_000, "mlflow.note.content": "# x"}
    assert found.last_update_time == updated
    side.tracking.delete_experiment_tag(made, "a")
    assert "a" not in side.tracking.get_experiment(made).tags
    side.tracking.set_experiment_tag(made, ExperimentTag("a", "3"))
    assert side.tracking.get_experiment(made).tags["a"] == "3"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, "v"),
        ("", "v"),
        ("a" * 251, "v"),
        ("a", "v" * 20_001),
        ("a;b", "v"),
        ("/a", "v"),
        ("a/../b", "v"),
        ("./a", "v"),
    ],
    ids=range(8),
)
def test_tags_that_break_the_rules_are_refused(refuses: Refuses, key: Any, value: Any) -> None:
    refuses(lambda side: side.tracking.set_experiment_tag(side.experiment(), ExperimentTag(key, value)), INVALID)
    refuses(lambda side: side.tracking.create_experiment(side.unique(), tags=[ExperimentTag(key, value)]), INVALID)


def test_a_tag_that_is_not_there_is_not_deleted(refuses: Refuses) -> None:
    refuses(lambda side: side.tracking.delete_experiment_tag(side.experiment(), "nothing"), MISSING, "nothing")


def test_an_artifact_location_of_ones_own_is_kept(side: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for given, kept in (
        ("s3://bucket/some path/", "s3://bucket/some path/"),
        ("relative/place", f"{tmp_path}/relative/place"),
        (f"{tmp_path}/absolute", f"{tmp_path}/absolute"),
        (f"file://{tmp_path}/uri", f"file://{tmp_path}/uri"),
    ):
        made = side.experiment(artifact_location=given)
        assert side.tracking.get_experiment(made).artifact_location == kept
        run = side.tracking.get_run(side.run(made))
        assert run.info.artifact_uri == f"{kept.rstrip('/')}/{run.info.run_id}/artifacts"


def test_an_artifact_location_has_a_limit(refuses: Refuses) -> None:
    refuses(
        lambda side: side.tracking.create_experiment(side.unique(), artifact_location="s3://" + "x" * 3_000), INVALID
    )


def test_of_many_threads_one_makes_the_experiment(side: Any) -> None:
    name = side.unique("raced")

    def make(_: int) -> str:
        try:
            return str(side.tracking.create_experiment(name))
        except MlflowException as error:
            return error.error_code

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(make, range(8)))
    assert answers.count(TAKEN) == 7
    assert side.tracking.get_experiment_by_name(name).experiment_id in answers


def test_threads_make_experiments_of_many_names_with_ids_of_their_own(side: Any) -> None:
    names = [side.unique("many") for _ in range(16)]
    with ThreadPoolExecutor(8) as threads:
        ids = list(threads.map(side.tracking.create_experiment, names))
    assert len(set(ids)) == 16
    assert [side.tracking.get_experiment(one).name for one in ids] == names


def test_only_active_experiments_pass_the_filter_of_ids(side: Any) -> None:
    kept, gone = side.experiment(), side.experiment()
    side.tracking.delete_experiment(gone)
    assert side.tracking.filter_active_experiment_ids([gone, kept]) == [kept]
    assert side.tracking.filter_active_experiment_ids([]) == []


def test_an_experiment_that_was_purged_is_gone_with_all_it_had(side: Any, refuses: Refuses) -> None:
    name = side.unique()
    made = side.experiment(name)
    run = side.run(made, metrics={"m": 1.0})
    side.tracking.delete_experiment(made)
    side.tracking._hard_delete_experiment(made)
    assert side.tracking.get_experiment_by_name(name) is None
    assert made not in {one.experiment_id for one in side.tracking.search_experiments(ViewType.ALL)}
    for missing in (lambda: side.tracking.get_experiment(made), lambda: side.tracking.get_run(run)):
        with pytest.raises(MlflowException) as raised:
            missing()
        assert raised.value.error_code == MISSING
    assert run not in side.tracking._get_deleted_runs()
    assert side.tracking.get_metric_history(run, "m") == []
    again = side.experiment(name)  # the name is free
    assert side.tracking.search_runs([again], "", ViewType.ALL) == []


def test_only_a_deleted_experiment_is_purged(refuses: Refuses) -> None:
    refuses(lambda side: side.tracking._hard_delete_experiment(side.experiment()), MISSING)


def test_metrics_of_a_purged_experiment_are_gone_for_bulk_readers_too(side: Any) -> None:
    made = side.experiment()
    run = side.run(made)
    side.tracking.log_metric(run, Metric("m", 1.0, 1, 0))
    side.tracking.delete_experiment(made)
    side.tracking._hard_delete_experiment(made)
    assert side.tracking.get_metric_history_bulk([run], "m", 10) == []
    assert side.tracking.get_metric_history_bulk_interval([run], "m", 10, None, None) == []
