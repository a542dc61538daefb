"""What the names in filters and orders mean: MLflow's language of search, as SQL over ``runs`` with the alias ``r``.

- ``metrics.<key>`` (latest value), ``params.<key>``, ``tags.<key>``; singular too, and ``parameters``.
- ``attributes.<name>`` (also ``attribute``, ``attr``, ``run``, or no prefix): the other columns of ``runs``, MLflow's
  names for them, and ``experiment`` (its name). Times compare with ms since 1970 UTC or with ISO 8601 texts (UTC
  without a zone).
- ``datasets.<name>``: ``name``, ``context``, ``digest`` (the snapshot id), ``table_uri``, ``table_id``, ``version``.
  A condition holds if it holds for one of the run's inputs; ``IS NULL``: the run has no input with such a value.

Logic is that of SQL. A comparison with what a run lacks, ``!=`` and NOT LIKE too, is neither true nor false, and so is
NOT of it: only IS NULL finds such a run. NaN is less than, greater than and equal to nothing, and unequal to every
number. docs/decisions/007 tells where MLflow differs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from math import isfinite
from typing import Any, Literal, NoReturn

from lakelineage.errors import InvalidFilter
from lakelineage.tables import RUNS
from lakelineage.tracking.grammar import (
    Comparison,
    Condition,
    Name,
    Not,
    Several,
    Value,
    parse_filter,
)
from lakelineage.tracking.metric_table import microseconds
from lakelineage.tracking.mistakes import Source

ADVICE = "write conditions such as metrics.rmse < 0.5 and params.model = 'tree' and status = 'FINISHED'"

Type = Literal["number", "text", "time", "integer", "bool"]

_MAPS = {
    **dict.fromkeys(("metrics", "metric"), "metrics"),
    **dict.fromkeys(("params", "param", "parameters", "parameter"), "params"),
    **dict.fromkeys(("tags", "tag"), "tags"),
}
_ATTRIBUTE_PREFIXES = ("", "attributes", "attribute", "attr", "run")
_DATASET_PREFIXES = ("datasets", "dataset")
_TYPES: dict[str, Type] = {"timestamp": "time", "bool": "bool"}
_OWN = {c.name: c for c in RUNS.columns if not c.type.endswith("_map") and c.name != "artifact_uri"}
#: Names that MLflow has besides, and short ones of ours. In any case of letters.
_ALIASES = {"run_name": "name", "run name": "name", "created": "start_time", "user": "user_id"}
_EXPERIMENT = ("experiment", "experiment_name")
_EXPERIMENT_SQL = "(SELECT e.name FROM experiments e WHERE e.experiment_id = r.experiment_id)"
_ATTRIBUTES = (*_OWN, *_ALIASES, *_EXPERIMENT)
_DATASETS: dict[str, tuple[str, Type]] = {
    "name": ("i.name", "text"),
    "context": ("i.context", "text"),
    "digest": ("i.snapshot_id", "text"),
    "table_uri": ("s.table_uri", "text"),
    "table_id": ("s.table_id", "text"),
    "version": ("s.version", "integer"),
}
_INPUTS = "SELECT i.run_id FROM inputs i"
_PINNED = f"{_INPUTS} JOIN snapshots s ON s.snapshot_id = i.snapshot_id"


@dataclass(frozen=True, slots=True)
class Operand:
    """A name, as SQL.

    Attributes:
        sql: expression over ``r`` (and, of datasets, over ``i`` and ``s``).
        type: what it compares with.
        inputs: of datasets, the query over inputs that the condition stands in; else empty.
    """

    sql: str
    type: Type
    inputs: str = ""


@dataclass
class _Compiler:
    """Collects the values of a filter while its tree becomes SQL."""

    source: Source
    values: list[Any] = field(default_factory=list)

    def condition(self, node: Condition) -> str:
        if isinstance(node, Not):
            return f"(NOT {self.condition(node.inner)})"
        if isinstance(node, Several):
            return "(" + f" {node.word} ".join(map(self.condition, node.inner)) + ")"
        return self.comparison(node)

    def comparison(self, node: Comparison) -> str:
        operand = resolve(self.source, node.name)
        if not operand.inputs:
            return f"({self.compared(node, operand)})"
        if node.sign == "IS NULL":
            return f"(r.run_id {'' if node.negated else 'NOT '}IN ({operand.inputs} WHERE {operand.sql} IS NOT NULL))"
        return f"(r.run_id IN ({operand.inputs} WHERE {self.compared(node, operand)}))"

    def compared(self, node: Comparison, operand: Operand) -> str:
        negate = "NOT " if node.negated else ""
        if node.sign == "IS NULL":
            return f"{operand.sql} IS {negate}NULL"
        self.check_sign(node, operand)
        values = [_CONVERT[operand.type](self.source, node.name, value) for value in node.values]
        self.values += values
        # DuckDB's epoch_ms rounds; MLflow, and everybody who divides by 1000, cuts.
        column = f"epoch_us({operand.sql}) // 1000" if operand.type == "time" else operand.sql
        if node.sign == "IN":
            return f"{column} {negate}IN ({', '.join('?' * len(values))})"
        if operand.type == "number" and node.sign in (">", ">="):  # DuckDB has NaN above all numbers
            return f"{column} {node.sign} ? AND NOT isnan({column})"
        return f"{column} {negate}{node.sign} ?"

    def check_sign(self, node: Comparison, operand: Operand) -> None:
        if node.sign in ("LIKE", "ILIKE") and operand.type != "text":
            self.source.refuse(
                f"{node.sign} compares texts, and {node.name.key!r} is {_DESCRIBED[operand.type]}", node.place
            )
        if operand.type == "bool" and node.sign not in ("=", "!=", "IN"):
            self.source.refuse(f"{node.name.key!r} is {_DESCRIBED['bool']}", node.place, "compare it with = or !=")


def compile_filter(text: str) -> tuple[str, list[Any]]:
    """A filter as a SQL condition over ``runs`` with the alias ``r``.

    Args:
        text: for example ``metrics.rmse < 70 and params.alpha = '0.01'``; empty means all.

    Returns:
        The condition, and the values of its ``?``.

    Raises:
        InvalidFilter: it cannot be understood; the message shows where, and what to write.
    """
    if not isinstance(text, str):
        raise InvalidFilter(f"a filter is a string, not {type(text).__name__}; {ADVICE}")
    if not text.strip():
        return "TRUE", []
    source = Source(text, "filter", ADVICE)
    compiler = _Compiler(source)
    return compiler.condition(parse_filter(source)), compiler.values


def resolve(source: Source, name: Name) -> Operand:
    """What a name means.

    Raises:
        InvalidFilter: nothing; the message says what it may have been meant to be.
    """
    if name.prefix in _MAPS:
        column = _MAPS[name.prefix]
        key = name.key.replace("'", "''")
        return Operand(f"r.{column}['{key}']", "number" if column == "metrics" else "text")
    if name.prefix in _DATASET_PREFIXES:
        if name.key not in _DATASETS:
            _unknown(source, name, "dataset", tuple(_DATASETS))
        sql, kind = _DATASETS[name.key]
        return Operand(sql, kind, _PINNED if sql.startswith("s.") else _INPUTS)
    if name.prefix not in _ATTRIBUTE_PREFIXES:
        _unknown_prefix(source, name)
    return _attribute(source, name)


def _attribute(source: Source, name: Name) -> Operand:
    key = name.key.lower()
    if key in _EXPERIMENT:
        return Operand(_EXPERIMENT_SQL, "text")
    column = _OWN.get(_ALIASES.get(key, key))
    if column is not None:
        return Operand(f"r.{column.name}", _TYPES.get(column.type, "text"))
    if key == "artifact_uri":
        source.refuse(
            "attribute 'artifact_uri' is not kept", name.place, "it is <lake>/artifacts/<run id>: compare run_id"
        )
    return _unknown(source, name, "attribute", _ATTRIBUTES)


def _unknown(source: Source, name: Name, kind: str, there: Sequence[str]) -> NoReturn:
    near = _near(name.key, there)
    if near:
        hint = f"did you mean {near}?"
    elif name.key.lower() in (*_MAPS, *_DATASET_PREFIXES):
        hint = f"a key follows after a dot: {name.key}.…"
    elif name.prefix:
        hint = f"there are {', '.join(sorted(there))}"
    else:
        hint = f"a metric is written metrics.{name.key}, a param params.{name.key}, a tag tags.{name.key}"
    source.refuse(f"{kind} {name.key[:80]!r} is unknown", name.place, hint)


def _unknown_prefix(source: Source, name: Name) -> NoReturn:
    near = _near(name.prefix, (*_MAPS, *_DATASET_PREFIXES, *_ATTRIBUTE_PREFIXES[1:]))
    hint = f"did you mean {near}.{name.key[:80]}?" if near else "a tag with dots in its key is written tags.a.b"
    source.refuse(f"{name.prefix[:80]!r} is not metrics, params, tags, datasets or attributes", name.place, hint)


def _near(word: str, there: Sequence[str]) -> str:
    return next(iter(get_close_matches(word.lower(), there, 1, 0.7)), "")


_DESCRIBED: dict[Type, str] = {
    "number": "a number",
    "integer": "a whole number",
    "text": "text",
    "time": "a time",
    "bool": "true or false",
}


def _text(source: Source, name: Name, value: Value) -> str:
    if value.kind != "text":
        source.refuse(f"{name.key!r} is text", value.place, f"write '{value.text}' in quotes")
    return value.text


def _number(source: Source, name: Name, value: Value) -> float:
    if value.kind != "number":
        source.refuse(f"{name.key!r} compares with a number, not with {value.text[:80]!r}", value.place, _bare(value))
    return float(value.text)


def _integer(source: Source, name: Name, value: Value) -> int | float:
    number = _number(source, name, value)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _bare(value: Value) -> str:
    """Advice for a number that stands in quotes."""
    try:
        number = isfinite(float(value.text))
    except ValueError:
        number = False
    return f"write {value.text} without quotes" if number else ""


def _time(source: Source, name: Name, value: Value) -> int | float:
    """Milliseconds since 1970."""
    if value.kind == "number":
        return _integer(source, name, value)
    try:
        return microseconds(datetime.fromisoformat(value.text)) // 1000  # as the column is, cut to ms
    except (ValueError, OverflowError):
        hint = "write ms since 1970, or a time such as '2026-11-21T13:00:00+01:00'"
        source.refuse(f"{name.key!r} is a time, and {value.text[:80]!r} is none", value.place, hint)


def _bool(source: Source, name: Name, value: Value) -> bool:
    if value.text.lower() not in ("true", "false"):
        source.refuse(f"{name.key!r} is true or false", value.place, f"write {name.key} = true")
    return value.text.lower() == "true"


_CONVERT: dict[Type, Any] = {"number": _number, "integer": _integer, "text": _text, "time": _time, "bool": _bool}
