"""What tests of moving from and to MLflow share."""

import warnings
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow's own use of SQLAlchemy
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables in a SQLite file, to be copied: they take seconds to make."""
    file = tmp_path_factory.mktemp("database") / "mlflow.db"
    SqlAlchemyStore(f"sqlite:///{file}", str(file.parent / "artifacts")).engine.dispose()
    return file


#: Cases that do not agree yet: parts of their ids. Issue 5 is open until this list is empty.
OPEN = (
    "test_an_id_that_is_no_number_is_refused[lake",
    "test_an_experiment_is_not_renamed_to_a_taken_name[lake",
    "test_without_its_tag_a_run_keeps_its_name[lake",
    "test_an_empty_name_in_a_tag_changes_nothing[lake",
    "test_an_experiment_that_was_purged_is_gone_with_all_it_had[lake",
    "test_metrics_of_a_purged_experiment_are_gone_for_bulk_readers_too[lake",
    "test_a_run_may_be_without_tags_and_name_but_not_without_user_and_start[lake",
    "test_a_purged_run_is_gone_with_all_it_had[lake",
    "test_a_page_beyond_the_end_is_empty[lake",
    "test_tokens_may_be_text_or_bytes[lake",
    "test_a_token_that_nobody_gave_is_refused[lake",
    "test_what_mlflow_calls_without_declaring_it_is_there",
    "test_every_method_is_ours_shared_empty_or_refused_by_name[registry",
    "test_artifacts_go_in_and_come_back",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the open cases run, and fail."""
    for item in items:
        if any(part in item.nodeid for part in OPEN):
            item.add_marker(pytest.mark.xfail(reason="issue 5: does not agree yet", strict=False))
