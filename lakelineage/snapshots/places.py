"""Where a pinned version's files are now: at their original place if they are what was pinned, else in the archive."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lakelineage.errors import SnapshotLost
from lakelineage.snapshots import archive
from lakelineage.store import source
from lakelineage.store.root import Root, storage_errors
from lakelineage.store.source import DataFile, Options


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """A file of a snapshot.

    Attributes:
        file: as the table's log names it.
        kept_as: path below the lake under which it is kept; None: it is not.
        modified: when it was last changed, µs since 1970 UTC, as its store told at the pin; None where nobody asked.
        etag: version that its object store gave it, at the pin.
        sha256: hex digest of its content, once that was read.
        vector_kept_as: path below the lake of the kept file that holds its deletion vector.
    """

    file: DataFile
    kept_as: str | None = None
    modified: int | None = None
    etag: str | None = None
    sha256: str | None = None
    vector_kept_as: str | None = None


@dataclass(frozen=True, slots=True)
class Pinned:
    """What is needed to find a snapshot's files."""

    snapshot_id: str
    uri: str
    table_id: str
    version: int
    files: tuple[PinnedFile, ...]
    options: Options


def local_place(uri: str, path: str) -> Path:
    """Where a file of a local table is; the log percent-encodes paths."""
    plain = unquote(urlsplit(path).path) if path.startswith("file:") else unquote(path)
    return Path(uri, plain)


def find(root: Root, pinned: Pinned) -> list[str]:
    """Where each file is now: a local path, or for object stores a path below the table.

    Raises:
        SnapshotLost: files that are neither intact at their original place nor archived; ``missing`` lists them.
    """
    places = _find_local(root, pinned) if source.is_local(pinned.uri) else _find_remote(pinned)
    missing = tuple(pin.file.path for pin, place in zip(pinned.files, places, strict=True) if place is None)
    if missing:
        shown = ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
        raise SnapshotLost(
            f"snapshot {pinned.snapshot_id} of {pinned.uri} (table {pinned.table_id}, version {pinned.version}): "
            f"{len(missing)} of {len(pinned.files)} files {_how_lost(pinned)}: {shown}. Restore them from a backup",
            missing,
        )
    return [place for place in places if place is not None]


def _how_lost(pinned: Pinned) -> str:
    if any(pin.kept_as is not None for pin in pinned.files):
        return "are gone or were overwritten in place, and so were their archived copies (hard links share content)"
    return "are gone or were altered, and are not archived (protection='archived' would have kept them)"


def _find_local(root: Root, pinned: Pinned) -> list[str | None]:
    same_table: bool | None = None
    places: list[str | None] = []
    for pin in pinned.files:
        original = local_place(pinned.uri, pin.file.path)
        if pin.kept_as is not None:
            places.append(_kept_or_original(root, pinned, pin, original))
            continue
        if same_table is None:
            same_table = _is_same_table(pinned)
        places.append(str(original) if same_table and _has_size(original, pin.file.size) else None)
    return places


def _kept_or_original(root: Root, pinned: Pinned, pin: PinnedFile, original: Path) -> str | None:
    assert pin.kept_as is not None
    file = pin.file
    if archive.same(pinned.table_id, file.path, file.size, pin.kept_as, original):
        return str(original)
    if root.local is not None and archive.intact(root, pinned.table_id, file.path, file.size, pin.kept_as):
        return str(root.local / pin.kept_as)
    return None


def _is_same_table(pinned: Pinned) -> bool:
    """Whether the table was not dropped and made again: with names like ``part-0.parquet`` sizes alone may deceive.

    A place without any table is trusted as far as sizes go: there is nothing that it could be mistaken for.
    """
    return source.table_id_at(pinned.uri, pinned.options) in (pinned.table_id, None)


def _has_size(place: Path, size: int) -> bool:
    try:
        return place.stat().st_size == size
    except (FileNotFoundError, NotADirectoryError):
        return False


def _find_remote(pinned: Pinned) -> list[str | None]:
    if not pinned.files or not _is_same_table(pinned):
        return [None for _ in pinned.files]
    import pyarrow.fs as pafs

    fs = source.filesystem(pinned.uri, pinned.options)
    names = [unquote(pin.file.path) for pin in pinned.files]
    with storage_errors(f"looking for the files of {pinned.uri}"):
        infos = fs.get_file_info(names)
    pairs = zip(names, pinned.files, infos, strict=True)
    return [n if i.type == pafs.FileType.File and i.size == pin.file.size else None for n, pin, i in pairs]
