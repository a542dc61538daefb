"""What a snapshot hands to Spark is what it hands to everyone. Real Spark, in local mode."""

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from lakelineage.engine import Engine
from lakelineage.snapshots import pin

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow


def odd_table(folder: Path) -> str:
    """Partitions by texts that folders cannot be called by, by null and by date; nested and exact types."""
    texts = ["plain", "a/b=c d", "", None, "ünï {x}*[1]"]
    rows = [
        {
            "id": i,
            "text": texts[i % 5],
            "day": dt.date(2026, 1, 1 + i % 2),
            "at": dt.datetime(2026, 1, 1, i, tzinfo=dt.UTC),
            "price": Decimal(i) / 100,
            "tags": [f"t{i}", None],
        }
        for i in range(20)
    ]
    schema = pa.schema(
        [
            ("id", pa.int64()),
            ("text", pa.string()),
            ("day", pa.date32()),
            ("at", pa.timestamp("us", "UTC")),
            ("price", pa.decimal128(10, 2)),
            ("tags", pa.list_(pa.string())),
        ]
    )
    uri = str(folder / "odd")
    write_deltalake(uri, pa.Table.from_pylist(rows, schema=schema), partition_by=["text", "day"])
    return uri


def rows_of(frame: object) -> list[dict[str, object]]:
    table: pa.Table = frame.toArrow()  # type: ignore[attr-defined]
    return table.sort_by("id").to_pylist()


@pytest.mark.parametrize("protection", ["reference", "archived"])
def test_spark_reads_the_very_rows_at_every_level(
    engine: Engine, spark: "SparkSession", tmp_path: Path, protection: str
) -> None:
    uri = odd_table(tmp_path)
    snapshot = pin(engine, uri, protection=protection)
    expected = snapshot.to_arrow().sort_by("id").to_pylist()
    DeltaTable(uri).delete("id > 3")
    if protection == "archived":
        DeltaTable(uri).vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    assert rows_of(snapshot.to_spark(spark)) == expected
    assert len(expected) == 20


def test_spark_gets_the_columns_and_rows_that_were_chosen(
    engine: Engine, spark: "SparkSession", tmp_path: Path
) -> None:
    snapshot = pin(engine, odd_table(tmp_path))
    chosen = snapshot.to_spark(spark, columns=["text", "id"], where="id >= 18")
    assert chosen.columns == ["text", "id"]
    assert rows_of(chosen) == [{"text": None, "id": 18}, {"text": "ünï {x}*[1]", "id": 19}]
    assert snapshot.to_spark(spark, columns=["id"]).columns == ["id"]


def test_columns_that_old_files_lack_are_null(engine: Engine, spark: "SparkSession", tmp_path: Path) -> None:
    uri = str(tmp_path / "grown")
    write_deltalake(uri, pa.table({"id": [1]}))
    write_deltalake(uri, pa.table({"id": [2], "new": ["x"]}), mode="append", schema_mode="merge")
    assert rows_of(pin(engine, uri).to_spark(spark)) == [{"id": 1, "new": None}, {"id": 2, "new": "x"}]
