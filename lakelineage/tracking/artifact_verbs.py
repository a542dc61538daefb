"""What can be done with the artifacts of a run that is being logged."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakelineage.engine import Engine
from lakelineage.errors import InvalidInput
from lakelineage.model import validate
from lakelineage.tracking import artifact_kinds, artifacts
from lakelineage.tracking.artifact import Artifact

if TYPE_CHECKING:
    import pyarrow as pa


class ArtifactVerbs(ABC):
    """Artifacts of an active run. What is logged at a path replaces what was there; a wrong call keeps nothing.

    Names and order of the arguments are those of MLflow where it has the verb.
    """

    _engine: Engine

    @property
    @abstractmethod
    def id(self) -> str:
        """Run id."""

    @abstractmethod
    def _check_active(self) -> None:
        """Raises RunFinished if the run has ended."""

    def log_artifact(self, local_path: str | Path, artifact_path: str | None = None) -> None:
        """Copy a file into the run's artifacts.

        Args:
            local_path: file.
            artifact_path: folder in the artifacts to put it in.

        Raises:
            InvalidPath: the artifact path leaves the run's folder.
            InvalidInput: there is no such file.
        """
        source = Path(local_path)
        if not source.is_file():
            raise InvalidInput(f"{str(source)!r} is no file; use log_artifacts for a folder")
        name = source.name if artifact_path is None else f"{artifact_path}/{source.name}"
        self._log_files([(source, name)])

    def log_artifacts(self, local_dir: str | Path, artifact_path: str | None = None) -> None:
        """Copy all files below a folder into the run's artifacts, keeping their relative paths."""
        folder = Path(local_dir)
        if not folder.is_dir():
            raise InvalidInput(f"{str(folder)!r} is no folder; use log_artifact for a file")
        files = sorted(f for f in folder.rglob("*") if f.is_file())
        prefix = "" if artifact_path is None else f"{artifact_path}/"
        self._log_files([(f, prefix + f.relative_to(folder).as_posix()) for f in files])

    def log_bytes(self, data: bytes, artifact_file: str) -> None:
        """Keep bytes as an artifact."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise InvalidInput(f"log_bytes takes bytes, not {type(data).__name__}; use log_text for text")
        self._log_bytes(bytes(data), artifact_file)

    def log_text(self, text: str, artifact_file: str) -> None:
        """Keep a text as an artifact (UTF-8)."""
        self._log_bytes(validate.text(text, "text", 1 << 30).encode(), artifact_file)

    def log_dict(self, dictionary: Mapping[str, Any] | list[Any], artifact_file: str) -> None:
        """Keep a dictionary or list as an artifact.

        Args:
            dictionary: anything that JSON can hold; NaN and infinities are written as Python writes them.
            artifact_file: ``.json``, ``.yaml`` or ``.yml``.

        Raises:
            InvalidInput: another extension, or a value that has no JSON.
            MissingExtra: YAML without PyYAML.
            RunFinished: the run has ended.
        """
        self._log_bytes(artifact_kinds.dictionary(dictionary, artifact_file), artifact_file)

    def log_figure(self, figure: Any, artifact_file: str, *, save_kwargs: Mapping[str, Any] | None = None) -> None:
        """Keep a figure of Matplotlib or Plotly as an artifact.

        Args:
            figure: Matplotlib ``Figure``, or Plotly figure.
            artifact_file: ``.png``, ``.svg``, ``.pdf`` or ``.jpg``; for Plotly also ``.html``, which holds all that it
                needs, and ``.json``.
            save_kwargs: for the library's own function that saves.

        Raises:
            InvalidInput: no such figure, or an extension that its library cannot write.
            MissingExtra: the library lacks what it needs to write this (Plotly needs kaleido for images).
            RunFinished: the run has ended.
        """
        self._log_bytes(artifact_kinds.figure(figure, artifact_file, save_kwargs), artifact_file)

    def log_image(
        self, image: Any, artifact_file: str | None = None, *, key: str | None = None, step: int | None = None
    ) -> None:
        """Keep an image as an artifact: at a path, or (with a key) as one of a series over steps.

        Args:
            image: array of height × width (× 1, 3 or 4 channels) of booleans, integers from 0 to 255 or floats from 0
                to 1, or a PIL image.
            artifact_file: ``.png``, ``.webp``, ``.tiff`` or ``.jpg`` (which alters pixels and has no transparency).
            key: name of a series, instead of a path: a PNG below ``images/``, named as MLflow names it.
            step: of the series; default 0.

        Raises:
            InvalidInput: no such image, both or none of path and key, or a step without a key.
            MissingExtra: Pillow is not installed.
            RunFinished: the run has ended.
        """
        path = artifact_kinds.image_path(artifact_file, key, step)
        self._log_bytes(artifact_kinds.image(image, path), path)

    def log_table(self, data: Any, artifact_file: str) -> None:
        """Keep a table as an artifact; it is read back by ``run.artifact(path).to_polars()``.

        Unlike MLflow's, it replaces a table that is there rather than add to it.

        Args:
            data: Arrow, Polars or pandas table, dict of columns, or list of dicts.
            artifact_file: ``.parquet`` (keeps types), ``.csv``, or ``.json`` (columns and rows, as MLflow writes it).

        Raises:
            InvalidInput: no table, another extension, or types that it cannot hold.
            RunFinished: the run has ended.
        """
        self._log_bytes(artifact_kinds.table(data, artifact_file), artifact_file)

    def list_artifacts(self, path: str | None = None) -> "pa.Table":
        """What is directly in a folder of the artifacts: path, is_dir, size in bytes. Default the top."""
        return artifacts.children(self._engine, self.id, path)

    def artifact(self, path: str) -> Artifact:
        """An artifact, of which nothing is read until it is asked for."""
        return Artifact(self._engine, self.id, path)

    def _log_bytes(self, data: bytes, artifact_file: str) -> None:
        path = validate.artifact_path(artifact_file)
        self._check_active()
        artifacts.keep_bytes(self._engine, self.id, data, path)

    def _log_files(self, files: Iterable[tuple[Path, str]]) -> None:
        checked = [(source, validate.artifact_path(path)) for source, path in files]
        self._check_active()
        artifacts.keep_files(self._engine, self.id, checked)
