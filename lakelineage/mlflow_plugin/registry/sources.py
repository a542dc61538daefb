"""What a version is made of, as MLflow names it: a URI, perhaps a run, perhaps a logged model."""

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from mlflow.exceptions import MlflowException
from mlflow.store.artifact.utils.models import _parse_model_uri
from mlflow.tracking.client import MlflowClient

from lakelineage.engine import Engine
from lakelineage.errors import InvalidInput
from lakelineage.mlflow_plugin import places
from lakelineage.model import nodes
from lakelineage.model.nodes import Node
from lakelineage.registry import sources
from lakelineage.registry.names import RunUri, parse_uri
from lakelineage.registry.sources import Source
from lakelineage.tracking import logged_models

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.store.artifact.utils.models import ParsedModelUri

#: Name and version of a registered model → where its files are, its node, and the logged model that it is.
Downloads = Callable[[str | None, str | None], tuple[str, str, str | None]]


class Resolver:
    """Finds out where files are, and what made them.

    Args:
        engine: the open lake.
        store_uri: of the lake, as MLflow writes it.
        tracking_uri: where logged models are looked up that the lake does not have.
        downloads: of versions that are registered already.
    """

    def __init__(self, engine: Engine, store_uri: str, tracking_uri: str | None, downloads: Downloads) -> None:
        self._engine = engine
        self._store_uri = store_uri
        self._tracking_uri = tracking_uri
        self._downloads = downloads

    def resolved(self, uri: str, run_id: str | None, model_id: str | None) -> tuple[Source, str | None]:
        """What is to be registered; and the node of the version that it is a copy of, if it is one.

        Raises:
            MlflowException: the URI is none of a model, or what it names is not there.
        """
        place, own, copied = uri, model_id, None
        if urlparse(uri).scheme == "models":
            parsed = _parse_model_uri(uri)
            try:
                place, run_id, own, copied = self._of_model_uri(parsed, run_id, model_id)
            except Exception as error:  # whatever it is, MLflow's SQL store says so
                raise MlflowException(
                    f"Unable to fetch model from model URI source artifact location '{uri}'.Error: {error}"
                ) from error
        if not run_id and model_id:
            run_id = self._logged_model(model_id)[1]
        location = places.location_of(self._store_uri, place)
        node = self._node(location, run_id, own)
        return Source(location if node is None else str(node), run_id or None, own, location, uri), copied

    def _of_model_uri(
        self, parsed: "ParsedModelUri", run_id: str | None, model_id: str | None
    ) -> tuple[str, str | None, str | None, str | None]:
        if parsed.model_id is not None:
            place, made_by = self._logged_model(parsed.model_id)
            return place, run_id or made_by, parsed.model_id, None
        place, copied, of_copied = self._downloads(parsed.name, parsed.version)
        return place, run_id, model_id or of_copied, copied

    def _logged_model(self, model_id: str) -> tuple[str, str | None]:
        """Where a logged model is, and the run that made it: of this lake, or else of the tracking server."""
        found = logged_models.find(self._engine, model_id)
        if found is not None and found.lifecycle_stage == "active":
            uri = places.artifact_uri_of(self._store_uri, found.experiment_id, found.artifact_location)
            return uri, found.source_run_id
        elsewhere: LoggedModel = MlflowClient(tracking_uri=self._tracking_uri).get_logged_model(model_id)
        return elsewhere.artifact_location, elsewhere.source_run_id

    def _node(self, location: str, run_id: str | None, model_id: str | None) -> Node | None:
        """Node of the files: of the lake's, or of what a run or logged model of this lake keeps elsewhere."""
        if location.startswith("runs:/"):
            return self._node_of_run_uri(location)
        found = sources.node_at(self._engine, sources.location_of(self._engine, location))
        if found is not None:
            return found
        known = logged_models.find(self._engine, model_id) if model_id else None
        if known is not None and location.rstrip("/") == known.artifact_location.rstrip("/"):
            return known.node
        rows = self._engine.query(
            "SELECT artifact_uri FROM runs_history WHERE run_id = ? AND artifact_uri IS NOT NULL LIMIT 1", [run_id]
        ).to_pylist()
        root = f"{rows[0]['artifact_uri'].rstrip('/')}/" if rows else ""
        return nodes.artifact(str(run_id), location[len(root) :]) if root and location.startswith(root) else None

    def _node_of_run_uri(self, uri: str) -> Node | None:
        """Files of a run; or of a logged model that it made, of which the path is the name."""
        try:
            parsed = parse_uri(uri)
        except InvalidInput:  # MLflow registers what it cannot read, too
            return None
        if not isinstance(parsed, RunUri) or not self._is_run(parsed.run_id):
            return None
        name, _, inside = parsed.path.partition("/")
        found = logged_models.of_run(self._engine, parsed.run_id, name)
        if found is None:
            return nodes.artifact(parsed.run_id, parsed.path)
        node = found.node
        return nodes.artifact(node.name, "/".join(filter(None, (node.part, inside))))

    def _is_run(self, run_id: str) -> bool:
        return bool(self._engine.query("SELECT 1 FROM runs_history WHERE run_id = ? LIMIT 1", [run_id]).num_rows)
