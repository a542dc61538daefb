"""What is published for other engines is what lakelineage itself answers, and can be thrown away."""

import shutil
from pathlib import Path

import polars as pl
import pytest

import lakelineage as ll
from lakelineage.tables import CURRENT

NAMES = [table.name for table in CURRENT]


def fill(lake: ll.Lake) -> None:
    for i in range(3):
        with lake.start_run("first" if i else "second", name=f"run {i}", tags={"team": "x"}) as run:
            run.log_params({"a": i, "b": "text"})
            run.log_metrics({"loss": float(i), "nan": float("nan")}, step=i)
            run.set_tag("gone", 1)
            run.delete_tag("gone")


def published(path: Path, name: str) -> list[dict[str, object]]:
    rows = pl.read_delta(str(path / "tables" / name)).to_arrow().to_pylist()
    return sorted((plain(row) for row in rows), key=repr)


def answered(lake: ll.Lake, name: str) -> list[dict[str, object]]:
    return sorted((plain(row) for row in lake.sql(f"select * from {name}").to_pylist()), key=repr)


def plain(row: dict[str, object]) -> dict[str, object]:
    """Maps come as dicts, pairs or structs, by engine; NaN equals itself here; times are compared as UTC text."""
    return {key: repr(as_pairs(value)) for key, value in row.items() if key != "updated_at"}


def as_pairs(value: object) -> object:
    if isinstance(value, dict):
        return sorted(value.items())
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [(entry["key"], entry["value"]) for entry in value]
    return value.isoformat()[:26] if hasattr(value, "isoformat") else value


@pytest.mark.parametrize("name", ["runs", "experiments"])
def test_another_engine_reads_what_lakelineage_answers(lake: ll.Lake, lake_path: Path, name: str) -> None:
    fill(lake)
    lake.maintain()
    assert published(lake_path, name) == answered(lake, name)


def test_publishing_twice_changes_nothing(lake: ll.Lake, lake_path: Path) -> None:
    fill(lake)
    lake.maintain()
    before = {name: len(list((lake_path / "tables" / name / "_delta_log").glob("*.json"))) for name in ("runs",)}
    first = published(lake_path, "runs")
    lake.maintain()
    assert published(lake_path, "runs") == first
    assert {n: len(list((lake_path / "tables" / n / "_delta_log").glob("*.json"))) for n in before} == before


def test_only_what_changed_since_is_published_again_and_all_of_it(lake: ll.Lake, lake_path: Path) -> None:
    fill(lake)
    lake.maintain()
    late = lake.start_run("first")
    late.log_metric("loss", 7.0)
    old = lake.search_runs("metrics.loss = 2").to_pylist()[0]["run_id"]
    resumed = lake.resume_run(old)
    resumed.log_metric("loss", 0.5, step=9)
    assert lake.run(old).metrics["loss"] == 0.5
    lake.flush()
    assert {row["run_id"] for row in lake._engine.reader.unpublished_runs().rows.to_pylist()} == {late.id, old}
    lake.maintain()
    assert published(lake_path, "runs") == answered(lake, "runs")
    assert lake._engine.reader.unpublished_runs().rows.num_rows == 0


def test_published_tables_can_be_thrown_away(lake: ll.Lake, lake_path: Path) -> None:
    fill(lake)
    lake.maintain()
    before = answered(lake, "runs")
    for name in NAMES:
        shutil.rmtree(lake_path / "tables" / name, ignore_errors=True)
    assert answered(lake, "runs") == before
    with ll.open(lake_path) as again:
        assert answered(again, "runs") == before
        again.maintain()
    assert published(lake_path, "runs") == before
