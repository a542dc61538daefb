"""Histories of metrics, read many runs at a time where a store can."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl
from mlflow.entities import LoggedModel, Run

from lakelineage.mlflow_plugin.transfer.counts import Tally
from lakelineage.mlflow_plugin.transfer.facts import POINT, no_points, unlimited
from lakelineage.mlflow_plugin.transfer.source import Source

#: Points that are asked for at a time, where that can be told.
_MOST = 50_000
#: Points, by estimate, that are in memory at a time.
_ABOUT = 500_000
#: Questions at a time that a server is asked.
_AT_ONCE = 8
#: The greatest time in ms whose µs 64 bits hold.
_LATEST = 2**63 // 1000 - 1
#: What tells a point from another, but for what it was measured on.
_POINT = ["run_id", "key", "step", "timestamp", "value"]


def slices(runs: Sequence[Run]) -> Iterator[list[Run]]:
    """Runs in groups that have some points together, as far as steps tell."""
    group: list[Run] = []
    size = 0
    for run in runs:
        about = sum(1 + max(0, metric.step) for metric in run.data._metric_objs)
        if group and size + about > _ABOUT:
            yield group
            group, size = [], 0
        group.append(run)
        size += about
    if group:
        yield group


def points_of(source: Source, runs: Sequence[Run], measured: pl.DataFrame, tally: Tally) -> pl.DataFrame:
    """All values of all metrics of some runs, each once.

    Args:
        source: where they are.
        runs: which.
        measured: of :func:`measured_on`.
        tally: is told of values whose time no table of a lake can hold.
    """
    with_key: dict[str, list[str]] = {}
    for run in runs:
        for key in run.data.metrics:
            with_key.setdefault(key, []).append(run.info.run_id)
    frames = [frame for key, run_ids in with_key.items() for frame in _of_key(source, key, run_ids)]
    found = _in_range(pl.concat(frames).unique(), tally) if frames else no_points()
    if measured.is_empty() or found.is_empty():
        return found
    bare = found.drop("model_id", "dataset", "dataset_digest")
    if source.kind == "file":
        bare = _with_steps(bare, measured)
    return bare.join(measured, on=_POINT, how="left", nulls_equal=True).select(POINT.keys())


def _with_steps(found: pl.DataFrame, measured: pl.DataFrame) -> pl.DataFrame:
    """Points of a file store, which reads step 0 back of what was measured on a dataset; its logged models know it."""
    rest = [name for name in _POINT if name != "step"]
    steps = measured.select(*rest, pl.col("step").alias("measured")).unique(rest)
    known = found.join(steps, on=rest, how="left", nulls_equal=True)
    step = pl.when(pl.col("step") == 0).then(pl.coalesce("measured", "step")).otherwise(pl.col("step"))
    return known.with_columns(step.alias("step")).select(_POINT).unique()


def _in_range(found: pl.DataFrame, tally: Tally) -> pl.DataFrame:
    """Points with their times in µs; what is beyond 64 bits then is left out, and told."""
    held = pl.col("timestamp").is_between(-_LATEST, _LATEST)
    beyond = found.filter(~held)
    if beyond.height:
        tally.add("metric points", beyond.height, 0, 0)
        run_id, key, at = beyond.select("run_id", "key", "timestamp").row(0)
        tally.differs(
            "metric points",
            f"metric points: {beyond.height} have times that are no ms since 1970, such as {at} of {key!r} in run "
            f"{run_id}, and are left out",
        )
    return found.filter(held).with_columns(pl.col("timestamp") * 1000)


def measured_on(models: Iterable[LoggedModel], limitless: bool) -> pl.DataFrame:
    """Points that tell the logged model and the dataset that they measure. A run's own history does not."""
    rows = []
    for model in models:
        for metric in model.metrics or ():
            told = (model.model_id, metric.dataset_name, metric.dataset_digest)
            rows.append((*_row(metric.run_id or "", metric, limitless)[:5], *told))
    found = _frame(rows).filter(pl.col("timestamp").is_between(-_LATEST, _LATEST))
    return found.with_columns(pl.col("timestamp") * 1000).unique()


def _of_key(source: Source, key: str, run_ids: Sequence[str]) -> Iterator[pl.DataFrame]:
    limitless = source.kind in ("sql", "http")
    bulk = getattr(source.store, "get_metric_history_bulk", None)
    if bulk is not None and source.kind in ("sql", "lake"):
        yield from _in_bulk(source, bulk, key, run_ids, limitless)
        return

    def ask(run_id: str) -> pl.DataFrame:
        history = source.client.get_metric_history(run_id, key)
        return _frame([_row(run_id, metric, limitless) for metric in history])

    if source.kind == "http":
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            yield from pool.map(ask, run_ids)
    else:
        yield from map(ask, run_ids)


def _in_bulk(source: Source, bulk: Any, key: str, run_ids: Sequence[str], limitless: bool) -> Iterator[pl.DataFrame]:
    found = bulk(run_ids, key, _MOST)
    if len(found) < _MOST:
        yield _frame([_row(each.run_id, each, limitless) for each in found])
    elif len(run_ids) > 1:
        half = len(run_ids) // 2
        yield from _in_bulk(source, bulk, key, run_ids[:half], limitless)
        yield from _in_bulk(source, bulk, key, run_ids[half:], limitless)
    else:
        yield from _long(source, key, run_ids[0], limitless)


def _long(source: Source, key: str, run_id: str, limitless: bool) -> Iterator[pl.DataFrame]:
    token: str | None = None
    while True:
        page = source.store.get_metric_history(run_id, key, max_results=_MOST, page_token=token)
        yield _frame([_row(run_id, metric, limitless) for metric in page])
        token = page.token
        if not token:
            return


def _row(run_id: str, metric: Any, limitless: bool) -> tuple[Any, ...]:
    value = float(metric.value)
    return (
        run_id,
        metric.key,
        int(metric.step),
        int(metric.timestamp),
        unlimited(value) if limitless else value,
        None,
        None,
        None,
    )


def _frame(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=POINT, orient="row")
