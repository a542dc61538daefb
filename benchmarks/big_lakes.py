"""Lakes of many runs, written through journal and committer as logging writes them, only many runs at a time."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lakelineage as ll
from lakelineage.model.changes import Batch
from lakelineage.model.ids import new_id
from lakelineage.tables import METRICS, PARAMS, RUNS_HISTORY, Table

#: Metrics and params of each run.
KEYS = 10
_AT_ONCE = 5_000
#: Values of the param "model".
MODELS = ("tree", "forest", "linear", "ridge", "net", "boost", "bayes", "knn", "svm", "mean")


def metric_keys() -> list[str]:
    """Names of the metrics that every run has."""
    return ["rmse", *(f"metric_{i}" for i in range(1, KEYS))]


def param_keys() -> list[str]:
    """Names of the params that every run has."""
    return ["model", *(f"param_{i}" for i in range(1, KEYS))]


def fill(folder: Path, runs: int, *, experiments: int = 10, seed: int = 0) -> ll.Lake:
    """A lake with so many finished runs, committed, published and maintained; open.

    Args:
        folder: where it is made.
        runs: how many; each with ``KEYS`` params and metrics.
        experiments: among which they are spread evenly.
        seed: of the values.
    """
    lake = ll.open(folder, durability="process")
    ids = [lake.experiments.id_of(f"experiment-{i}") for i in range(experiments)]
    begin = time.time_ns() // 1000 - runs * 1_000
    for first in range(0, runs, _AT_ONCE):
        count = min(_AT_ONCE, runs - first)
        for change in _changes(first, count, ids, begin, seed):
            lake._engine.append((change,))
        if first % 50_000 == 0:
            lake.flush()
    lake.maintain()
    return lake


def _changes(first: int, count: int, experiments: list[str], begin: int, seed: int) -> Iterator[Batch]:
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng([seed, first])
    run_ids = [new_id() for _ in range(count)]
    started = begin + (first + np.arange(count)) * 1_000
    every = np.repeat(np.arange(count), KEYS)
    run_column = pa.array(run_ids).take(pa.array(every))
    models = rng.integers(0, len(MODELS), count)
    values = rng.integers(0, 1_000, (count, KEYS)).astype(str).astype(object)
    values[:, 0] = [MODELS[i] for i in models]
    yield _batch(PARAMS, run_id=run_column, key=param_keys() * count, value=list(values.ravel()))
    yield _batch(
        METRICS,
        run_id=run_column,
        key=metric_keys() * count,
        step=pa.array(np.zeros(count * KEYS, np.int64)),
        timestamp=pa.array(np.repeat(started, KEYS)),
        value=pa.array(rng.random(count * KEYS)),
    )
    yield _batch(
        RUNS_HISTORY,
        run_id=run_ids,
        experiment_id=[experiments[(first + i) % len(experiments)] for i in range(count)],
        name=[f"run-{first + i}" for i in range(count)],
        status=["FINISHED"] * count,
        lifecycle_stage=["active"] * count,
        start_time=pa.array(started),
        end_time=pa.array(started + 1_000),
        user_id=["bench"] * count,
        host=["bench"] * count,
        source=["train.py"] * count,
        git_commit=["0" * 40] * count,
        git_branch=["main"] * count,
        git_dirty=[False] * count,
    )


def _batch(table: Table, **columns: Any) -> Batch:
    import pyarrow as pa

    count = len(next(iter(columns.values())))
    arrays = []
    for field in table.own_schema:
        values = columns.get(field.name)
        given = pa.nulls(count, field.type) if values is None else values
        array = given if isinstance(given, pa.Array) else pa.array(given, field.type)
        arrays.append(array.cast(field.type))
    return Batch(table.name, pa.RecordBatch.from_arrays(arrays, schema=table.own_schema))
