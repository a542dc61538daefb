"""Where a lake is, and its plain files. Delta tables are in :mod:`lakelineage.store.delta`."""

import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from lakelineage.errors import InvalidInput, InvalidPath, StorageFailed, StorageFull

if TYPE_CHECKING:
    from obstore import ObjectMeta, UpdateVersion
    from obstore.store import ObjectStore

_CHUNK = 1 << 20
_REMOTE_SCHEMES = ("s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss")


@contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn the operating system's refusals into ours.

    Raises:
        StorageFull: no space, or the quota is used up.
        StorageFailed: any other refusal.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"{doing}: the disk is full; free some space and try again ({error})") from error
        raise StorageFailed(f"{doing}: {error}") from error


def sync_folder(folder: Path) -> None:
    """Make the entries of a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


#: Options of the HTTP client; deltalake takes them among the store's, with or without the store's prefix.
_CLIENT_OPTIONS = ("allow_http", "allow_invalid_certificates", "connect_timeout", "proxy_url", "timeout", "user_agent")
#: Options that only deltalake knows: how it commits and how it tries again.
_DELTA_OPTIONS = (
    "allow_unsafe_rename",
    "max_retries",
    "retry_timeout",
    "s3_allow_unsafe_rename",
    "s3_locking_provider",
)


def split_options(options: Mapping[str, str]) -> tuple[Any, Any]:
    """Storage options, as deltalake takes them, for the object store's client.

    Returns:
        Its configuration, and the options of its HTTP client.
    """
    config: dict[str, str] = {}
    client: dict[str, str | bool] = {}
    for key, value in options.items():
        plain = key.lower().removeprefix("aws_").removeprefix("azure_").removeprefix("google_")
        if plain in _CLIENT_OPTIONS:
            client[plain] = value.lower() == "true" if plain.startswith("allow_") else value
        elif plain not in _DELTA_OPTIONS:
            config[key.lower()] = value
    return config, client


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """A file of a lake.

    Attributes:
        path: relative to the lake.
        size: bytes.
        changed: when it was written or put there, seconds since 1970.
        etag: version that an object store gave it; None on a disk.
    """

    path: str
    size: int
    changed: float
    etag: str | None = None


class Root:
    """A lake's place: a local folder or an object-store URI.

    Paths given to the methods are relative to the lake, with ``/``.

    Args:
        uri: folder, ``file://`` URI, or ``s3://``, ``gs://``, ``az://`` URI.
        storage_options: credentials and endpoint, as deltalake takes them.

    Raises:
        InvalidInput: a scheme that is not supported.
    """

    def __init__(self, uri: str | os.PathLike[str], storage_options: Mapping[str, str] | None = None) -> None:
        text = os.fspath(uri)
        scheme = urlsplit(text).scheme if "://" in text else ""
        self.storage_options: dict[str, str] = dict(storage_options or {})
        self.local: Path | None = None
        if scheme in ("", "file"):
            plain = unquote(urlsplit(text).path) if scheme else text
            if scheme and urlsplit(text).netloc not in ("", "localhost"):
                raise InvalidInput(f"{text!r} names the host {urlsplit(text).netloc!r}; write file:///absolute/path")
            if not plain.strip():
                raise InvalidInput("the lake's path is empty; name a folder or an object-store URI")
            self.local = Path(plain).expanduser().absolute()
            if "\\" in str(self.local) or re.search("%[0-9A-Fa-f]{2}", str(self.local)):
                raise InvalidPath(f"{plain!r} has a backslash or %-escape, which the Delta engine misreads; rename it")
            self.uri = str(self.local)
        elif scheme in _REMOTE_SCHEMES:
            self.uri = text.rstrip("/")
        else:
            raise InvalidInput(f"{text!r} has the scheme {scheme!r}; a lake is a folder, or {_REMOTE_SCHEMES}")
        self._store: ObjectStore | None = None

    def __repr__(self) -> str:
        return f"Root({self.uri!r})"

    def child(self, *parts: str) -> str:
        """Path or URI of something inside, as deltalake and other readers take it."""
        return "/".join((self.uri.rstrip("/"), *parts))

    def _path(self, path: str) -> Path:
        assert self.local is not None
        if path.startswith("/") or ".." in path.split("/"):
            raise InvalidPath(f"{path!r} leaves the lake; use a path below it")
        return self.local / path

    @property
    def _remote(self) -> "ObjectStore":
        if self._store is None:
            from obstore.store import from_url

            config, client = split_options(self.storage_options)
            self._store = from_url(self.uri, config=config, client_options=client)
        return self._store

    def exists(self, path: str) -> bool:
        """Whether there is a file at the path."""
        if self.local is not None:
            return self._path(path).is_file()
        try:
            with _remote_errors(f"looking for {self.child(path)}"):
                self._remote.head(path)
        except FileNotFoundError:
            return False
        return True

    def state(self, path: str) -> Entry | None:
        """What the object store says of a file; None if there is none."""
        try:
            with _remote_errors(f"looking for {self.child(path)}"):
                return _entry(self._remote.head(path))
        except FileNotFoundError:
            return None

    def chunks(self, path: str) -> Iterator[bytes]:
        """Content of a file, piece by piece.

        Raises:
            FileNotFoundError: there is none.
        """
        if self.local is not None:
            with self._path(path).open("rb", buffering=0) as file:
                while chunk := file.read(_CHUNK):
                    yield chunk
            return
        with _remote_errors(f"reading {self.child(path)}"):
            for part in self._remote.get(path):
                yield bytes(part)

    def remove(self, path: str) -> None:
        """Remove a file; no error if there is none."""
        if self.local is not None:
            with storage_errors(f"removing {self.child(path)}"):
                self._path(path).unlink(missing_ok=True)
            return
        with suppress(FileNotFoundError), _remote_errors(f"removing {self.child(path)}"):
            self._remote.delete(path)

    def read(self, path: str) -> bytes:
        """Content of a file.

        Raises:
            FileNotFoundError: there is none.
        """
        if self.local is not None:
            return self._path(path).read_bytes()
        with _remote_errors(f"reading {self.child(path)}"):
            return bytes(self._remote.get(path).bytes())

    def write(self, path: str, data: bytes) -> None:
        """Write a file, whole or not at all; durable when it returns."""
        if self.local is None:
            with _remote_errors(f"writing {self.child(path)}"):
                self._remote.put(path, data)
            return
        with self._new_file(path) as (temporary, target):
            temporary.write_bytes(data)
            _sync_file(temporary)
            os.replace(temporary, target)
            sync_folder(target.parent)

    def write_new(self, path: str, data: bytes) -> bool:
        """Write a file if there is none yet, whole or not at all.

        Returns:
            Whether it was written; False leaves the file that is there.
        """
        if self.local is None:
            from obstore.exceptions import AlreadyExistsError

            try:
                with _remote_errors(f"writing {self.child(path)}"):
                    self._remote.put(path, data, mode="create")
            except AlreadyExistsError:
                return False
            return True
        with self._new_file(path) as (temporary, target):
            temporary.write_bytes(data)
            _sync_file(temporary)
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
            sync_folder(target.parent)
        return True

    def read_tagged(self, path: str) -> "tuple[bytes, UpdateVersion | None]":
        """Content of a file, and what :meth:`replace` needs in order to replace just this content.

        Raises:
            FileNotFoundError: there is none.
        """
        if self.local is not None:
            return self.read(path), None
        with _remote_errors(f"reading {self.child(path)}"):
            found = self._remote.get(path)
            tag: UpdateVersion = {}
            if found.meta["e_tag"]:
                tag["e_tag"] = found.meta["e_tag"]
            if found.meta["version"]:
                tag["version"] = found.meta["version"]
            return bytes(found.bytes()), tag

    def replace(self, path: str, data: bytes, tag: "UpdateVersion | None") -> bool:
        """Replace a file, whole or not at all, if nobody else has meanwhile.

        Local file systems have no such condition: there the caller holds a lease.

        Args:
            path: of the file.
            data: its new content.
            tag: as :meth:`read_tagged` gave it.

        Returns:
            Whether it was replaced; False leaves what another writer made of it.
        """
        if tag is None:
            self.write(path, data)
            return True
        from obstore.exceptions import PreconditionError

        try:
            with _remote_errors(f"writing {self.child(path)}"):
                self._remote.put(path, data, mode=tag)
        except PreconditionError:
            return False
        return True

    def upload(self, source: Path, path: str) -> None:
        """Copy a local file into the lake, whole or not at all; durable when it returns."""
        if self.local is None:
            with _remote_errors(f"writing {self.child(path)}"):
                self._remote.put(path, source)
            return
        with self._new_file(path) as (temporary, target):
            shutil.copyfile(source, temporary)
            _sync_file(temporary)
            os.replace(temporary, target)
            sync_folder(target.parent)

    def copy_inside(self, uri: str, path: str, target: str) -> bool:
        """Copy a file of the lake's own object store into the lake, without moving it through this machine.

        Args:
            uri: of a table or folder.
            path: of the file below it.
            target: path below the lake.

        Returns:
            Whether that is possible here: both are in one bucket or container.

        Raises:
            FileNotFoundError: there is no such file.
        """
        ours, theirs = urlsplit(self.uri), urlsplit(uri)
        if self.local is not None or (ours.scheme, ours.netloc) != (theirs.scheme, theirs.netloc):
            return False
        bucket = Root(f"{ours.scheme}://{ours.netloc}", self.storage_options)
        with _remote_errors(f"copying {uri}/{path}"):
            bucket._remote.copy(f"{theirs.path}/{path}".lstrip("/"), f"{ours.path}/{target}".lstrip("/"))
        return True

    def link(self, existing: Path, path: str, *, sync: bool) -> bool:
        """Give a file of this local lake a second name: a hard link, which takes no space.

        Args:
            existing: the file.
            path: its second name; nothing is there yet.
            sync: make the name durable before returning.

        Returns:
            Whether it was made; False if the file system has no hard links, or one file has too many.
        """
        target = self._path(path)
        with storage_errors(f"writing {target}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(existing, target)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise
                return False
            if sync:
                sync_folder(target.parent)
        return True

    def download(self, path: str, target: Path) -> None:
        """Copy a file of the lake to a local one.

        Raises:
            FileNotFoundError: there is none.
        """
        if self.local is not None and not self._path(path).exists():
            raise FileNotFoundError(self.child(path))  # and not what storage_errors makes of it
        target.parent.mkdir(parents=True, exist_ok=True)
        with storage_errors(f"writing {target}"):
            if self.local is not None:
                shutil.copyfile(self._path(path), target)
                return
            with _remote_errors(f"reading {self.child(path)}"), target.open("wb") as out:
                for chunk in self._remote.get(path):
                    out.write(bytes(chunk))

    def walk(self, prefix: str) -> list[Entry]:
        """Files below a folder, recursively, sorted by path; empty if there is no such folder."""
        if self.local is None:
            with _remote_errors(f"listing {self.child(prefix)}"):
                found = [meta for batch in self._remote.list(prefix) for meta in batch]
            return sorted(_entry(meta) for meta in found)
        entries = []
        for file in self._path(prefix).rglob("*"):
            try:
                state = file.stat()
            except FileNotFoundError:
                continue  # removed while we were looking, or a link to nowhere
            if stat.S_ISREG(state.st_mode):
                path = file.relative_to(self.local).as_posix()
                entries.append(Entry(path, state.st_size, max(state.st_mtime, state.st_ctime)))
        return sorted(entries)

    def list(self, prefix: str) -> list[tuple[str, int]]:
        """Files below a folder, recursively.

        Returns:
            (path, size in bytes), sorted by path; empty if there is no such folder.
        """
        return [(entry.path, entry.size) for entry in self.walk(prefix)]

    @contextmanager
    def _new_file(self, path: str) -> Iterator[tuple[Path, Path]]:
        target = self._path(path)
        with storage_errors(f"writing {target}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=".new-")
            os.close(handle)
            os.chmod(name, 0o666 & ~_umask())
            try:
                yield Path(name), target
            finally:
                Path(name).unlink(missing_ok=True)


def _entry(meta: "ObjectMeta") -> Entry:
    return Entry(meta["path"], meta["size"], meta["last_modified"].timestamp(), meta["e_tag"])


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def _remote_errors(doing: str) -> Iterator[None]:
    from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

    try:
        yield
    except (FileNotFoundError, AlreadyExistsError, PreconditionError):
        raise
    except (BaseError, OSError) as error:
        raise StorageFailed(f"{doing}: {error}") from error
