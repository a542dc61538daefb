"""Datasets and models that runs use, and models that they make."""

from collections.abc import Callable
from typing import Any

import pytest
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput, LoggedModelOutput, ViewType

Refuses = Callable[..., str]
MISSING, INVALID = "RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"
Seen = dict[tuple[str, str], tuple[Any, ...]]


def dataset(name: str = "train", digest: str = "d1", **more: Any) -> Dataset:
    given = {
        "source_type": "local",
        "source": '{"uri": "x.csv"}',
        "schema": '{"cols": []}',
        "profile": '{"rows": 5}',
        **more,
    }
    return Dataset(name, digest, **given)


def used(one: Dataset, **tags: str) -> DatasetInput:
    return DatasetInput(one, [InputTag(key.replace("__", "."), value) for key, value in tags.items()])


def seen(inputs: Any) -> Seen:
    """(name, digest) → everything else."""
    found = {}
    for one in inputs.dataset_inputs:
        data = one.dataset
        tags = tuple(sorted((tag.key, tag.value) for tag in one.tags))
        found[data.name, data.digest] = (data.source_type, data.source, data.schema, data.profile, tags)
    assert len(found) == len(inputs.dataset_inputs)
    return found


def test_a_run_shows_what_it_used(side: Any) -> None:
    run = side.run()
    side.tracking.log_inputs(
        run, [used(dataset(), mlflow__data__context="training", other="ü"), used(dataset("test", "d2"))]
    )
    shown = seen(side.tracking.get_run(run).inputs)
    rest = ("local", '{"uri": "x.csv"}', '{"cols": []}', '{"rows": 5}')
    assert shown == {
        ("train", "d1"): (*rest, (("mlflow.data.context", "training"), ("other", "ü"))),
        ("test", "d2"): (*rest, ()),
    }
    experiment = side.tracking.get_run(run).info.experiment_id
    (found,) = side.tracking.search_runs([experiment], "", ViewType.ALL)
    assert seen(found.inputs) == shown


def test_schema_and_profile_may_be_missing(side: Any) -> None:
    run = side.run()
    side.tracking.log_inputs(run, [used(dataset(schema=None, profile=None))])
    assert seen(side.tracking.get_run(run).inputs) == {("train", "d1"): ("local", '{"uri": "x.csv"}', None, None, ())}


def test_the_same_dataset_twice_is_used_once_with_its_first_tags(side: Any) -> None:
    run = side.run()
    side.tracking.log_inputs(run, [used(dataset(), a="1"), used(dataset(source="other"), a="2")])
    side.tracking.log_inputs(run, [used(dataset(profile="other"), b="3")])
    shown = seen(side.tracking.get_run(run).inputs)
    assert shown == {("train", "d1"): ("local", '{"uri": "x.csv"}', '{"cols": []}', '{"rows": 5}', (("a", "1"),))}


def test_a_dataset_of_an_experiment_is_described_once(side: Any) -> None:
    experiment = side.experiment()
    first, second, elsewhere = side.run(experiment), side.run(experiment), side.run()
    side.tracking.log_inputs(first, [used(dataset(source="one"))])
    side.tracking.log_inputs(second, [used(dataset(source="two"), a="1")])
    side.tracking.log_inputs(elsewhere, [used(dataset(source="three"))])
    shown = [seen(side.tracking.get_run(run).inputs)["train", "d1"] for run in (first, second, elsewhere)]
    assert [(source, tags) for _, source, _, _, tags in shown] == [("one", ()), ("one", (("a", "1"),)), ("three", ())]


def test_same_names_with_other_digests_are_other_datasets(side: Any) -> None:
    run = side.run()
    side.tracking.log_inputs(run, [used(dataset(digest=str(number))) for number in range(3)])
    side.tracking.log_inputs(run, [used(dataset("TRAIN", "1"))])
    assert set(seen(side.tracking.get_run(run).inputs)) == {
        ("train", "0"),
        ("train", "1"),
        ("train", "2"),
        ("TRAIN", "1"),
    }


def test_nothing_used_is_nothing_logged(side: Any) -> None:
    run = side.run()
    side.tracking.log_inputs(run, [])
    side.tracking.log_inputs(run, None)
    side.tracking.log_inputs(run, datasets=None, models=None)
    assert seen(side.tracking.get_run(run).inputs) == {}


def test_inputs_survive_deletion(side: Any) -> None:
    run = side.run()
    side.tracking.log_inputs(run, [used(dataset())])
    side.tracking.delete_run(run)
    assert len(seen(side.tracking.get_run(run).inputs)) == 1


@pytest.mark.parametrize(
    "given",
    [
        dataset(None), dataset(digest=None), dataset(source=None), dataset(source_type=None), None,
        dataset("n" * 501), dataset(digest="d" * 37), dataset(source="s" * 65_536), dataset(schema="s" * 1_048_576),
        dataset(profile="p" * 16_777_216),
    ],
    ids=range(10),
)  # fmt: skip
def test_datasets_that_break_the_rules_are_refused(refuses: Refuses, given: Any) -> None:
    refuses(lambda side: side.tracking.log_inputs(side.run(), [used(dataset()), DatasetInput(given, [])]), INVALID)


@pytest.mark.parametrize("tag", [(None, "v"), ("k", None), ("k" * 256, "v"), ("k", "v" * 501)], ids=range(4))
def test_tags_of_inputs_that_break_the_rules_are_refused(refuses: Refuses, tag: Any) -> None:
    refuses(lambda side: side.tracking.log_inputs(side.run(), [DatasetInput(dataset(), [InputTag(*tag)])]), INVALID)


def test_datasets_as_large_as_may_be_are_taken(side: Any) -> None:
    run = side.run()
    large = dataset("n" * 500, "d" * 36, source="s" * 65_535, schema="s" * 100_000, profile="p" * 100_000)
    side.tracking.log_inputs(run, [DatasetInput(large, [InputTag("k" * 255, "v" * 500)])])
    ((key, value),) = seen(side.tracking.get_run(run).inputs).items()
    assert key == ("n" * 500, "d" * 36)
    assert value[1:4] == ("s" * 65_535, "s" * 100_000, "p" * 100_000)


def test_inputs_are_a_list_of_a_run_that_is_there(refuses: Refuses) -> None:
    refuses(lambda side: side.tracking.log_inputs(side.run(), {"a": dataset()}), "TypeError")
    refuses(lambda side: side.tracking.log_inputs("0" * 32, [used(dataset())]), MISSING)
    refuses(lambda side: side.tracking.log_inputs("a b", [used(dataset())]), INVALID)
    refuses(lambda side: side.tracking.log_inputs(side.run(deleted=True), [used(dataset())]), INVALID)


def test_the_datasets_of_experiments_are_listed(side: Any) -> None:
    first, second = side.experiment(), side.experiment()
    run, other, elsewhere = side.run(first), side.run(first), side.run(second)
    context = "mlflow.data.context"
    side.tracking.log_inputs(
        run, [DatasetInput(dataset(), [InputTag(context, "training")]), used(dataset("test", "d2"))]
    )
    side.tracking.log_inputs(other, [DatasetInput(dataset(), [InputTag(context, "training")])])
    side.tracking.log_inputs(side.run(first), [DatasetInput(dataset(), [InputTag(context, "evaluation")])])
    side.tracking.log_inputs(elsewhere, [used(dataset("far", "d9"), x="y")])

    def listed(*experiments: str) -> set[tuple[str, str, str, Any]]:
        found = side.tracking._search_datasets(list(experiments))
        shown = {(one.experiment_id, one.name, one.digest, one.context) for one in found}
        assert len(shown) == len(found)
        return shown

    here = {(first, "train", "d1", "training"), (first, "train", "d1", "evaluation"), (first, "test", "d2", None)}
    assert listed(first) == here
    assert listed(first, second) == here | {(second, "far", "d9", None)}
    assert listed() == set()
    assert listed("987654321") == set()


def test_a_run_shows_the_models_that_it_used_and_made(side: Any) -> None:
    experiment = side.experiment()
    run = side.run(experiment)
    models = [side.tracking.create_logged_model(experiment).model_id for _ in range(3)]
    side.tracking.log_inputs(run, models=[LoggedModelInput(models[0])])
    side.tracking.log_inputs(run, [used(dataset())], [LoggedModelInput(models[1])])
    side.tracking.log_outputs(run, [LoggedModelOutput(models[1], 3), LoggedModelOutput(models[2], 0)])
    side.tracking.log_outputs(run, [])
    found = side.tracking.get_run(run)
    assert {one.model_id for one in found.inputs.model_inputs} == set(models[:2])
    assert {(one.model_id, one.step) for one in found.outputs.model_outputs} == {(models[1], 3), (models[2], 0)}
    assert len(found.inputs.dataset_inputs) == 1
    (searched,) = side.tracking.search_runs([experiment], "", ViewType.ALL)
    assert {(one.model_id, one.step) for one in searched.outputs.model_outputs} == {(models[1], 3), (models[2], 0)}
    assert searched.inputs.model_inputs == []
