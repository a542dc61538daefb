"""What a host keeps of a lake on a local disk to be quick. Disposable; shared by the processes of the host."""

import hashlib
import os
import tempfile
from pathlib import Path

from lakelineage.store.delta import DataFile
from lakelineage.store.root import Root


class HostCache:
    """Folders for what can be made again, and local copies of a remote lake's files, which never change.

    Args:
        root: the lake.
        lake_id: its id.
    """

    def __init__(self, root: Root, lake_id: str) -> None:
        self._root = root
        self._lake_id = lake_id
        self._folder: Path | None = None

    def local_path(self, file: DataFile) -> str:
        """Path of a data file on this machine: itself in a local lake, else a copy that is made now if need be."""
        if self._root.local is not None:
            return file.path
        target = self._target(file)
        if not (target.exists() and target.stat().st_size == file.size):
            self._fetch(file.path.removeprefix(self._root.uri + "/"), target)
        return str(target)

    def folder(self, name: str) -> Path:
        """A folder for one kind of thing; it need not exist yet."""
        if self._folder is None:
            from platformdirs import user_cache_path

            given = os.environ.get("LAKELINEAGE_CACHE")
            base = Path(given).expanduser().absolute() if given else user_cache_path("lakelineage")
            self._folder = base / self._lake_id
        return self._folder / name

    def local_copy(self, path: str, sha256: str) -> Path:
        """A file of a remote lake on this machine, under its own name: copied now if its content is not here yet.

        Args:
            path: relative to the lake.
            sha256: hex digest that its content is to have; the caller checks it.

        Raises:
            FileNotFoundError: the lake has no such file.
        """
        target = self.folder("artifacts") / sha256 / path.rsplit("/", 1)[-1]
        if not target.exists():
            self._fetch(path, target)
        return target

    def _target(self, file: DataFile) -> Path:
        return self.folder("files") / (hashlib.sha256(file.path.encode()).hexdigest()[:32] + ".parquet")

    def _fetch(self, path: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent)
        os.close(handle)
        try:
            self._root.download(path, Path(name))
            os.replace(name, target)
        finally:
            Path(name).unlink(missing_ok=True)
