"""Runs into a lake: each lands as a whole, and only what the lake lacks is written."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
from mlflow.entities import Run

from lakelineage.mlflow_plugin.transfer import histories
from lakelineage.mlflow_plugin.transfer.counts import Tally, contains, missing, same_number
from lakelineage.mlflow_plugin.transfer.facts import POINT, Facts, State, kept, told
from lakelineage.mlflow_plugin.transfer.source import Source
from lakelineage.model.changes import Batch, Change, Rows
from lakelineage.tables import DATASETS, LINEAGE, METRICS, PARAMS, RUN_MODELS, RUNS_HISTORY, TAGS_HISTORY
from lakelineage.tracking import logged_models

if TYPE_CHECKING:
    from lakelineage.engine import Engine


def take_over(
    engine: "Engine",
    source: Source,
    runs: Sequence[Run],
    experiments: Mapping[str, str],
    measured: pl.DataFrame,
    tally: Tally,
    *,
    copying: bool,
) -> None:
    """Add runs that the lake lacks, and what has been added to or changed in those it has.

    Args:
        engine: the open lake.
        source: where they are.
        runs: which.
        experiments: id in the source → id in the lake.
        measured: points that tell what they measure.
        tally: counts.
        copying: whether their artifacts come into the lake.
    """
    for group in histories.slices(runs):
        points = histories.points_of(source, group, measured, tally)
        says = told(group, experiments, points, limitless=source.kind in ("sql", "http"))
        ids = list(says.states)
        before = kept(engine, ids)
        for run in group:
            _place_artifacts(says.states[run.info.run_id], run, before, copying)
        if not tally.dry_run:
            for change in _changes(says, before):
                engine.append(change)
            engine.flush()
        _count(says, before, before if tally.dry_run else kept(engine, ids), tally)


def _place_artifacts(state: State, run: Run, before: Facts, copying: bool) -> None:
    """Say where the artifacts of a run are: in the lake, if they come or came into it."""
    there = before.states.get(run.info.run_id)
    if copying or (there is not None and there["artifact_uri"] is None):
        state["artifact_uri"] = None
    else:
        state["artifact_uri"] = run.info.artifact_uri


def _changes(says: Facts, before: Facts) -> list[Change]:
    """One change for each run that the lake lacks something of."""
    parts: dict[str, list[Rows | Batch]] = {run_id: [] for run_id in says.states}
    for run_id, state in missing(says.states, before.states, contains).items():
        row = RUNS_HISTORY.row(**{**before.states.get(run_id, {}), **state})
        parts[run_id].append(Rows(RUNS_HISTORY.name, (row,)))
    params = {key: value for key, value in says.params.items() if key not in before.params}
    _add(parts, PARAMS.name, {key: (*key, value) for key, value in params.items()})
    tags = missing(says.tags, before.tags)
    _add(parts, TAGS_HISTORY.name, {key: (*key, value) for key, value in tags.items()})
    _add(parts, DATASETS.name, _dataset_rows(missing(says.datasets, before.datasets)))
    links = {key: step for key, step in says.models.items() if key not in before.models}
    _add(parts, RUN_MODELS.name, {key: (*key, step) for key, step in links.items()})
    edges = {k: logged_models.edge(k[0], logged_models.node_of(k[1]), k[2]) for k in links}
    _add(parts, LINEAGE.name, edges)
    for run_id, batch in _batches(says, before):
        parts[run_id].append(batch)
    return [tuple(change) for change in parts.values() if change]


def _add(parts: Mapping[str, list[Rows | Batch]], table: str, rows: Mapping[Any, tuple[Any, ...]]) -> None:
    """Add rows to the changes of their runs; the run is the first part of the key."""
    by_run: dict[str, list[tuple[Any, ...]]] = {}
    for key, row in rows.items():
        by_run.setdefault(key[0], []).append(row)
    for run_id, some in by_run.items():
        parts[run_id].append(Rows(table, tuple(some)))


def _dataset_rows(datasets: Mapping[tuple[str, str, str], State]) -> dict[Any, tuple[Any, ...]]:
    return {
        key: DATASETS.row(run_id=key[0], name=key[1], digest=key[2], snapshot_id=None, **described)
        for key, described in datasets.items()
    }


def _lacking(says: Facts, there: Facts) -> pl.DataFrame:
    """Points that are told and are not there."""
    return says.points.join(there.points, on=list(POINT), how="anti", nulls_equal=True)


def _batches(says: Facts, before: Facts) -> list[tuple[str, Batch]]:
    """Points that the lake lacks, by run. Of those with the same step and time, the latest in the source comes last."""
    lacking = _lacking(says, before)
    if lacking.is_empty():
        return []
    latest = pl.DataFrame(
        [(*key, value) for key, value in says.latest.items()],
        schema={"run_id": pl.String, "key": pl.String, "latest": pl.Float64},
        orient="row",
    )
    ordered = (
        lacking.join(latest, on=["run_id", "key"], how="left")
        .sort("run_id", "key", "timestamp", "step", pl.col("value") == pl.col("latest"), "value")
        .select(POINT.keys())
    )
    return [
        (str(run_id), Batch(METRICS.name, _arrow(points)))
        for (run_id,), points in ordered.partition_by("run_id", as_dict=True, maintain_order=True).items()
    ]


def _arrow(points: pl.DataFrame) -> Any:
    table = points.to_arrow().cast(METRICS.own_schema).combine_chunks()
    return table.to_batches()[0]


def _count(says: Facts, before: Facts, after: Facts, tally: Tally) -> None:
    tally.compare("runs", says.states, before.states, after.states, contains)
    tally.compare("params", says.params, before.params, after.params)
    tally.compare("tags", says.tags, before.tags, after.tags)
    tally.compare("latest metrics", says.latest, before.latest, after.latest, same_number)
    lacking, left = _lacking(says, before), _lacking(says, after)
    wrong = left.height
    tally.add("metric points", says.points.height, says.points.height - wrong, lacking.height)
    if wrong and not tally.dry_run:
        tally.differs("metric points", f"metric points: the target lacks {wrong}, such as {left.row(0)}")
    tally.compare("datasets", says.datasets, before.datasets, after.datasets)
    tally.compare("models used or made", says.models, before.models, after.models)
