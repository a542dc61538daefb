"""What runs are plotted by: params, metrics, tags and attributes, read for many runs at once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lakelineage.errors import InvalidInput
from lakelineage.tables import RUNS

if TYPE_CHECKING:
    from lakelineage.engine import Reads

Kind = Literal["number", "time", "text"]

_MAPS = {
    **dict.fromkeys(("metrics", "metric"), "metrics"),
    **dict.fromkeys(("params", "param"), "params"),
    **dict.fromkeys(("tags", "tag"), "tags"),
}
_ATTRIBUTES = {
    **{name: f"r.{name}" for name in RUNS.names if name not in _MAPS},
    "run_name": "r.name",
    "user": "r.user_id",
    "experiment": "(SELECT any_value(e.name) FROM experiments e WHERE e.experiment_id = r.experiment_id)",
    "duration": "epoch(r.end_time) - epoch(r.start_time)",
}
#: Keys that a plot takes by itself at most; more must be named.
MOST_KEYS = 12


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that a run has.

    Attributes:
        kind: metrics, params, tags or attributes.
        key: of the metric, param or tag; name of the attribute.
    """

    kind: str
    key: str

    @property
    def title(self) -> str:
        """As people write it."""
        return self.key if self.kind == "attributes" else f"{self.kind}.{self.key}"


@dataclass(frozen=True, slots=True)
class Column:
    """The values of one field, one for each run.

    Attributes:
        field: what they are values of.
        kind: number (finite floats), time (ms since 1970 UTC) or text.
        values: None where a run has none, or none that can be drawn.
        notes: how many runs have none, and why.
    """

    field: Field
    kind: Kind
    values: tuple[Any, ...]
    notes: tuple[str, ...]


def parse(text: object) -> Field:
    """A field by its name.

    Args:
        text: ``metrics.<key>``, ``params.<key>``, ``tags.<key>``, or an attribute such as ``start_time``,
            ``duration`` (seconds) or ``experiment``. The key goes with or without quotes.

    Raises:
        InvalidInput: it is none of these.
    """
    if not isinstance(text, str) or not text.strip():
        raise InvalidInput(f"{text!r} names nothing to plot; write metrics.rmse, params.alpha or start_time")
    prefix, dot, key = text.strip().partition(".")
    if dot and prefix.lower() in _MAPS and key:
        quoted = len(key) > 2 and key[0] == key[-1] and key[0] in "`\"'"
        return Field(_MAPS[prefix.lower()], key[1:-1] if quoted else key)
    name = key if dot and prefix.lower() in ("attributes", "attribute") else text.strip()
    if name in _ATTRIBUTES:
        return Field("attributes", name)
    raise InvalidInput(
        f"{text!r} names nothing to plot; write metrics.<key>, params.<key>, tags.<key>, or one of "
        f"{', '.join(sorted(_ATTRIBUTES))}"
    )


def read(engine: "Reads", run_ids: Sequence[str], fields: Sequence[Field]) -> list[Column]:
    """Values of some fields of some runs, in the order of the runs."""
    picked: list[str] = []
    values: list[Any] = []
    for number, field in enumerate(fields):
        if field.kind == "attributes":
            picked.append(f"{_ATTRIBUTES[field.key]} AS c{number}")
        else:
            picked.append(f"r.{field.kind}[?] AS c{number}")
            values.append(field.key)
    sql = f"SELECT r.run_id, {', '.join(picked)} FROM runs r WHERE r.run_id IN (SELECT unnest(?::VARCHAR[]))"
    found, *columns = (column.to_pylist() for column in engine.query(sql, [*values, list(run_ids)]).columns)
    place = {run_id: i for i, run_id in enumerate(found)}
    return [
        _column(field, [column[place[run_id]] for run_id in run_ids])
        for field, column in zip(fields, columns, strict=True)
    ]


def _column(field: Field, values: list[Any]) -> Column:
    present = [v for v in values if v is not None]
    notes = [f"{len(values) - len(present):,} of {len(values):,} runs have no {field.title}"]
    if all(hasattr(v, "timestamp") for v in present) and present:
        times = tuple(None if v is None else v.timestamp() * 1000 for v in values)
        return Column(field, "time", times, _told(notes, values, present))
    numbers = [_number(v) for v in values]
    if present and all(n is not None for v, n in zip(values, numbers, strict=True) if v is not None):
        finite = [n if n is not None and math.isfinite(n) else None for n in numbers]
        odd = len(present) - sum(n is not None for n in finite)
        more = [f"left out: {odd:,} whose {field.title} is not finite"] if odd else []
        return Column(field, "number", tuple(finite), (*_told(notes, values, present), *more))
    return Column(field, "text", tuple(None if v is None else str(v) for v in values), _told(notes, values, present))


def _told(notes: list[str], values: Sequence[Any], present: Sequence[Any]) -> tuple[str, ...]:
    return tuple(notes) if len(present) < len(values) else ()


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def keys_of(engine: "Reads", run_ids: Sequence[str], kind: Literal["params", "metrics"]) -> list[str]:
    """Keys that the runs have, those of most runs first, then by name; metrics of the system are left out."""
    sql = f"""
        SELECT key FROM (SELECT unnest(map_keys({kind})) AS key FROM runs
                         WHERE run_id IN (SELECT unnest(?::VARCHAR[])))
        WHERE NOT starts_with(key, 'system/') GROUP BY key ORDER BY count(*) DESC, key
    """
    found: list[str] = engine.query(sql, [list(run_ids)]).column("key").to_pylist()
    return found
