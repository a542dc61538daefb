"""Artifacts of runs and logged models that are in a lake, as MLflow reads and writes them."""

import posixpath
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST
from mlflow.store.artifact.artifact_repo import ArtifactRepository, verify_artifact_path

from lakelineage.errors import ArtifactNotFound, LakeDamaged
from lakelineage.mlflow_plugin import lakes, places
from lakelineage.mlflow_plugin.errors import speaks_mlflow
from lakelineage.mlflow_plugin.places import Place
from lakelineage.model import validate
from lakelineage.tracking import artifacts
from lakelineage.tracking.artifact import Artifact

if TYPE_CHECKING:
    from lakelineage.engine import Engine

#: Seconds between looks at a file that is being replaced: its content and its row change one after the other.
_PAUSES = (0.02, 0.1, 0.5)


@speaks_mlflow(ArtifactRepository)
class LakeArtifactRepository(ArtifactRepository):
    """Artifacts that are in a lake. What is logged at a path replaces what was there, as in MLflow's own repositories.

    Files are recorded in the table ``artifacts`` with their size and SHA-256, which is checked when they are read.

    Args:
        artifact_uri: ``<URI of a lake>/artifacts/<run or logged model>[/<path>]``. The lake itself, or its
            ``/artifacts``, is the destination of an MLflow server: paths are then as such a server makes them.
        tracking_uri: not needed; the URI tells the lake.
        registry_uri: likewise.

    Raises:
        MlflowException: there is no such lake.
    """

    def __init__(self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> None:
        super().__init__(artifact_uri, tracking_uri, registry_uri)
        self._lake_uri, self._own = places.split(artifact_uri)

    @property
    def _engine(self) -> "Engine":
        return lakes.opened(self._lake_uri).engine

    def _place(self, path: str | None) -> Place | None:
        """What a path of MLflow's means; None for what can be no artifact."""
        given = "" if path is None else path.strip("/")
        if self._own is None:
            place = places.of_served(given)
        else:
            place = Place(self._own.owner, posixpath.join(self._own.path, given).strip("/"))
        if place is None or place.path in ("", "."):
            return place and Place(place.owner)
        return Place(place.owner, validate.artifact_path(place.path))

    def _writable(self, path: str | None) -> Place:
        place = self._place(path)
        if place is None:
            raise MlflowException(
                f"Invalid artifact path: {path!r}. A lake keeps artifacts of runs and logged models: "
                "<experiment>/<run>/artifacts/<path>, <experiment>/models/<logged model>/artifacts/<path>",
                INVALID_PARAMETER_VALUE,
            )
        return place

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """Keep a local file in a folder of the artifacts."""
        verify_artifact_path(artifact_path)
        source = Path(local_file)
        self._keep(self._writable(artifact_path), [(source, source.name)])

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        """Keep all files below a local folder in a folder of the artifacts."""
        verify_artifact_path(artifact_path)
        folder = Path(local_dir)
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        self._keep(self._writable(artifact_path), [(file, file.relative_to(folder).as_posix()) for file in files])

    def _keep(self, place: Place, files: list[tuple[Path, str]]) -> None:
        named = [(file, validate.artifact_path(posixpath.join(place.path, name))) for file, name in files]
        artifacts.keep_files(self._engine, place.owner, named, into_models=True)

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """What is directly in a folder of the artifacts, by path; nothing of a file, or where there is nothing."""
        place = self._place(path)
        if place is None:
            return []
        try:
            found = artifacts.children(self._engine, place.owner, place.path).to_pylist()
        except ArtifactNotFound:
            return []
        folder = "" if path in (None, "", ".", "/") else posixpath.normpath(str(path)).strip("/")
        return [
            FileInfo(posixpath.join(folder, posixpath.basename(row["path"])), row["is_dir"], row["size"])
            for row in found
            if row["path"] != place.path
        ]

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        place = self._place(remote_file_path)
        if place is None or not place.path:
            raise _no_such(remote_file_path)
        for pause in (*_PAUSES, None):
            try:
                Artifact(self._engine, place.owner, place.path).copy_to(Path(local_path))
                return
            except ArtifactNotFound as error:
                raise _no_such(remote_file_path) from error
            except LakeDamaged:
                if pause is None:
                    raise
                time.sleep(pause)

    def get_local_path(self, artifact_path: str) -> str | None:
        """The file or folder itself, if the lake is on a disk of this machine: a server then sends it as it is."""
        place = self._place(artifact_path)
        local = self._engine.root.local
        if local is None:
            return None
        file = None if place is None else local / place.location
        if file is None or not file.exists():
            raise _no_such(artifact_path)
        return str(file)

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Delete a file, all below a folder, or (without a path) all artifacts of the run or logged model."""
        place = self._writable(artifact_path)
        artifacts.delete(self._engine, place.owner, place.path)


def _no_such(path: str) -> MlflowException:
    return MlflowException(f"No such artifact: '{path}'", RESOURCE_DOES_NOT_EXIST)
