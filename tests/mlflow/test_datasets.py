"""Datasets that MLflow logs: pinned where they are Delta tables, and read back without Spark."""

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.exceptions import MlflowException
from mlflow.types import Schema

import lakelineage as ll
from lakelineage.mlflow_plugin.dataset_source import SOURCE_TYPE, DeltaSource
from tests.people import people

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [
    # MLflow tells, of every local path, that several of its own sources could mean it.
    pytest.mark.filterwarnings("ignore:The specified dataset source can be interpreted:UserWarning"),
    # Its digest of a pandas frame calls pandas in a way that pandas 4 will not take.
    pytest.mark.filterwarnings("ignore:Starting with pandas version 4.0"),
]


@pytest.fixture
def lake(tracked_lake: ll.Lake) -> ll.Lake:
    return tracked_lake


@pytest.fixture
def patients(patients: str) -> str:
    """With a third version: without 3."""
    DeltaTable(patients).delete("id = 3")
    return patients


def frame(table: str, version: int) -> pd.DataFrame:
    return DeltaTable(table, version=version).to_pandas()


def logged(dataset: Any, context: str | None = "training") -> str:
    with mlflow.start_run() as run:
        mlflow.log_input(dataset, context=context)
    return str(run.info.run_id)


def only_dataset(run_id: str) -> DatasetInput:
    (found,) = MlflowClient().get_run(run_id).inputs.dataset_inputs
    return found


def rows(lake: ll.Lake, table: str, run_id: str) -> list[dict[str, Any]]:
    return lake.sql(f"select * from {table} where run_id = $run", {"run": run_id}).to_pylist()


@pytest.mark.parametrize("library", ["pandas", "polars", "numpy"])
def test_a_dataset_made_of_a_table_is_pinned_at_the_version_that_the_table_had(
    lake: ll.Lake, patients: str, library: str
) -> None:
    data = frame(patients, 2)
    if library == "pandas":
        dataset = mlflow.data.from_pandas(data, source=patients, name="patients")
    elif library == "polars":
        dataset = mlflow.data.from_polars(pl.from_pandas(data), source=patients, name="patients")
    else:
        dataset = mlflow.data.from_numpy(data.to_numpy(), source=patients, name="patients")
    write_deltalake(patients, people(100, 110), mode="append")  # the table moves on before the run logs it
    run_id = logged(dataset)

    pinned = lake.run(run_id).inputs["patients"]
    assert (pinned.version, pinned.context) == (2, "training")
    assert pinned.to_polars()["id"].sort().to_list() == sorted(data["id"])
    told = only_dataset(run_id)
    assert told.dataset.source_type == SOURCE_TYPE
    assert json.loads(told.dataset.source)["version"] == 2
    assert [(tag.key, tag.value) for tag in told.tags] == [("mlflow.data.context", "training")]
    pd.testing.assert_frame_equal(
        mlflow.data.get_source(told).load().sort_values("id", ignore_index=True),
        data.sort_values("id", ignore_index=True),
    )


@pytest.mark.parametrize("spelled", ["object", "text", "source", "snapshot"])
def test_version_0_survives(lake: ll.Lake, patients: str, spelled: str) -> None:
    source = {
        "object": lambda: DeltaTable(patients, version=0),
        "text": lambda: f"{patients}@0",
        "source": lambda: DeltaSource(patients, 0),
        "snapshot": lambda: lake.snapshot(patients, version=0),
    }[spelled]()
    run_id = logged(mlflow.data.from_pandas(frame(patients, 0), source=source, name="p"))
    told = only_dataset(run_id).dataset
    assert json.loads(told.source)["version"] == 0
    assert lake.run(run_id).inputs["p"].version == 0
    assert mlflow.data.get_source(told).load("arrow").num_rows == 10


def test_a_pinned_dataset_is_read_after_its_table_is_gone(lake: ll.Lake, patients: str) -> None:
    run_id = logged(mlflow.data.from_pandas(frame(patients, 1), source=DeltaTable(patients, version=1)))
    assert lake.run(run_id).inputs["dataset"].protection == "archived"
    write_deltalake(patients, people(0, 1), mode="overwrite")
    DeltaTable(patients).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert not list(Path(patients).glob("part-*"))[1:]
    source = mlflow.data.get_source(only_dataset(run_id))
    assert source.load("polars", columns=["id"])["id"].sort().to_list() == list(range(15))
    assert source.load("polars", where="id >= 10").height == 5


@pytest.mark.slow
def test_a_dataset_is_loaded_in_a_fresh_process_without_spark(lake: ll.Lake, patients: str) -> None:
    run_id = logged(mlflow.data.from_pandas(frame(patients, 0), source=f"{patients}@0"))
    lake.flush()
    code = f"""
import sys
sys.modules["pyspark"] = None
import mlflow
mlflow.set_tracking_uri({mlflow.get_tracking_uri()!r})
run = mlflow.get_run({run_id!r})
print(len(mlflow.data.get_source(run.inputs.dataset_inputs[0]).load()))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["10"], done.stderr


def test_the_rows_are_those_of_a_native_use(lake: ll.Lake, patients: str) -> None:
    run_id = logged(mlflow.data.from_pandas(frame(patients, 1), source=DeltaTable(patients, version=1), name="p"))
    with lake.start_run() as native:
        native.use(patients, version=1, name="p")
    ours, theirs = rows(lake, "inputs", run_id), rows(lake, "inputs", native.id)
    told = ("snapshot_id", "name", "context", "columns", "predicate")
    assert [[row[k] for k in told] for row in ours] == [[row[k] for k in told] for row in theirs]
    assert [row["source"] for row in rows(lake, "lineage", run_id)] == [
        row["source"] for row in rows(lake, "lineage", native.id)
    ]
    (described,) = rows(lake, "datasets", run_id)
    assert described["snapshot_id"] == ours[0]["snapshot_id"]
    # One change: neither is there without the other.
    assert (described["ingested_at"], described["writer"]) == (ours[0]["ingested_at"], ours[0]["writer"])


def test_what_a_native_run_pinned_is_told_as_a_dataset(lake: ll.Lake, patients: str) -> None:
    with lake.start_run() as run:
        used = run.use(patients, version=0, name="p", context="validation", columns=["id"], where="id < 5")
        other = run.use(patients, version=1, name="all")
    first, second = MlflowClient().get_run(run.id).inputs.dataset_inputs
    assert (first.dataset.name, first.dataset.digest) == ("p", used.id)
    assert [(tag.key, tag.value) for tag in first.tags] == [("mlflow.data.context", "validation")]
    assert mlflow.data.get_source(first).load()["id"].tolist() == [0, 1, 2, 3, 4]
    assert mlflow.data.get_source(second).load("arrow").num_rows == 15
    assert json.loads(second.dataset.profile)["num_rows"] == other.num_rows == 15
    schema = Schema.from_json(json.dumps(json.loads(second.dataset.schema)["mlflow_colspec"]))
    assert [(col.name, col.type.name) for col in schema] == [("id", "long"), ("score", "double")]


def test_types_of_every_kind_have_a_schema_that_mlflow_reads(lake: ll.Lake, tmp_path: Path) -> None:
    table = pa.table(
        {
            "list": [[1, 2]],
            "struct": [{"a": 1.5, "b": "x"}],
            "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
            "decimal": pa.array([1], pa.decimal128(10, 2)),
            "time": pa.array([1], pa.timestamp("us", "UTC")),
            "bytes": [b"x"],
            "bool": [True],
        }
    )
    write_deltalake(str(tmp_path / "t"), table)
    with lake.start_run() as run:
        run.use(str(tmp_path / "t"))
    schema = only_dataset(run.id).dataset.schema
    assert Schema.from_json(json.dumps(json.loads(schema)["mlflow_colspec"])).input_names() == table.column_names


def test_the_same_input_twice_adds_nothing(lake: ll.Lake, patients: str) -> None:
    dataset = mlflow.data.from_pandas(frame(patients, 2), source=patients, name="p")
    with mlflow.start_run() as run:
        mlflow.log_input(dataset, context="training")
        mlflow.log_input(dataset, context="other", tags={"new": "tag"})
        mlflow.log_inputs([dataset, dataset], ["a", "b"], [None, None])
    assert [(tag.key, tag.value) for tag in only_dataset(run.info.run_id).tags] == [("mlflow.data.context", "training")]
    for table in ("datasets", "inputs", "pins_history", "lineage"):
        assert len(rows(lake, table, run.info.run_id)) == 1, table


def test_parts_of_one_table_are_inputs_of_their_own(lake: ll.Lake, patients: str) -> None:
    data = frame(patients, 2)
    train = mlflow.data.from_pandas(data[:8], source=patients)
    test = mlflow.data.from_pandas(data[8:], source=patients)
    more = mlflow.data.from_pandas(data[:9], source=f"{patients}@0")
    with mlflow.start_run() as run:
        for dataset, context in ((train, "training"), (test, "test"), (more, "training")):
            mlflow.log_input(dataset, context=context)
    inputs = lake.run(run.info.run_id).inputs
    assert {name: (each.version, each.context) for name, each in inputs.items()} == {
        "dataset": (2, "training"),
        "dataset:test": (2, "test"),
        "dataset:training": (0, "training"),
    }
    digests = [each.dataset.digest for each in MlflowClient().get_run(run.info.run_id).inputs.dataset_inputs]
    assert digests == [train.digest, test.digest, more.digest]


def test_name_and_digest_stand_for_one_dataset_of_an_experiment(lake: ll.Lake) -> None:
    def of(source: str, schema: str) -> DatasetInput:
        return DatasetInput(Dataset("n", "d", "code", source, schema), [InputTag("k", schema)])

    client = MlflowClient()
    other = client.create_experiment("other")
    ids = [client.create_run(each).info.run_id for each in ("0", "0", other)]
    for number, run_id in enumerate(ids):
        client.log_inputs(run_id, [of(f"source {number}", str(number))])
    told = [only_dataset(run_id) for run_id in ids]
    assert [each.dataset.source for each in told] == ["source 0", "source 0", "source 2"]
    assert [each.tags[0].value for each in told] == ["0", "1", "2"]


def test_another_version_under_the_same_name_and_digest_is_told_as_it_is(lake: ll.Lake, patients: str) -> None:
    data = frame(patients, 0)
    first = logged(mlflow.data.from_pandas(data, source=f"{patients}@0"))
    second = logged(mlflow.data.from_pandas(data, source=f"{patients}@1"))
    assert [json.loads(only_dataset(run).dataset.source)["version"] for run in (first, second)] == [0, 1]
    assert [lake.run(run).inputs["dataset"].version for run in (first, second)] == [0, 1]


def test_a_source_that_cannot_be_read_fails_nothing_and_is_told_of(
    lake: ll.Lake, patients: str, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = mlflow.data.from_pandas(frame(patients, 0), source=DeltaSource(patients, 77), name="p")
    with caplog.at_level(logging.WARNING, "lakelineage"):
        run_id = logged(dataset)
    assert "has no version 77" in caplog.text
    assert only_dataset(run_id).dataset.name == "p"
    (described,) = rows(lake, "datasets", run_id)
    assert described["snapshot_id"] is None
    assert not lake.run(run_id).inputs
    with pytest.raises(MlflowException, match="no version 77"):
        mlflow.data.get_source(only_dataset(run_id)).load()


def test_another_table_at_the_same_place_is_not_taken_for_it(
    lake: ll.Lake, patients: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = mlflow.data.from_pandas(frame(patients, 0), source=f"{patients}@0")
    Path(patients).rename(tmp_path / "moved")
    write_deltalake(patients, people(0, 3))
    with caplog.at_level(logging.WARNING, "lakelineage"):
        run_id = logged(dataset)
    assert "was dropped, and another was made there" in caplog.text
    assert not lake.run(run_id).inputs
    with pytest.raises(MlflowException, match="was dropped"):
        dataset.source.load()


def test_a_client_without_the_plugin_has_its_tables_pinned_too(lake: ll.Lake, patients: str) -> None:
    run_id = MlflowClient().create_run("0").info.run_id
    source = json.dumps({"uri": f"file://{patients}"})
    MlflowClient().log_inputs(run_id, [DatasetInput(Dataset("p", "1", "local", source))])
    assert lake.run(run_id).inputs["p"].version == 2
    assert only_dataset(run_id).dataset.source == source


def test_a_path_that_is_relative_to_a_clients_folder_is_not_looked_up_in_that_of_the_server(
    lake: ll.Lake, patients: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from flask import Flask

    monkeypatch.chdir(Path(patients).parent)
    source = json.dumps({"path": "patients"})
    ids = [MlflowClient().create_run("0").info.run_id for _ in range(2)]
    MlflowClient().log_inputs(ids[0], [DatasetInput(Dataset("p", "1", "delta_table", source))])
    with Flask("server").test_request_context(), caplog.at_level(logging.WARNING, "lakelineage"):
        MlflowClient().log_inputs(ids[1], [DatasetInput(Dataset("p", "2", "delta_table", source))])
    assert "relative to a folder of the client" in caplog.text
    assert [len(lake.run(run_id).inputs) for run_id in ids] == [1, 0]


def test_files_are_pinned_only_on_demand(lake: ll.Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "d.csv"
    file.write_text("a,b\n1,2\n3,4\n")
    dataset = mlflow.data.from_pandas(pd.read_csv(file), source=str(file), name="d")
    assert not lake.run(logged(dataset)).inputs
    monkeypatch.setenv("LAKELINEAGE_PIN_FILES", "1")
    run_id = logged(dataset)
    assert lake.run(run_id).inputs["d"].to_polars().rows() == [(1, 2), (3, 4)]
    assert only_dataset(run_id).dataset.source_type == "local"


def test_whatever_is_logged_as_a_source_is_kept(lake: ll.Lake) -> None:
    kinds = ("local", "code", "spark", "delta_table", SOURCE_TYPE)
    sources = ("no json", "[]", '"text"', "{}", '{"path": 3}', '{"uri": ""}', '{"uri": null}', '{"path": "/nowhere"}')
    run_id = MlflowClient().create_run("0").info.run_id
    given = [Dataset(f"{kind} {number}", "d", kind, source) for kind in kinds for number, source in enumerate(sources)]
    MlflowClient().log_inputs(run_id, [DatasetInput(each) for each in given])
    told = MlflowClient().get_run(run_id).inputs.dataset_inputs
    assert [dict(each.dataset) for each in told] == [dict(each) for each in given]
    assert not lake.run(run_id).inputs


def test_what_mlflow_refuses_is_refused(lake: ll.Lake) -> None:
    refused = [
        (Dataset("n" * 501, "d", "code", "{}"), "name"),
        (Dataset("n", "d" * 37, "code", "{}"), "digest"),
        (Dataset("n", "d", "code", "{" * 65_536), "source"),
        (Dataset(None, "d", "code", "{}"), "name cannot be None"),
        (None, "Dataset cannot be None"),
    ]
    run_id = MlflowClient().create_run("0").info.run_id
    store = MlflowClient()._tracking_client.store
    for dataset, message in refused:
        with pytest.raises(MlflowException, match=message) as error:
            store.log_inputs(run_id, [DatasetInput(Dataset("fine", "d", "code", "{}")), DatasetInput(dataset)])
        assert error.value.error_code == "INVALID_PARAMETER_VALUE"
    assert not rows(lake, "datasets", run_id)


def test_inputs_need_a_run_that_is_active(lake: ll.Lake) -> None:
    client = MlflowClient()
    given = [DatasetInput(Dataset("n", "d", "code", "{}"))]
    with pytest.raises(MlflowException, match="not found"):
        client.log_inputs("0" * 32, given)
    run_id = client.create_run("0").info.run_id
    client.delete_run(run_id)
    with pytest.raises(MlflowException, match="must be in the 'active' state"):
        client.log_inputs(run_id, given)
    with pytest.raises(TypeError, match="should be a list"):
        client._tracking_client.store.log_inputs(run_id, tuple(given))


def test_runs_are_found_by_their_datasets_and_experiments_list_them(lake: ll.Lake, patients: str) -> None:
    first = logged(mlflow.data.from_pandas(frame(patients, 0), source=f"{patients}@0", name="p", digest="1"), None)
    with lake.start_run(experiment="Default") as native:
        used = native.use(patients, name="q")
    found = mlflow.search_runs(["0"], "dataset.name = 'p'", output_format="list")
    assert [run.info.run_id for run in found] == [first]
    assert found[0].inputs.dataset_inputs[0].dataset.digest == "1"
    summaries = MlflowClient()._tracking_client.store._search_datasets(["0", native.experiment_id])
    assert {(each.name, each.digest, each.context) for each in summaries} == {
        ("p", "1", None),
        ("q", used.id, "training"),
    }


def test_lineage_goes_from_the_version_over_the_run_to_what_came_of_it(lake: ll.Lake, patients: str) -> None:
    run_id = logged(mlflow.data.from_pandas(frame(patients, 0), source=f"{patients}@0"), "eval")
    table = DeltaTable(patients).metadata().id
    assert lake.lineage(f"run:{run_id}").upstream()["node"].to_pylist() == [f"dataset:{table}@0"]
    assert lake.lineage(patients).downstream()["node"].to_pylist() == [f"run:{run_id}"]


def test_a_dataset_of_code_alone_is_logged_without_a_pin(lake: ll.Lake) -> None:
    run_id = logged(mlflow.data.from_numpy(np.arange(3)))
    assert only_dataset(run_id).dataset.source_type == "code"
    assert not lake.run(run_id).inputs


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_spark_read_is_pinned_and_read_without_spark(lake: ll.Lake, patients: str, spark: "SparkSession") -> None:
    newest = logged(mlflow.data.load_delta(path=patients, name="p"))
    first = logged(mlflow.data.load_delta(path=patients, version=0, name="p"))
    by_frame = logged(mlflow.data.from_spark(spark.read.format("delta").load(patients), path=patients, name="p"))
    spark.sql(f"create table if not exists by_name using delta location '{patients}'")
    named = logged(mlflow.data.load_delta(table_name="by_name", version=1))
    versions = {run: next(iter(lake.run(run).inputs.values())).version for run in (newest, first, by_frame, named)}
    assert versions == {newest: 2, first: 0, by_frame: 2, named: 1}
    told = only_dataset(first).dataset
    assert told.source_type == "delta_table"
    assert json.loads(told.source) == {"path": patients, "delta_table_version": 0}
    assert mlflow.data.get_source(told).load().count() == 10, "a Spark frame, as ever, where a session is in use"
    code = f"""
import sys
sys.modules["pyspark"] = None
import mlflow
mlflow.set_tracking_uri({mlflow.get_tracking_uri()!r})
run = mlflow.get_run({first!r})
print(len(mlflow.data.get_source(run.inputs.dataset_inputs[0]).load()))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["10"], done.stderr
