"""What tests of MLflow on lakes share."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

import lakelineage as ll
from lakelineage.mlflow_plugin import lakes

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow's own use of SQLAlchemy
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables in a SQLite file, to be copied: they take seconds to make."""
    file = tmp_path_factory.mktemp("database") / "mlflow.db"
    SqlAlchemyStore(f"sqlite:///{file}", str(file.parent / "artifacts")).engine.dispose()
    return file


@pytest.fixture
def tracked_lake(lake_path: Path) -> Iterator[ll.Lake]:
    """The lake that MLflow tracks to."""
    before = mlflow.get_tracking_uri()
    uri = f"lakelineage://{lake_path}"
    mlflow.set_tracking_uri(uri)
    opened = lakes.opened(uri)
    yield opened
    mlflow.set_tracking_uri(before)
    opened.close()
