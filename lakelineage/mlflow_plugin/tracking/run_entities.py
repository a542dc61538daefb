"""Runs as MLflow's entities, and back: the one place where columns of a run meet tags of MLflow's."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mlflow.entities import (
    DatasetInput,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    Param,
    Run,
    RunData,
    RunInfo,
    RunInputs,
    RunOutputs,
    RunTag,
)
from mlflow.utils import mlflow_tags

from lakelineage.tracking.metric_table import microseconds

if TYPE_CHECKING:
    import pyarrow as pa

#: Tag of MLflow's → column of a run. MLflow's client says these things as tags; native runs have the columns alone.
COLUMNS = {
    mlflow_tags.MLFLOW_RUN_NAME: "name",
    mlflow_tags.MLFLOW_USER: "user_id",
    mlflow_tags.MLFLOW_SOURCE_NAME: "source",
    mlflow_tags.MLFLOW_GIT_COMMIT: "git_commit",
    mlflow_tags.MLFLOW_GIT_BRANCH: "git_branch",
    mlflow_tags.MLFLOW_PARENT_RUN_ID: "parent_run_id",
}
#: Value of the tag with the name, after it was deleted: the run stays one that MLflow's client began.
NO_NAME = ""
#: Kinds of programs, in MLflow's words; a native run tells script, module, notebook or console.
_SOURCE_TYPES = {"notebook": "NOTEBOOK"}


def columns_of(tags: Mapping[str, str]) -> dict[str, Any]:
    """Columns of a run that its tags tell. Whose run it is, is told when it begins; a tag does not change it."""
    return {column: tags[tag] for tag, column in COLUMNS.items() if column != "user_id" and tags.get(tag)}


def milliseconds(moment: datetime | int | None) -> int | None:
    """Ms since 1970 UTC, of a moment or of µs."""
    if moment is None:
        return None
    micros = moment if isinstance(moment, int) else microseconds(moment.astimezone(UTC))
    return micros // 1000


def all_tags(row: Mapping[str, Any]) -> dict[str, str]:
    """Tags of a run: those that were set, and, where MLflow's client did not begin it, those that its columns say.

    MLflow gives every run that it begins a tag with its name.
    """
    own = dict(row["tags"])
    if mlflow_tags.MLFLOW_RUN_NAME in own:
        if own[mlflow_tags.MLFLOW_RUN_NAME] == NO_NAME:
            del own[mlflow_tags.MLFLOW_RUN_NAME]
        return own
    tags = {tag: str(row[column]) for tag, column in COLUMNS.items() if row[column] is not None}
    if row["source_type"] is not None:
        tags[mlflow_tags.MLFLOW_SOURCE_TYPE] = _SOURCE_TYPES.get(row["source_type"], "LOCAL")
    return tags | own


def rows_of(runs: "pa.Table") -> list[dict[str, Any]]:
    """Rows of ``runs`` as values of Python: times as µs, maps as dictionaries. Much faster than Arrow's own way."""
    import pyarrow as pa

    columns: dict[str, list[Any]] = {}
    for name in runs.column_names:
        column = runs.column(name).combine_chunks()
        if pa.types.is_map(column.type):
            columns[name] = _dictionaries(column)
        elif pa.types.is_timestamp(column.type):
            columns[name] = column.cast(pa.int64()).to_pylist()
        else:
            columns[name] = column.to_pylist()
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _dictionaries(maps: "pa.MapArray") -> list[dict[str, Any]]:
    """A dictionary for each map; an empty one for null."""
    if not len(maps):
        return []
    ends = maps.offsets.to_pylist()
    start, length = ends[0], ends[-1] - ends[0]
    keys, values = (part.slice(start, length).to_pylist() for part in (maps.keys, maps.items))
    return [
        dict(zip(keys[a - start : b - start], values[a - start : b - start], strict=True)) for a, b in pairwise(ends)
    ]


def run_info(row: Mapping[str, Any], artifact_uri: str, lifecycle_stage: str) -> RunInfo:
    """The part of a run that has neither data nor inputs.

    Args:
        row: of ``runs``, or of ``runs_history`` with times in µs.
        artifact_uri: where its artifacts are.
        lifecycle_stage: a run goes with its experiment.
    """
    return RunInfo(
        run_id=row["run_id"],
        experiment_id=row["experiment_id"],
        user_id=row["user_id"] or "",
        status=str(row["status"]),
        start_time=milliseconds(row["start_time"]) or 0,
        end_time=milliseconds(row["end_time"]),
        lifecycle_stage=lifecycle_stage,
        artifact_uri=artifact_uri,
        run_name=row["name"] or "",
    )


def run_data(row: Mapping[str, Any]) -> RunData:
    """Params, tags and latest metrics of a row of ``runs``."""
    steps, times = dict(row["metric_steps"] or ()), dict(row["metric_timestamps"] or ())
    return RunData(
        metrics=[
            Metric(key, value, times.get(key, 0) // 1000, steps.get(key, 0), run_id=row["run_id"])
            for key, value in dict(row["metrics"]).items()
        ],
        params=[Param(key, value) for key, value in dict(row["params"]).items()],
        tags=[RunTag(key, value) for key, value in all_tags(row).items()],
    )


def run(
    info: RunInfo,
    data: RunData,
    datasets: Sequence[DatasetInput] = (),
    models_in: Sequence[LoggedModelInput] = (),
    models_out: Sequence[LoggedModelOutput] = (),
) -> Run:
    """A whole run."""
    return Run(info, data, RunInputs(list(datasets), list(models_in)), RunOutputs(list(models_out)))
