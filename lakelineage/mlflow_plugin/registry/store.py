"""The model registry over a lake, put together of its parts."""

from mlflow.store.model_registry.abstract_store import AbstractStore

from lakelineage.mlflow_plugin import uris
from lakelineage.mlflow_plugin.errors import speaks_mlflow
from lakelineage.mlflow_plugin.registry.versions import VersionsPart
from lakelineage.mlflow_plugin.unsupported import nothing, refusing

#: Asked for by every act on the registry, and by pages of the user interface.
_LISTINGS = {"list_webhooks": nothing, "list_webhooks_by_event": nothing, "search_prompts": nothing}
#: What MLflow's abstract class does for every store, by the methods that we have. A prompt is never found.
_SHARED = frozenset(
    {
        "copy_model_version",
        "get_prompt",
        "get_prompt_version",
        "get_prompt_version_by_alias",
        "search_prompt_versions",
    }
)


@speaks_mlflow(AbstractStore)
@refusing(AbstractStore, _LISTINGS, _SHARED)
class RegistryStore(VersionsPart, AbstractStore):
    """MLflow's model registry over a lake.

    Args:
        store_uri: ``lakelineage:///absolute/path`` or ``lakelineage+s3://bucket/path``.
        tracking_uri: where logged models are looked up that the lake does not have; default the lake.

    Raises:
        MlflowException: the URI names no place of a lake.
    """

    def __init__(self, store_uri: str, tracking_uri: str | None = None) -> None:
        super().__init__(store_uri, tracking_uri)
        uris.place(store_uri)
        self.store_uri = store_uri
        self.tracking_uri = tracking_uri or store_uri
