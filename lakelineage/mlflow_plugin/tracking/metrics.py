"""Metrics and their histories."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlflow.entities import Metric
from mlflow.entities.metric import MetricWithRunId
from mlflow.exceptions import MlflowException
from mlflow.store.entities import PagedList
from mlflow.utils import validation
from mlflow.utils.search_utils import SearchUtils

from lakelineage.errors import InvalidInput
from lakelineage.mlflow_plugin import collector
from lakelineage.mlflow_plugin.tracking.runs import RunsPart
from lakelineage.model.changes import Row, Rows
from lakelineage.tables import METRICS

if TYPE_CHECKING:
    import pyarrow as pa

#: What one point is to MLflow: the same key, step, time and value logged twice is one point.
_POINTS = "SELECT DISTINCT run_id, step, epoch_us(timestamp) // 1000 AS timestamp, value FROM metrics"
#: Runs that were deleted for good have none.
_KEPT = "run_id NOT IN (SELECT run_id FROM runs_history WHERE lifecycle_stage = 'purged')"
#: µs since 1970 that 64 bits hold.
_LATEST = 2**63 // 1000


class MetricsPart(RunsPart):
    """Metrics. MLflow's time is in ms; what a lake keeps is in µs."""

    def log_metric(self, run_id: str, metric: Metric) -> None:
        """Log one value."""
        row = _row(run_id, metric, "")
        self.checked_run(run_id)
        self.engine.append((Rows(METRICS.name, (row,)),))

    def metric_rows(self, run_id: str, metrics: Sequence[Metric]) -> tuple[Row, ...]:
        """Rows of ``metrics``, checked; a value that is given twice is one row."""
        several = len(metrics) > 1
        rows = (_row(run_id, metric, f"metrics[{i}]" if several else "") for i, metric in enumerate(metrics))
        return tuple(dict.fromkeys(rows))

    def get_metric_history(
        self, run_id: str, metric_key: str, max_results: int | None = None, page_token: str | None = None
    ) -> PagedList[Metric]:
        """All values of a metric of a run, a page of them: by time, step and value."""
        offset = SearchUtils.parse_start_offset_from_page_token(page_token)
        limit = "" if max_results is None else f" LIMIT {int(max_results) + 1}"
        sql = (
            f"{_POINTS} WHERE {_KEPT} AND run_id = ? AND key = ? ORDER BY timestamp, step, value{limit} OFFSET {offset}"
        )
        points = self.engine.query(sql, [run_id, metric_key])
        more = max_results is not None and points.num_rows > max_results
        token = SearchUtils.create_page_token(offset + int(max_results or 0)) if more else None
        page = points.slice(0, max_results) if more else points
        return PagedList(_entities(metric_key, page), token)

    def get_metric_history_bulk(
        self, run_ids: Sequence[str], metric_key: str, max_results: int
    ) -> list[MetricWithRunId]:
        """Values of a metric of several runs: by run id, time, step and value."""
        sql = (
            f"{_POINTS} WHERE {_KEPT} AND list_contains(?, run_id) AND key = ? ORDER BY run_id, timestamp, step, value "
            f"LIMIT {int(max_results)}"
        )
        return _with_runs(metric_key, self.engine.query(sql, [list(run_ids), metric_key]))

    def get_max_step_for_metric(self, run_id: str, metric_key: str) -> int:
        """The greatest step of a metric; 0 if it has no value."""
        sql = f"SELECT max(step) AS step FROM metrics WHERE {_KEPT} AND run_id = ? AND key = ?"
        return self.engine.query(sql, [run_id, metric_key]).column("step")[0].as_py() or 0

    def get_metric_history_bulk_interval_from_steps(
        self, run_id: str, metric_key: str, steps: Sequence[int], max_results: int
    ) -> list[MetricWithRunId]:
        """Values of a metric at some steps: by step, time and value."""
        sql = (
            f"{_POINTS} WHERE {_KEPT} AND run_id = ? AND key = ? AND list_contains(?::BIGINT[], step) "
            f"ORDER BY step, timestamp, value LIMIT {int(max_results)}"
        )
        return _with_runs(metric_key, self.engine.query(sql, [run_id, metric_key, [int(step) for step in steps]]))

    def get_metric_history_bulk_interval(
        self,
        run_ids: list[str],
        metric_key: str,
        max_results: int,
        start_step: int | None,
        end_step: int | None,
    ) -> list[MetricWithRunId]:
        """Values of a metric of several runs, of each at most so many, evenly chosen.

        The first and the last are among them; of one, it is the last.
        """
        if (start_step is None) != (end_step is None):
            raise MlflowException.invalid_parameter_value(
                "Both start_step and end_step must be specified together, or neither may be specified."
            )
        at_most = max(1, max_results)
        between, bounds = "", []
        if start_step is not None and end_step is not None:
            between, bounds = " AND step BETWEEN ? AND ?", [int(start_step), int(end_step)]
        points = f"{_POINTS} WHERE {_KEPT} AND list_contains(?, run_id) AND key = ?{between}"
        rows = self.engine.query(_SAMPLED.format(points=points, parts=at_most), [list(run_ids), metric_key, *bounds])
        by_run: dict[str, list[MetricWithRunId]] = {run_id: [] for run_id in run_ids}
        for found, is_last in zip(_with_runs(metric_key, rows), rows.column("is_last").to_pylist(), strict=True):
            chosen = by_run[found.run_id]
            if is_last and len(chosen) >= at_most:
                chosen.pop()
            chosen.append(found)
        return [found for run_id in run_ids for found in by_run[run_id]]


#: The first point of each of so many equal parts, and the last of all, in order.
_SAMPLED = """
SELECT run_id, step, timestamp, value, is_last FROM (
  SELECT *, row_number() OVER (PARTITION BY run_id, part ORDER BY step, timestamp, value) = 1 AS is_first FROM (
    SELECT *, ntile({parts}) OVER place AS part, lead(step) OVER place IS NULL AS is_last FROM ({points})
    WINDOW place AS (PARTITION BY run_id ORDER BY step, timestamp, value)
  )
) WHERE is_first OR is_last ORDER BY run_id, step, timestamp, value
"""


def _row(run_id: str, metric: Metric, path: str) -> Row:
    """A row of ``metrics``.

    Raises:
        MlflowException: MLflow does not take it.
        InvalidInput: 64 bits do not hold its time or its step.
    """
    validation._validate_metric(metric.key, metric.value, metric.timestamp, metric.step, path=path)
    timestamp, step = int(metric.timestamp), int(metric.step)
    if timestamp >= _LATEST or not -(2**63) <= step < 2**63:
        raise InvalidInput(f"metric {metric.key!r}: timestamp {timestamp} or step {step} is beyond 64 bits")
    return (
        run_id,
        metric.key,
        step,
        timestamp * 1000,
        float(metric.value),
        metric.model_id,
        metric.dataset_name,
        metric.dataset_digest,
    )


def _entities(key: str, points: "pa.Table") -> list[Metric]:
    """A point of each row."""
    with collector.paused():
        columns: list[list[Any]] = [
            points.column(name).to_pylist() for name in ("value", "timestamp", "step", "run_id")
        ]
        return [
            Metric(key, value, timestamp, step, None, None, None, run_id)
            for value, timestamp, step, run_id in zip(*columns, strict=True)
        ]


def _with_runs(key: str, points: "pa.Table") -> list[MetricWithRunId]:
    with collector.paused():
        run_ids = points.column("run_id").to_pylist()
        return [MetricWithRunId(metric, run_id) for metric, run_id in zip(_entities(key, points), run_ids, strict=True)]
