"""Writes diabetes.csv, next to this file, from the data that scikit-learn ships.

Columns are scikit-learn's ten scaled features and its target, named ``progression``. Floats are written by
``repr``; pandas, Polars, Arrow and DuckDB read back the very same bits.

Run it with ``python sample_data/make_diabetes.py`` in an environment that has scikit-learn.
"""

import csv
from pathlib import Path

from sklearn.datasets import load_diabetes

TARGET = Path(__file__).with_name("diabetes.csv")


def main() -> None:
    """Write the file: 442 rows, 11 columns, one header line."""
    data = load_diabetes(scaled=True)
    with TARGET.open("w", newline="", encoding="ascii") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow([*data.feature_names, "progression"])
        for features, target in zip(data.data.tolist(), data.target.tolist(), strict=True):
            out.writerow([repr(value) for value in (*features, target)])
    print(f"wrote {TARGET.name}: {len(data.target)} rows")


if __name__ == "__main__":
    main()
