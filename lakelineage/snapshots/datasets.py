"""Datasets as MLflow describes them: rows of ``datasets``, beside the pins of what they were made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakelineage.model.changes import Rows
from lakelineage.snapshots.records import DISTINCT
from lakelineage.tables import DATASETS, INPUTS

if TYPE_CHECKING:
    from lakelineage.engine import Engine, Reads

#: Name and digest: what tells a dataset from others of a run, or of an experiment.
Key = tuple[str, str]
_ORDER = "ingested_at, writer, seq"
#: Between the least and the greatest id: by that the statistics of files tell which to open.
_OF_RUNS = "run_id between $first and $last and list_contains($runs, run_id)"
_DESCRIBED = f"""
select * from datasets where {_OF_RUNS}
qualify row_number() over (partition by run_id, name, digest order by {_ORDER}) = 1
"""
# What a run used without a description. A version that is described is not told again.
_USED = f"""
select i.*, s.table_uri, s.table_id, s.version, s.num_rows, s.num_files, s.bytes, s.schema as delta_schema, s.origin
from inputs i join ({DISTINCT}) s using (snapshot_id)
where {_OF_RUNS.replace("run_id", "i.run_id")} and not exists (
  select 1 from datasets d where d.run_id = i.run_id and d.snapshot_id = i.snapshot_id
)
qualify row_number() over (partition by i.run_id, i.name order by i.ingested_at, i.writer, i.seq) = 1
"""


@dataclass(frozen=True, slots=True)
class Described:
    """A dataset that a run uses, as MLflow describes it.

    Attributes:
        name: of the dataset.
        digest: MLflow's digest of it.
        source_type: kind of its source.
        source: where it comes from, as MLflow's JSON.
        schema: MLflow's schema, as JSON.
        profile: MLflow's profile, as JSON.
        context: training, validation, …; None: nobody said.
        tags: of this use of it.
        snapshot_id: what is pinned of it; None: nothing.
    """

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None
    profile: str | None
    context: str | None
    tags: tuple[tuple[str, str], ...]
    snapshot_id: str | None = None


@dataclass(frozen=True, slots=True)
class Used:
    """A pinned version that a run uses, and that nobody described. Attributes are those of the tables' columns."""

    name: str
    context: str
    columns: tuple[str, ...] | None
    where: str | None
    snapshot_id: str
    table_uri: str
    table_id: str
    version: int
    num_rows: int | None
    num_files: int
    bytes: int
    schema_json: str
    origin: str | None


def rows(run_id: str, datasets: Sequence[Described]) -> Rows:
    """The rows of ``datasets``."""
    made = (
        DATASETS.row(
            run_id=run_id,
            name=each.name,
            digest=each.digest,
            source_type=each.source_type,
            source=each.source,
            schema=each.schema,
            profile=each.profile,
            context=each.context,
            tags=list(each.tags),
            snapshot_id=each.snapshot_id,
        )
        for each in datasets
    )
    return Rows(DATASETS.name, tuple(made))


def known_in_experiment(
    engine: "Engine", experiment_id: str, run_id: str, keys: Sequence[Key]
) -> tuple[dict[Key, Described], set[Key]]:
    """What an experiment knows of datasets of some names and digests.

    Returns:
        How each was described first, and which of them the run has already.
    """
    if not engine.has_rows(DATASETS):
        return {}, set()
    found = engine.query(
        "select d.*, bool_or(run_id = $run) over (partition by name, digest) as had from datasets d "
        "semi join (select run_id from runs_history where experiment_id = $experiment) using (run_id) "
        "where list_contains($keys, {'name': d.name, 'digest': d.digest}) "
        f"qualify row_number() over (partition by name, digest order by {_ORDER}) = 1",
        {
            "run": run_id,
            "experiment": experiment_id,
            "keys": [{"name": name, "digest": digest} for name, digest in keys],
        },
    ).to_pylist()
    first = {(row["name"], row["digest"]): _described(row) for row in found}
    return first, {(row["name"], row["digest"]) for row in found if row["had"]}


def of_runs(engine: "Engine", run_ids: Sequence[str]) -> dict[str, list[Described | Used]]:
    """The datasets of some runs, in the order in which they were logged; runs without any are left out.

    What was pinned and not described comes last. A lake without datasets and pins is told without a question.
    """
    if not run_ids or not any(map(engine.has_rows, (DATASETS, INPUTS))):
        return {}
    params = {"first": min(run_ids), "last": max(run_ids), "runs": list(run_ids)}
    told: dict[str, list[Described | Used]] = {}
    if engine.has_rows(DATASETS):
        for row in engine.query(f"{_DESCRIBED} order by {_ORDER}", params).to_pylist():
            told.setdefault(row["run_id"], []).append(_described(row))
    if engine.has_rows(INPUTS):
        for row in engine.query(f"{_USED} order by i.ingested_at, i.writer, i.seq", params).to_pylist():
            told.setdefault(row["run_id"], []).append(_used(row))
    return told


def summaries(engine: "Reads", experiment_ids: Sequence[str], limit: int) -> list[tuple[str, str, str, str | None]]:
    """Distinct (experiment, name, digest, context) of the datasets of experiments, pins among them."""
    found = engine.query(
        "with mine as (select distinct run_id, experiment_id from runs_history "
        "where list_contains($experiments, experiment_id)) "
        "select distinct experiment_id, name, digest, context from ("
        "select run_id, name, digest, context from datasets union all "
        "select run_id, name, snapshot_id, context from inputs i where not exists (select 1 from datasets d "
        "where d.run_id = i.run_id and d.snapshot_id = i.snapshot_id)"
        f") join mine using (run_id) order by all limit {limit:d}",
        {"experiments": list(experiment_ids)},
    )
    return [(row["experiment_id"], row["name"], row["digest"], row["context"]) for row in found.to_pylist()]


def _described(row: Mapping[str, Any]) -> Described:
    pairs = row["tags"] or ()
    return Described(
        name=row["name"],
        digest=row["digest"],
        source_type=row["source_type"],
        source=row["source"],
        schema=row["schema"],
        profile=row["profile"],
        context=row["context"],
        tags=tuple(pairs.items() if isinstance(pairs, dict) else pairs),
        snapshot_id=row["snapshot_id"],
    )


def _used(row: Mapping[str, Any]) -> Used:
    return Used(
        name=row["name"],
        context=row["context"],
        columns=None if row["columns"] is None else tuple(row["columns"]),
        where=row["predicate"],
        snapshot_id=row["snapshot_id"],
        table_uri=row["table_uri"],
        table_id=row["table_id"],
        version=row["version"],
        num_rows=row["num_rows"],
        num_files=row["num_files"],
        bytes=row["bytes"],
        schema_json=row["delta_schema"],
        origin=row["origin"],
    )
