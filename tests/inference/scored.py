"""What tables of people are scored to by models that multiply."""

import pandas as pd
import pyarrow as pa
from deltalake import DeltaTable

from lakelineage.inference.models import log_model


def logged(engine, run, factor):
    """A model that multiplies exactly, and runs no code when it is loaded."""
    from sklearn.linear_model import LinearRegression

    example = pd.DataFrame({"bmi": [1.0, 2.0]})
    model = LinearRegression(fit_intercept=False).fit(example, example["bmi"] * factor)
    model.coef_[:] = factor
    log_model(engine, run, model, "model", input_example=example)
    return f"runs:/{run}/model"


def doubling(engine, run):
    """As ``logged`` with 2, but an estimator, which skops brings back without running anything of the file."""
    from sklearn.linear_model import LinearRegression

    frame = people(range(10)).select(["bmi"]).to_pandas()
    log_model(engine, run, LinearRegression().fit(frame, frame["bmi"] * 2), "model", input_example=frame)
    return f"runs:/{run}/model"


def people(ids, bmi=None):
    ids = list(ids)
    values = pa.array([i / 10 if bmi is None else bmi for i in ids], pa.float64())
    return pa.table({"id": pa.array(ids, pa.int64()), "bmi": values})


def scores(uri):
    """id → prediction; every id once."""
    found = DeltaTable(uri).to_pyarrow_table()
    ids = found["id"].to_pylist()
    assert len(set(ids)) == len(ids)
    return dict(zip(ids, found["prediction"].to_pylist(), strict=True))


def expected(uri, factor=2):
    found = DeltaTable(uri).to_pyarrow_table()
    return {i: b * factor for i, b in zip(found["id"].to_pylist(), found["bmi"].to_pylist(), strict=True)}
