"""Models as artifacts of runs: logging them, and loading them by URI."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakelineage.errors import AlreadyExists, ArtifactNotFound, LakeDamaged
from lakelineage.inference import mlflow_models
from lakelineage.inference.mlflow_models import LoadedModel
from lakelineage.model import nodes, validate
from lakelineage.model.changes import Rows
from lakelineage.model.values import Relation
from lakelineage.registry.models import Models
from lakelineage.registry.names import RunUri, parse_uri
from lakelineage.tables import ARTIFACTS, LINEAGE

if TYPE_CHECKING:
    from lakelineage.engine import Engine


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """A model among the artifacts of a run.

    Attributes:
        run_id: run that logged it.
        path: folder inside the run's artifacts.
    """

    run_id: str
    path: str

    @property
    def uri(self) -> str:
        """``runs:/<run id>/<path>``."""
        return f"runs:/{self.run_id}/{self.path}"

    @property
    def node(self) -> str:
        """Node id in the lineage graph."""
        return str(nodes.artifact(self.run_id, self.path))


@dataclass(frozen=True, slots=True)
class Located:
    """Where the model that a URI names is.

    Attributes:
        run_id: run that made it.
        path: folder inside the run's artifacts.
        name: registered model; None if the URI named a run.
        version: of the registered model.
    """

    run_id: str
    path: str
    name: str | None = None
    version: int | None = None

    @property
    def node(self) -> str:
        """Node id in the lineage graph: of the version, or else of the files."""
        if self.name is None:
            return str(nodes.artifact(self.run_id, self.path))
        return str(nodes.model(self.name, self.version))


def log_model(
    engine: "Engine", run_id: str, model: Any, path: str, *, signature: Any = None, input_example: Any = None
) -> LoggedModel:
    """Save a model among a run's artifacts, in the MLflow Models format. The caller has checked that the run is active.

    The files are in place before any row tells of them; the rows land together. A call that dies between leaves files
    that nothing speaks of.

    Args:
        engine: the open lake.
        run_id: an active run.
        model: a fitted scikit-learn estimator, a callable of one data frame, or an ``mlflow.pyfunc.PythonModel``.
        path: folder inside the run's artifacts.
        signature: an ``mlflow.models.ModelSignature``; inferred from the example if not given.
        input_example: rows that the model predicts on; the first 100 are stored.

    Raises:
        AlreadyExists: the run has files at this path; a model, once logged, is not changed.
        InvalidInput: a path or model that cannot be.
        MissingExtra: mlflow is not installed.
    """
    path = validate.artifact_path(path)
    place = f"artifacts/{run_id}/{path}"
    if engine.root.exists(place) or engine.root.list(place):
        raise AlreadyExists(f"run {run_id} has files at {path!r} already; log the model under another path")
    with tempfile.TemporaryDirectory(prefix="lakelineage-") as temporary:
        folder = Path(temporary, "model")
        mlflow_models.save(model, folder, signature, input_example)
        named = [(file, f"{path}/{file.relative_to(folder).as_posix()}") for file in _files(folder)]
        rows = [_upload(engine, file, run_id, name) for file, name in named]
    logged = LoggedModel(run_id, path)
    edge = LINEAGE.row(
        source=str(nodes.run(run_id)), target=logged.node, relation=Relation.GENERATED.value, run_id=run_id
    )
    engine.append((Rows(ARTIFACTS.name, tuple(rows)), Rows(LINEAGE.name, (edge,))))
    return logged


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _upload(engine: "Engine", file: Path, run_id: str, path: str) -> tuple[Any, ...]:
    engine.root.upload(file, f"artifacts/{run_id}/{path}")
    return ARTIFACTS.row(run_id=run_id, path=path, size=file.stat().st_size, sha256=_sha256(file))


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def locate(engine: "Engine", uri: Any) -> Located:
    """Find the model that a URI (or anything with one: a version, a logged model) names.

    Raises:
        InvalidInput: no such URI.
        ModelNotFound: it names no version.
    """
    text = validate.text(getattr(uri, "uri", uri), "model URI")
    parsed = parse_uri(text)
    if isinstance(parsed, RunUri):
        return Located(parsed.run_id, parsed.path)
    chosen = Models(engine).resolve(text)
    return Located(chosen.run_id, chosen.path, chosen.name, chosen.version)


def load_model(engine: "Engine", uri: Any) -> LoadedModel:
    """Load the model that ``models:/name/3``, ``models:/name@alias`` or ``runs:/<run id>/<path>`` names.

    Its files are checked against what was logged before anything of them runs.

    Raises:
        InvalidInput: no such URI.
        ModelNotFound, ArtifactNotFound: it names nothing.
        LakeDamaged: a file is gone or is not what was logged.
        MissingExtra: mlflow, or a package that the model needs, is not installed.
    """
    return load_located(engine, uri if isinstance(uri, Located) else locate(engine, uri))


def load_located(engine: "Engine", place: Located) -> LoadedModel:
    """Load a model that was found already."""
    logged = _logged_files(engine, place)
    if engine.root.local is not None:
        folder = engine.root.local / "artifacts" / place.run_id / place.path
        _require_as_logged(folder, logged)
        return mlflow_models.load(folder)
    keep = tempfile.TemporaryDirectory(prefix="lakelineage-")
    folder = Path(keep.name)
    for name in logged:
        _download(engine, f"artifacts/{place.run_id}/{place.path}/{name}", folder / name)
    _require_as_logged(folder, logged)
    return mlflow_models.load(folder, keep)


def _logged_files(engine: "Engine", place: Located) -> dict[str, str]:
    """Paths below the model's folder, with the digest of each."""
    rows = engine.query(
        "select path, sha256 from artifacts where run_id = ? and starts_with(path, ?) "
        "order by ingested_at, writer, seq",
        (place.run_id, f"{place.path}/"),
    ).to_pylist()
    if not rows:
        raise ArtifactNotFound(f"run {place.run_id!r} logged no model at {place.path!r}; `lakelineage run` shows more")
    return {row["path"][len(place.path) + 1 :]: row["sha256"] for row in rows}


def _download(engine: "Engine", path: str, target: Path) -> None:
    try:
        engine.root.download(path, target)
    except FileNotFoundError:
        return  # _require_as_logged names it


def _require_as_logged(folder: Path, logged: dict[str, str]) -> None:
    wrong = sorted(
        name for name, digest in logged.items() if not (folder / name).is_file() or _sha256(folder / name) != digest
    )
    strangers = sorted({file.relative_to(folder).as_posix() for file in _files(folder)} - logged.keys())
    if wrong or strangers:
        raise LakeDamaged(
            f"the model in {folder} is not what was logged: altered or gone {wrong}, never logged {strangers}; "
            "it is not loaded, restore the files or log the model again"
        )
