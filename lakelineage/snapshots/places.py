"""Where a pinned version's files are now: at their original place if they are what was pinned, else in the archive."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lakelineage.errors import InvalidInput, SnapshotLost
from lakelineage.snapshots import archive, loss, vectors
from lakelineage.store import files, source
from lakelineage.store.files import FileState
from lakelineage.store.root import Root
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


def find(root: Root, pinned: Pinned) -> list[str]:
    """Where each file is now.

    Returns:
        An absolute path on this machine; or, for tables on object stores, a path below the table, or the URI of a kept
        copy in a remote lake.

    Raises:
        SnapshotLost: files that are neither intact at their original place nor archived; ``missing`` lists them.
    """
    places = look(root, pinned)
    missing = tuple(pin.file.path for pin, place in zip(pinned.files, places, strict=True) if place is None)
    if missing:
        raise lost(pinned, missing)
    return [place for place in places if place is not None]


def look(root: Root, pinned: Pinned) -> list[str | None]:
    """Where each file is now, as :func:`find` tells; None for those that are lost."""
    paths = [pin.file.path for pin in pinned.files]
    there = files.states(pinned.uri, pinned.options, paths)
    judge = _Originals(pinned)
    places = [
        _original(pinned.uri, pin.file.path) if judge.is_pinned(pin, state) else None
        for pin, state in zip(pinned.files, there, strict=True)
    ]
    needed = [at for at, place in enumerate(places) if place is None and pinned.files[at].kept_as is not None]
    for at, place in zip(needed, kept_places(root, pinned, [pinned.files[at] for at in needed]), strict=True):
        places[at] = place
    for at, place in enumerate(places):
        if place is None and judge.has_pinned_content(pinned.files[at], there[at]):
            places[at] = _original(pinned.uri, paths[at])
    return places


def needed(pinned: Pinned) -> list[str]:
    """Paths of all files that a snapshot needs: data files and those of deletion vectors, as the log names them."""
    paths = [pin.file.path for pin in pinned.files]
    return [*paths, *dict.fromkeys(path for path in map(vector_of, pinned.files) if path is not None)]


def vector_of(pin: PinnedFile) -> str | None:
    """Path of the file that holds a pinned file's deletion vector, as the log names it; None if there is none."""
    text = pin.file.deletion_vector
    return None if text is None else vectors.file_of(text)


def not_original(pinned: Pinned) -> list[str]:
    """Paths of files that are no longer at their original place as they were pinned."""
    paths = needed(pinned)
    there = files.states(pinned.uri, pinned.options, paths)
    judge, count = _Originals(pinned), len(pinned.files)
    wrong = [path for path, state in zip(paths[count:], there[count:], strict=True) if state is None]
    for pin, state in zip(pinned.files, there[:count], strict=True):
        if not judge.is_pinned(pin, state):
            wrong.append(pin.file.path)
    return wrong


def lost(pinned: Pinned, missing: tuple[str, ...]) -> SnapshotLost:
    """The error that says which files are gone, and what became of them as far as the table's log still tells."""
    shown = ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
    removals = loss.explain(pinned, missing)
    return SnapshotLost(
        f"snapshot {pinned.snapshot_id} of {pinned.uri} (table {pinned.table_id}, version {pinned.version}): "
        f"{len(missing)} of {len(pinned.files)} files {_how_lost(pinned)}: {shown}. {loss.summary(removals)}. "
        "Restore them from a backup",
        missing,
        removals,
    )


def _how_lost(pinned: Pinned) -> str:
    if any(pin.kept_as is not None for pin in pinned.files):
        return "are gone or were overwritten in place, and so were their archived copies (hard links share content)"
    return "are gone or were altered, and are not archived (protection='archived' would have kept them)"


def altered(pinned: Pinned, wrong: tuple[str, ...]) -> SnapshotLost:
    """The error that says which files have another content than when their checksums were taken."""
    return SnapshotLost(
        f"snapshot {pinned.snapshot_id} of {pinned.uri} (version {pinned.version}): the content of {len(wrong)} of "
        f"{len(pinned.files)} files is not what it was when its checksum was taken: {', '.join(wrong[:10])}. Restore "
        "them from a backup",
        wrong,
    )


def digests(root: Root, pinned: Pinned, found: Sequence[str]) -> list[str]:
    """SHA-256 of files, in hex.

    Args:
        root: the lake.
        pinned: the snapshot.
        found: where its files are, as :func:`find` tells.
    """
    return [files.sha256(content(root, pinned, place)) for place in found]


def check_content(root: Root, pinned: Pinned) -> None:
    """Compare every byte with its checksum.

    Raises:
        SnapshotLost: files are gone, or their content is not what it was.
        InvalidInput: nobody took a checksum of some files yet.
    """
    unknown = [pin.file.path for pin in pinned.files if pin.sha256 is None]
    if unknown:
        raise InvalidInput(
            f"{len(unknown)} of {len(pinned.files)} files of snapshot {pinned.snapshot_id} have no checksum yet, since "
            "pinning reads no bytes: `lakelineage verify --depth checksums` (in Python lake.verify) takes them"
        )
    found = digests(root, pinned, find(root, pinned))
    pairs = zip(pinned.files, found, strict=True)
    wrong = tuple(pin.file.path for pin, digest in pairs if pin.sha256 != digest)
    if wrong:
        raise altered(pinned, wrong)


def content(root: Root, pinned: Pinned, place: str) -> Iterator[bytes]:
    """The content of a file, in chunks.

    Args:
        root: the lake.
        pinned: the snapshot.
        place: where the file is, as :func:`find` tells.
    """
    if place.startswith("/"):
        return files.local_chunks(place)
    if place.startswith(f"{root.uri}/"):
        return root.chunks(place.removeprefix(f"{root.uri}/"))
    return files.chunks(pinned.uri, pinned.options, place)


def kept_places(root: Root, pinned: Pinned, pins: Sequence[PinnedFile]) -> list[str | None]:
    """Where the kept copies of files are; None for those that are gone or damaged."""
    kept = [pin.kept_as or "" for pin in pins]
    states = archive.states(root, kept)
    return [
        root.child(name) if archive.intact(pinned.table_id, pin.file.path, pin.file.size, name, state) else None
        for pin, name, state in zip(pins, kept, states, strict=True)
    ]


def _original(uri: str, path: str) -> str:
    return files.local_place(uri, path) if source.is_local(uri) else files.remote_path(uri, path)


class _Originals:
    """Whether what is at the original place is what was pinned."""

    def __init__(self, pinned: Pinned) -> None:
        self._pinned = pinned
        self._same_table: bool | None = None

    def is_pinned(self, pin: PinnedFile, state: FileState | None) -> bool:
        """By what the store says: size, and etag or time of modification."""
        if state is None or state.size != pin.file.size:
            return False
        if pin.etag is not None and state.etag is not None:
            return pin.etag == state.etag
        if pin.modified is not None:
            return pin.modified == state.modified
        if pin.kept_as is not None and source.is_local(self._pinned.uri):
            return archive.address(self._pinned.table_id, pin.file.path, state) == pin.kept_as
        return self._is_same_table()

    def has_pinned_content(self, pin: PinnedFile, state: FileState | None) -> bool:
        """By its content, for a file with another time: restored from a backup, say."""
        if state is None or state.size != pin.file.size or pin.sha256 is None:
            return False
        return files.sha256(files.chunks(self._pinned.uri, self._pinned.options, pin.file.path)) == pin.sha256

    def _is_same_table(self) -> bool:
        """Whether the table was not dropped and made again: with names like ``part-0.parquet`` sizes may deceive.

        Lakes of older formats know no more of a file than its size. A place without any table is trusted as far as
        sizes go: there is nothing that it could be mistaken for.
        """
        if self._same_table is None:
            there = source.table_id_at(self._pinned.uri, self._pinned.options)
            self._same_table = there in (self._pinned.table_id, None)
        return self._same_table
