"""Runs into an MLflow store: what it lacks of each is logged to it, in batches that MLflow takes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LifecycleStage,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    Param,
    Run,
    RunTag,
)
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from lakelineage.mlflow_plugin.transfer import histories
from lakelineage.mlflow_plugin.transfer.counts import contains, missing, same_number
from lakelineage.mlflow_plugin.transfer.facts import POINT, Facts, told
from lakelineage.mlflow_plugin.transfer.pair import MODEL_TAG, RUN_TAG, Pair
from lakelineage.mlflow_plugin.transfer.source import Source

#: The most that one call of MLflow's ``log_batch`` takes.
_METRICS, _PARAMS, _TAGS = 1_000, 100, 100
#: What of a state MLflow lets be set.
_SETTABLE = ("name", "status", "lifecycle_stage", "start_time", "end_time")


def begin(pair: Pair) -> None:
    """Make the runs that the target lacks, empty."""
    for page in pair.target.runs(list(pair.experiments.values())):
        for run in page:
            if RUN_TAG in run.data.tags:
                pair.runs[run.data.tags[RUN_TAG]] = run.info.run_id
    if pair.tally.dry_run:
        return
    for page in pair.source.runs(pair.given):
        for run in page:
            if run.info.run_id not in pair.runs:
                made = pair.client.create_run(
                    pair.experiments[run.info.experiment_id],
                    run.info.start_time,
                    {RUN_TAG: run.info.run_id},
                    run.info.run_name or None,
                )
                pair.runs[run.info.run_id] = made.info.run_id


def take_over(pair: Pair) -> None:
    """Log what the target lacks of the runs."""
    measured = histories.measured_on(pair.source.logged_models(pair.given), limitless=False)
    theirs = histories.measured_on(pair.target.logged_models(list(pair.experiments.values())), pair.limitless)
    done = 0
    for page in pair.source.runs(pair.given):
        pair.tally.progress("runs", done, None)
        for group in histories.slices([pair.source.client.get_run(run.info.run_id) for run in page]):
            says = _settable(_told(pair.source, group, measured, pair, limitless=False))
            says.tags.update({k: pair.runs.get(v, v) for k, v in says.tags.items() if k[1] == MLFLOW_PARENT_RUN_ID})
            for run in group:
                _leave_open(pair, run, says.states[run.info.run_id])
            before = _there(pair, group, theirs)
            if not pair.tally.dry_run:
                for run in group:
                    _log(pair, run, says, before)
                theirs = histories.measured_on(
                    pair.target.logged_models(list(pair.experiments.values())), pair.limitless
                )
            _count(pair, says, before, before if pair.tally.dry_run else _there(pair, group, theirs))
        done += len(page)


def _leave_open(pair: Pair, run: Run, state: dict[str, Any]) -> None:
    """Take out of a state what the target has its own way."""
    if run.info.experiment_id in pair.deleted:
        del state["lifecycle_stage"]  # it goes with its experiment, at the end
    if state["name"] is None:
        del state["name"]  # MLflow gives it one


def _told(source: Source, runs: Sequence[Run], measured: pl.DataFrame, pair: Pair, *, limitless: bool) -> Facts:
    points = histories.points_of(source, runs, measured, pair.tally)
    ids = {run.info.experiment_id: run.info.experiment_id for run in runs}
    return told(runs, ids, points, limitless)


def _settable(facts: Facts) -> Facts:
    facts.states = {run_id: {key: state[key] for key in _SETTABLE} for run_id, state in facts.states.items()}
    facts.tags = {key: value for key, value in facts.tags.items() if key[1] not in (RUN_TAG, MODEL_TAG)}
    return facts


def _there(pair: Pair, runs: Iterable[Run], measured: pl.DataFrame) -> Facts:
    """What the target has of some runs of the lake, under the ids of the lake."""
    ids = {pair.runs[run.info.run_id]: run.info.run_id for run in runs if run.info.run_id in pair.runs}
    models = {theirs: mine for mine, theirs in pair.models.items()}
    found = [pair.client.get_run(run_id) for run_id in ids]
    facts = _settable(_told(pair.target, found, measured, pair, limitless=pair.limitless))

    def renamed(part: Mapping[Any, Any]) -> dict[Any, Any]:
        return {(ids[key[0]], *key[1:]): value for key, value in part.items()}

    return Facts(
        states={ids[run_id]: state for run_id, state in facts.states.items()},
        params=renamed(facts.params),
        tags=renamed(facts.tags),
        latest=renamed(facts.latest),
        points=facts.points.with_columns(pl.col("run_id").replace(ids), pl.col("model_id").replace(models)),
        datasets=renamed(facts.datasets),
        models={(ids[run_id], models.get(m, m), way): step for (run_id, m, way), step in facts.models.items()},
    )


def _log(pair: Pair, run: Run, says: Facts, before: Facts) -> None:
    """Log what is lacking of a run. A deleted one is brought back for that."""
    run_id, client = run.info.run_id, pair.client
    target = pair.runs[run_id]
    lacks = _Lack(run_id, says, before)
    there = before.states[run_id]
    if lacks.anything and there["lifecycle_stage"] == LifecycleStage.DELETED:
        client.restore_run(target)
        there = {**there, "lifecycle_stage": LifecycleStage.ACTIVE}
    for some in _portions(lacks.params, _PARAMS):
        client.log_batch(target, params=[Param(key, value) for key, value in some])
    for some in _portions(lacks.tags, _TAGS):
        client.log_batch(target, tags=[RunTag(key, value) for key, value in some])
    for some in _portions(lacks.points(pair.models), _METRICS):
        client.log_batch(target, metrics=some)
    if lacks.datasets:
        client.log_inputs(target, [_input(*each) for each in lacks.datasets])
    used = [LoggedModelInput(pair.models[m]) for m, way, _ in lacks.models if way == "input" and m in pair.models]
    made = [
        LoggedModelOutput(pair.models[m], s or 0) for m, way, s in lacks.models if way == "output" and m in pair.models
    ]
    if used:
        client.log_inputs(target, models=used)
    if made:
        client.log_outputs(target, made)
    _end(pair, target, says.states[run_id], there, run)


def _end(pair: Pair, target: str, state: dict[str, Any], there: dict[str, Any], run: Run) -> None:
    client = pair.client
    if (state["status"], state["end_time"]) != (there["status"], there["end_time"]):
        if run.info.end_time is None:
            client.update_run(target, state["status"])
        else:
            client.set_terminated(target, state["status"], run.info.end_time)
    name = state.get("name", there["name"])
    if name != there["name"]:
        client.update_run(target, name=name)
    stage = state.get("lifecycle_stage", there["lifecycle_stage"])
    if stage != there["lifecycle_stage"]:
        (client.delete_run if stage == LifecycleStage.DELETED else client.restore_run)(target)


class _Lack:
    """What the target lacks of one run."""

    def __init__(self, run_id: str, says: Facts, before: Facts) -> None:
        def own(part: Mapping[Any, Any], there: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
            return [(key[1:], value) for key, value in missing(part, there).items() if key[0] == run_id]

        self.params = [(key, value) for (key,), value in own(says.params, before.params)]
        self.tags = [(key, value) for (key,), value in own(says.tags, before.tags)]
        self.datasets = own(says.datasets, before.datasets)
        self.models = [(model_id, way, step) for (model_id, way), step in own(says.models, before.models)]
        mine = says.points.filter(pl.col("run_id") == run_id)
        self._points = mine.join(before.points, on=list(POINT), how="anti", nulls_equal=True)
        self.anything = bool(self.params or self.tags or self.datasets or self.models or self._points.height)

    def points(self, models: Mapping[str, str]) -> list[Metric]:
        """Values of metrics, with the ids that logged models have in the target."""
        rows = self._points.sort("key", "timestamp", "step", "value").iter_rows()
        return [
            Metric(
                key,
                value,
                timestamp // 1000,
                step,
                model_id=models.get(model_id),
                dataset_name=dataset,
                dataset_digest=digest,
            )
            for _, key, step, timestamp, value, model_id, dataset, digest in rows
        ]


def _input(key: tuple[str, str], described: Mapping[str, Any]) -> DatasetInput:
    kept = {name: described[name] for name in ("source_type", "source", "schema", "profile")}
    return DatasetInput(Dataset(*key, **kept), [InputTag(*tag) for tag in described["tags"]])


def _portions(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _count(pair: Pair, says: Facts, before: Facts, after: Facts) -> None:
    tally = pair.tally
    tally.compare("runs", says.states, before.states, after.states, contains)
    tally.compare("params", says.params, before.params, after.params)
    tally.compare("tags", says.tags, before.tags, after.tags)
    tally.compare("latest metrics", says.latest, before.latest, after.latest, same_number)
    left = says.points.join(after.points, on=list(POINT), how="anti", nulls_equal=True).height
    lacking = says.points.join(before.points, on=list(POINT), how="anti", nulls_equal=True).height
    tally.add("metric points", says.points.height, says.points.height - left, lacking)
    tally.compare("datasets", says.datasets, before.datasets, after.datasets)
    tally.compare("models used or made", says.models, before.models, after.models)
