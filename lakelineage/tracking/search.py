"""Searching runs: MLflow's filter and order language, as SQL over ``runs``.

sqlglot parses; here it is decided what the words mean. Attributes may go without their prefix, as in MLflow. Keys with
other characters than letters, digits, ``_``, ``.``, ``-`` and ``/`` are quoted with backticks or double quotes.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from lakelineage.engine import Engine
from lakelineage.errors import ExperimentNotFound, InvalidFilter, InvalidInput
from lakelineage.tables import RUNS
from lakelineage.tracking.metric_table import microseconds

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlglot import exp

_MAPS = {
    **dict.fromkeys(("metrics", "metric"), "metrics"),
    **dict.fromkeys(("params", "param", "parameters", "parameter"), "params"),
    **dict.fromkeys(("tags", "tag"), "tags"),
}
_ATTRIBUTE_PREFIXES = ("attributes", "attribute", "attr", "run")
_TIMES = ("start_time", "end_time", "created", "updated_at")
_ATTRIBUTES = {
    **{name: name for name in RUNS.names if name not in ("params", "metrics", "tags")},
    "run_name": "name",
    "created": "start_time",
    "user": "user_id",
}
_ADVICE = "write conditions such as metrics.rmse < 0.5 and params.model = 'tree' and status = 'FINISHED'"
#: A key with dashes, dots or slashes that MLflow takes without quotes: metrics.val/loss, tags.mlflow.note.
_LOOSE_KEY = re.compile(r"\b(metrics?|params?|parameters?|tags?)\.([A-Za-z_]\w*(?:[./-][\w./-]*\w)+)", re.IGNORECASE)
_ORDER_ADVICE = "write metrics.rmse or params.alpha DESC"
_HEAD = "SELECT 1 WHERE "
_ORDER_TERM = re.compile(r"\s*(.+?)(?:\s+(asc|desc))?\s*", re.IGNORECASE | re.DOTALL)
_QUOTED = re.compile(r"""('(?:[^']|'')*'|"[^"]*"|`[^`]*`)""")


@dataclass
class _Compiler:
    """Collects the values of a filter while its expression becomes SQL."""

    text: str
    label: str = ""
    advice: str = _ADVICE
    params: list[Any] = field(default_factory=list)

    def error(self, what: str) -> InvalidFilter:
        return InvalidFilter(f"{self.label or f'filter {self.text!r}'}: {what}; {self.advice}")

    def value(self, value: Any) -> str:
        self.params.append(value)
        return "?"


def compile_filter(text: str) -> tuple[str, list[Any]]:
    """A filter as a SQL condition over ``runs`` with the alias ``r``.

    Args:
        text: for example ``metrics.rmse < 70 and params.alpha = '0.01'``; empty means all.

    Returns:
        The condition, and the values of its ``?``.

    Raises:
        InvalidFilter: it cannot be understood; the message says where.
    """
    if not isinstance(text, str):
        raise InvalidFilter(f"a filter is a string, not {type(text).__name__}; {_ADVICE}")
    if not text.strip():
        return "TRUE", []
    compiler = _Compiler(text)
    return _condition(compiler, _parse(compiler)), compiler.params


def _parse(compiler: _Compiler) -> "exp.Expression":
    from sqlglot import exp, parse
    from sqlglot.dialects.dialect import Dialect
    from sqlglot.errors import SqlglotError
    from sqlglot.tokens import Tokenizer as SqlTokenizer

    class Filter(Dialect):
        class Tokenizer(SqlTokenizer):
            IDENTIFIERS: ClassVar = ['"', "`"]

    try:
        statements = parse(_HEAD + _quote_loose_keys(compiler.text), read=Filter)
    except SqlglotError as error:
        raise compiler.error(_where(error)) from error
    only = statements[0] if len(statements) == 1 else None
    clauses = {k for k, v in only.args.items() if v} if isinstance(only, exp.Select) else set()
    if only is None or "where" not in clauses or not clauses <= {"expressions", "where", "kind"}:
        raise compiler.error("it is more than a condition")
    return only.args["where"].this  # type: ignore[no-any-return]


def _where(error: Exception) -> str:
    for detail in getattr(error, "errors", []):
        highlight = detail.get("highlight")
        if highlight:
            before = detail.get("start_context", "").removeprefix(_HEAD)
            return f"cannot be understood at {highlight!r}" + (f" (after {before[-30:].strip()!r})" if before else "")
    return "cannot be understood"


def _quote_loose_keys(text: str) -> str:
    """Quote the keys that only our users write without quotes; what is quoted already stays."""
    pieces = _QUOTED.split(text)
    return "".join(p if i % 2 else _LOOSE_KEY.sub(r"\1.`\2`", p) for i, p in enumerate(pieces))


def _condition(c: _Compiler, node: "exp.Expression") -> str:
    from sqlglot import exp

    if isinstance(node, exp.Paren):
        return f"({_condition(c, node.this)})"
    if isinstance(node, (exp.And, exp.Or)):
        word = "AND" if isinstance(node, exp.And) else "OR"
        return f"({_condition(c, node.this)} {word} {_condition(c, node.expression)})"
    if isinstance(node, exp.Not):
        if isinstance(node.this, exp.Is):
            return f"({_operand(c, node.this.this)[0]} IS NOT NULL)"
        return f"(NOT {_condition(c, node.this)})"
    if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
        return f"({_operand(c, node.this)[0]} IS NULL)"
    if isinstance(node, exp.In) and node.expressions:
        column, convert = _operand(c, node.this)
        listed = ", ".join(c.value(convert(_literal(c, e))) for e in node.expressions)
        return f"({column} IN ({listed}))"
    return _comparison(c, node)


def _comparison(c: _Compiler, node: "exp.Expression") -> str:
    from sqlglot import exp

    signs: dict[type[exp.Expression], str] = {
        exp.EQ: "=",
        exp.NEQ: "!=",
        exp.LT: "<",
        exp.LTE: "<=",
        exp.GT: ">",
        exp.GTE: ">=",
        exp.Like: "LIKE",
        exp.ILike: "ILIKE",
    }
    sign = signs.get(type(node))
    if sign is None:
        raise c.error(f"{node.sql()!r} is no comparison")
    column, convert = _operand(c, node.this)
    negate = "NOT " if node.args.get("negate") else ""
    value = convert(_literal(c, node.expression))
    if sign.endswith("LIKE") and not isinstance(value, str):
        raise c.error(f"{sign} compares text, not {value!r}")
    condition = f"{column} {negate}{sign} {c.value(value)}"
    if column.startswith("r.metrics") and sign != "!=":
        return f"({condition} AND NOT isnan({column}))"  # NaN is greater than, less than and equal to nothing
    return f"({condition})"


def _operand(c: _Compiler, node: "exp.Expression") -> tuple[str, "Callable[[Any], Any]"]:
    """SQL of the left side, and what turns a literal into a value that compares with it."""
    from sqlglot import exp

    if not isinstance(node, exp.Column):
        raise c.error(f"{node.sql()!r} is not metrics.…, params.…, tags.… or an attribute")
    if node.args.get("db") is not None:
        raise c.error(f"{node.sql()!r}: quote a key with dots, as in tags.`a.b`")
    prefix, key = node.table.lower(), node.name
    if prefix in _MAPS:
        column = f"r.{_MAPS[prefix]}['{key.replace(chr(39), chr(39) * 2)}']"
        return column, (_number(c, key) if _MAPS[prefix] == "metrics" else _text(c, key))
    if prefix and prefix not in _ATTRIBUTE_PREFIXES:
        raise c.error(f"{prefix!r} is not metrics, params, tags or attributes")
    return _attribute(c, key)


def _attribute(c: _Compiler, key: str) -> tuple[str, "Callable[[Any], Any]"]:
    name = _ATTRIBUTES.get(key)
    if name is None:
        raise c.error(f"attribute {key!r} is unknown (there are {', '.join(sorted(_ATTRIBUTES))})")
    if key in _TIMES:
        return f"epoch_ms(r.{name})", _moment(c, key)
    if name == "git_dirty":
        return "r.git_dirty", lambda value: str(value).lower() == "true"
    return f"r.{name}", _text(c, key)


def _moment(c: _Compiler, key: str) -> "Callable[[Any], Any]":
    """Times compare as ms since 1970, as in MLflow; ISO 8601 is understood too (without a zone it means UTC)."""

    def convert(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return microseconds(datetime.fromisoformat(value)) // 1000  # as the column is, cut to ms
        except ValueError:
            raise c.error(f"{key!r} compares with ms since 1970 or an ISO 8601 time, not with {value!r}") from None

    return convert


def _number(c: _Compiler, key: str) -> "Callable[[Any], Any]":
    def convert(value: Any) -> Any:
        if isinstance(value, str):
            raise c.error(f"{key!r} compares with a number, not with {value!r}")
        return value

    return convert


def _text(c: _Compiler, key: str) -> "Callable[[Any], Any]":
    def convert(value: Any) -> Any:
        if not isinstance(value, str):
            raise c.error(f"{key!r} is text: write '{value}' in quotes")
        return value

    return convert


def _literal(c: _Compiler, node: "exp.Expression") -> Any:
    from sqlglot import exp

    if isinstance(node, exp.Neg):
        value = _literal(c, node.this)
        if isinstance(value, str):
            raise c.error(f"-{value!r} is no value")
        return -value
    if isinstance(node, exp.Boolean):
        return str(node.this).lower()
    if isinstance(node, exp.Literal):
        return node.this if node.is_string else float(node.this)
    if isinstance(node, exp.Column) and not node.table and node.this.quoted:
        return node.name  # "text" in double quotes, as MLflow takes it
    raise c.error(f"{node.sql()!r} is no value; text goes in quotes")


def order_terms(order_by: Sequence[str]) -> str:
    """``ORDER BY`` terms over ``runs`` with the alias ``r``.

    Nulls come last, NaN after all numbers; ties are broken by the newest start, then by run id.

    Args:
        order_by: such as ``metrics.rmse``, ``params.alpha DESC``, ``start_time ASC``.

    Raises:
        InvalidFilter: a term cannot be understood.
    """
    if isinstance(order_by, str):
        raise InvalidFilter(f"order_by is a list of terms; write [{order_by!r}]")
    return ", ".join([*map(_order_term, order_by), "r.start_time DESC", "r.run_id"])


def _order_term(text: str) -> str:
    match = _ORDER_TERM.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise InvalidFilter(f"order {text!r} cannot be understood; {_ORDER_ADVICE}")
    compiler = _Compiler(f"{match[1]} IS NULL", f"order {text!r}", _ORDER_ADVICE)
    column, _ = _operand(compiler, _parse(compiler).this)
    direction = (match[2] or "asc").upper()
    if column.startswith("r.metrics"):
        return f"{column} IS NULL, isnan({column}), {column} {direction}"
    return f"{column} {direction} NULLS LAST"


def _experiment_names(engine: Engine, given: Sequence[str] | str) -> list[str]:
    names = [given] if isinstance(given, str) else list(given)
    if not names:
        return []
    rows = engine.query(
        "SELECT name FROM experiments WHERE lifecycle_stage = 'active' AND list_contains(?, name)", [names]
    )
    found = rows.column("name").to_pylist()
    for name in names:
        if name not in found:
            raise ExperimentNotFound(
                f"no experiment is named {name!r}; `lake.experiments.list()` shows those there are"
            )
    return names


def search_runs(
    engine: Engine,
    filter: str = "",  # noqa: A002 - the word that users of search know
    *,
    experiments: Sequence[str] | str = (),
    order_by: Sequence[str] = (),
    limit: int | None = None,
) -> "pa.Table":
    """Runs that are not deleted and satisfy a filter.

    Args:
        engine: the open lake.
        filter: see :func:`compile_filter`.
        experiments: name of an experiment, or names; none means all.
        order_by: see :func:`order_terms`; default the newest first.
        limit: greatest number of runs.

    Returns:
        Rows of ``runs``.

    Raises:
        InvalidFilter: filter or order cannot be understood.
        InvalidInput: the limit is no positive number.
        ExperimentNotFound: no experiment has one of the names.
    """
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise InvalidInput(f"limit {limit!r} is not a positive number")
    names = _experiment_names(engine, experiments)
    condition, values = compile_filter(filter)
    order = order_terms(order_by)
    within = ""
    if names:
        marks = ", ".join("?" * len(names))
        within = f"AND r.experiment_id IN (SELECT experiment_id FROM experiments WHERE name IN ({marks}))"
    within += " AND r.experiment_id NOT IN (SELECT experiment_id FROM experiments WHERE lifecycle_stage = 'deleted')"
    sql = f"SELECT r.* FROM runs r WHERE r.lifecycle_stage = 'active' AND {condition} {within} ORDER BY {order}"
    return engine.query(sql + (f" LIMIT {limit}" if limit else ""), [*values, *names])
