"""What descends from some versions of a table: the models, and what they predicted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lakelineage.errors import SnapshotNotFound
from lakelineage.lineage import traverse
from lakelineage.model import nodes
from lakelineage.model.values import Relation
from lakelineage.registry import find
from lakelineage.registry.names import alias_name
from lakelineage.registry.values import checked_stage

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Reads

#: Versions of models whose node a walk reached.
_MODELS = f"""
SELECT v.name, v.version, v.stage, v.aliases, v.made_by AS run_id, v.created_at,
  (SELECT max(s.version) FROM inputs i JOIN snapshots s USING (snapshot_id)
   WHERE i.run_id = v.made_by AND list_contains($tables, s.table_id)) AS trained_version,
  coalesce(v.registered_model_id, v.name) AS registered_model_id
FROM ({find.MADE}) v
WHERE v.lifecycle_stage = 'active'
  AND list_contains($reached, {{'id': coalesce(v.registered_model_id, v.name), 'version': v.version::VARCHAR}})
  AND ($stage IS NULL OR v.stage = $stage) AND ($alias IS NULL OR list_contains(v.aliases, $alias))
ORDER BY v.name, v.version
"""
#: Tables that were written by scoring with some models, and where these tables are.
_PREDICTIONS = """
WITH written AS (
  SELECT source, target, min(ingested_at) AS written_at FROM lineage
  WHERE relation = $relation AND list_contains($models, source) AND starts_with(target, 'dataset:')
  GROUP BY source, target
)
SELECT w.source, w.target, w.written_at, (
  SELECT any_value(s.table_uri) FROM snapshots s WHERE w.target = 'dataset:' || s.table_id || '@' || s.version
) AS table_uri FROM written w ORDER BY w.written_at, w.source, w.target
"""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TableImpact:
    """What descends from some versions of a table.

    Attributes:
        source: the table, as it was asked about.
        versions: those of its versions that the lake knows and that were asked about, ascending.
        models: ``name``, ``version``, ``stage``, ``aliases``, ``run_id``, ``created_at`` and ``trained_version`` (the
            newest version of the table that its run used itself; null: it descends by way of other tables).
        predictions: ``table_uri``, ``table_version``, ``model`` (node id of the version or, where it was not
            registered, of the files) and ``written_at``: a row for each Delta version that a scoring wrote.
        runs: ids of the runs that used these versions, or what came of them.
    """

    source: str
    versions: tuple[int, ...]
    models: "pa.Table"
    predictions: "pa.Table"
    runs: tuple[str, ...] = field(default=())

    @property
    def counts(self) -> Mapping[str, int]:
        """How many versions of the table, runs, versions of models, and writes of predictions."""
        return {
            "versions": len(self.versions),
            "runs": len(self.runs),
            "models": int(self.models.num_rows),
            "predictions": int(self.predictions.num_rows),
        }

    def __str__(self) -> str:
        singular = {
            "versions": "version",
            "runs": "run",
            "models": "model version",
            "predictions": "write of predictions",
        }
        plural = {**{key: f"{word}s" for key, word in singular.items()}, "predictions": "writes of predictions"}
        told = [f"{count} {singular[key] if count == 1 else plural[key]}" for key, count in self.counts.items()]
        return f"{told[0]} of {self.source}: {', '.join(told[1:])}"

    def __repr__(self) -> str:
        return f"<TableImpact: {self}>"


def table_impact(
    engine: "Reads", source: Any, version: int | str | None = None, stage: str | None = None, alias: str | None = None
) -> TableImpact:
    """What descends from some versions of a table. See :meth:`lakelineage.Lake.impact`."""
    stage = None if stage is None else checked_stage(stage)
    alias = None if alias is None else alias_name(alias)
    sql, values = find.snapshots_of(source, version)
    asked = "SELECT DISTINCT s.table_id, s.version, s.table_uri FROM snapshots s"
    known = engine.query(f"{asked} WHERE {sql} ORDER BY s.version", values).to_pylist()
    if not known and not engine.query(*find.compile_known(source)).num_rows:
        raise SnapshotNotFound(
            f"no run ever used, and nobody pinned, {source!r}; `lakelineage snapshot` lists what was. "
            "A relative path is taken from the working directory"
        )
    starts = [str(nodes.dataset(row["table_id"], row["version"])) for row in known]
    reached = [nodes.parse(found.node) for found in traverse.reach(engine, starts, "downstream")] if starts else []
    tables = sorted({row["table_id"] for row in known})
    models = _models(engine, reached, tables, stage, alias)
    told = [str(nodes.model(m["registered_model_id"], m["version"])) for m in models.to_pylist()]
    if stage is None and alias is None:  # files that were scored with before, or without, being registered
        told += [str(node) for node in reached if node.kind == "artifact"]
    return TableImpact(
        source if isinstance(source, str) else str(known[0]["table_uri"] if known else source),
        tuple(sorted({row["version"] for row in known})),
        models.drop_columns(["registered_model_id"]),
        _predictions(engine, told),
        tuple(node.name for node in reached if node.kind == "run"),
    )


def _models(
    engine: "Reads", reached: list[nodes.Node], tables: list[str], stage: str | None, alias: str | None
) -> "pa.Table":
    versions = [{"id": node.name, "version": node.part} for node in reached if node.kind == "model" and node.part]
    nobody = [{"id": "", "version": ""}]  # an empty list would have no type
    asked = {"reached": versions or nobody, "tables": tables, "stage": stage, "alias": alias}
    return engine.query(_MODELS, asked)


def _predictions(engine: "Reads", models: list[str]) -> "pa.Table":
    import pyarrow as pa

    found = engine.query(_PREDICTIONS, {"relation": Relation.GENERATED.value, "models": models})
    targets = [nodes.parse(target) for target in found.column("target").to_pylist()]
    return pa.table(
        {
            "table_uri": found.column("table_uri"),
            "table_version": pa.array([int(node.part or -1) for node in targets], pa.int64()),
            "model": found.column("source"),
            "written_at": found.column("written_at"),
        }
    )
