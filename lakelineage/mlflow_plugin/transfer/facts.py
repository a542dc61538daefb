"""What some runs are, told by another store or kept by a lake: the same shape, to be compared and to be written."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_USER

from lakelineage.mlflow_plugin.tracking import run_entities
from lakelineage.tables import DATASETS, METRICS, RUNS_HISTORY

if TYPE_CHECKING:
    from lakelineage.engine import Engine

State = dict[str, Any]
#: Columns of a point, as the table ``metrics`` has them; time in µs.
POINT = {
    "run_id": pl.String,
    "key": pl.String,
    "step": pl.Int64,
    "timestamp": pl.Int64,
    "value": pl.Float64,
    "model_id": pl.String,
    "dataset": pl.String,
    "dataset_digest": pl.String,
}
assert tuple(POINT) == METRICS.names

_TIMES = ("start_time", "end_time")
_NEWEST = "ORDER BY ingested_at DESC, writer DESC, seq DESC"
_PLACE = "row(ingested_at, writer, seq)"
_OF_RUNS = "run_id IN (SELECT unnest($runs))"
_STATES = (
    f"SELECT {', '.join(f'epoch_us({c}) AS {c}' if c in _TIMES else c for c in RUNS_HISTORY.names)} FROM runs_history "
    f"WHERE {_OF_RUNS} QUALIFY row_number() OVER (PARTITION BY run_id {_NEWEST}) = 1"
)
_PARAMS = f"SELECT run_id, key, arg_min(value, {_PLACE}) AS value FROM params WHERE {_OF_RUNS} GROUP BY ALL"
_TAGS = (
    f"SELECT run_id, key, arg_max(struct_pack(v := value), {_PLACE}).v AS value FROM tags_history WHERE {_OF_RUNS} "
    "GROUP BY ALL HAVING arg_max(struct_pack(v := value), row(ingested_at, writer, seq)).v IS NOT NULL"
)
_LATEST = (
    "SELECT run_id, key, arg_max(value, row(step, timestamp, ingested_at, writer, seq)) AS value FROM metrics "
    f"WHERE {_OF_RUNS} GROUP BY ALL"
)
_POINTS = (
    "SELECT DISTINCT run_id, key, step, epoch_us(timestamp) AS timestamp, value, model_id, dataset, dataset_digest "
    f"FROM metrics WHERE {_OF_RUNS}"
)
_DATASETS = (
    f"SELECT {', '.join(DATASETS.names)} FROM datasets WHERE {_OF_RUNS} "
    f"QUALIFY row_number() OVER (PARTITION BY run_id, name, digest {_NEWEST}) = 1"
)
_MODELS = f"SELECT run_id, model_id, direction, max(step) AS step FROM run_models WHERE {_OF_RUNS} GROUP BY ALL"


def no_points() -> pl.DataFrame:
    """No point of any metric."""
    return pl.DataFrame(schema=POINT)


@dataclass(slots=True)
class Facts:
    """What some runs are.

    Attributes:
        states: run id → columns of ``runs_history``; times in µs.
        params: (run id, key) → value.
        tags: (run id, key) → value.
        latest: (run id, metric) → latest value.
        points: all values of all metrics, each once.
        datasets: (run id, name, digest) → the other columns of ``datasets``, but for what is pinned.
        models: (run id, model id, input or output) → step.
    """

    states: dict[str, State] = field(default_factory=dict)
    params: dict[tuple[str, str], str] = field(default_factory=dict)
    tags: dict[tuple[str, str], str] = field(default_factory=dict)
    latest: dict[tuple[str, str], float] = field(default_factory=dict)
    points: pl.DataFrame = field(default_factory=no_points)
    datasets: dict[tuple[str, str, str], State] = field(default_factory=dict)
    models: dict[tuple[str, str, str], int | None] = field(default_factory=dict)


def kept(engine: "Engine", run_ids: Sequence[str]) -> Facts:
    """What a lake keeps of some runs."""

    def rows(sql: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = engine.query(sql, {"runs": list(run_ids)}).to_pylist()
        return found

    points = pl.from_arrow(engine.query(_POINTS, {"runs": list(run_ids)}))
    assert isinstance(points, pl.DataFrame)
    return Facts(
        states={row["run_id"]: row for row in rows(_STATES)},
        params={(row["run_id"], row["key"]): row["value"] for row in rows(_PARAMS)},
        tags={(row["run_id"], row["key"]): row["value"] for row in rows(_TAGS)},
        latest={(row["run_id"], row["key"]): row["value"] for row in rows(_LATEST)},
        points=points.cast(POINT),  # type: ignore[arg-type]
        datasets={_key(row): _described(row) for row in rows(_DATASETS)},
        models={(row["run_id"], row["model_id"], row["direction"]): row["step"] for row in rows(_MODELS)},
    )


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["run_id"], row["name"], row["digest"]


def _described(row: Mapping[str, Any]) -> State:
    told = {name: row[name] for name in ("source_type", "source", "schema", "profile", "context")}
    return told | {"tags": sorted(dict(row["tags"] or ()).items())}


def told(runs: Iterable[Run], experiments: Mapping[str, str], points: pl.DataFrame, limitless: bool) -> Facts:
    """What MLflow tells of some runs.

    Args:
        runs: with their inputs and outputs.
        experiments: id in the source → id in the lake.
        points: of their metrics.
        limitless: whether infinities were kept as the greatest doubles; see :func:`unlimited`.
    """
    facts = Facts(points=points)
    for run in runs:
        run_id, data = run.info.run_id, run.data
        facts.states[run_id] = _state(run, experiments[run.info.experiment_id])
        facts.params.update({(run_id, key): value for key, value in data.params.items()})
        facts.tags.update({(run_id, key): value for key, value in data.tags.items()})
        facts.latest.update({(run_id, k): unlimited(v) if limitless else v for k, v in data.metrics.items()})
        _add_links(facts, run)
    return facts


def _state(run: Run, experiment_id: str) -> State:
    info, tags = run.info, run.data.tags
    return {
        "run_id": info.run_id,
        "experiment_id": experiment_id,
        "status": str(info.status),
        "lifecycle_stage": str(info.lifecycle_stage),
        "start_time": (info.start_time or 0) * 1000,
        "end_time": None if info.end_time is None else info.end_time * 1000,
        **run_entities.columns_of(tags),
        "name": info.run_name or None,
        "user_id": info.user_id or tags.get(MLFLOW_USER),
    }


def _add_links(facts: Facts, run: Run) -> None:
    run_id = run.info.run_id
    for used in (run.inputs.dataset_inputs if run.inputs else None) or ():
        dataset, tags = used.dataset, {tag.key: tag.value for tag in used.tags}
        facts.datasets[run_id, dataset.name, dataset.digest] = {
            "source_type": dataset.source_type,
            "source": dataset.source,
            "schema": dataset.schema,
            "profile": dataset.profile,
            "context": tags.get(MLFLOW_DATASET_CONTEXT),
            "tags": sorted(tags.items()),
        }
    for model in (run.inputs.model_inputs if run.inputs else None) or ():
        facts.models[run_id, model.model_id, "input"] = None
    for made in (run.outputs.model_outputs if run.outputs else None) or ():
        facts.models[run_id, made.model_id, "output"] = made.step


#: What MLflow's SQL store keeps for infinity.
_GREATEST = 1.7976931348623157e308


def unlimited(value: float) -> float:
    """A value with the infinity that MLflow's SQL store kept as the greatest double."""
    if abs(value) == _GREATEST:
        return float("inf") if value > 0 else float("-inf")
    return value
