"""How far an output was scored: kept in the output's own Delta transactions, so that it lands with the rows.

Transactions survive checkpoints and log clean-up; metadata of commits does not. Their values are whole numbers, so
names are kept as digests of 63 bits. Source: Delta transaction log protocol, "Transaction Identifiers".
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from lakelineage.model import ids
from lakelineage.snapshots import Snapshot
from lakelineage.store.output import Target

_PREFIX = "lakelineage.score"
#: Whose rows the output has: digest of the input's table id; 0 if they are not the rows of one input, each once.
_TABLE = f"{_PREFIX}.table"
_MODEL, _SHAPE = f"{_PREFIX}.model", f"{_PREFIX}.shape"


@dataclass(frozen=True, slots=True)
class Mark:
    """The output has each row of one version of one input once.

    Attributes:
        table: digest of the input's table id.
        version: of the input.
        model: digest of the node of the model that scored last.
        shape: digest of the input's schema, and of the columns and rows chosen of it.
    """

    table: int
    version: int
    model: int
    shape: int


def number(*texts: str) -> int:
    """A digest that a transaction can hold: 63 bits, and not 0."""
    return int(ids.digest(list(texts))[:16], 16) >> 1 or 1


def mark(snapshot: Snapshot, model: str, features: Sequence[str] | None) -> Mark:
    """What an output is marked with once it has all rows of a snapshot.

    Args:
        snapshot: the input.
        model: node of the model.
        features: columns that the model gets, if they were chosen.
    """
    chosen = json.dumps([snapshot.columns, snapshot.where, features])
    return Mark(number(snapshot.table_id), snapshot.version, number(model), number(snapshot.schema_json, chosen))


def read(target: Target, table_id: str) -> Mark | None:
    """The mark of an output; None if it has none, or was written to otherwise since.

    Args:
        target: the output.
        table_id: of the input. That of the mark may be another; then its version is 0.
    """
    table, model, shape = (target.transaction(name) for name in (_TABLE, _MODEL, _SHAPE))
    if not table or model is None or shape is None:
        return None
    return Mark(table, target.transaction(_progress(table_id)) or 0, model, shape)


def transactions(now: Mark | None, table_id: str) -> dict[str, int]:
    """What is to land with the rows.

    Args:
        now: what holds then; None if the output is no longer the rows of one input, each once.
        table_id: of the input.
    """
    if now is None:
        return {_TABLE: 0}
    return {_progress(table_id): now.version, _TABLE: now.table, _MODEL: now.model, _SHAPE: now.shape}


def _progress(table_id: str) -> str:
    """Application id under which the version is kept that the output has of an input."""
    return f"{_PREFIX}:{table_id}"
