"""Models as artifacts of runs: logging them, and loading them by URI."""

import hashlib
import re
import tempfile
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakelineage.errors import AlreadyExists, ArtifactNotFound, InvalidInput, LakeDamaged, RunNotFound
from lakelineage.inference import mlflow_models
from lakelineage.inference.kept import KeptFolder
from lakelineage.inference.mlflow_models import LoadedModel
from lakelineage.inference.mlflow_saving import save
from lakelineage.inference.trust import Trust, allowed
from lakelineage.model import nodes, validate
from lakelineage.model.changes import Rows
from lakelineage.model.values import ModelStatus
from lakelineage.registry import sources
from lakelineage.registry.models import Models
from lakelineage.registry.names import RunUri, parse_uri
from lakelineage.registry.values import ModelVersion
from lakelineage.tables import ARTIFACTS, RUN_MODELS
from lakelineage.tracking import artifacts, logged_models
from lakelineage.tracking.logged_models import LoggedModelState

if TYPE_CHECKING:
    from lakelineage.engine import Engine

#: ``models:/m-…``: a logged model by its id.
_BY_ID = re.compile(r"models:/+(m-[0-9a-f]{32})/?")


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """A model among the artifacts of a run.

    Attributes:
        run_id: run that logged it.
        path: folder inside the run's artifacts.
        model_id: its id as a logged model; ``models:/<model id>`` names it in MLflow too.
    """

    run_id: str
    path: str
    model_id: str = field(default="", compare=False)

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
        run_id: run that made it; None if none is known.
        path: folder inside the artifacts of its owner; empty for all of them.
        name: registered model; None if the URI named a run or a logged model.
        version: of the registered model.
        model_id: logged model that has the files; None: the run has them.
        registered_model_id: id of the registered model.
        uri: where the files are, if they are not in the lake.
    """

    run_id: str | None
    path: str
    name: str | None = None
    version: int | None = None
    model_id: str | None = None
    registered_model_id: str | None = None
    uri: str | None = None

    @property
    def owner(self) -> str:
        """Whose artifacts its files are among: those of a logged model, or of the run."""
        return self.model_id or self.run_id or ""

    @property
    def node(self) -> str:
        """Node id in the lineage graph: of the version, or else of the files."""
        if self.registered_model_id is None:
            return str(nodes.artifact(self.owner, self.path))
        return str(nodes.model(self.registered_model_id, self.version))

    @property
    def label(self) -> str:
        """What it is called in messages."""
        if self.name is not None:
            return f"models:/{self.name}/{self.version}"
        return f"models:/{self.model_id}" if self.model_id else f"runs:/{self.run_id}/{self.path}"

    @property
    def folder(self) -> str:
        """Its files in the lake."""
        return f"{artifacts.folder(self.owner)}/{self.path}".rstrip("/")


def log_model(
    engine: "Engine", run_id: str, model: Any, path: str, *, signature: Any = None, input_example: Any = None
) -> LoggedModel:
    """Save a model among a run's artifacts, in the MLflow Models format. The caller has checked that the run is active.

    It is a logged model too, of the name ``path``, which MLflow shows and loads. The files are in place before any row
    tells of them; the rows land together. A call that dies between leaves files that nothing speaks of.

    Args:
        engine: the open lake.
        run_id: an active run.
        model: a fitted scikit-learn estimator, a model of XGBoost, LightGBM, ONNX or PyTorch, a callable of one data
            frame, or an ``mlflow.pyfunc.PythonModel``.
        path: folder inside the run's artifacts.
        signature: an ``mlflow.models.ModelSignature``; inferred from the example if not given.
        input_example: rows that the model predicts on; the first 100 are stored.

    Raises:
        AlreadyExists: the run has files at this path; a model, once logged, is not changed.
        InvalidInput: a path or model that cannot be.
        RunNotFound: there is no such run.
        MissingExtra: mlflow is not installed.
    """
    path = validate.artifact_path(path)
    place = f"{artifacts.folder(run_id)}/{path}"
    if engine.root.exists(place) or engine.root.list(place):
        raise AlreadyExists(f"run {run_id} has files at {path!r} already; log the model under another path")
    with tempfile.TemporaryDirectory(prefix="lakelineage-") as temporary:
        folder = Path(temporary, "model")
        save(model, folder, signature, input_example)
        run = engine.find_run(run_id, ("experiment_id",))
        if run is None:
            raise RunNotFound(f"no run has the id {run_id}; start one by lake.start_run()")
        named = [(file, f"{path}/{file.relative_to(folder).as_posix()}") for file in _files(folder)]
        rows = [_upload(engine, file, run_id, name) for file, name in named]
    state, change = logged_models.created(
        run["experiment_id"], path, artifact_location=place, source_run_id=run_id, status=ModelStatus.READY
    )
    made = RUN_MODELS.row(run_id=run_id, model_id=state.model_id, direction="output", step=0)
    engine.append((Rows(ARTIFACTS.name, tuple(rows)), *change, Rows(RUN_MODELS.name, (made,))))
    return LoggedModel(run_id, path, state.model_id)


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
        InvalidInput: no such URI, or the files are outside the lake.
        ModelNotFound: it names no version or logged model.
    """
    text = validate.text(getattr(uri, "uri", uri), "model URI")
    by_id = _BY_ID.fullmatch(text)
    if by_id is not None:
        return _of_logged(logged_models.get(engine, by_id[1]))
    parsed = parse_uri(text)
    if isinstance(parsed, RunUri):
        return _of_run(engine, parsed)
    return _of_version(engine, Models(engine).resolve(text))


def _of_version(engine: "Engine", chosen: ModelVersion) -> Located:
    """Where the files of a version are: in the lake, or (no rows tell of them) where they were when it was registered.

    Files may be of a run that did not make the version: whoever registered it named both.
    """
    named = (chosen.name, chosen.version)
    files, elsewhere = chosen.files, chosen.storage_location or chosen.source
    if files is None:
        return Located(chosen.run_id, "", *named, None, chosen.registered_model_id, elsewhere)
    made_by = chosen.run_id or sources.maker(engine, files)
    owner = None if files.name == made_by else files.name
    place = Located(made_by, files.part or "", *named, owner, chosen.registered_model_id)
    if elsewhere.startswith(("artifact:", "artifacts/")) or _logged_files(engine, place):
        return place
    return replace(place, uri=elsewhere)


def _of_run(engine: "Engine", uri: RunUri) -> Located:
    """Files of the run at the path; or else those of a logged model that the run made, of which the path is the name.

    MLflow keeps the files of a logged model apart from those of its run.
    """
    place = Located(uri.run_id, uri.path)
    if _logged_files(engine, place):
        return place
    name, _, path = uri.path.partition("/")
    found = logged_models.of_run(engine, uri.run_id, name)
    return place if found is None else _of_logged(found, path)


def _of_logged(found: LoggedModelState, path: str = "") -> Located:
    if not found.artifact_location.startswith("artifacts/"):
        raise _elsewhere(f"models:/{found.model_id}", found.artifact_location)
    node = found.node
    owner = node.name if logged_models.is_model_id(node.name) else None
    run_id = found.source_run_id if owner else node.name
    return Located(run_id, "/".join(filter(None, (node.part, path))), model_id=owner)


def _elsewhere(uri: str, place: str) -> InvalidInput:
    return InvalidInput(f"the files of {uri} are at {place}, outside the lake; load it with mlflow.pyfunc.load_model")


def load_model(engine: "Engine", uri: Any, trust: Trust = None) -> LoadedModel:
    """Load the model that ``models:/name/3``, ``models:/name@alias``, ``models:/m-…`` or ``runs:/<run>/<path>`` names.

    Its files are checked against what was logged before anything of them runs.

    Args:
        engine: the open lake.
        uri: which model.
        trust: what it may run when it is loaded, see :func:`lakelineage.inference.trust.allowed`.

    Raises:
        InvalidInput: no such URI or word of trust.
        NotTrusted: it would run something else.
        ModelNotFound, ArtifactNotFound: it names nothing.
        LakeDamaged: a file is gone or is not what was logged.
        MissingExtra: mlflow, or a package that the model needs, is not installed.
    """
    trusted = allowed(trust)
    return load_located(engine, uri if isinstance(uri, Located) else locate(engine, uri), trusted)


def load_located(engine: "Engine", place: Located, trusted: frozenset[str]) -> LoadedModel:
    """Load a model that was found already, if it runs nothing but what is trusted."""
    folder, keep = materialized(engine, place)
    return mlflow_models.load(folder, place.label, trusted, keep)


def materialized(engine: "Engine", place: Located) -> tuple[Path, AbstractContextManager[Any]]:
    """The files of a model in a local folder, as they were logged.

    Returns:
        The folder, and what has to live as long as the folder is wanted.

    Raises:
        ArtifactNotFound: there are none.
        LakeDamaged: a file is gone or is not what was logged.
    """
    if place.uri is not None:  # nothing tells whether it is what was registered
        keep = KeptFolder()
        return mlflow_models.fetch(place.uri, keep.path), keep
    logged = _logged_files(engine, place)
    if not logged:
        raise ArtifactNotFound(
            f"run {place.owner!r} logged no model at {place.path!r}; `lakelineage run` shows more"
            if place.model_id is None
            else f"logged model {place.model_id} has no files at {place.path or '/'!r}; were they written to the end?"
        )
    if engine.root.local is not None:
        folder = engine.root.local / place.folder
        _require_as_logged(folder, logged)
        return folder, nullcontext()
    keep = KeptFolder()
    folder = keep.path
    for name in logged:
        _download(engine, f"{place.folder}/{name}", folder / name)
    _require_as_logged(folder, logged)
    return folder, keep


def _logged_files(engine: "Engine", place: Located) -> dict[str, str]:
    """Paths below the model's folder, with the digest of each; empty if there are none."""
    prefix = f"{place.path}/" if place.path else ""
    rows = artifacts.listing(engine, place.owner).to_pylist()
    return {row["path"][len(prefix) :]: row["sha256"] for row in rows if row["path"].startswith(prefix)}


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
