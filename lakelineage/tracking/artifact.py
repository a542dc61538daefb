"""One logged file, read when it is asked for."""

import hashlib
import json
import os
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from lakelineage.engine import Reads
from lakelineage.errors import ArtifactNotFound, InvalidInput, LakeDamaged
from lakelineage.model import validate
from lakelineage.store.root import storage_errors

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa


class Artifact:
    """A file that a run logged. Nothing is read until it is asked for; what is read is checked to be what was logged.

    Args:
        engine: the open lake.
        run_id: the run.
        path: path in its artifacts.
        recorded: size in bytes and digest, if they are known.

    Raises:
        InvalidPath: the path leaves the artifacts.
    """

    def __init__(self, engine: Reads, run_id: str, path: str, recorded: tuple[int, str] | None = None) -> None:
        self._engine = engine
        self.run_id = run_id
        self.path = validate.artifact_path(path)
        if recorded is not None:
            self._recorded = recorded

    @cached_property
    def _recorded(self) -> tuple[int, str]:
        found = self._engine.query(
            "SELECT size, sha256, deleted FROM artifacts WHERE run_id = ? AND path = ? "
            "ORDER BY ingested_at DESC, writer DESC, seq DESC LIMIT 1",
            [self.run_id, self.path],
        ).to_pylist()
        if not found or found[0]["deleted"]:
            raise ArtifactNotFound(
                f"run {self.run_id} has no artifact {self.path!r}; `lakelineage artifacts {self.run_id}` lists those "
                "it has"
            )
        return int(found[0]["size"]), str(found[0]["sha256"])

    @property
    def name(self) -> str:
        """Last part of the path."""
        return PurePosixPath(self.path).name

    @property
    def size(self) -> int:
        """Bytes.

        Raises:
            ArtifactNotFound: the run has no such file. So does everything below.
        """
        return self._recorded[0]

    @property
    def sha256(self) -> str:
        """Hex digest of the content."""
        return self._recorded[1]

    @property
    def _place(self) -> str:
        return f"artifacts/{self.run_id}/{self.path}"

    def read_bytes(self) -> bytes:
        """The content.

        Raises:
            LakeDamaged: it is gone, or is not what was logged. So does everything below.
        """
        expected = self.sha256
        try:
            data = self._engine.root.read(self._place)
        except FileNotFoundError as error:
            raise self._gone() from error
        self._require(hashlib.sha256(data).hexdigest(), expected)
        return data

    def read_text(self) -> str:
        """The content as text (UTF-8).

        Raises:
            InvalidInput: it is no text.
        """
        try:
            return self.read_bytes().decode()
        except UnicodeDecodeError as error:
            raise InvalidInput(f"artifact {self.path!r} is no text: {error}; use read_bytes") from error

    def json(self) -> Any:
        """The value that a JSON file holds.

        Raises:
            InvalidInput: it is no JSON.
        """
        try:
            return json.loads(self.read_bytes())
        except ValueError as error:
            raise InvalidInput(f"artifact {self.path!r} is no JSON: {error}") from error

    def to_arrow(self) -> "pa.Table":
        """A Parquet, CSV or JSON table as Arrow.

        Raises:
            InvalidInput: it is no table.
        """
        from lakelineage.tracking.artifact_kinds import read_table

        return read_table(self.read_bytes(), self.path)

    def to_polars(self) -> "pl.DataFrame":
        """A Parquet, CSV or JSON table as Polars. See :meth:`to_arrow`."""
        import polars as pl

        found = pl.from_arrow(self.to_arrow())
        assert isinstance(found, pl.DataFrame)
        return found

    def open(self) -> BinaryIO:
        """The content as a file that is open for reading; the caller closes it."""
        return self.local_path().open("rb")

    def local_path(self) -> Path:
        """A file on this machine with the content: in a local lake the artifact itself, else a copy in the cache.

        It is there for reading; to change something, :meth:`download` it.
        """
        if self._engine.root.local is not None:
            self.size  # noqa: B018 - an artifact that was never logged is said so
            file = self._engine.root.local / self._place
        else:
            try:
                file = self._engine.cache.local_copy(self._place, self.sha256)
            except FileNotFoundError as error:
                raise self._gone() from error
        try:
            self._require(_digest(file), self.sha256)
        except FileNotFoundError as error:
            raise self._gone() from error
        except LakeDamaged:
            if self._engine.root.local is None:
                file.unlink(missing_ok=True)  # the copy may be what is damaged: the next call makes a new one
            raise
        return file

    def download(self, target: str | os.PathLike[str]) -> Path:
        """Copy it to a file, or under its own name into a folder that exists.

        Returns:
            The file, which is there whole or not at all.
        """
        place = Path(target)
        return self.copy_to(place / self.name if place.is_dir() else place)

    def copy_to(self, place: Path) -> Path:
        """Copy it to a file of just this name, which replaces what is there."""
        self.size  # noqa: B018 - nothing is made for an artifact that was never logged
        temporary = place.with_name(f".{place.name[:100]}.{os.getpid()}.part")
        with storage_errors(f"writing {place}"):
            place.parent.mkdir(parents=True, exist_ok=True)
        try:
            try:
                self._engine.root.download(self._place, temporary)
            except FileNotFoundError as error:
                raise self._gone() from error
            self._require(_digest(temporary), self.sha256)
            with storage_errors(f"writing {place}"):
                os.replace(temporary, place)
        finally:
            temporary.unlink(missing_ok=True)
        return place

    def _require(self, found: str, expected: str) -> None:
        if found != expected:
            raise LakeDamaged(
                f"artifact {self.path!r} of run {self.run_id} is not what was logged (its SHA-256 is {found}, not "
                f"{expected}); restore {self._engine.root.child(self._place)} from a backup, or log it again"
            )

    def _gone(self) -> LakeDamaged:
        return LakeDamaged(
            f"artifact {self.path!r} of run {self.run_id} was logged, but {self._engine.root.child(self._place)} is "
            "gone; restore it from a backup, or log it again"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.run_id}/{self.path}>"


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
