"""``read_delta``: exactly a version, and an input of the run that is active."""

from pathlib import Path

import pytest
from deltalake import DeltaTable, write_deltalake

import lakelineage as ll
from lakelineage.errors import InvalidInput, TableNotFound, VersionNotFound
from tests.people import people


def test_outside_of_runs_it_only_reads(lake: ll.Lake, patients: str) -> None:
    assert ll.read_delta(patients).height == 15
    assert ll.read_delta(patients, 0).height == 10
    assert ll.read_delta(patients, as_of="2100-01-01").height == 15
    assert lake.sql("select * from snapshots").num_rows == 0


def test_inside_a_run_it_is_an_input_once(lake: ll.Lake, patients: str) -> None:
    with lake.start_run() as run:
        assert ll.read_delta(patients, 0, columns=["id"]).columns == ["id"]
        assert ll.read_delta(patients, 0, where="id < 3", output_format="pandas").shape == (3, 2)
        assert ll.read_delta(patients, output_format="arrow").num_rows == 15
    inputs = lake.run(run.id).inputs
    assert {name: each.version for name, each in inputs.items()} == {"patients@v0": 0, "patients@v1": 1}
    assert inputs["patients@v0"].to_polars().height == 10, "the whole version is pinned, whatever was read of it"


def test_what_a_run_uses_already_is_not_recorded_again(lake: ll.Lake, patients: str) -> None:
    with lake.start_run() as run:
        run.use(patients, name="mine", context="validation")
        ll.read_delta(patients)
    assert list(lake.run(run.id).inputs) == ["mine"]


def test_tables_of_one_name_are_inputs_of_their_own(lake: ll.Lake, patients: str, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "patients"
    other.mkdir(parents=True)
    write_deltalake(str(other), people(0, 3))
    with lake.start_run() as run:
        ll.read_delta(patients, 0)
        ll.read_delta(str(other), 0)
        ll.read_delta(str(other), 0, name="third", context="test")
    assert sorted(each.num_rows or 0 for each in lake.run(run.id).inputs.values()) == [3, 10]


def test_it_reads_the_version_that_is_pinned_though_the_table_moves_on(lake: ll.Lake, patients: str) -> None:
    with lake.start_run():
        ll.read_delta(patients, 1)
        write_deltalake(patients, people(0, 1), mode="overwrite")
        DeltaTable(patients).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
        assert ll.read_delta(patients, 1).height == 15


def test_mistakes_are_told(patients: str, tmp_path: Path) -> None:
    with pytest.raises(VersionNotFound, match="no version 7"):
        ll.read_delta(patients, 7)
    with pytest.raises(TableNotFound):
        ll.read_delta(str(tmp_path))
    with pytest.raises(InvalidInput, match="output_format 'dask'"):
        ll.read_delta(patients, output_format="dask")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="no columns"):
        ll.read_delta(patients, columns=["nothing"])
    with pytest.raises(InvalidInput, match="both"):
        ll.read_delta(patients, 0, as_of="2100-01-01")
