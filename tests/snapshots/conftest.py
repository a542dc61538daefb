"""A lake, and Delta tables to pin."""

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake


@pytest.fixture
def patients(tmp_path: Path) -> str:
    """A Delta table of three versions: ids 0–9, then 10–14 too, then without 3."""
    uri = str(tmp_path / "patients")
    write_deltalake(uri, people(0, 10))
    write_deltalake(uri, people(10, 15), mode="append")
    DeltaTable(uri).delete("id = 3")
    return uri


def people(start: int, stop: int) -> pa.Table:
    numbers = range(start, stop)
    return pa.table(
        {
            "id": pa.array(numbers, pa.int64()),
            "name": [None if n % 4 == 1 else f"n{n}" for n in numbers],
            "score": [n / 7 for n in numbers],
        }
    )
