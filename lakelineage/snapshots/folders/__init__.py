"""Folders of files (images, audio, text): pinned as a table that lists them with their hashes, and brought back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput
from lakelineage.snapshots.folders import digests, scan
from lakelineage.snapshots.folders.manifest import KEY, KIND, Manifest
from lakelineage.snapshots.places import PinnedFile
from lakelineage.store.source import DataFile

if TYPE_CHECKING:
    from lakelineage.engine import Engine
    from lakelineage.snapshots.snapshot import Snapshot

__all__ = ["KEY", "KIND", "Contents", "look", "require"]


@dataclass(frozen=True, slots=True)
class Contents:
    """What a folder holds.

    Attributes:
        files: sorted by path, which is relative to the folder; each with its SHA-256.
        fresh: whether some had to be read.
        remember: to be called when something was read or kept, so that the next pin does not read it again.
    """

    files: tuple[PinnedFile, ...]
    fresh: bool
    remember: Callable[[], None]


def look(
    engine: "Engine", folder: str, options: Mapping[str, str] | None, told: Callable[[int], Any]
) -> tuple[Contents, Manifest]:
    """Look through a folder.

    Args:
        engine: the lake.
        folder: absolute path or object-store URI.
        options: storage options.
        told: is called with the bytes that are hashed, or known.

    Returns:
        Its files, and the table of them.

    Raises:
        InvalidInput: there is something that cannot be pinned; the message names it.
        ConcurrentWrite: it changed meanwhile.
        StorageFailed: it cannot be read.
    """
    seen = scan.scan(folder, options, engine.root)
    found = digests.find(engine.cache, folder, options, seen, told)
    if found.fresh:  # reading took its time
        _require_unchanged(folder, seen, scan.scan(folder, options, engine.root))

    def remember() -> None:
        digests.remember(engine.cache, folder, found)

    pins = tuple(
        PinnedFile(DataFile(s.path, s.size), None, s.modified_ns // 1000, s.etag, found.by_file[s]) for s in seen
    )
    return Contents(pins, found.fresh, remember), Manifest(seen, found.by_file)


def _require_unchanged(folder: str, before: list[scan.Seen], after: list[scan.Seen]) -> None:
    if before != after:
        differing = min(set(before) ^ set(after))
        raise scan.changed(folder, differing.path)


def require(snapshot: "Snapshot") -> None:
    """Refuse what only folders can do.

    Raises:
        InvalidInput: the snapshot is one of a table.
    """
    if snapshot.kind != KIND:
        raise InvalidInput(
            f"{snapshot.origin or snapshot.table_uri} was pinned as a table, not as a folder of files; read its rows "
            "with to_polars(), to_pandas() or to_arrow()"
        )
