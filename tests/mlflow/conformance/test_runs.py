"""Runs: made, updated, named, deleted, brought back, purged."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from mlflow.entities import LifecycleStage, Metric, Param, RunStatus, RunTag, ViewType
from mlflow.exceptions import MlflowException

Refuses = Callable[..., str]
MISSING, INVALID = "RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"
NAME = "mlflow.runName"


def test_a_run_is_what_was_made(side: Any) -> None:
    experiment = side.experiment()
    made = side.tracking.create_run(experiment, "ada", 1_234, [RunTag("a", "1"), RunTag("ß", "日本")], "first")
    found = side.tracking.get_run(made.info.run_id)
    for run in (made, found):
        info = run.info
        assert (info.experiment_id, info.user_id, info.start_time, info.end_time) == (experiment, "ada", 1_234, None)
        assert (info.status, info.lifecycle_stage, info.run_name) == ("RUNNING", LifecycleStage.ACTIVE, "first")
        assert run.data.tags == {"a": "1", "ß": "日本", NAME: "first"}
        assert (run.data.params, run.data.metrics, run.inputs.dataset_inputs) == ({}, {}, [])
        location = side.tracking.get_experiment(experiment).artifact_location
        assert info.artifact_uri == f"{location}/{info.run_id}/artifacts"
    assert (found.inputs.model_inputs, found.outputs.model_outputs) == ([], [])
    assert len(made.info.run_id) == 32


def test_a_run_may_be_without_tags_and_name_but_not_without_user_and_start(side: Any, refuses: Refuses) -> None:
    made = side.tracking.create_run(side.experiment(), "", 0, None, None)
    found = side.tracking.get_run(made.info.run_id)
    assert (found.info.user_id, found.info.start_time, found.info.end_time) == ("", 0, None)
    assert set(found.data.tags) == {NAME}
    refuses(lambda side: side.tracking.create_run(side.experiment(), None, 0, [], None), "INTERNAL_ERROR")
    refuses(lambda side: side.tracking.create_run(side.experiment(), "ada", None, [], None), "INTERNAL_ERROR")


def test_the_experiment_may_be_given_as_a_number(side: Any) -> None:
    experiment = side.experiment()
    assert side.tracking.create_run(int(experiment), "ada", 0, [], None).info.experiment_id == experiment


@pytest.mark.parametrize(
    ("argument", "tag", "name"),
    [("x", None, "x"), (None, "y", "y"), ("z", "z", "z"), ("", "y", "y"), ("日本 \n", None, "日本 \n")],
    ids=range(5),
)
def test_a_run_has_the_name_that_it_was_given(side: Any, argument: Any, tag: Any, name: str) -> None:
    tags = [] if tag is None else [RunTag(NAME, tag)]
    made = side.tracking.create_run(side.experiment(), "ada", 0, tags, argument)
    found = side.tracking.get_run(made.info.run_id)
    assert made.info.run_name == found.info.run_name == name


@pytest.mark.parametrize("empty", [None, ""])
def test_a_run_without_a_name_gets_one(side: Any, empty: Any) -> None:
    names = set()
    for _ in range(5):
        made = side.tracking.create_run(side.experiment(), "ada", 0, [], empty)
        assert made.info.run_name == side.tracking.get_run(made.info.run_id).data.tags[NAME]
        names.add(made.info.run_name)
    assert len(names) > 1


def test_two_names_that_differ_are_refused(refuses: Refuses) -> None:
    refuses(
        lambda s: s.tracking.create_run(s.experiment(), "ada", 0, [RunTag(NAME, "a")], "b"), INVALID, "run_name='b'"
    )


def test_the_tags_given_are_left_as_they_were(side: Any) -> None:
    tags = [RunTag("a", "b")]
    side.tracking.create_run(side.experiment(), "ada", 0, tags, "name")
    assert [(tag.key, tag.value) for tag in tags] == [("a", "b")]


@pytest.mark.parametrize("missing", ["0" * 32, "nothing", ""])
def test_a_run_that_is_not_there_is_said_to_be_missing(refuses: Refuses, missing: str) -> None:
    for call in (
        lambda side: side.tracking.get_run(missing),
        lambda side: side.tracking.delete_run(missing),
        lambda side: side.tracking.restore_run(missing),
        lambda side: side.tracking.update_run_info(missing, RunStatus.FINISHED, 1, None),
        lambda side: side.tracking.log_metric(missing, Metric("a", 1.0, 1, 0)),
        lambda side: side.tracking.log_param(missing, Param("a", "b")),
        lambda side: side.tracking.set_tag(missing, RunTag("a", "b")),
        lambda side: side.tracking.delete_tag(missing, "a"),
        lambda side: side.tracking.log_outputs(missing, []),
        lambda side: side.tracking._hard_delete_run(missing),
    ):
        refuses(call, MISSING, missing)


@pytest.mark.parametrize("status", RunStatus.all_status(), ids=RunStatus.to_string)
def test_every_status_is_kept(side: Any, status: int) -> None:
    run = side.run()
    info = side.tracking.update_run_info(run, status, 5_000, None)
    found = side.tracking.get_run(run).info
    assert info.status == found.status == RunStatus.to_string(status)
    assert info.end_time == found.end_time == 5_000
    assert (found.start_time, found.run_name) == (1_000, info.run_name)


def test_an_update_changes_only_what_it_gives(side: Any) -> None:
    run = side.run(name="first", status="FAILED", end=7)
    side.tracking.update_run_info(run, None, None, None)
    side.tracking.update_run_info(run, None, None, "")
    found = side.tracking.get_run(run).info
    assert (found.status, found.end_time, found.run_name) == ("FAILED", 7, "first")
    side.tracking.update_run_info(run, None, 0, None)
    assert side.tracking.get_run(run).info.end_time == 0
    side.tracking.update_run_info(run, RunStatus.RUNNING, None, None)  # a run may run again, with its end kept
    found = side.tracking.get_run(run).info
    assert (found.status, found.end_time) == ("RUNNING", 0)


def test_the_name_and_its_tag_go_together(side: Any) -> None:
    run = side.run(name="first")
    info = side.tracking.update_run_info(run, RunStatus.FINISHED, 1, "second")
    found = side.tracking.get_run(run)
    assert info.run_name == found.info.run_name == found.data.tags[NAME] == "second"
    side.tracking.set_tag(run, RunTag(NAME, "third"))
    found = side.tracking.get_run(run)
    assert found.info.run_name == found.data.tags[NAME] == "third"
    assert (found.info.status, found.info.end_time) == ("FINISHED", 1)
    side.tracking.log_batch(run, [], [], [RunTag(NAME, "fourth"), RunTag("a", "b")])
    found = side.tracking.get_run(run)
    assert found.info.run_name == found.data.tags[NAME] == "fourth"
    assert found.data.tags["a"] == "b"


def test_without_its_tag_a_run_keeps_its_name(side: Any) -> None:
    run = side.run(name="first")
    side.tracking.delete_tag(run, NAME)
    found = side.tracking.get_run(run)
    assert NAME not in found.data.tags
    assert found.info.run_name == "first"
    side.tracking.update_run_info(run, None, None, "second")
    assert side.tracking.get_run(run).data.tags[NAME] == "second"


def test_an_empty_name_in_a_tag_changes_nothing(side: Any) -> None:
    run = side.run(name="first")
    side.tracking.set_tag(run, RunTag(NAME, ""))
    found = side.tracking.get_run(run)
    assert (found.info.run_name, found.data.tags[NAME]) == ("first", "first")


def test_a_run_that_ended_still_takes_what_is_logged(side: Any) -> None:
    run = side.run(status="FINISHED", end=9)
    side.tracking.log_metric(run, Metric("m", 1.0, 1, 0))
    side.tracking.log_param(run, Param("p", "v"))
    side.tracking.set_tag(run, RunTag("t", "v"))
    found = side.tracking.get_run(run)
    assert (found.data.metrics, found.data.params, found.data.tags["t"]) == ({"m": 1.0}, {"p": "v"}, "v")
    assert (found.info.status, found.info.end_time) == ("FINISHED", 9)


def test_a_deleted_run_comes_back_as_it_was(side: Any) -> None:
    run = side.run(name="x", metrics={"m": 1.0}, params={"p": "v"}, tags={"t": "v"}, status="FINISHED", end=9)
    before = side.tracking.get_run(run)
    side.tracking.delete_run(run)
    deleted = side.tracking.get_run(run)
    assert deleted.info.lifecycle_stage == LifecycleStage.DELETED
    assert deleted.data.to_dictionary() == before.data.to_dictionary()
    side.tracking.delete_run(run)  # again: nothing happens
    side.tracking.restore_run(run)
    side.tracking.restore_run(run)
    after = side.tracking.get_run(run)
    assert after.to_dictionary() == before.to_dictionary()


def test_a_deleted_run_takes_nothing(refuses: Refuses) -> None:
    for call in (
        lambda side, run: side.tracking.update_run_info(run, RunStatus.FINISHED, 1, None),
        lambda side, run: side.tracking.log_metric(run, Metric("a", 1.0, 1, 0)),
        lambda side, run: side.tracking.log_param(run, Param("a", "b")),
        lambda side, run: side.tracking.set_tag(run, RunTag("a", "b")),
        lambda side, run: side.tracking.delete_tag(run, "t"),
        lambda side, run: side.tracking.log_batch(run, [Metric("a", 1.0, 1, 0)], [], []),
        lambda side, run: side.tracking.log_batch(run, [], [], []),
        lambda side, run: side.tracking.log_inputs(run, []),
        lambda side, run: side.tracking.log_outputs(run, []),
    ):
        refuses(lambda side, call=call: call(side, side.run(tags={"t": "v"}, deleted=True)), INVALID, "deleted")


def test_deleted_runs_wait_to_be_purged_in_the_order_of_their_age(side: Any) -> None:
    run, other = side.run(deleted=True), side.run()
    assert run in side.tracking._get_deleted_runs()
    assert other not in side.tracking._get_deleted_runs()
    assert run not in side.tracking._get_deleted_runs(older_than=60_000)
    time.sleep(0.05)
    assert run in side.tracking._get_deleted_runs(older_than=20)
    side.tracking.restore_run(run)
    assert run not in side.tracking._get_deleted_runs()
    side.tracking.delete_run(run)
    assert run not in side.tracking._get_deleted_runs(older_than=20_000)


def test_a_purged_run_is_gone_with_all_it_had(side: Any) -> None:
    experiment = side.experiment()
    run = side.run(experiment, metrics={"m": 1.0}, params={"p": "v"}, tags={"t": "v"}, deleted=True)
    kept = side.run(experiment, name="kept")
    side.tracking._hard_delete_run(run)
    with pytest.raises(MlflowException) as raised:
        side.tracking.get_run(run)
    assert raised.value.error_code == MISSING
    assert run not in side.tracking._get_deleted_runs()
    assert side.found(experiment, run_view_type=ViewType.ALL) == ["kept"]
    assert side.tracking.get_metric_history(run, "m") == []
    assert side.tracking.get_metric_history_bulk([run, kept], "m", 10) == []
    assert side.tracking.get_max_step_for_metric(run, "m") == 0
    for call in (side.tracking.restore_run, side.tracking.delete_run, side.tracking._hard_delete_run):
        with pytest.raises(MlflowException):
            call(run)


def test_a_run_may_be_purged_before_it_is_deleted(side: Any) -> None:
    run = side.run(metrics={"m": 1.0})
    side.tracking._hard_delete_run(run)
    with pytest.raises(MlflowException):
        side.tracking.get_run(run)
