"""A lake with a table of houses, and two registered versions that were trained on it, a good one and a poor one."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from sklearn.linear_model import LinearRegression

import lakelineage as ll
from lakelineage.inference import mlflow_library


@pytest.fixture(scope="session", autouse=True)
def _mlflow() -> None:
    """mlflow warns of its own code while it is imported; tests that import it themselves come after this."""
    for module in ("mlflow.pyfunc", "mlflow.sklearn", "mlflow.models"):
        mlflow_library.module(module)


@pytest.fixture
def houses(tmp_path: Path) -> str:
    """A Delta table of 200 rows: size and age in whole numbers, and a price that follows both."""
    chance = np.random.default_rng(7)
    size, age = chance.uniform(50, 200, 200).round(), chance.uniform(0, 80, 200).round()
    uri = str(tmp_path / "houses")
    write_deltalake(uri, pa.table({"size": size, "age": age, "price": 3 * size - age + chance.normal(0, 5, 200)}))
    return uri


@pytest.fixture
def model(lake: ll.Lake, houses: str) -> str:
    """A model "m": version 1 knows size and age, version 2 the size only."""
    for columns, rmse in ((["size", "age"], 5.0), (["size"], 25.0)):
        with lake.start_run("prices") as run:
            frame = run.use(houses, name="houses").to_pandas()
            run.log_metric("rmse", rmse)
            run.log_model(LinearRegression().fit(frame[columns], frame["price"]), input_example=frame[columns])
        lake.models.register("m", run)
    return "m"


@pytest.fixture
def on(houses: str) -> dict[str, Any]:
    """An evaluation on the houses, but for its thresholds."""
    return {"metric": "root_mean_squared_error", "data": houses, "label": "price"}
