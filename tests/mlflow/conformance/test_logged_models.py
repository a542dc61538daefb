"""Logged models: made, finalised, tagged, measured, deleted, purged."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from mlflow.entities import LoggedModelParameter, LoggedModelStatus, LoggedModelTag, Metric
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.utils.time import get_current_time_millis

Refuses = Callable[..., str]
MISSING, INVALID = "RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"


def params(**given: str) -> list[LoggedModelParameter]:
    return [LoggedModelParameter(key, value) for key, value in given.items()]


def tags(**given: str) -> list[LoggedModelTag]:
    return [LoggedModelTag(key, value) for key, value in given.items()]


def plain(model: Any) -> dict[str, Any]:
    """Everything of a model but what changes with each of its states."""
    return {key: value for key, value in dict(model).items() if key not in ("last_updated_timestamp", "status")}


def test_a_model_is_what_was_made(side: Any) -> None:
    before = get_current_time_millis()
    run = side.run()
    experiment = side.tracking.get_run(run).info.experiment_id
    made = side.tracking.create_logged_model(experiment, "net", run, tags(a="1", b="ü"), params(lr="0.1"), "Agent")
    for model in (made, side.tracking.get_logged_model(made.model_id)):
        assert (model.experiment_id, model.name, model.source_run_id, model.model_type) == (
            experiment,
            "net",
            run,
            "Agent",
        )
        assert (model.status, model.status_message) == (LoggedModelStatus.PENDING, None)
        assert (model.tags, model.params, model.metrics) == ({"a": "1", "b": "ü"}, {"lr": "0.1"}, None)
        assert before <= model.creation_timestamp == model.last_updated_timestamp <= get_current_time_millis()
        location = side.tracking.get_experiment(experiment).artifact_location
        assert model.artifact_location == f"{location}/models/{model.model_id}/artifacts"
        assert model.model_uri == f"models:/{model.model_id}"
    assert made.model_id.startswith("m-")
    assert len(made.model_id) == 34


def test_what_was_not_given_is_made_or_missing(side: Any) -> None:
    made = side.tracking.create_logged_model(side.experiment())
    model = side.tracking.get_logged_model(made.model_id)
    assert model.name
    assert (model.source_run_id, model.model_type, model.tags, model.params, model.metrics) == (
        None,
        None,
        {},
        {},
        None,
    )


def test_names_of_models_may_repeat(side: Any) -> None:
    experiment = side.experiment()
    ids = {side.tracking.create_logged_model(experiment, name="net").model_id for _ in range(3)}
    assert len(ids) == 3


@pytest.mark.parametrize("name", ["x", "日本 🌊", "a b-c_d", "N" * 500, " "])
def test_most_texts_are_names(side: Any, name: str) -> None:
    made = side.tracking.create_logged_model(side.experiment(), name=name)
    assert side.tracking.get_logged_model(made.model_id).name == name


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "a.b", "a%b", "it's", 'a"b'])
def test_some_texts_are_no_names(refuses: Refuses, name: str) -> None:
    refuses(lambda side: side.tracking.create_logged_model(side.experiment(), name=name), INVALID)


def test_a_model_is_made_in_an_experiment_that_is_there(refuses: Refuses) -> None:
    refuses(lambda side: side.tracking.create_logged_model("987654321"), MISSING)
    refuses(lambda side: side.tracking.create_logged_model("abc"), INVALID)


@pytest.mark.parametrize("missing", ["m-" + "0" * 32, "nothing", ""])
def test_a_model_that_is_not_there_is_said_to_be_missing(refuses: Refuses, missing: str) -> None:
    for call in (
        lambda side: side.tracking.get_logged_model(missing),
        lambda side: side.tracking.get_logged_model(missing, allow_deleted=True),
        lambda side: side.tracking.delete_logged_model(missing),
        lambda side: side.tracking.finalize_logged_model(missing, LoggedModelStatus.READY),
        lambda side: side.tracking.set_logged_model_tags(missing, tags(a="1")),
        lambda side: side.tracking.delete_logged_model_tag(missing, "a"),
        lambda side: side.tracking.log_logged_model_params(missing, params(a="1")),
        lambda side: side.tracking._hard_delete_logged_model(missing),
    ):
        refuses(call, MISSING, missing)


@pytest.mark.parametrize(
    "status", [LoggedModelStatus.READY, LoggedModelStatus.FAILED, LoggedModelStatus.PENDING], ids=str
)
def test_a_finalised_model_has_its_status(side: Any, status: LoggedModelStatus) -> None:
    made = side.tracking.create_logged_model(side.experiment(), "x", params=params(p="1"), tags=tags(t="1"))
    final = side.tracking.finalize_logged_model(made.model_id, status)
    found = side.tracking.get_logged_model(made.model_id)
    assert final.status == found.status == status
    assert plain(final) == plain(found) == plain(made)
    assert found.last_updated_timestamp >= made.last_updated_timestamp


def test_params_may_be_added(side: Any) -> None:
    made = side.tracking.create_logged_model(side.experiment(), params=params(a="1"))
    side.tracking.log_logged_model_params(made.model_id, params(b="2", c=""))
    side.tracking.log_logged_model_params(made.model_id, [])
    assert side.tracking.get_logged_model(made.model_id).params == {"a": "1", "b": "2", "c": ""}


def test_a_param_of_a_model_is_set_once(refuses: Refuses) -> None:
    def again(side: Any) -> None:
        made = side.tracking.create_logged_model(side.experiment(), params=params(a="1"))
        side.tracking.log_logged_model_params(made.model_id, params(a="2"))

    refuses(again, "BAD_REQUEST", until="(sqlite3")


def test_tags_are_set_written_over_and_deleted(side: Any, refuses: Refuses) -> None:
    made = side.tracking.create_logged_model(side.experiment(), tags=tags(a="1"))
    side.tracking.set_logged_model_tags(made.model_id, [*tags(a="2", b="ü"), LoggedModelTag("b", "last")])
    side.tracking.set_logged_model_tags(made.model_id, [])
    assert side.tracking.get_logged_model(made.model_id).tags == {"a": "2", "b": "last"}
    side.tracking.delete_logged_model_tag(made.model_id, "a")
    assert side.tracking.get_logged_model(made.model_id).tags == {"b": "last"}

    def delete_missing(side: Any) -> None:
        made = side.tracking.create_logged_model(side.experiment())
        side.keep(made.model_id, "model")
        side.tracking.delete_logged_model_tag(made.model_id, "nothing")

    refuses(delete_missing, MISSING, "nothing")


def test_a_model_has_the_metrics_that_runs_logged_for_it(side: Any) -> None:
    experiment = side.experiment()
    first, second = side.run(experiment), side.run(experiment)
    model = side.tracking.create_logged_model(experiment, source_run_id=first).model_id
    side.tracking.log_metric(first, Metric("acc", 0.5, 1, 0, model_id=model, dataset_name="train", dataset_digest="d1"))
    batch = [
        Metric("acc", 0.75, 2, 3, model_id=model),
        Metric("loss", 1.0, 2, 3),
        Metric("f1", 0.9, 2, 3, model_id=model),
    ]
    side.tracking.log_batch(second, batch, [], [])
    shown = {
        (one.key, one.value, one.timestamp, one.step, one.run_id, one.model_id, one.dataset_name, one.dataset_digest)
        for one in side.tracking.get_logged_model(model).metrics
    }
    assert shown == {
        ("acc", 0.5, 1, 0, first, model, "train", "d1"),
        ("acc", 0.75, 2, 3, second, model, None, None),
        ("f1", 0.9, 2, 3, second, model, None, None),
    }
    # They are metrics of the runs too.
    assert side.tracking.get_run(first).data.metrics == {"acc": 0.5}
    assert side.tracking.get_run(second).data.metrics == {"acc": 0.75, "loss": 1.0, "f1": 0.9}
    assert [one.value for one in side.tracking.get_metric_history(first, "acc")] == [0.5]


def test_the_same_point_of_a_model_twice_is_one(side: Any) -> None:
    run = side.run()
    model = side.tracking.create_logged_model(side.tracking.get_run(run).info.experiment_id).model_id
    for _ in range(2):
        side.tracking.log_metric(run, Metric("acc", 0.5, 1, 0, model_id=model))
    assert len(side.tracking.get_logged_model(model).metrics) == 1
    assert len(side.tracking.get_metric_history(run, "acc")) == 1


def test_a_deleted_model_is_shown_only_to_who_asks_for_it(side: Any) -> None:
    experiment = side.experiment()
    made = side.tracking.create_logged_model(experiment, "x", tags=tags(a="1"), params=params(p="1"))
    side.tracking.delete_logged_model(made.model_id)
    with pytest.raises(MlflowException) as raised:
        side.tracking.get_logged_model(made.model_id)
    assert raised.value.error_code == MISSING
    assert plain(side.tracking.get_logged_model(made.model_id, allow_deleted=True)) == plain(made)
    assert side.tracking.search_logged_models([experiment]) == []
    side.tracking.delete_logged_model(made.model_id)  # again: nothing happens
    # What was written to it meanwhile is there.
    side.tracking.set_logged_model_tags(made.model_id, tags(b="2"))
    assert side.tracking.get_logged_model(made.model_id, allow_deleted=True).tags == {"a": "1", "b": "2"}


def test_deleted_models_wait_to_be_purged(side: Any) -> None:
    experiment = side.experiment()
    gone, kept = (side.tracking.create_logged_model(experiment).model_id for _ in range(2))
    side.tracking.delete_logged_model(gone)
    assert gone in side.tracking._get_deleted_logged_models()
    assert kept not in side.tracking._get_deleted_logged_models()
    assert gone not in side.tracking._get_deleted_logged_models(older_than=60_000)
    time.sleep(0.05)
    assert gone in side.tracking._get_deleted_logged_models(older_than=20)
    side.tracking._hard_delete_logged_model(gone)
    assert gone not in side.tracking._get_deleted_logged_models()
    with pytest.raises(MlflowException):
        side.tracking.get_logged_model(gone, allow_deleted=True)
    assert [one.model_id for one in side.tracking.search_logged_models([experiment])] == [kept]


def test_a_run_tells_of_the_models_that_were_recorded(side: Any, refuses: Refuses) -> None:
    run = side.run()
    for path in ("first", "second"):
        side.tracking.record_logged_model(run, Model(artifact_path=path, run_id=run))
    history = json.loads(side.tracking.get_run(run).data.tags["mlflow.log-model.history"])
    assert [one["artifact_path"] for one in history] == ["first", "second"]
    assert {one["run_id"] for one in history} == {run}
    refuses(lambda side: side.tracking.record_logged_model(side.run(), "model"), "TypeError")
    refuses(lambda side: side.tracking.record_logged_model("0" * 32, Model(artifact_path="x")), MISSING)
    refuses(lambda side: side.tracking.record_logged_model(side.run(deleted=True), Model(artifact_path="x")), INVALID)
