"""The model registry over a lake."""

from mlflow.store.model_registry.abstract_store import AbstractStore

from lakelineage.mlflow_plugin import uris
from lakelineage.mlflow_plugin.errors import speaks_mlflow
from lakelineage.mlflow_plugin.unsupported import nothing, refusing

_LISTINGS = {"list_webhooks": nothing, "list_webhooks_by_event": nothing}


@speaks_mlflow(AbstractStore)
@refusing(AbstractStore, _LISTINGS, frozenset())
class RegistryStore(AbstractStore):
    """MLflow's model registry over a lake.

    Args:
        store_uri: ``lakelineage:///absolute/path`` or ``lakelineage+s3://bucket/path``.
        tracking_uri: where logged models are looked up.
    """

    def __init__(self, store_uri: str, tracking_uri: str | None = None) -> None:
        super().__init__(store_uri, tracking_uri)
        uris.place(store_uri)
