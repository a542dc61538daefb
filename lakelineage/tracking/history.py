"""Metric curves: all points, or as many as a plot can show.

Sampling keeps, of each run, the first and the last point, and of equal ranges of steps the point with the least and the
one with the greatest value: peaks stay. A run whose points share one step is divided by time. NaN counts where a range
has nothing else. It is done in SQL; only the points that are kept leave the engine.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lakelineage.engine import Reads
from lakelineage.errors import InvalidInput, RunNotFound
from lakelineage.model import validate
from lakelineage.tracking.ids import full_id

if TYPE_CHECKING:
    import pyarrow as pa

_WHERE = "FROM metrics WHERE run_id = ? AND key = ?"
_POINT = "run_id, step, timestamp, value"
_OLDEST_FIRST = "step, timestamp, ingested_at, writer, seq"
_NEWEST_FIRST = "step DESC, timestamp DESC, ingested_at DESC, writer DESC, seq DESC"


def metric_history(engine: Reads, run_ids: Sequence[str], key: str, max_points: int | None = None) -> "pa.Table":
    """See :meth:`lakelineage.Lake.metric_history`."""
    import pyarrow as pa

    ids = list(dict.fromkeys(full_id(engine, run_id) for run_id in run_ids))
    validate.key(key, "metric key")
    if not ids:
        raise InvalidInput("no run is named; pass a run id, or several")
    if max_points is not None and (not isinstance(max_points, int) or isinstance(max_points, bool) or max_points < 1):
        raise InvalidInput(f"max_points {max_points!r} is not a positive number")
    spans = _spans(engine, ids, key)
    _check_known(engine, [i for i in ids if i not in spans])
    long = {i for i, span in spans.items() if max_points is not None and span.points > max_points}
    whole = [i for i in ids if i not in long]
    parts = [_whole(engine, whole, key)] if whole else []
    parts += [_sampled(engine, i, key, max_points or 1, spans[i]) for i in ids if i in long]
    return parts[0] if len(parts) == 1 else _in_order(pa.concat_tables(parts), ids)


class _Span(NamedTuple):
    """How many points a run has, and between which steps."""

    points: int
    first: int
    last: int


def _spans(engine: Reads, ids: list[str], key: str) -> dict[str, _Span]:
    marks = ", ".join("?" * len(ids))
    told = "count(*) AS points, min(step) AS first, max(step) AS last"
    sql = f"SELECT run_id, {told} FROM metrics WHERE run_id IN ({marks}) AND key = ? GROUP BY run_id"
    return {row.pop("run_id"): _Span(**row) for row in engine.query(sql, [*ids, key]).to_pylist()}


def _check_known(engine: Reads, without: list[str]) -> None:
    """A run without a point may not be there at all: that is another answer than none."""
    if not without:
        return
    known = engine.query("SELECT DISTINCT run_id FROM runs_history WHERE list_contains(?, run_id)", [without])
    for run_id in set(without) - set(known.column("run_id").to_pylist()):
        raise RunNotFound(f"no run has the id {run_id}; `lakelineage runs` lists those of the lake {engine.root.uri}")


def _whole(engine: Reads, ids: list[str], key: str) -> "pa.Table":
    marks = ", ".join("?" * len(ids))
    order = f"list_position(?, run_id), {_OLDEST_FIRST}" if len(ids) > 1 else _OLDEST_FIRST
    sql = f"SELECT {_POINT} FROM metrics WHERE run_id IN ({marks}) AND key = ? ORDER BY {order}"
    return engine.query(sql, [*ids, key, *([ids] if len(ids) > 1 else [])])


def _sampled(engine: Reads, run_id: str, key: str, max_points: int, span: _Span) -> "pa.Table":
    asked = [run_id, key]
    place, low, high = "step", span.first, span.last
    if low == high:
        times = f"SELECT min(epoch_us(timestamp)) AS first, max(epoch_us(timestamp)) AS last {_WHERE}"
        times_of = engine.query(times, asked).to_pylist()[0]
        place, low, high = "epoch_us(timestamp)", times_of["first"], times_of["last"]
    parts: list[str] = [f"(SELECT {_POINT} {_WHERE} AND step = ? ORDER BY {_NEWEST_FIRST} LIMIT 1)"]
    values: list[Any] = [*asked, span.last]
    if max_points > 1:
        parts.append(f"(SELECT {_POINT} {_WHERE} AND step = ? ORDER BY {_OLDEST_FIRST} LIMIT 1)")
        values += [*asked, span.first]
    ranges = (max_points - 2) // 2
    if ranges > 0:
        parts.append(_extremes(place))
        values += [run_id, float(low), ranges / (high - low + 1), ranges - 1, *asked]
    return engine.query(f"SELECT DISTINCT {_POINT} FROM ({' UNION ALL '.join(parts)}) ORDER BY step, timestamp", values)


def _extremes(place: str) -> str:
    """The points of the least and of the greatest value of each range. DuckDB has NaN above all numbers."""
    point = "struct_pack(step := step, timestamp := timestamp, value := value)"
    return f"""
SELECT ? AS run_id, unnest([low, coalesce(high, low)], recursive := true) FROM (
  SELECT arg_min({point}, value) AS low, arg_max({point}, nullif(value, 'nan'::DOUBLE)) AS high
  FROM (SELECT step, timestamp, value, least(floor(({place}::DOUBLE - ?) * ?), ?)::INTEGER AS part {_WHERE})
  GROUP BY part
)"""


def _in_order(points: "pa.Table", ids: list[str]) -> "pa.Table":
    """Runs as asked for; the points of each are in order already, and sorting is stable."""
    import pyarrow as pa
    from pyarrow import compute

    place = compute.index_in(points.column("run_id"), value_set=pa.array(ids))
    return points.take(compute.sort_indices(place))
