"""What MLflow asks of a store: which of it is ours, shared with every store, an empty listing, or refused by name.

MLflow's abstract classes enforce nothing, and some of what is called is declared nowhere.
"""

import math
from collections.abc import Callable
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.abstract_store import AbstractStore as AbstractRegistry
from mlflow.store.tracking.abstract_store import AbstractStore as AbstractTracking


def words(text: str) -> set[str]:
    return set(text.split())


TRACKING = words(
    """
    create_experiment delete_experiment delete_experiment_tag get_experiment get_experiment_by_name rename_experiment
    restore_experiment search_experiments set_experiment_tag
    create_run delete_run get_run restore_run update_run_info
    log_batch log_metric log_param set_tag record_logged_model
    get_metric_history get_metric_history_bulk_interval get_metric_history_bulk_interval_from_steps
    log_inputs log_outputs
    create_logged_model delete_logged_model delete_logged_model_tag finalize_logged_model get_logged_model
    search_logged_models set_logged_model_tags
    """
)
#: MLflow does these for every store, by those above.
TRACKING_SHARED = words(
    """
    search_runs filter_active_experiment_ids set_model_versions_tags
    log_batch_async log_metric_async log_param_async set_tag_async
    end_async_logging flush_async_logging shut_down_async_logging
    """
)
#: Called by MLflow's server, client or command line, but in no abstract class.
TRACKING_HIDDEN = words(
    """
    delete_tag log_logged_model_params _search_datasets get_metric_history_bulk get_max_step_for_metric
    _get_deleted_runs _hard_delete_run _hard_delete_experiment _hard_delete_logged_model _get_deleted_logged_models
    _search_runs artifact_root_uri
    """
)
#: Pages of the user interface ask for these; there is nothing of what they list.
TRACKING_EMPTY = words(
    """
    find_completed_sessions get_active_online_scorers get_online_scoring_configs list_budget_policies
    list_endpoint_bindings list_endpoint_guardrail_configs list_gateway_endpoints list_gateway_guardrails
    list_gateway_model_definitions list_label_schemas list_review_queue_items list_review_queues list_scorer_versions
    list_scorers list_scorers_across_experiments list_secret_infos query_trace_metrics search_datasets search_issues
    search_mcp_access_endpoints search_mcp_server_versions search_mcp_servers search_traces
    """
)
REGISTRY = words(
    """
    create_registered_model update_registered_model rename_registered_model delete_registered_model
    search_registered_models get_registered_model get_latest_versions
    set_registered_model_tag delete_registered_model_tag
    create_model_version update_model_version transition_model_version_stage delete_model_version get_model_version
    get_model_version_download_uri search_model_versions set_model_version_tag delete_model_version_tag
    set_registered_model_alias delete_registered_model_alias get_model_version_by_alias
    """
)
REGISTRY_SHARED = {
    "copy_model_version",
    "get_prompt",
    "get_prompt_version",
    "get_prompt_version_by_alias",
    "search_prompt_versions",
}
REGISTRY_EMPTY = {"list_webhooks", "list_webhooks_by_event", "search_prompts"}


def asked(abstract: type) -> set[str]:
    return {name for name in dir(abstract) if name[0] != "_" and callable(getattr(abstract, name))}


def home(store: Any, name: str) -> str:
    """The package that a method of a store comes from."""
    owner = next(cls for cls in type(store).__mro__ if name in vars(cls))
    return owner.__module__.partition(".")[0]


def refused(store: Any, name: str) -> bool:
    try:
        getattr(store, name)()
    except MlflowException as error:
        return error.error_code == "NOT_IMPLEMENTED" and name in error.message
    except (TypeError, NotImplementedError):
        return False
    return False


def empty(found: Any) -> bool:
    """Nothing, in any of the shapes in which MLflow lists things."""
    return found in ([], None) or found == ([], None)


PARTS = [
    pytest.param("tracking", AbstractTracking, TRACKING, TRACKING_SHARED, TRACKING_EMPTY, id="tracking"),
    pytest.param("registry", AbstractRegistry, REGISTRY, REGISTRY_SHARED, REGISTRY_EMPTY, id="registry"),
]


@pytest.fixture
def lake(opened: Callable[..., Any]) -> Any:
    return opened("lake")


@pytest.mark.parametrize(("part", "abstract", "ours", "shared", "empties"), PARTS)
def test_every_method_is_ours_shared_empty_or_refused_by_name(
    lake: Any, part: str, abstract: type, ours: set[str], shared: set[str], empties: set[str]
) -> None:
    store, methods = getattr(lake, part), asked(abstract)
    hidden = TRACKING_HIDDEN if part == "tracking" else set()
    assert ours | shared | empties <= methods | hidden
    for name in sorted(ours):
        assert home(store, name) == "lakelineage", name
        assert not refused(store, name), name
    for name in sorted(shared):
        assert home(store, name) == "mlflow", name
    for name in sorted(empties):
        assert empty(getattr(store, name)()), name
    others = methods - ours - shared - empties
    assert {name for name in others if not refused(store, name)} == set()


def test_what_mlflow_calls_without_declaring_it_is_there(lake: Any) -> None:
    store = lake.tracking
    assert {name for name in TRACKING_HIDDEN if not hasattr(store, name)} == set()
    assert {name for name in TRACKING_HIDDEN - {"artifact_root_uri"} if home(store, name) != "lakelineage"} == set()
    assert store.artifact_root_uri == lake.artifacts


def test_mlflows_own_store_has_all_that_is_ours(opened: Callable[..., Any]) -> None:
    stores = opened("mlflow")
    for store, names in ((stores.tracking, TRACKING | TRACKING_HIDDEN), (stores.registry, REGISTRY)):
        assert {name for name in names if not hasattr(store, name)} == set()


def test_a_store_says_what_it_supports(side: Any) -> None:
    assert side.tracking.supports_workspaces is False
    assert side.registry.supports_workspaces is False


def test_what_is_logged_later_arrives(side: Any) -> None:
    from mlflow.entities import Metric, Param, RunTag

    run = side.run()
    for pending in (
        side.tracking.log_metric_async(run, Metric("m", 1.0, 1, 0)),
        side.tracking.log_param_async(run, Param("p", "1")),
        side.tracking.set_tag_async(run, RunTag("t", "1")),
        side.tracking.log_batch_async(run, [Metric("n", math.pi, 1, 0)], [], []),
    ):
        pending.wait()
    side.tracking.flush_async_logging()
    found = side.tracking.get_run(run).data
    assert (found.metrics, found.params, found.tags["t"]) == ({"m": 1.0, "n": math.pi}, {"p": "1"}, "1")
