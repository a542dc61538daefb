"""Choosing model versions by lineage: one SQL query over versions, their runs, and what these were trained on."""

import os
import re
from typing import Any

from lakelineage.errors import InvalidFilter, InvalidInput
from lakelineage.model import nodes, validate
from lakelineage.registry.names import alias_name
from lakelineage.registry.values import checked_stage

_COMPARISON = re.compile(r"(<=|>=|!=|<|>|=|==)?\s*(\d+)")
_ORDER = re.compile(r"(?:(metrics|params|attributes)\.)?(`[^`]+`|[^\s`]+)(?:\s+(asc|desc))?", re.IGNORECASE)
#: Columns of a version, and of its run, that may order.
_OF_VERSION = {"name", "version", "created_at", "stage"}
_OF_RUN = {"run_id", "name", "status", "start_time", "end_time", "user_id", "source", "git_commit", "experiment_id"}

#: Versions, with the run that made their files: as registered, or that of the logged model, or the owner of the files.
MADE = """
    select v.*, coalesce(v.run_id, l.source_run_id, v.owner) as made_by
    from (select *, nullif(regexp_extract(source, '^artifact:([^/]+)', 1), '') as owner from model_versions) v
    left join logged_models l on l.model_id = coalesce(v.model_id, v.owner)
"""

Piece = tuple[str, tuple[Any, ...]]


def compile_find(
    columns: str,
    trained_on: Any,
    version: int | str | None,
    where: str | None,
    order_by: str | None,
    alias: str | None,
    stage: str | None,
    limit: int | None,
) -> Piece:
    """The query behind ``Models.find``, and its parameters."""
    conditions: list[Piece] = [("v.lifecycle_stage = 'active'", ())]
    if trained_on is not None or version is not None:
        conditions.append(_trained_on(trained_on, version))
    if alias is not None:
        conditions.append(("list_contains(v.aliases, ?)", (alias_name(alias),)))
    if stage is not None:
        conditions.append(("v.stage = ?", (checked_stage(stage),)))
    if where is not None:
        conditions.append(_run_filter(where))
    order, order_parameters = _order(order_by)
    text = " and ".join(f"({sql})" for sql, _ in conditions)
    parameters = tuple(value for _, values in conditions for value in values)
    source = f"({MADE}) v left join runs r on r.run_id = v.made_by"
    return f"select {columns} from {source} where {text} order by {order}{_limit(limit)}", parameters + order_parameters


def snapshots_of(source: Any, version: int | str | None) -> Piece:
    """A condition over ``snapshots`` with the alias ``s``: those of a table, and of its version.

    Args:
        source: path or URI of a table, its id, its node, a snapshot or a snapshot id.
        version: a number, or comparisons such as ">= 3 and < 12".

    Raises:
        InvalidInput: it cannot be understood.
    """
    (table, values), (compared, bounds) = _table(source), _versions(version)
    return f"{table} AND {compared}", values + bounds


def compile_known(trained_on: Any) -> Piece:
    """A query that has a row if any run or pin ever saw the table; without one, "none" would be no answer."""
    sql, values = _table(trained_on)
    return f"select 1 from snapshots s where {sql} limit 1", values


def checked_limit(limit: int | None) -> int | None:
    """A number of rows.

    Raises:
        InvalidInput: it is below 0.
    """
    if limit is not None and validate.step(limit) < 0:
        raise InvalidInput(f"limit must be 0 or more, not {limit}")
    return limit


def _limit(limit: int | None) -> str:
    return "" if checked_limit(limit) is None else f" limit {limit}"


def _trained_on(trained_on: Any, version: int | str | None) -> Piece:
    sql, values = ("true", ()) if trained_on is None else snapshots_of(trained_on, None)
    compared, bounds = _versions(version)
    used = "select 1 from inputs i join snapshots s on s.snapshot_id = i.snapshot_id where i.run_id = v.made_by"
    return f"exists ({used} and i.context = 'training' and {sql} and {compared})", values + bounds


def _table(source: Any) -> Piece:
    """Which snapshots are meant."""
    snapshot_id = getattr(source, "id", None)
    if isinstance(snapshot_id, str):
        return "s.snapshot_id = ?", (snapshot_id,)
    text = os.fspath(source) if isinstance(source, os.PathLike) else source
    if not isinstance(text, str) or not text.strip():
        raise InvalidInput(f"trained_on={source!r}: give a table's path or URI, its id or node, or a snapshot")
    if text.startswith("dataset:"):
        return _node(text)
    return "(s.table_id = ? or s.snapshot_id = ? or list_contains(?, s.table_uri) or list_contains(?, s.origin))", (
        text,
        text,
        _spellings(text),
        _spellings(text),
    )


def _node(text: str) -> Piece:
    node = nodes.parse(text)
    if node.part is None:
        return "s.table_id = ?", (node.name,)
    if not node.part.isdigit():
        raise InvalidInput(f"{text!r}: the version after @ must be a number")
    return "(s.table_id = ? and s.version = ?)", (node.name, int(node.part))


def _spellings(text: str) -> list[str]:
    """The ways in which a place may have been stored: as typed, and (a local one) absolute."""
    if "://" in text:
        plain = text.removeprefix("file://")
        return [text.rstrip("/"), plain.rstrip("/")]
    absolute = os.path.abspath(os.path.expanduser(text))
    return [text, absolute, f"file://{absolute}"]


def _versions(version: int | str | None) -> Piece:
    if version is None:
        return "true", ()
    if isinstance(version, int) and not isinstance(version, bool):
        return "s.version = ?", (version,)
    parts = re.split(r"\s+and\s+|\s*,\s*", str(version).strip(), flags=re.IGNORECASE)
    compared = [_COMPARISON.fullmatch(part) for part in parts]
    pieces = [(match[1] or "=", int(match[2])) for match in compared if match]
    if len(pieces) != len(parts):
        raise InvalidInput(f"version={version!r}: give a number or comparisons such as '>= 12' or '>= 3 and < 12'")
    return " and ".join(f"s.version {operator} ?" for operator, _ in pieces), tuple(bound for _, bound in pieces)


def _run_filter(where: str) -> Piece:
    from lakelineage.tracking.filter import compile_filter

    sql, values = compile_filter(where)
    return sql, tuple(values)


def _order(order_by: str | None) -> Piece:
    ties = "v.name, v.version"
    if order_by is None:
        return ties, ()
    match = _ORDER.fullmatch(validate.text(order_by, "order_by").strip())
    if match is None:
        raise InvalidFilter(f"order_by={order_by!r}: write 'metrics.rmse', 'params.alpha desc' or 'version'")
    sql, values = _ordered(order_by, (match[1] or "").lower(), match[2].strip("`"))
    direction = (match[3] or "asc").lower()
    unordered = f"{sql} is null" + (f" or isnan({sql})" if (match[1] or "").lower() == "metrics" else "")
    return f"({unordered}), {sql} {direction}, {ties}", values * (unordered.count("?") + 1)


def _ordered(order_by: str, kind: str, name: str) -> Piece:
    if kind in ("metrics", "params"):
        return f"r.{kind}[?]", (name,)
    known, alias = (_OF_RUN, "r") if kind == "attributes" else (_OF_VERSION, "v")
    if name not in known:
        there = ", ".join(sorted(known))
        raise InvalidFilter(f"order_by={order_by!r}: {name!r} is none of {there}, nor metrics.… or params.…")
    return f"{alias}.{name}", ()
