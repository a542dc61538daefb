"""What is scored: rows that can be streamed, and the pinned versions that they come from."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput
from lakelineage.snapshots import Snapshot, pin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from lakelineage.engine import Engine


@dataclass(frozen=True)
class Source:
    """Rows to score.

    Attributes:
        label: what they are, for messages.
        schema: of the rows.
        version: of the table that they come from; None if they come from several.
        pins: where they come from.
        total: how many; None if nobody knows without reading them.
        batches: called with a number of rows and, if not all are wanted, columns: gives the rows in batches of so many.
    """

    label: str
    schema: "pa.Schema"
    version: int | None
    pins: tuple[Snapshot, ...]
    total: int | None
    batches: "Callable[..., Iterator[pa.RecordBatch]]"


def of_snapshot(snapshot: Snapshot) -> Source:
    """All rows of a snapshot that were chosen at the pin."""
    return Source(
        f"{snapshot.table_uri} at version {snapshot.version}",
        snapshot.schema,
        snapshot.version,
        (snapshot,),
        snapshot.num_rows if snapshot.where is None else None,
        snapshot.to_batches,
    )


def pinned(engine: "Engine", source: Any, version: int | None, name: str) -> Snapshot:
    """The input as a snapshot.

    Args:
        engine: the lake.
        source: a snapshot, or anything that can be pinned.
        version: of a table; the newest if not given.
        name: of the managed table that data without a place becomes.

    Raises:
        InvalidInput: a snapshot of another version.
        TableNotFound, VersionNotFound: there is no such table or version.
    """
    if not isinstance(source, Snapshot):
        return pin(engine, source, version=version, name=None if isinstance(source, (str, os.PathLike)) else name)
    if version not in (None, source.version):
        raise InvalidInput(f"the input is a snapshot of version {source.version}; version={version} contradicts it")
    return source
