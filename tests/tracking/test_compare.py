"""Runs side by side: what differs between them."""

import math
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

import lakelineage
from lakelineage.errors import InvalidInput, RunNotFound
from lakelineage.model.changes import Rows
from lakelineage.tables import ENVIRONMENTS, RUNS_HISTORY


def test_what_differs_is_told_and_what_is_the_same_is_not(lake: lakelineage.Lake, tmp_path: Path) -> None:
    table = tmp_path / "table"
    write_deltalake(str(table), pa.table({"x": [1.0], "y": [1]}))
    write_deltalake(str(table), pa.table({"x": [2.0], "y": [2]}), mode="append")
    one, two = lake.start_run(name="one"), lake.start_run(name="two")
    one.log_params({"alpha": 1, "kind": "tree", "only": "here"})
    two.log_params({"alpha": 2, "kind": "tree"})
    one.log_metrics({"rmse": 0.5, "nan": math.nan, "same": 1.0})
    two.log_metrics({"rmse": math.nan, "nan": math.nan, "same": 1.0})
    one.use(table, version=0, name="points", columns=["x"])
    two.use(table, version=1, name="points", where="x > 1")
    compared = lake.compare(one, lake.run(two.id))
    assert compared.differs
    assert compared.section("params") == {"alpha": ("1", "2"), "only": ("here", None)}
    assert list(compared.section("metrics")) == ["rmse"]
    inputs = compared.section("inputs")
    assert set(inputs) == {"points.version", "points.snapshot_id", "points.columns", "points.where"}
    assert inputs["points.version"] == (0, 1)
    assert inputs["points.columns"] == (["x"], None)
    assert compared.section("environment") == {}
    everything = lake.compare(one.id, two.id, all=True)
    assert everything.section("params")["kind"] == ("tree", "tree")
    assert {"python", "platform", "packages.pyarrow"} <= set(everything.section("environment"))
    assert set(everything.section("code")) >= {"git_commit", "git_branch", "git_dirty", "source"}
    assert everything.section("inputs")["points.table_uri"][0].endswith("table")


def test_a_comparison_is_a_long_table_and_a_text(lake: lakelineage.Lake) -> None:
    runs = [lake.start_run(name=f"run {i}") for i in range(3)]
    for i, run in enumerate(runs):
        run.log_param("alpha", i)
        run.log_metric("rmse", i / 3)
    compared = lake.compare(*runs)
    rows = compared.to_arrow()
    assert rows.schema.names == ["section", "key", *(run.id for run in runs)]
    assert rows.to_pylist()[0] == {"section": "params", "key": "alpha", **{r.id: str(i) for i, r in enumerate(runs)}}
    assert compared.to_polars().height == 2
    text = str(compared)
    assert all(word in text for word in ("run 0", "run 2", "params", "alpha", "metrics", "0.3333333333333333"))


def test_runs_that_are_the_same_do_not_differ(lake: lakelineage.Lake) -> None:
    compared = lake.compare(lake.start_run(), lake.start_run())
    assert not compared.differs
    assert compared.to_arrow().num_rows == 0
    assert "nothing differs" in str(compared)
    assert not lake.compare(*compared.run_ids, all=True).differs


def test_packages_that_were_added_removed_or_changed_are_told(lake: lakelineage.Lake) -> None:
    ids = []
    for name, packages in (("old", {"a": "1", "b": "1"}), ("new", {"b": "2", "c": "1"})):
        run = lake.start_run(name=name)
        environment = ENVIRONMENTS.row(
            environment_id=name, python="3.11", platform="x", packages=list(packages.items())
        )
        (told,) = lake.sql("select * from runs where run_id = ?", [run.id]).to_pylist()
        state = {column: told[column] for column in RUNS_HISTORY.names}
        state |= {"environment_id": name, "start_time": int(told["start_time"].timestamp() * 1e6)}
        rows = (Rows(ENVIRONMENTS.name, (environment,)), Rows(RUNS_HISTORY.name, (RUNS_HISTORY.row(**state),)))
        lake._engine.append(rows)
        ids.append(run.id)
    assert lake.compare(*ids).section("environment") == {
        "packages.a": ("1", None),
        "packages.b": ("1", "2"),
        "packages.c": (None, "1"),
    }


def test_a_comparison_needs_different_runs_that_are_there(lake: lakelineage.Lake) -> None:
    run = lake.start_run()
    with pytest.raises(InvalidInput, match="two runs or more"):
        lake.compare(run)
    with pytest.raises(InvalidInput, match="named twice"):
        lake.compare(run, run.id)
    with pytest.raises(RunNotFound):
        lake.compare(run, "0" * 32)
    with pytest.raises(InvalidInput, match="section 'nope'"):
        lake.compare(run, lake.start_run()).section("nope")
