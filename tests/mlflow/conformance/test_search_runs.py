"""Searching runs: what each filter finds among runs that differ in everything."""

import math
from typing import Any

import pytest
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, ViewType

NAN, INF = math.nan, math.inf
#: Names of runs, and what each has.
RUNS: dict[str, dict[str, Any]] = {
    "alpha": {
        "start": 100, "end": 200, "status": "FINISHED", "user": "ada",
        "metrics": {"acc": 0.5, "loss": 1.0, "val/loss": 3.0, "a b": 1.0, "x.y:z-1": 7.0},
        "params": {"lr": "0.1", "opt": "adam", "a b": "space", "x.y": "dot", "10": "digits"},
        "tags": {"team": "blue", "a.b": "dot", "note": "100% _sure", "größe": "süß"},
    },
    "beta": {
        "start": 200, "user": "bob", "metrics": {"acc": 0.7, "loss": 0.0},
        "params": {"lr": "0.01", "opt": "ADAM"}, "tags": {"team": "Blue", "note": "line\nbreak"},
    },
    "gamma": {
        "start": 300, "end": 350, "status": "FAILED", "user": "ada",
        "metrics": {"acc": NAN, "loss": -1.0}, "params": {"opt": "sgd"}, "tags": {"team": "red", "note": "it's"},
    },
    "delta": {
        "start": 300, "end": 400, "status": "KILLED", "user": "Ada",
        "metrics": {"acc": -0.25}, "params": {"lr": "1e-3", "opt": "adamw"}, "tags": {"team": "", "note": 'say "hi"'},
    },
    "epsilon": {
        "start": 500, "end": 0, "status": "SCHEDULED", "user": "ünal",
        "metrics": {"acc": 1e300, "loss": 0.5}, "params": {"opt": "日本"}, "tags": {"note": "日本 🌊"},
    },
    "Alpha": {"start": 600, "user": "ada", "params": {"opt": ""}},
    "bare": {"start": 0, "user": ""},
    "under_score%": {"start": 700, "user": "ada", "params": {"opt": "a_am"}, "tags": {"team": "blueish"}},
    "it's": {"start": 800, "user": "ada"},
    "gone": {"start": 900, "user": "ada", "metrics": {"acc": 0.5}, "tags": {"team": "blue"}, "deleted": True},
}  # fmt: skip
LIVE = set(RUNS) - {"gone"}
#: Datasets of runs: (name, digest, context).
USED = {
    "alpha": [("train", "d1", "training"), ("test", "d2", "evaluation")],
    "beta": [("train", "d3", "training")],
    "gamma": [("test", "d2", "training"), ("Train", "d4", None)],
    "gone": [("train", "d1", "training")],
}


@pytest.fixture(scope="module")
def experiment(stage: Any) -> str:
    """The experiment with all these runs; another beside it has runs of the same names."""
    made, other = stage.experiment(), stage.experiment()
    for name, given in RUNS.items():
        run = stage.run(made, name=name, **{key: value for key, value in given.items() if key != "deleted"})
        datasets = [
            DatasetInput(
                Dataset(one, digest, "local", "{}"), [InputTag("mlflow.data.context", context)] if context else []
            )
            for one, digest, context in USED.get(name, [])
        ]
        if datasets:
            stage.tracking.log_inputs(run, datasets)
        if given.get("deleted"):
            stage.tracking.delete_run(run)
    for name in ("alpha", "stranger"):
        stage.run(other, name=name, metrics={"acc": 0.5}, tags={"team": "blue"})
    return str(made)


def found(stage: Any, experiment: str, filter_string: str, **more: Any) -> set[str]:
    names = stage.found(experiment, filter_string, **more)
    assert len(names) == len(set(names))
    return set(names)


FILTERS: dict[str, set[str]] = {
    # Metrics: by the latest value; what has no such metric is not found, and NaN is unlike any number.
    "metrics.acc = 0.5": {"alpha"},
    "metrics.acc > 0.5": {"beta", "epsilon"},
    "metrics.acc >= 0.5": {"alpha", "beta", "epsilon"},
    "metrics.acc < 0.5": {"delta"},
    "metrics.acc <= 0.5": {"alpha", "delta"},
    "metrics.acc != 0.5": {"beta", "gamma", "delta", "epsilon"},
    "metrics.acc = 0": set(),
    "metrics.acc < 1e301": {"alpha", "beta", "delta", "epsilon"},
    "metrics.acc > -1": {"alpha", "beta", "delta", "epsilon"},
    "metrics.acc = -0.25": {"delta"},
    "metrics.acc = -.25": {"delta"},
    "metrics.loss = 0": {"beta"},
    "metrics.loss = -1.0": {"gamma"},
    "metrics.acc >= 5e-1": {"alpha", "beta", "epsilon"},
    "metric.acc > 0.6 and metric.acc < 1": {"beta"},
    "metrics.ACC > 0": set(),
    "metrics.nothing > 0": set(),
    "metrics.nothing != 0": set(),
    'metrics."val/loss" > 2': {"alpha"},
    "metrics.`val/loss` > 2": {"alpha"},
    "metrics.`a b` = 1": {"alpha"},
    "metrics.`x.y:z-1` = 7": {"alpha"},
    # Params and tags: text, compared letter by letter.
    "params.opt = 'adam'": {"alpha"},
    'params.opt = "adam"': {"alpha"},
    "param.opt = 'adam'": {"alpha"},
    "parameters.opt = 'adam'": {"alpha"},
    "parameter.opt = 'adam'": {"alpha"},
    "params.opt != 'adam'": {"beta", "gamma", "delta", "epsilon", "Alpha", "under_score%"},
    "params.opt = ''": {"Alpha"},
    "params.opt LIKE 'adam%'": {"alpha", "delta"},
    "params.opt LIKE '%a%'": {"alpha", "delta", "under_score%"},
    "params.opt LIKE 'a_am'": {"alpha", "under_score%"},
    "params.opt LIKE 'adam'": {"alpha"},
    "params.opt LIKE 'ADAM%'": {"beta"},
    "params.opt LIKE '%'": {"alpha", "beta", "gamma", "delta", "epsilon", "Alpha", "under_score%"},
    "params.opt LIKE ''": {"Alpha"},
    "params.opt LIKE '日_'": {"epsilon"},
    "params.opt like 'adam%'": {"alpha", "delta"},
    "params.opt ILIKE 'ADAM%'": {"alpha", "beta", "delta"},
    "params.opt ilike '%AM'": {"alpha", "beta", "under_score%"},
    "params.lr = '0.1'": {"alpha"},
    "params.lr != '0.1'": {"beta", "delta"},
    "params.`a b` = 'space'": {"alpha"},
    "params.`x.y` = 'dot'": {"alpha"},
    'params."x.y" = \'dot\'': {"alpha"},
    "params.x.y = 'dot'": {"alpha"},
    "params.`10` = 'digits'": {"alpha"},
    "params.opt = '日本'": {"epsilon"},
    "params.nothing = 'x'": set(),
    "params.nothing != 'x'": set(),
    "params.lr IS NULL": {"gamma", "epsilon", "Alpha", "bare", "under_score%", "it's"},
    "params.lr IS NOT NULL": {"alpha", "beta", "delta"},
    "params.lr is not null": {"alpha", "beta", "delta"},
    "params.opt IS NULL": {"bare", "it's"},
    "params.nothing IS NULL": LIVE,
    "params.nothing IS NOT NULL": set(),
    "tags.team = 'blue'": {"alpha"},
    "tag.team = 'blue'": {"alpha"},
    "tags.team != 'blue'": {"beta", "gamma", "delta", "under_score%"},
    "tags.team = ''": {"delta"},
    "tags.team LIKE 'blue%'": {"alpha", "under_score%"},
    "tags.team ILIKE 'blue'": {"alpha", "beta"},
    "tags.team ILIKE 'BLUE%'": {"alpha", "beta", "under_score%"},
    "tags.`a.b` = 'dot'": {"alpha"},
    "tags.a.b = 'dot'": {"alpha"},
    "tags.`größe` = 'süß'": {"alpha"},
    "tags.größe = 'süß'": {"alpha"},
    "tags.note = '100% _sure'": {"alpha"},
    "tags.note LIKE '100\\%%'": set(),
    "tags.note LIKE '%🌊'": {"epsilon"},
    "tags.note LIKE '日本 _'": {"epsilon"},
    "tags.note LIKE 'line%break'": {"beta"},
    "tags.note LIKE 'line_break'": {"beta"},
    "tags.note = \"it's\"": {"gamma"},
    "tags.note = 'say \"hi\"'": {"delta"},
    "tags.team IS NULL": {"epsilon", "Alpha", "bare", "it's"},
    "tags.team IS NOT NULL": {"alpha", "beta", "gamma", "delta", "under_score%"},
    "tags.`mlflow.runName` = 'alpha'": {"alpha"},
    "tags.mlflow.runName ILIKE 'ALPHA'": {"alpha", "Alpha"},
    # Attributes.
    "attributes.status = 'FINISHED'": {"alpha"},
    "status = 'FAILED'": {"gamma"},
    "attribute.status != 'RUNNING'": {"alpha", "gamma", "delta", "epsilon"},
    "attr.status = 'RUNNING'": {"beta", "Alpha", "bare", "under_score%", "it's"},
    "run.status = 'KILLED'": {"delta"},
    "attributes.status = 'finished'": set(),
    "status ILIKE 'f%'": {"alpha", "gamma"},
    "attributes.user_id = 'ada'": {"alpha", "gamma", "Alpha", "under_score%", "it's"},
    "user_id LIKE '%da'": {"alpha", "gamma", "delta", "Alpha", "under_score%", "it's"},
    "user_id = 'ünal'": {"epsilon"},
    "user_id = ''": {"bare"},
    "attributes.start_time = 300": {"gamma", "delta"},
    "start_time > 300 and start_time <= 600": {"epsilon", "Alpha"},
    "start_time >= 700": {"under_score%", "it's"},
    "start_time != 300": LIVE - {"gamma", "delta"},
    "start_time < 0.5": {"bare"},
    "created > 700": {"it's"},
    "attributes.Created < 100": {"bare"},
    "end_time > 0": {"alpha", "gamma", "delta"},
    "attributes.end_time = 0": {"epsilon"},
    "end_time < 300": {"alpha", "epsilon"},
    "end_time != 200": {"gamma", "delta", "epsilon"},
    "attributes.run_name = 'alpha'": {"alpha"},
    "run_name != 'alpha'": LIVE - {"alpha"},
    "attributes.`run name` = 'beta'": {"beta"},
    "attributes.`Run name` = 'beta'": {"beta"},
    "attributes.`Run Name` LIKE '%eta'": {"beta"},
    "run_name ILIKE 'a%'": {"alpha", "Alpha"},
    "run_name LIKE 'under_score%'": {"under_score%"},
    "run_name LIKE '%\\%'": set(),
    'run_name = "it\'s"': {"it's"},
    "attributes.artifact_uri LIKE '%/artifacts'": LIVE,
    "attributes.artifact_uri LIKE '%/nowhere'": set(),
    "attributes.run_id = 'nothing'": set(),
    "run_id != 'nothing'": LIVE,
    "attributes.run_id LIKE '%'": LIVE,
    "run_id IN ('nothing')": set(),
    "run_id NOT IN ('nothing', 'nowhere')": LIVE,
    # Datasets: any of those that the run used.
    "dataset.name = 'train'": {"alpha", "beta"},
    "datasets.name = 'train'": {"alpha", "beta"},
    "dataset.name LIKE '%rain'": {"alpha", "beta", "gamma"},
    "dataset.name ILIKE 'TRAIN'": {"alpha", "beta", "gamma"},
    "dataset.name != 'train'": {"alpha", "gamma"},
    "dataset.digest = 'd2'": {"alpha", "gamma"},
    "dataset.digest IN ('d1', 'd3')": {"alpha", "beta"},
    "dataset.digest NOT IN ('d1', 'd2')": {"beta", "gamma"},
    "dataset.name IN ('test')": {"alpha", "gamma"},
    "dataset.context = 'training'": {"alpha", "beta", "gamma"},
    "dataset.context = 'evaluation'": {"alpha"},
    "dataset.context != 'training'": {"alpha"},
    "dataset.context IN ('evaluation', 'x')": {"alpha"},
    "dataset.context LIKE 'eval%'": {"alpha"},
    "dataset.context NOT IN ('training')": {"alpha"},
    "dataset.name = 'nothing'": set(),
    # Together: and only; each clause may be met by another dataset.
    "dataset.name = 'train' and dataset.context = 'evaluation'": {"alpha"},
    "dataset.name = 'train' and dataset.digest = 'd2'": {"alpha"},
    "dataset.name = 'train' and dataset.name = 'test'": {"alpha"},
    "dataset.name = 'train' and metrics.acc > 0.6": {"beta"},
    "metrics.acc > 0 and params.opt = 'adam' and tags.team = 'blue' and status = 'FINISHED'": {"alpha"},
    "metrics.acc > 0 AND metrics.loss > 0": {"alpha", "epsilon"},
    "params.opt LIKE 'a%' And params.lr IS NOT NULL": {"alpha", "delta"},
    "tags.team = 'blue' and tags.team = 'red'": set(),
    "tags.team IS NULL and params.opt IS NOT NULL": {"epsilon", "Alpha"},
    "params.opt = 'adam' tags.team = 'blue'": {"alpha"},  # the word is not missed
    "  metrics.acc=0.5  ": {"alpha"},
    "metrics.acc>0.5 and metrics.acc<1": {"beta"},
    "metrics.acc\n>\n0.6 and\tmetrics.acc < 1": {"beta"},
    "": LIVE,
}  # fmt: skip


@pytest.mark.parametrize("filter_string", FILTERS)
def test_a_filter_finds_what_fits_it(stage: Any, experiment: str, filter_string: str) -> None:
    assert found(stage, experiment, filter_string) == FILTERS[filter_string]


def test_no_filter_finds_all(stage: Any, experiment: str) -> None:
    assert found(stage, experiment, None) == LIVE  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("view", "names"),
    [(ViewType.ACTIVE_ONLY, LIVE), (ViewType.DELETED_ONLY, {"gone"}), (ViewType.ALL, set(RUNS))],
    ids=["active", "deleted", "all"],
)
def test_a_view_shows_active_or_deleted_runs_or_both(stage: Any, experiment: str, view: int, names: set[str]) -> None:
    assert found(stage, experiment, "", run_view_type=view) == names
    expected = {"alpha", "gone"} & names
    assert found(stage, experiment, "metrics.acc = 0.5 and dataset.digest = 'd1'", run_view_type=view) == expected


def test_runs_are_found_by_their_ids(stage: Any, experiment: str) -> None:
    ids = {run.info.run_name: run.info.run_id for run in stage.tracking.search_runs([experiment], "", ViewType.ALL)}
    alpha, beta = ids["alpha"], ids["beta"]
    assert found(stage, experiment, f"attributes.run_id = '{alpha}'") == {"alpha"}
    assert found(stage, experiment, f"run_id IN ('{alpha}', '{beta}', '{alpha}')") == {"alpha", "beta"}
    assert found(stage, experiment, f"run_id in ('{alpha}')") == {"alpha"}
    assert found(stage, experiment, f"attributes.run_id NOT IN ('{alpha}', '{beta}')") == LIVE - {"alpha", "beta"}
    assert found(stage, experiment, f"run_id IN ('{ids['gone']}')") == set()
    assert found(stage, experiment, f"run_id LIKE '{alpha[:20]}%'") == {"alpha"}
    assert found(stage, experiment, f"artifact_uri LIKE '%{alpha}%'") == {"alpha"}


def test_only_the_experiments_asked_for_are_searched(side: Any) -> None:
    first, second, third = (side.experiment() for _ in range(3))
    for experiment, name in ((first, "a"), (second, "b"), (third, "c")):
        side.run(experiment, name=name)
    assert set(side.found([first, third])) == {"a", "c"}
    assert set(side.found([first, first])) == {"a"}
    assert side.found([int(second)]) == ["b"]  # type: ignore[list-item]
    assert side.found([]) == []
    assert side.found(["987654321"]) == []
    side.tracking.delete_experiment(second)
    assert side.found([second]) == []
    assert side.found([second], run_view_type=ViewType.ALL) == ["b"]


def test_filters_go_by_the_latest_value(side: Any) -> None:
    run = side.run(name="x")
    experiment = side.tracking.get_run(run).info.experiment_id
    for value, step in ((5.0, 3), (9.0, 1), (7.0, 2)):
        side.tracking.log_metric(run, Metric("m", value, 1, step))
    assert side.found(experiment, "metrics.m = 5") == ["x"]
    assert side.found(experiment, "metrics.m = 9") == []
    side.tracking.log_metric(run, Metric("m", math.nan, 1, 4))
    assert side.found(experiment, "metrics.m = 5") == []
    assert side.found(experiment, "metrics.m != 5") == ["x"]


def test_what_was_just_changed_is_searched_as_it_is_now(side: Any) -> None:
    run = side.run(name="old", tags={"t": "1"})
    experiment = side.tracking.get_run(run).info.experiment_id
    side.tracking.update_run_info(run, 3, 77, "new")
    side.tracking.delete_tag(run, "t")
    assert side.found(experiment, "run_name = 'new' and end_time = 77 and status = 'FINISHED'") == ["new"]
    assert side.found(experiment, "run_name = 'old'") == []
    assert side.found(experiment, "tags.t IS NULL") == ["new"]
    side.tracking.delete_run(run)
    assert side.found(experiment, "run_name = 'new'") == []
    side.tracking.restore_run(run)
    assert side.found(experiment, "run_name = 'new'") == ["new"]


def test_a_run_that_is_found_is_whole(stage: Any, experiment: str) -> None:
    (one,) = stage.tracking.search_runs([experiment], "run_name = 'alpha'", ViewType.ACTIVE_ONLY)
    same = stage.tracking.get_run(one.info.run_id)
    assert one.info == same.info or dict(one.info) == dict(same.info)
    assert one.data.to_dictionary() == same.data.to_dictionary()
    assert {(d.dataset.name, d.dataset.digest) for d in one.inputs.dataset_inputs} == {("train", "d1"), ("test", "d2")}
    assert one.outputs.model_outputs == []
