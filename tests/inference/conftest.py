"""A lake, a table of patients, and runs that were trained on it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lakelineage.engine import Engine
from lakelineage.inference import mlflow_library
from lakelineage.model.changes import Rows
from lakelineage.model.ids import new_id
from lakelineage.registry.models import Models
from lakelineage.snapshots import use
from lakelineage.tables import RUNS_HISTORY
from tests.inference.scored import logged, people

MakeRun = Callable[..., str]


@pytest.fixture(scope="session", autouse=True)
def _mlflow() -> None:
    """mlflow warns of its own code while it is imported; tests that import it themselves come after this."""
    for module in ("mlflow.pyfunc", "mlflow.sklearn", "mlflow.models"):
        mlflow_library.module(module)


@pytest.fixture
def models(engine: Engine) -> Models:
    return Models(engine)


@pytest.fixture
def patients(tmp_path: Path) -> str:
    """A Delta table with 1,000 rows at version 1: id, two features and a name."""
    import pyarrow as pa
    from deltalake import write_deltalake

    uri = str(tmp_path / "patients")
    for start in (0, 500):
        ids = range(start, start + 500)
        rows = {
            "id": pa.array(ids, pa.int64()),
            "bmi": pa.array([i / 10 for i in ids], pa.float64()),
            "age": pa.array([float(i % 90) for i in ids], pa.float64()),
            "name": pa.array([f"p{i}" for i in ids], pa.string()),
        }
        write_deltalake(uri, pa.table(rows), mode="append")
    return uri


@pytest.fixture
def make_run(engine: Engine, patients: str) -> MakeRun:
    """A run that used the patients for training; the state of its row is given by the caller."""

    def make(trained_on: str | None = patients, version: int | None = None) -> str:
        run = new_id()
        row = RUNS_HISTORY.row(
            run_id=run,
            experiment_id="e",
            status="RUNNING",
            lifecycle_stage="active",
            start_time=1,
            git_commit="abc123",
            git_dirty=False,
            source="train.py",
        )
        engine.append((Rows(RUNS_HISTORY.name, (row,)),))
        if trained_on is not None:
            use(engine, run, trained_on, name="patients", version=version)
        return run

    return make


@pytest.fixture
def features(engine: Engine, patients: str):
    from deltalake import DeltaTable

    return DeltaTable(patients).to_pandas()[["bmi", "age"]]


@pytest.fixture
def regressor(features):
    """2 * bmi + 3 * age."""
    from sklearn.linear_model import LinearRegression

    return LinearRegression().fit(features, 2 * features["bmi"] + 3 * features["age"])


@pytest.fixture
def output(tmp_path):
    return str(tmp_path / "predictions")


@pytest.fixture
def double(engine, make_run):
    return logged(engine, make_run(trained_on=None), 2)


@pytest.fixture
def source(tmp_path):
    uri = str(tmp_path / "people")
    from deltalake import write_deltalake

    write_deltalake(uri, people(range(100)))
    return uri
