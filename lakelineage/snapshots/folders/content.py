"""Where the content of a pinned folder's file is to be had; what is handed out is verified by its SHA-256."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from lakelineage.errors import StorageFailed
from lakelineage.snapshots.places import PinnedFile
from lakelineage.store import files
from lakelineage.store.files import FileState
from lakelineage.store.root import Root, storage_errors

if TYPE_CHECKING:
    from lakelineage.snapshots.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Source:
    """The folder that was pinned.

    Attributes:
        uri: absolute path, or object-store URI.
        options: storage options.
    """

    uri: str
    options: Mapping[str, str] | None

    @classmethod
    def of(cls, snapshot: "Snapshot") -> "Source":
        """Of a snapshot of a folder."""
        return cls(str(snapshot.origin), snapshot._options)

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return "://" not in self.uri

    def place(self, pin: PinnedFile) -> str:
        """Where a file is."""
        return f"{self.uri.rstrip('/')}/{pin.file.path}"

    def state(self, pin: PinnedFile) -> FileState | None:
        """What the store says of a file; None if it is not there."""
        if self.is_local:
            return files.local_state(self.place(pin))
        entry = Root(self.uri, self.options).state(pin.file.path)
        return None if entry is None else FileState(entry.size, int(entry.changed * 1_000_000), entry.etag)

    def copy_verified(self, root: Root, pin: PinnedFile, out: IO[bytes]) -> bool:
        """Write the pinned content of a file; see :meth:`find` for where it is taken from.

        Args:
            root: the lake.
            pin: the file.
            out: an empty file, open for writing at will.

        Returns:
            Whether it is to be had. If not, what was written is no content.

        Raises:
            StorageFailed: the store of the folder cannot be reached, and the content is not archived.
        """
        return self.find(root, pin, out) is not None

    def find(self, root: Root, pin: PinnedFile, out: IO[bytes] | None = None) -> str | None:
        """Read the pinned content of a file, and tell where it is.

        It is taken from its original place, if it has not changed there since, or the archive, or its original place
        after all: a file that was restored from a backup has another time.

        Returns:
            ``folder`` or ``archive``; None if it is to be had nowhere.
        """
        failed: StorageFailed | None = None
        for where, content in self._candidates(root, pin):
            if out is not None:
                out.seek(0)
                out.truncate()
            try:
                if _is_pinned(content, pin, out):
                    return where
            except StorageFailed as error:
                failed = error
        if failed is not None:
            raise failed
        return None

    def where(self, root: Root, pin: PinnedFile, original: FileState | None, kept: FileState | None) -> str | None:
        """Where a file is, as :meth:`find` tells; content is read only where sizes and times do not tell.

        Args:
            root: the lake.
            pin: the file.
            original: what the store of the folder says of it.
            kept: what the lake's store says of the kept file.
        """
        if original is not None and original.size == pin.file.size and _same_time(original, pin):
            return "folder"
        if kept is not None and kept.size == pin.file.size and (kept.links == 1 or kept.modified == pin.modified):
            return "archive"
        return self.find(root, pin)

    def _candidates(self, root: Root, pin: PinnedFile) -> Iterator[tuple[str, Iterator[bytes]]]:
        state = self._state_of_content(pin)
        unchanged = state is not None and _same_time(state, pin)
        if unchanged:
            yield "folder", self._original(pin)
        if pin.kept_as is not None:
            yield "archive", root.chunks(pin.kept_as)
        if state is not None and not unchanged:
            yield "folder", self._original(pin)

    def _state_of_content(self, pin: PinnedFile) -> FileState | None:
        """What the store says of a file that may have the pinned content; None if there is none."""
        if self.is_local and not os.path.isfile(self.place(pin)):
            return None  # a pipe, say, would be waited for
        try:
            state = self.state(pin)
        except (OSError, StorageFailed):
            if pin.kept_as is None:
                raise
            return None
        return state if state is not None and state.size == pin.file.size else None

    def _original(self, pin: PinnedFile) -> Iterator[bytes]:
        if not self.is_local:
            return Root(self.uri, self.options).chunks(pin.file.path)
        return files.local_chunks(self.place(pin))


def _same_time(state: FileState, pin: PinnedFile) -> bool:
    return state.etag == pin.etag if pin.etag is not None else state.modified == pin.modified


def _is_pinned(content: Iterator[bytes], pin: PinnedFile, out: IO[bytes] | None) -> bool:
    """Whether a content is the pinned one; it is copied on the way."""
    digest = hashlib.sha256()
    with storage_errors(f"copying {pin.file.path}"):
        try:
            for chunk in content:
                digest.update(chunk)
                if out is not None:
                    out.write(chunk)
        except FileNotFoundError:
            return False
    return digest.hexdigest() == pin.sha256
