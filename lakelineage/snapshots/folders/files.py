"""Reading the files of a pinned folder back. Whatever is handed out has the SHA-256 that was pinned."""

import difflib
import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, TypeVar, cast
from urllib.parse import quote

from lakelineage.display.progress import Progress, reporting
from lakelineage.errors import LakeDamaged, NotFound, SnapshotLost
from lakelineage.model import ids
from lakelineage.snapshots import archive
from lakelineage.snapshots.folders.content import Source
from lakelineage.snapshots.places import PinnedFile
from lakelineage.store import files
from lakelineage.store.root import Root, storage_errors

if TYPE_CHECKING:
    from lakelineage.snapshots.snapshot import Snapshot

T = TypeVar("T")

#: Bytes of an open file that are held in memory; more go to a temporary file.
_IN_MEMORY = 64 << 20
_THREADS = min(8, (os.cpu_count() or 1) + 2)
_AT_ONCE = 64


def paths(snapshot: "Snapshot", where: str | None) -> list[str]:
    """Paths of the files chosen. See :meth:`lakelineage.Snapshot.paths`."""
    return [pin.file.path for pin in _chosen(snapshot, where)]


def _chosen(snapshot: "Snapshot", where: str | None) -> tuple[PinnedFile, ...]:
    snapshot.check_folder()
    condition = snapshot.where if where is None else where
    if condition is None:
        return snapshot.contents
    wanted = set(snapshot.to_arrow(["path"], condition).column("path").to_pylist())
    return tuple(pin for pin in snapshot.contents if pin.file.path in wanted)


def read(root: Root, snapshot: "Snapshot", path: str) -> bytes:
    """Content of a file. See :meth:`lakelineage.Snapshot.read`."""
    out = io.BytesIO()
    _fill(root, snapshot, path, out)
    return out.getvalue()


def open_file(root: Root, snapshot: "Snapshot", path: str) -> BinaryIO:
    """A file, open for reading. See :meth:`lakelineage.Snapshot.open`."""
    out = tempfile.SpooledTemporaryFile(_IN_MEMORY, prefix="lakelineage-")  # noqa: SIM115 - the caller closes it
    try:
        _fill(root, snapshot, path, out)
    except BaseException:
        out.close()
        raise
    out.seek(0)
    return cast("BinaryIO", out)


def _fill(root: Root, snapshot: "Snapshot", path: str, out: IO[bytes]) -> None:
    pin = _named(snapshot, path)
    if not Source.of(snapshot).copy_verified(root, pin, out):
        raise _lost(snapshot, [path])


def _named(snapshot: "Snapshot", path: str) -> PinnedFile:
    found = snapshot.contents_by_path.get(path)
    if found is None:
        near = difflib.get_close_matches(str(path), list(snapshot.contents_by_path)[:2_000], 3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "paths() lists its files"
        raise NotFound(f"the folder {snapshot.origin}, as it was pinned, has no file {path!r}; {hint}")
    return found


def where_read(root: Root, snapshot: "Snapshot", *, read_all: bool = False) -> str:
    """Look whether every file can be read back.

    Args:
        root: the lake.
        snapshot: of a folder.
        read_all: compare every content; otherwise only where sizes and times do not tell.

    Returns:
        Where they are: ``folder``, ``archive`` or ``both``.

    Raises:
        SnapshotLost: files are gone or were altered; ``missing`` lists them.
    """
    snapshot.check_folder()
    source, pins = Source.of(snapshot), snapshot.contents
    originals = files.states(source.uri, source.options, [quote(pin.file.path) for pin in pins])
    kept = archive.states(root, [pin.kept_as or "" for pin in pins])

    def several(batch: Sequence[int]) -> list[str | None]:
        if read_all:
            return [source.find(root, pins[at]) for at in batch]
        return [source.where(root, pins[at], originals[at], kept[at]) for at in batch]

    with ThreadPoolExecutor(_THREADS) as pool:
        found = [where for batch in pool.map(several, _batches(range(len(pins)))) for where in batch]
    missing = [pin.file.path for pin, where in zip(pins, found, strict=True) if where is None]
    if missing:
        raise _lost(snapshot, missing)
    return "both" if len(set(found)) > 1 else str(found[0])


def download(
    root: Root, snapshot: "Snapshot", target: str | os.PathLike[str], where: str | None, progress: Progress
) -> Path:
    """Copy files out. See :meth:`lakelineage.Snapshot.download`."""
    chosen, source, folder = _chosen(snapshot, where), Source.of(snapshot), Path(target)
    _refuse_escapes(snapshot, chosen)
    with storage_errors(f"making {folder}"):
        folder.mkdir(parents=True, exist_ok=True)

    def several(pins: Sequence[PinnedFile]) -> list[str]:
        return [pin.file.path for pin in pins if not _downloaded(root, source, pin, folder / pin.file.path)]

    lost: list[str] = []
    done, total = 0, sum(pin.file.size for pin in chosen)
    with reporting(progress, "downloading", total, "B") as tell, ThreadPoolExecutor(_THREADS) as pool:
        batches = list(_batches(chosen))
        for batch, missing in zip(batches, pool.map(several, batches), strict=True):
            lost += missing
            done += sum(pin.file.size for pin in batch)
            if tell is not None:
                tell(done)
    if lost:
        raise _lost(snapshot, lost)
    return folder


def _refuse_escapes(snapshot: "Snapshot", pins: Sequence[PinnedFile]) -> None:
    """The lake may have been written by somebody else: what it says must not lead out of the user's folder."""
    for pin in pins:
        if pin.file.path.startswith("/") or ".." in pin.file.path.split("/"):
            raise LakeDamaged(f"snapshot {snapshot.id} has the path {pin.file.path!r}, which no pin of a folder has")


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]


def _downloaded(root: Root, source: Source, pin: PinnedFile, place: Path) -> bool:
    """Copy a file, whole or not at all; says whether its content is to be had."""
    if _is_there(pin, place):
        return True
    temporary = place.parent / f".lakelineage-{ids.new_id()}.part"
    with storage_errors(f"writing {place}"):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("w+b") as out:
                if not source.copy_verified(root, pin, out):
                    return False
            os.replace(temporary, place)
        finally:
            temporary.unlink(missing_ok=True)
    return True


def _is_there(pin: PinnedFile, place: Path) -> bool:
    with storage_errors(f"reading {place}"):
        if place.is_symlink() or not place.is_file() or place.stat().st_size != pin.file.size:
            return False
        return files.sha256(files.local_chunks(place)) == pin.sha256


def _lost(snapshot: "Snapshot", missing: Sequence[str]) -> SnapshotLost:
    shown = ", ".join(map(repr, missing[:10])) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
    kept = any(pin.kept_as is not None for pin in snapshot.contents)
    how = (
        "were overwritten in place, which reaches the hard links in the archive too (protection='archived' makes "
        "copies instead), or are damaged"
        if kept
        else "are gone or were altered, and are not archived (protection='archived' would have kept them)"
    )
    return SnapshotLost(
        f"snapshot {snapshot.id} of the folder {snapshot.origin}: {len(missing)} of {snapshot.num_files} files {how}: "
        f"{shown}. Restore them from a backup",
        tuple(missing),
    )
