"""The tracking store, put together of its parts."""

from mlflow.store.tracking.abstract_store import AbstractStore

from lakelineage.mlflow_plugin import places, uris
from lakelineage.mlflow_plugin.errors import speaks_mlflow
from lakelineage.mlflow_plugin.tracking.inputs import InputsPart
from lakelineage.mlflow_plugin.tracking.logged_models import LoggedModelsPart
from lakelineage.mlflow_plugin.tracking.search import SearchPart
from lakelineage.mlflow_plugin.unsupported import nothing, refusing

#: Pages of the user interface ask for these; a lake has none of what they list.
_LISTINGS = {
    "find_completed_sessions": lambda *_, **__: [],
    "get_active_online_scorers": lambda *_, **__: [],
    "get_online_scoring_configs": lambda *_, **__: [],
    "list_budget_policies": nothing,
    "list_endpoint_bindings": lambda *_, **__: [],
    "list_endpoint_guardrail_configs": lambda *_, **__: [],
    "list_gateway_endpoints": lambda *_, **__: [],
    "list_gateway_guardrails": nothing,
    "list_gateway_model_definitions": lambda *_, **__: [],
    "list_label_schemas": nothing,
    "list_review_queue_items": nothing,
    "list_review_queues": nothing,
    "list_scorer_versions": lambda *_, **__: [],
    "list_scorers": lambda *_, **__: [],
    "list_scorers_across_experiments": lambda *_, **__: [],
    "list_secret_infos": lambda *_, **__: [],
    "query_trace_metrics": nothing,
    "search_datasets": nothing,
    "search_issues": nothing,
    "search_mcp_access_endpoints": nothing,
    "search_mcp_server_versions": nothing,
    "search_mcp_servers": nothing,
    "search_traces": lambda *_, **__: ([], None),
}
#: What MLflow's abstract class does for every store, by the methods that we have.
_SHARED = frozenset(
    {
        "end_async_logging",
        "filter_active_experiment_ids",
        "flush_async_logging",
        "log_batch_async",
        "log_metric_async",
        "log_param_async",
        "search_runs",
        "set_model_versions_tags",
        "set_tag_async",
        "shut_down_async_logging",
    }
)
#: What MLflow calls and declares nowhere.
HIDDEN = (
    "_get_deleted_logged_models",
    "_get_deleted_runs",
    "_hard_delete_experiment",
    "_hard_delete_logged_model",
    "_hard_delete_run",
    "_search_datasets",
    "delete_tag",
    "get_max_step_for_metric",
    "get_metric_history_bulk",
    "log_logged_model_params",
)


@speaks_mlflow(AbstractStore, *HIDDEN)
@refusing(AbstractStore, _LISTINGS, _SHARED)
class TrackingStore(InputsPart, LoggedModelsPart, SearchPart, AbstractStore):
    """MLflow's tracking store over a lake.

    Args:
        store_uri: ``lakelineage:///absolute/path`` or ``lakelineage+s3://bucket/path``.
        artifact_uri: where artifacts of new experiments go; default into the lake.

    Raises:
        MlflowException: the URI names no place of a lake.
    """

    def __init__(self, store_uri: str, artifact_uri: str | None = None) -> None:
        self.store_uri = store_uri
        super().__init__()
        uris.place(store_uri)
        self.artifact_root = places.root_of(store_uri, artifact_uri)
        self.ensure_default_experiment()
