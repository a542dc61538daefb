"""Scoring with lake, input and output in buckets, and what of it is on a disk; jobs are killed at each step."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

import lakelineage
from lakelineage.inference import upsert
from tests.inference.scored import people

Place = tuple[str, dict[str, str]]


@pytest.fixture
def bucket(s3: Place) -> Iterator[tuple[Any, str, dict[str, str]]]:
    """A lake in a bucket, with a model that doubles: (lake, URI of the bucket, options)."""
    uri, options = s3
    with lakelineage.open(f"{uri}/lake", options) as lake:
        register(lake)
        yield lake, uri, options


def register(lake: Any) -> None:
    from sklearn.linear_model import LinearRegression

    frame = people(range(10)).select(["bmi"]).to_pandas()
    with lake.start_run("doubling") as run:
        run.log_model(LinearRegression().fit(frame, frame["bmi"] * 2), "model", input_example=frame)
    lake.models.register("m", run)


def table(uri: str, options: dict[str, str]) -> pa.Table:
    return DeltaTable(uri, storage_options=options).to_pyarrow_table()


def scores(uri: str, options: dict[str, str]) -> dict[int, float]:
    found = table(uri, options)
    ids = found["id"].to_pylist()
    assert len(set(ids)) == len(ids)
    return dict(zip(ids, found["prediction"].to_pylist(), strict=True))


def expected(uri: str, options: dict[str, str]) -> Any:
    found = table(uri, options)
    return pytest.approx(dict(zip(found["id"].to_pylist(), [b * 2 for b in found["bmi"].to_pylist()], strict=True)))


def test_every_mode_does_in_buckets_what_it_does_on_a_disk(bucket):
    lake, uri, options = bucket
    source, output = f"{uri}/people", f"{uri}/plain"
    write_deltalake(source, people(range(20)), storage_options=options)
    for mode, rows in (("append", 20), ("append", 40), ("overwrite", 20)):
        lake.score("models:/m/1", source, output, mode=mode)
        assert table(output, options).num_rows == rows
    other = f"{uri}/others"
    write_deltalake(other, people(range(15, 25), bmi=7.0), storage_options=options)
    lake.score("models:/m/1", other, output, mode="merge", key="id")
    assert scores(output, options) == pytest.approx({i: 14.0 if i >= 15 else i / 10 * 2 for i in range(25)})
    tables = {"p": source, "o": lake.snapshot(other)}
    asked = "select p.id, o.bmi from p join o using (id)"
    done = lake.score("models:/m/1", asked, f"{uri}/asked", tables=tables)
    assert (done.rows, done.input_version) == (5, None)
    assert scores(f"{uri}/asked", options) == pytest.approx(dict.fromkeys(range(15, 20), 14.0))


@pytest.mark.parametrize("merged", [0, 1_000])
def test_appends_updates_and_deletes_in_buckets_are_applied_and_traced(bucket, monkeypatch, merged):
    lake, uri, options = bucket
    monkeypatch.setattr(upsert, "MERGED", merged)
    source, output = f"{uri}/people", f"{uri}/scores"
    write_deltalake(source, people(range(20)), storage_options=options)

    def score():
        done = lake.score("models:/m/1", source, output, incremental=True, key="id")
        assert scores(output, options) == expected(source, options)
        return done.kind, done.rows, done.deleted

    assert score() == ("full", 20, 0)
    write_deltalake(source, people(range(100, 103)), mode="append", storage_options=options)
    assert score() == ("incremental", 3, 0)
    DeltaTable(source, storage_options=options).update({"bmi": "9.0"}, predicate="id < 2")
    DeltaTable(source, storage_options=options).delete("id = 100")
    assert score() == ("incremental", 2, 1)
    assert score() == ("nothing", 0, 0)
    (traced,) = lake.trace_prediction(output, "id = 1").to_pylist()
    assert (traced["_model"], traced["_input_uri"], traced["_input_version"]) == ("models:/m/1", source, 3)
    DeltaTable(source, storage_options=options).delete()
    assert score() in (("full", 0, 0), ("incremental", 0, 22))
    found = lake.lineage(f"dataset:{DeltaTable(output, storage_options=options).metadata().id}@0").upstream()
    assert any(str(node).startswith("model:m@1") for node in found["node"].to_pylist())


def test_an_output_in_a_store_of_its_own_is_scored_from_a_lake_on_a_disk(s3, tmp_path):
    uri, options = s3
    source, output = str(tmp_path / "people"), f"{uri}/scores"
    write_deltalake(source, people(range(20)))
    with lakelineage.open(tmp_path / "lake") as lake:
        register(lake)

        def score():
            more = {"incremental": True, "key": "id", "storage_options": options}
            return lake.score("models:/m/1", source, output, **more).kind

        assert score() == "full"
        write_deltalake(source, people(range(50, 55)), mode="append")
        DeltaTable(source).update({"bmi": "9.0"}, predicate="id < 2")
        assert score() == "incremental"
        assert score() == "nothing"
        wanted = table(source, {})
        ids, values = wanted["id"].to_pylist(), wanted["bmi"].to_pylist()
        assert scores(output, options) == pytest.approx(dict(zip(ids, [2 * b for b in values], strict=True)))
        (traced,) = lake.trace_prediction(output, "id = 1", storage_options=options).to_pylist()
        assert traced["_input_uri"] == source


JOB = """
import lakelineage

uri, options, source, output = args
with lakelineage.open(uri, options) as lake:
    lake.score("models:/m/1", source, output, incremental=True, key="id", batch_size=5)
"""


@pytest.mark.slow
def test_a_job_killed_anywhere_in_buckets_and_started_again_gives_the_same_table(bucket, nursery):
    """At each step of scoring, in the first job and in jobs that merge."""
    lake, uri, options = bucket
    source, output = f"{uri}/people", f"{uri}/scores"
    write_deltalake(source, people(range(20)), storage_options=options)
    killed, number = True, 0
    while killed:
        number += 1
        first = f"{uri}/first-{number}"
        for place in (first, output):
            killed, _ = nursery.run(JOB, lake.uri, options, source, place, fault=f"score.*:{number}")
            done = lake.score("models:/m/1", source, place, incremental=True, key="id")
            assert done.output_version == DeltaTable(place, storage_options=options).version()
            assert scores(place, options) == expected(source, options)
            told = lake.sql(
                "select source from lineage where target = ?",
                [f"dataset:{DeltaTable(place, storage_options=options).metadata().id}@{done.output_version}"],
            )["source"].to_pylist()
            assert len(told) == len(set(told)) == 2
        assert DeltaTable(output, storage_options=options).version() == number - 1
        write_deltalake(source, people([100 + number]), mode="append", storage_options=options)
        DeltaTable(source, storage_options=options).update({"bmi": f"{number}.5"}, predicate=f"id = {number}")
        if number > 5:
            DeltaTable(source, storage_options=options).delete(f"id = {number + 4}")
    assert number > 4
