"""What a scoring leaves in the lake: edges from model and data to the output, and a pin that tells where that is."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from lakelineage.errors import VersionNotFound
from lakelineage.inference.models import Located
from lakelineage.model import nodes
from lakelineage.model.changes import Rows
from lakelineage.model.values import Protection, Relation
from lakelineage.snapshots import Snapshot, pin
from lakelineage.store import faults
from lakelineage.store.output import Target
from lakelineage.tables import LINEAGE

if TYPE_CHECKING:
    from lakelineage.engine import Engine

_LAKE, _MODEL, _INPUTS, _RUN = (f"lakelineage.{what}" for what in ("lake", "model", "inputs", "run"))


def notes(engine: "Engine", place: Located, pins: Sequence[Snapshot]) -> dict[str, str]:
    """What a commit of scores notes, so that the lake can be told of it later, too."""
    data = " ".join(str(nodes.dataset(each.table_id, each.version)) for each in pins)
    return {_LAKE: engine.settings.lake_id, _MODEL: place.node, _INPUTS: data, _RUN: place.run_id or ""}


def record(engine: "Engine", target: Target, table_id: str, version: int, noted: Mapping[str, str]) -> None:
    """Tell the lake of a commit.

    Args:
        engine: the lake.
        target: the output.
        table_id: of the output.
        version: of the output.
        noted: what the commit notes.
    """
    with suppress(VersionNotFound):  # an old commit of a killed job, whose log was cleaned since: only its edges
        # So that the graph knows its place. First: that edges are there tells that all is.
        pin(engine, target.table(), version=version, protection=Protection.REFERENCE)
    faults.reach("score.after_pin")
    here = str(nodes.dataset(table_id, version))
    pairs = [(noted[_MODEL], Relation.GENERATED)]
    pairs += [(data, Relation.DERIVED_FROM) for data in noted[_INPUTS].split()]
    rows = tuple(
        LINEAGE.row(source=source, target=here, relation=relation.value, run_id=noted[_RUN] or None)
        for source, relation in pairs
    )
    engine.append((Rows(LINEAGE.name, rows),))


def record_missing(engine: "Engine", target: Target) -> None:
    """Tell the lake of commits of jobs that were killed after them. Looks at the newest ones."""
    lake = engine.settings.lake_id
    there = {version: noted for version, noted in target.notes().items() if noted.get(_LAKE) == lake}
    if target.existing is None or not there:
        return
    here = {str(nodes.dataset(target.existing.table_id, version)): version for version in there}
    found = engine.query("select distinct target from lineage where list_contains(?, target)", (list(here),))
    known = {row["target"] for row in found.to_pylist()}
    for node in sorted(here.keys() - known):
        record(engine, target, target.existing.table_id, here[node], there[here[node]])
