"""The sample data is what its README says: the same bits for every reader, and the published table from the file."""

import runpy
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.csv
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ElasticNet
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
from sklearn.model_selection import train_test_split

FOLDER = Path(__file__).parents[1] / "sample_data"
CSV = FOLDER / "diabetes.csv"
READERS = {
    "pandas": lambda: pd.read_csv(CSV).to_numpy(),
    "polars": lambda: pl.read_csv(CSV).to_numpy(),
    "arrow": lambda: np.column_stack([c.to_numpy() for c in pyarrow.csv.read_csv(CSV).columns]),
    "duckdb": lambda: np.column_stack(list(duckdb.read_csv(str(CSV)).fetchnumpy().values())),
}


@pytest.mark.parametrize("reader", sorted(READERS))
def test_every_reader_gets_the_bits_that_scikit_learn_ships(reader: str) -> None:
    data = load_diabetes()
    expected = np.column_stack([data.data, data.target])
    assert READERS[reader]().tobytes("C") == expected.tobytes("C")


def test_the_script_writes_the_very_file(tmp_path: Path) -> None:
    script = tmp_path / "make_diabetes.py"
    script.write_bytes((FOLDER / "make_diabetes.py").read_bytes())
    runpy.run_path(str(script), run_name="__main__")
    assert (tmp_path / "diabetes.csv").read_bytes() == CSV.read_bytes()


@pytest.mark.parametrize(
    ("alpha", "l1_ratio", "published"),
    [
        (0.01, 1.0, "63.2469 51.0518 0.3952"),
        (0.01, 0.75, "65.2900 53.7593 0.3555"),
        (0.01, 0.01, "71.4037 60.0913 0.2291"),
    ],
)
def test_the_file_gives_the_published_table(alpha: float, l1_ratio: float, published: str) -> None:
    np.random.seed(40)
    train, test = train_test_split(pd.read_csv(CSV))
    model = ElasticNet(alpha=alpha, l1_ratio=l1_ratio, random_state=42)
    model.fit(train.drop(columns="progression"), train["progression"])
    truth, found = test["progression"], model.predict(test.drop(columns="progression"))
    rmse = mean_squared_error(truth, found) ** 0.5
    assert f"{rmse:.4f} {mean_absolute_error(truth, found):.4f} {r2_score(truth, found):.4f}" == published
