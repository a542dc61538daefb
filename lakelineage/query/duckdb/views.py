"""SQL that derives the current tables from the facts."""

import re
from collections.abc import Callable

from lakelineage.tables import (
    BY_NAME,
    EXPERIMENTS,
    LOGGED_MODELS,
    LOGGED_MODELS_HISTORY,
    MODEL_VERSIONS,
    REGISTERED_MODELS,
    RUNS,
    RUNS_HISTORY,
    Table,
)

#: Facts that each current table derives from.
SOURCES: dict[str, tuple[str, ...]] = {
    EXPERIMENTS.name: ("experiments_history",),
    RUNS.name: ("runs_history", "params", "metrics", "tags_history"),
    LOGGED_MODELS.name: ("logged_models_history", "logged_model_params", "logged_model_tags_history"),
    REGISTERED_MODELS.name: ("registered_models_history", "model_versions_history", "aliases_history"),
    MODEL_VERSIONS.name: ("model_versions_history", "registered_models_history", "aliases_history"),
}

_WORD = re.compile(r"\w+")
_ORDER = "ingested_at, writer, seq"
#: How each source of ``runs`` picks, of the rows of a run (and key), the one that holds.
_PICKS = {
    "runs_history": ("arg_max", _ORDER),
    "params": ("arg_min", _ORDER),
    "metrics": ("arg_max", f"step, timestamp, {_ORDER}"),
    "tags_history": ("arg_max", _ORDER),
}
_NEWEST_FIRST = "ingested_at DESC, writer DESC, seq DESC"

EXPERIMENTS_SQL = f"""
SELECT * EXCLUDE (ingested_at, writer, seq), ingested_at AS updated_at FROM experiments_history
QUALIFY row_number() OVER (PARTITION BY experiment_id ORDER BY {_NEWEST_FIRST}) = 1
"""

#: A registered model keeps its id when it is renamed; rows of older formats have none, and there the name is the id.
_ID = "coalesce(h.registered_model_id, h.name)"
#: With a deleted version its aliases go, in the same commit.
_ALIASES = f"""
SELECT id, alias, version FROM (
  SELECT {_ID} AS id, alias, arg_max(struct_pack(v := version), row({_ORDER})).v AS version
  FROM aliases_history h GROUP BY ALL
) WHERE version IS NOT NULL AND (id, version) NOT IN (
  SELECT ({_ID}, h.version) FROM model_versions_history h WHERE lifecycle_stage <> 'active'
)
"""

REGISTERED_MODELS_SQL = f"""
WITH alias AS ({_ALIASES}),
aliases AS (
  SELECT id, map_from_entries(list(struct_pack(k := alias, v := version::VARCHAR) ORDER BY alias)) AS aliases
  FROM alias GROUP BY id
)
SELECT h.* EXCLUDE (ingested_at, writer, seq) REPLACE ({_ID} AS registered_model_id),
  coalesce(a.aliases, MAP {{}}) AS aliases, h.ingested_at AS updated_at
FROM registered_models_history h LEFT JOIN aliases a ON a.id = {_ID}
QUALIFY row_number() OVER (PARTITION BY {_ID} ORDER BY {_NEWEST_FIRST}) = 1
"""

MODEL_VERSIONS_SQL = f"""
WITH alias AS ({_ALIASES}),
aliases AS (SELECT id, version, list(alias ORDER BY alias) AS aliases FROM alias GROUP BY id, version),
model AS (
  SELECT {_ID} AS id, name, lifecycle_stage FROM registered_models_history h
  QUALIFY row_number() OVER (PARTITION BY {_ID} ORDER BY {_NEWEST_FIRST}) = 1
),
state AS (
  SELECT *, {_ID} AS id FROM model_versions_history h
  QUALIFY row_number() OVER (PARTITION BY {_ID}, h.version ORDER BY {_NEWEST_FIRST}) = 1
)
SELECT s.* EXCLUDE (ingested_at, writer, seq, id) REPLACE (
    coalesce(m.name, s.name) AS name,
    s.id AS registered_model_id,
    CASE WHEN m.lifecycle_stage <> 'active' THEN m.lifecycle_stage ELSE s.lifecycle_stage END AS lifecycle_stage
  ),
  coalesce(a.aliases, []) AS aliases, s.ingested_at AS updated_at
FROM state s LEFT JOIN model m USING (id) LEFT JOIN aliases a ON a.id = s.id AND a.version = s.version
"""


def runs_sql(place: Callable[[str], str] = lambda source: source, only: str | None = None) -> str:
    """SQL of ``runs`` from the facts.

    Args:
        place: name of a source → relation that has its rows.
        only: name of a relation with the ``run_id`` of the runs to derive; None derives all.
    """
    chosen = f"WHERE run_id IN (SELECT run_id FROM {only})" if only else ""
    own = ", ".join(f"s.{name}" for name in RUNS_HISTORY.names)
    return f"""
WITH state AS (
  SELECT * FROM {place("runs_history")} {chosen}
  QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY {_NEWEST_FIRST}) = 1
),
{_map_cte("param", place("params"), *_PICKS["params"], chosen)},
{_metric_cte(place("metrics"), chosen)},
{_map_cte("tag", place("tags_history"), *_PICKS["tags_history"], chosen)}
SELECT {own},
  coalesce(param.entries, MAP {{}}) AS params,
  coalesce(metric.entries, MAP {{}}) AS metrics,
  coalesce(tag.entries, MAP {{}}) AS tags,
  greatest(s.ingested_at, param.seen, metric.seen, tag.seen) AS updated_at,
  coalesce(metric.steps, MAP {{}}) AS metric_steps,
  coalesce(metric.timestamps, MAP {{}}) AS metric_timestamps
FROM state s
LEFT JOIN param USING (run_id) LEFT JOIN metric USING (run_id) LEFT JOIN tag USING (run_id)
"""


def deciding_sql(source: str, rows: str) -> str:
    """Of some rows of a source of ``runs`` those that decide what ``runs`` says: one holds, one was seen last.

    Args:
        source: which.
        rows: SQL of the rows.
    """
    pick, order = _PICKS[source]
    key = "run_id, key" if source != RUNS_HISTORY.name else "run_id"
    # DISTINCT beside the unnesting of a struct would compare the first column alone (DuckDB 2.0).
    return f"""
SELECT unnest(row) FROM (
  SELECT DISTINCT unnest([{pick}(r, row({order})), arg_max(r, row({_ORDER}))]) AS row FROM ({rows}) r GROUP BY {key}
)"""


def _metric_cte(source: str, chosen: str) -> str:
    """Key → latest value of each run, its step and its time, keys sorted."""
    pick, order = _PICKS["metrics"]
    told = {"entries": "value", "steps": "step", "timestamps": "timestamp"}
    maps = ", ".join(
        f"map_from_entries(list(struct_pack(k := key, v := latest.{of}) ORDER BY key)) AS {name}"
        for name, of in told.items()
    )
    return f"""metric AS (
  SELECT run_id, {maps}, max(seen) AS seen
  FROM (
    SELECT run_id, key, max(ingested_at) AS seen,
      {pick}(struct_pack("value" := value, step := step, "timestamp" := epoch_us(timestamp)), row({order})) AS latest
    FROM {source} {chosen} GROUP BY run_id, key
  ) GROUP BY run_id
)"""


def logged_models_sql() -> str:
    """SQL of ``logged_models`` from the facts."""
    own = ", ".join(f"s.{name}" for name in LOGGED_MODELS_HISTORY.names)
    return f"""
WITH state AS (
  SELECT * FROM logged_models_history
  QUALIFY row_number() OVER (PARTITION BY model_id ORDER BY {_NEWEST_FIRST}) = 1
),
{_map_cte("param", "logged_model_params", *_PICKS["params"], of="model_id")},
{_map_cte("tag", "logged_model_tags_history", *_PICKS["tags_history"], of="model_id")}
SELECT {own},
  coalesce(param.entries, MAP {{}}) AS params,
  coalesce(tag.entries, MAP {{}}) AS tags,
  greatest(s.ingested_at, param.seen, tag.seen) AS updated_at
FROM state s LEFT JOIN param USING (model_id) LEFT JOIN tag USING (model_id)
"""


def _map_cte(name: str, source: str, pick: str, order: str, chosen: str = "", of: str = "run_id") -> str:
    """Key → picked value of each run (or logged model), keys sorted; a picked null (a deleted tag) is left out."""
    return f"""{name} AS (
  SELECT {of}, map_from_entries(list(struct_pack(k := key, v := picked.v) ORDER BY key)
    FILTER (WHERE picked.v IS NOT NULL)) AS entries, max(seen) AS seen
  FROM (
    SELECT {of}, key, {pick}(struct_pack(v := value), row({order})) AS picked, max(ingested_at) AS seen
    FROM {source} {chosen} GROUP BY {of}, key
  ) GROUP BY {of}
)"""


def derived_sql(table: Table) -> str:
    """SQL of a small current table (all but ``runs``)."""
    return {
        EXPERIMENTS.name: EXPERIMENTS_SQL,
        LOGGED_MODELS.name: logged_models_sql(),
        REGISTERED_MODELS.name: REGISTERED_MODELS_SQL,
        MODEL_VERSIONS.name: MODEL_VERSIONS_SQL,
    }[table.name]


def named_in(sql: str) -> set[str]:
    """Tables of ours that a statement may name.

    A name that only occurs as a column or in a text costs a look at a table, and changes no answer.
    """
    return {word.lower() for word in _WORD.findall(sql)} & BY_NAME.keys()


def needed(names: set[str]) -> set[str]:
    """Facts that a query over these tables and views needs."""
    return {source for name in names for source in SOURCES.get(name, (name,))}
