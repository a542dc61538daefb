"""From a prediction back to the model, the run, the data and the code behind it."""

import os
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput
from lakelineage.model import nodes
from lakelineage.store import output as outputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from lakelineage.engine import Engine

#: Columns that scoring adds to each row.
PROVENANCE = ("_model_name", "_model_version", "_run_id", "_input_version", "_scored_at")
#: Columns that a trace adds to each row.
TRACED = (
    "_model",
    "_input_uri",
    "_trained_as",
    "_trained_on",
    "_trained_version",
    "_trained_snapshot_id",
    "_git_commit",
    "_git_dirty",
    "_code",
)
#: Names that an input of a scoring may not have.
RESERVED = frozenset(PROVENANCE + TRACED)

_TRAINING = """
    select distinct r.run_id, r.git_commit, r.git_dirty, r.source as code,
           i.name as trained_as, s.table_uri as trained_on, s.version as trained_version, s.snapshot_id
    from runs r
    left join inputs i on i.run_id = r.run_id and i.context = 'training'
    left join snapshots s on s.snapshot_id = i.snapshot_id
    where list_contains(?, r.run_id)
    order by trained_as, trained_on, trained_version
"""
_INPUTS = """
    select distinct source from lineage
    where relation = 'derived_from' and starts_with(target, ?) and starts_with(source, 'dataset:')
"""
_PLACES = "select distinct table_id, version, table_uri from snapshots where list_contains(?, table_id)"


def trace_prediction(
    engine: "Engine",
    output: str | os.PathLike[str],
    where: str | None = None,
    *,
    limit: int = 1_000,
    storage_options: "Mapping[str, str] | None" = None,
) -> "pa.Table":
    """Walk from rows of a scoring's output back to what made them.

    Args:
        engine: the open lake.
        output: Delta table that ``score`` wrote.
        where: which rows, as a SQL condition ("patient_id = 7"); all if not given.
        limit: at most so many rows of the output.
        storage_options: of the output; the lake's own if not given.

    Returns:
        The rows as they are, and for each what its model was trained on (so a model of two training inputs gives two
        lines a row): ``_model`` (models:/name/version, null for a model named by its run), ``_input_uri`` (table that
        was scored; its version is ``_input_version``), ``_trained_as`` (name of the training input in the run),
        ``_trained_on`` (table), ``_trained_version``, ``_trained_snapshot_id``, ``_git_commit``, ``_git_dirty`` and
        ``_code`` (file that started the run).

    Raises:
        TableNotFound: there is no Delta table at the place.
        InvalidInput: it was not written by ``score``.
        InvalidQuery: the condition is refused.
    """
    import pyarrow as pa

    uri = os.fspath(output) if "://" in os.fspath(output) else os.path.abspath(os.path.expanduser(output))
    options = dict(engine.root.storage_options if storage_options is None else storage_options)
    rows = outputs.rows_where(uri, options, where, limit)
    lacking = sorted(set(PROVENANCE) - set(rows.schema.names))
    if lacking:
        raise InvalidInput(f"{uri} lacks the columns {lacking}; name a table that lake.score wrote")
    training = _training(engine, sorted(set(rows["_run_id"].to_pylist()) - {None}))
    inputs = _inputs(engine, outputs.table_id(uri, options))
    lines = [(i, row, made) for i, row in enumerate(_provenance(rows)) for made in training.get(row["_run_id"], [{}])]
    traced = pa.Table.from_pylist([_traced(row, made, inputs) for _, row, made in lines], schema=_schema())
    result = rows.take(pa.array([i for i, _, _ in lines], pa.int64()))
    for name in TRACED:
        result = result.append_column(name, traced[name])
    return result


def _provenance(rows: "pa.Table") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = rows.select(list(PROVENANCE)).to_pylist()
    return found


def _training(engine: "Engine", run_ids: "Sequence[str]") -> dict[str, list[dict[str, Any]]]:
    by_run: dict[str, list[dict[str, Any]]] = {}
    for row in engine.query(_TRAINING, (list(run_ids),)).to_pylist():
        by_run.setdefault(row["run_id"], []).append(row)
    return by_run


def _inputs(engine: "Engine", output_id: str) -> dict[int, str]:
    """Version of an input → the tables that the output was scored from at that version."""
    prefix = f"{nodes.dataset(output_id)}@"
    sources = [nodes.parse(row["source"]) for row in engine.query(_INPUTS, (prefix,)).to_pylist()]
    places = engine.query(_PLACES, (sorted({node.name for node in sources}),)).to_pylist()
    uris = {(row["table_id"], str(row["version"])): row["table_uri"] for row in places}
    by_version: dict[int, set[str]] = {}
    for node in sources:
        by_version.setdefault(int(node.part or -1), set()).add(uris.get((node.name, node.part or ""), node.name))
    return {version: ", ".join(sorted(names)) for version, names in by_version.items()}


def _traced(row: dict[str, Any], made: dict[str, Any], inputs: dict[int, str]) -> dict[str, Any]:
    named = row["_model_name"] is not None
    return {
        "_model": f"models:/{row['_model_name']}/{row['_model_version']}" if named else None,
        "_input_uri": inputs.get(row["_input_version"]),
        "_trained_as": made.get("trained_as"),
        "_trained_on": made.get("trained_on"),
        "_trained_version": made.get("trained_version"),
        "_trained_snapshot_id": made.get("snapshot_id"),
        "_git_commit": made.get("git_commit"),
        "_git_dirty": made.get("git_dirty"),
        "_code": made.get("code"),
    }


def _schema() -> "pa.Schema":
    import pyarrow as pa

    other = {"_trained_version": pa.int64(), "_git_dirty": pa.bool_()}
    return pa.schema([(name, other.get(name, pa.string())) for name in TRACED])
