"""What a snapshot of a folder does besides giving the list of its files."""

from functools import cached_property
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path
    from typing import BinaryIO

    from lakelineage.display.progress import Progress
    from lakelineage.snapshots.places import PinnedFile
    from lakelineage.snapshots.snapshot import Snapshot


class FolderVerbs:
    """The part of :class:`lakelineage.Snapshot` that is about files of folders."""

    @property
    def _snapshot(self) -> "Snapshot":
        return cast("Snapshot", self)

    @cached_property
    def contents(self) -> "tuple[PinnedFile, ...]":
        """The files of a pinned folder, sorted by path.

        Raises:
            InvalidInput: it is no folder.
        """
        from lakelineage.snapshots import folders, records

        own = self._snapshot
        if own._contents is not None:
            return own._contents
        folders.require(own)
        return records.contents_of(own.lake, own.id)

    @cached_property
    def contents_by_path(self) -> "Mapping[str, PinnedFile]":
        """The same by path, if it may be read: who reads many files one by one is asked once."""
        self.check_folder()
        return {pin.file.path: pin for pin in self.contents}

    def check_folder(self) -> None:
        """Refuse what only folders can do, and a folder of which files were forgotten.

        Raises:
            InvalidInput: it is no folder.
            SnapshotErased: files of it were forgotten on purpose.
        """
        from lakelineage.snapshots import folders, records

        folders.require(self._snapshot)
        records.refuse_erased(self._snapshot.lake, self._snapshot)

    def paths(self, where: str | None = None) -> list[str]:
        """Paths of the files of a pinned folder, relative to it, with ``/``, sorted.

        Args:
            where: condition on ``path``, ``size``, ``sha256`` and ``media_type``, instead of that of the pin.

        Raises:
            InvalidInput: it is no folder, or the condition cannot be understood.
            SnapshotLost: the list of files is gone.
        """
        from lakelineage.snapshots.folders import files

        return files.paths(self._snapshot, where)

    def read(self, path: str) -> bytes:
        """Content of a file of a pinned folder, which is what was pinned: its SHA-256 is compared.

        Args:
            path: relative to the folder, as :meth:`paths` gives it.

        Raises:
            InvalidInput: it is no folder.
            NotFound: it has no such file.
            SnapshotLost: the file is gone or was altered, and is not archived.
        """
        from lakelineage.snapshots.folders import files

        return files.read(self._snapshot.lake.root, self._snapshot, path)

    def open(self, path: str) -> "BinaryIO":
        """A file of a pinned folder, open for reading; the caller closes it. Errors as in :meth:`read`.

        All of it is read and compared before this returns, so that what is read is what was pinned; large files are
        spooled to a temporary file.
        """
        from lakelineage.snapshots.folders import files

        return files.open_file(self._snapshot.lake.root, self._snapshot, path)

    def download(
        self, target: "str | os.PathLike[str]", where: str | None = None, *, progress: "Progress" = None
    ) -> "Path":
        """Copy the files of a pinned folder to a folder of this machine.

        The copies may be edited: nothing that is pinned shares their content. A file that is there already and has the
        right content stays, so an interrupted call can be repeated; one with another content is replaced, and what
        the snapshot knows nothing of is left alone.

        Args:
            target: folder; made if it is not there.
            where: which files, as in :meth:`paths`.
            progress: True shows a bar; a function is called with the number of bytes done.

        Returns:
            The folder.

        Raises:
            InvalidInput: it is no folder, or the condition cannot be understood.
            SnapshotLost: files are gone or were altered, and are not archived; ``missing`` lists them. All others are
                copied.
        """
        from lakelineage.snapshots.folders import files

        return files.download(self._snapshot.lake.root, self._snapshot, target, where, progress)
