"""The documented questions have the same answers in DuckDB and in Spark. Real Spark, in local mode."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

import lakelineage as ll
from lakelineage.spark import register, translate
from lakelineage.tables import BY_NAME
from tests.docs.samples import Block, blocks
from tests.spark.questions import QUESTIONS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory, spark: "SparkSession") -> Iterator[ll.Lake]:
    """Sweeps, failures, NaN and infinities, models with aliases, and data used at several versions; registered."""
    folder = tmp_path_factory.mktemp("asked")
    table = str(folder / "patients")
    for start in range(3):
        write_deltalake(table, pa.table({"x": [float(start)]}), mode="append")
    with ll.open(folder / "lake", durability="process") as opened:
        _filled(opened, table)
        register(spark, opened)
        yield opened


def _filled(lake: ll.Lake, table: str) -> None:
    with lake.start_run("sweeps", "sweep", tags={"team": "a"}) as sweep:
        for i, alpha in enumerate(("0.1", "0.2", "0.1", "many")):
            run = sweep.start_child(f"child {i}")
            run.use(table, version=i % 3, name="patients", context="training" if i < 3 else "test")
            run.log_param("alpha", alpha)
            for step in range(4):
                run.log_metric("rmse", 3.0 - step / 2 + i, step=step)
                run.log_metric("loss", (1.0, math.nan, math.inf, -math.inf)[step], step=step - 1)
            run.log_text("weights", "model/weights.txt")
            lake.models.register("ridge" if i < 3 else "forest", run, tags={"n": str(i)})
            run.end("FAILED" if i == 2 else "FINISHED")
    with lake.start_run("lone", "nan") as run:
        run.log_metric("rmse", math.nan)
        run.set_tag("team", "b")
    with lake.start_run("lone", "empty"):
        pass
    lake.models.set_alias("ridge", "champion", 2, comment="better")
    lake.models.set_stage("ridge", 1, "Production")
    lake.models.set_tags("ridge", {"reviewed": "yes"}, 1)


def rows_in_duckdb(lake: ll.Lake, sql: str) -> list[dict[str, Any]]:
    return [plain(row) for row in lake.sql(sql).to_pylist()]


def rows_in_spark(spark: "SparkSession", sql: str) -> list[dict[str, Any]]:
    return [plain(row) for row in spark.sql(sql).toArrow().to_pylist()]


def plain(value: Any) -> Any:
    """A value as it compares: NaN is NaN, maps are sorted pairs, times are instants."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    return value


@pytest.mark.parametrize("table", sorted(BY_NAME))
def test_every_table_has_the_same_columns_and_rows(lake: ll.Lake, spark: "SparkSession", table: str) -> None:
    order = "ingested_at, writer, seq" if BY_NAME[table].is_fact else ", ".join(BY_NAME[table].key)
    sql = f"SELECT * FROM {table} ORDER BY {order}"
    assert spark.table(table).columns == [column.name for column in BY_NAME[table].all_columns]
    assert rows_in_spark(spark, sql) == rows_in_duckdb(lake, sql)


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_has_the_same_answer(lake: ll.Lake, spark: "SparkSession", question: str) -> None:
    sql = QUESTIONS[question]
    expected = rows_in_duckdb(lake, sql)
    assert expected, "a question without an answer tells nothing"
    assert rows_in_spark(spark, translate(sql)) == expected


PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "sql.md"


@pytest.mark.parametrize("block", [b for b in blocks(PAGE) if b.language == "sql"], ids=lambda block: block.heading)
def test_the_documented_questions_have_the_same_answers(lake: ll.Lake, spark: "SparkSession", block: Block) -> None:
    assert rows_in_spark(spark, translate(block.code)) == rows_in_duckdb(lake, block.code)


def test_there_are_questions_of_each_sort() -> None:
    assert len(QUESTIONS) >= 25
