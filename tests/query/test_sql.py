"""What ``lake.sql`` answers, and what it refuses."""

from pathlib import Path

import pytest

import lakelineage as ll
from lakelineage.errors import ExperimentNotFound, InvalidQuery, SnapshotNotFound
from lakelineage.tables import BY_NAME


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_every_table_can_be_asked_from_the_first_moment_on(lake: ll.Lake, name: str) -> None:
    answer = lake.sql(f"select * from {name}")
    assert answer.num_rows == 0
    assert answer.schema.names == BY_NAME[name].schema.names


@pytest.mark.parametrize(
    "sql",
    [
        "create or replace view runs as select 1 as x",
        "drop view runs",
        "copy (select 1) to '{file}'",
        "attach '{file}' as other",
        "set threads = 1",
        "select 1; select 2",
        "",
    ],
)
def test_sql_only_answers_questions(lake: ll.Lake, tmp_path: Path, sql: str) -> None:
    with pytest.raises(InvalidQuery, match="one SELECT"):
        lake.sql(sql.format(file=tmp_path / "made"))
    assert not (tmp_path / "made").exists()
    assert lake.search_runs().num_rows == 0


def test_questions_of_every_kind_are_answered(lake: ll.Lake) -> None:
    with lake.start_run() as run:
        run.log_metrics({"a": 1.0, "b": 2.0})
    assert lake.sql("with m as (from metrics) select max(value) as v from m").to_pylist() == [{"v": 2.0}]
    assert lake.sql("pivot metrics on key using max(value) group by run_id").to_pylist() == [
        {"run_id": run.id, "a": 1.0, "b": 2.0}
    ]
    assert "value" in lake.sql("describe metrics").column("column_name").to_pylist()
    assert lake.sql("select value from metrics where key = $key", {"key": "a"}).to_pylist() == [{"value": 1.0}]
    assert lake.sql("explain select * from runs").num_rows > 0


def test_a_name_that_nobody_knows_is_an_error_and_no_empty_answer(lake: ll.Lake) -> None:
    lake.start_run("known").end()
    assert lake.search_runs(experiments="known").num_rows == 1
    assert lake.search_runs(experiments=["known"]).num_rows == 1
    with pytest.raises(ExperimentNotFound, match="unknown"):
        lake.search_runs(experiments=["known", "unknown"])
    with pytest.raises(SnapshotNotFound, match="data/typo"):
        lake.models.find(trained_on="data/typo")


def test_times_compare_as_milliseconds_or_as_iso_8601(lake: ll.Lake) -> None:
    run = lake.start_run()
    started = lake.run(run.id).start_time
    assert lake.search_runs(f"start_time >= '{started.isoformat()}' and start_time > 1000").num_rows == 1
    assert lake.search_runs("start_time < '2020-01-01'").num_rows == 0
    with pytest.raises(ll.errors.InvalidFilter, match=r"is a time[\s\S]*such as '2026-"):
        lake.search_runs("start_time > 'yesterday'")
