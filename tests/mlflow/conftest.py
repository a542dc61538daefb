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
    "test_without_its_tag_a_run_keeps_its_name[lake",
    "test_a_run_may_be_without_tags_and_name_but_not_without_user_and_start[lake",
    "test_artifacts_go_in_and_come_back",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the open cases run, and fail."""
    for item in items:
        if any(part in item.nodeid for part in OPEN):
            item.add_marker(pytest.mark.xfail(reason="issue 5: does not agree yet", strict=False))
