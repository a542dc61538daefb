"""Reads captured inside runs of MLflow."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import polars as pl
import pytest
from deltalake import DeltaTable
from mlflow import MlflowClient

import lakelineage as ll

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def lake(tracked_lake: ll.Lake) -> "Iterator[ll.Lake]":
    yield tracked_lake
    ll.autolog(disable=True)


def test_what_a_run_of_mlflow_reads_is_pinned(lake: ll.Lake, patients: str) -> None:
    ll.autolog()
    with mlflow.start_run() as run:
        DeltaTable(patients, version=0).to_pandas()
        pl.read_delta(patients)
        pl.read_delta(patients)
        assert ll.read_delta(patients, 0, where="id > 4", output_format="pandas").shape == (5, 2)
    told = MlflowClient().get_run(run.info.run_id).inputs.dataset_inputs
    assert [(each.dataset.name, json.loads(each.dataset.source)["version"]) for each in told] == [
        ("patients@v0", 0),
        ("patients@v1", 1),
    ]
    assert {each.version for each in lake.run(run.info.run_id).inputs.values()} == {0, 1}
    assert mlflow.data.get_source(told[0]).load("polars").height == 10


def test_runs_of_both_sides_each_have_it(lake: ll.Lake, patients: str) -> None:
    ll.autolog()
    with mlflow.start_run() as theirs, lake.start_run() as ours:
        DeltaTable(patients).to_pandas()
    for run_id in (theirs.info.run_id, ours.id):
        assert [each.version for each in lake.run(run_id).inputs.values()] == [1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what SQLAlchemy says of MLflow's own store
def test_any_store_of_mlflow_learns_what_was_read(lake: ll.Lake, patients: str, tmp_path: Path) -> None:
    ll.autolog()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    with mlflow.start_run() as run:
        DeltaTable(patients, version=0).to_pandas()
        assert ll.read_delta(patients, 1).height == 15
    told = mlflow.get_run(run.info.run_id).inputs.dataset_inputs
    assert {json.loads(each.dataset.source)["version"] for each in told} == {0, 1}
    versions = {each.dataset.name: len(mlflow.data.get_source(each).load()) for each in told}
    assert versions == {"patients@v0": 10, "patients@v1": 15}
