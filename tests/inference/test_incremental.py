import os
import random
import shutil
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakelineage.errors import ConcurrentWrite, InvalidInput
from lakelineage.inference import recorded, scoring, upsert
from lakelineage.inference.models import log_model
from lakelineage.inference.scoring import score
from lakelineage.snapshots import pin
from lakelineage.store.output import Record, Target
from tests.inference.scored import expected, logged, people, scores


def test_only_appended_rows_are_scored_and_each_once(engine, double, source, output):
    first = score(engine, double, source, output, incremental=True)
    assert (first.kind, first.rows, first.output_version) == ("full", 100, 0)
    write_deltalake(source, people(range(100, 110)), mode="append")
    write_deltalake(source, people(range(110, 115)), mode="append")
    second = score(engine, double, source, output, incremental=True)
    assert (second.kind, second.rows, second.output_version) == ("incremental", 15, 1)
    assert "2 files" in second.reason
    again = score(engine, double, source, output, incremental=True)
    assert (again.kind, again.rows, again.output_version) == ("nothing", 0, 1)
    assert DeltaTable(output).version() == 1
    assert scores(output) == expected(source)
    versions = DeltaTable(output).to_pandas().groupby("_input_version").size().to_dict()
    assert versions == {0: 100, 2: 15}


def test_a_compaction_of_the_input_is_nothing_new(engine, double, source, output):
    write_deltalake(source, people(range(100, 110)), mode="append")
    score(engine, double, source, output, incremental=True)
    DeltaTable(source).optimize.compact()
    assert score(engine, double, source, output, incremental=True).kind == "nothing"
    write_deltalake(source, people(range(110, 120)), mode="append")
    assert score(engine, double, source, output, incremental=True).rows == 10
    assert scores(output) == expected(source)


def test_appends_that_were_compacted_before_they_were_scored_are_found_once(engine, double, source, output):
    score(engine, double, source, output, incremental=True)
    write_deltalake(source, people(range(100, 110)), mode="append")
    DeltaTable(source).optimize.compact()
    done = score(engine, double, source, output, incremental=True)
    assert (done.kind, done.rows) == ("incremental", 10)
    DeltaTable(source).optimize.compact()
    write_deltalake(source, people(range(110, 120)), mode="append")
    DeltaTable(source).optimize.compact()
    DeltaTable(source).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert score(engine, double, source, output, incremental=True).rows == 10
    assert scores(output) == expected(source)


@pytest.mark.parametrize("change_data", [False, True])
def test_updates_and_deletes_are_applied_by_key(engine, double, tmp_path, output, change_data):
    source = str(tmp_path / "in")
    properties = {"delta.enableChangeDataFeed": "true"} if change_data else None
    write_deltalake(source, people(range(100)), configuration=properties)
    score(engine, double, source, output, incremental=True, key="id")
    DeltaTable(source).update({"bmi": "1000.0"}, predicate="id < 5")
    DeltaTable(source).delete("id >= 97")
    write_deltalake(source, people(range(200, 204)), mode="append")
    done = score(engine, double, source, output, incremental=True, key="id")
    assert (done.kind, done.rows, done.deleted) == ("incremental", 9, 3)
    assert "4 rows came, 5 changed, 3 went" in done.reason.replace(" and 3", ", 3")
    assert scores(output) == expected(source)
    DeltaTable(source).delete("id = 7")
    only_deleted = score(engine, double, source, output, incremental=True, key=["id"])
    assert (only_deleted.rows, only_deleted.deleted) == (0, 1)
    assert scores(output) == expected(source)


EDITS = st.lists(st.sampled_from(["append", "update", "delete", "compact", "overwrite", "score"]), max_size=9)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(edits=EDITS, seed=st.integers(0, 99), few=st.sampled_from([0, 1_000]))
def test_an_output_is_the_scored_input_whatever_happened_to_it(
    engine, double, tmp_path_factory, monkeypatch, edits, seed, few
):
    """With few = 0 the output is written anew instead of merged."""
    monkeypatch.setattr(upsert, "MERGED", few)
    choose, folder = random.Random(seed), tmp_path_factory.mktemp("edits")
    source, output = str(folder / "in"), str(folder / "out")
    fresh = iter(range(10**6))
    write_deltalake(source, people([next(fresh) for _ in range(20)]))
    for edit in [*edits, "score"]:
        low = choose.randrange(60)
        if edit == "append":
            write_deltalake(source, people([next(fresh) for _ in range(7)]), mode="append")
        elif edit == "update":
            DeltaTable(source).update({"bmi": f"{choose.random()}"}, predicate=f"id > {low}")
        elif edit == "delete":
            DeltaTable(source).delete(f"id between {low} and {low + 6}")
        elif edit == "compact":
            DeltaTable(source).optimize.compact()
        elif edit == "overwrite":
            write_deltalake(source, people(range(low, low + 15), bmi=choose.random()), mode="overwrite")
        elif DeltaTable(source).to_pyarrow_table().num_rows:
            score(engine, double, source, output, incremental=True, key="id")
            assert scores(output) == expected(source)


def test_without_a_key_changes_make_all_rows_be_scored_anew(engine, double, source, output):
    score(engine, double, source, output, incremental=True)
    DeltaTable(source).delete("id = 3")
    done = score(engine, double, source, output, incremental=True)
    assert (done.kind, done.rows) == ("full", 99)
    assert "key" in done.reason
    assert scores(output) == expected(source)


def test_another_model_scores_all_rows_or_goes_on_by_choice(engine, double, make_run, source, output):
    score(engine, double, source, output, incremental=True)
    write_deltalake(source, people(range(100, 103)), mode="append")
    triple = logged(engine, make_run(trained_on=None), 3)
    assert score(engine, triple, source, output, incremental=True, on_new_model="continue").rows == 3
    assert [scores(output)[i] for i in (10, 100)] == [2.0, 30.0]
    back = score(engine, double, source, output, incremental=True)
    assert (back.kind, back.rows) == ("full", 103)
    assert "model" in back.reason
    assert scores(output) == expected(source)
    # The first model again, after another: what it once scored is not taken for what is there.
    assert score(engine, triple, source, output, incremental=True).kind == "full"
    assert score(engine, double, source, output, incremental=True).kind == "full"
    assert score(engine, double, source, output, incremental=True).kind == "nothing"
    assert scores(output) == expected(source)


def test_a_new_schema_or_choice_of_rows_makes_all_be_scored_anew(engine, double, source, output):
    score(engine, double, source, output, incremental=True)
    wider = people(range(100, 102)).append_column("more", pa.array(["x", "y"]))
    write_deltalake(source, wider, mode="append", schema_mode="merge")
    done = score(engine, double, source, output, incremental=True)
    assert (done.kind, done.rows) == ("full", 102)
    assert "schema" in done.reason
    assert "more" in DeltaTable(output).to_pyarrow_table().schema.names
    chosen = pin(engine, source, where="id < 50")
    assert score(engine, double, chosen, output, incremental=True).rows == 50
    write_deltalake(source, wider.set_column(0, "id", pa.array([200, 201])), mode="append")
    outside = score(engine, double, pin(engine, source, where="id < 50"), output, incremental=True)
    assert (outside.kind, outside.rows) == ("nothing", 0)


def test_a_table_that_was_made_again_is_scored_anew(engine, double, source, output):
    score(engine, double, source, output, incremental=True)
    shutil.rmtree(source)
    write_deltalake(source, people(range(5)))
    done = score(engine, double, source, output, incremental=True)
    assert (done.kind, done.rows) == ("full", 5)
    assert "made again" in done.reason
    assert scores(output) == expected(source)


def test_a_cleaned_log_hides_no_appends(engine, double, source, output):
    score(engine, double, source, output, incremental=True)
    for start in (100, 110):
        write_deltalake(source, people(range(start, start + 10)), mode="append")
    DeltaTable(source).create_checkpoint()
    for version in (0, 1):
        os.remove(f"{source}/_delta_log/{version:020d}.json")
    done = score(engine, double, source, output, incremental=True)
    assert (done.kind, done.rows) == ("incremental", 20)
    assert scores(output) == expected(source)


def test_rows_of_something_else_are_never_replaced(engine, double, source, output, tmp_path):
    score(engine, double, source, output)
    score(engine, double, source, output)
    with pytest.raises(InvalidInput, match="not scored incrementally"):
        score(engine, double, source, output, incremental=True)
    score(engine, double, source, output, mode="overwrite")  # has each row once, so it can go on from there
    assert score(engine, double, source, output, incremental=True).kind == "nothing"
    other = str(tmp_path / "other")
    write_deltalake(other, people(range(3)))
    with pytest.raises(InvalidInput, match="another input"):
        score(engine, double, other, output, incremental=True)
    score(engine, double, other, output, mode="overwrite")
    with pytest.raises(InvalidInput, match="another input"):
        score(engine, double, source, output, incremental=True)
    assert scores(output) == expected(other)


def test_an_older_version_than_was_scored_is_refused(engine, double, source, output):
    write_deltalake(source, people(range(100, 103)), mode="append")
    score(engine, double, source, output, incremental=True)
    with pytest.raises(InvalidInput, match="newer"):
        score(engine, double, source, output, incremental=True, version=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"incremental": True, "mode": "overwrite"},
        {"incremental": True, "on_new_model": "maybe"},
        {"on_new_model": "continue"},
        {"mode": "merge"},
        {"key": "id"},
        {"mode": "merge", "key": "nothing"},
        {"mode": "merge", "key": "bmi"},  # as all have the same
    ],
)
def test_options_that_do_not_go_together_are_refused(engine, double, tmp_path, output, wrong):
    source = str(tmp_path / "in")
    write_deltalake(source, people(range(3), bmi=1.0))
    with pytest.raises(InvalidInput):
        score(engine, double, source, output, **wrong)
    assert not DeltaTable.is_deltatable(output)


@pytest.mark.parametrize("few", [0, 1_000])
def test_keys_and_columns_of_any_name_and_type_are_merged(engine, make_run, tmp_path, output, monkeypatch, few):
    monkeypatch.setattr(upsert, "MERGED", few)
    run = make_run(trained_on=None)
    log_model(engine, run, lambda frame: frame["b mi"] * 2, "model")
    source, moment = str(tmp_path / "in"), datetime(2026, 1, 2, tzinfo=UTC)

    def rows(count):
        names = pa.array([f"it's {i}" for i in range(count)])
        columns = {
            "My Id": names,
            'a"b': pa.array([date(2026, 1, 1)] * count),
            "b mi": pa.array([float(i) for i in range(count)]),
            "Select": pa.array([moment] * count, pa.timestamp("us", "UTC")),
            "cost": pa.array([Decimal("1.50")] * count, pa.decimal128(10, 2)),
            "tags": pa.array([["x", None]] * count, pa.list_(pa.string())),
            "raw": pa.array([b"\x00"] * count, pa.binary()),
        }
        return pa.table(columns)

    write_deltalake(source, rows(6))
    key = ["My Id", 'a"b']
    score(engine, f"runs:/{run}/model", source, output, incremental=True, key=key, trust="pickle")
    changed = rows(8).to_pylist()[1:]
    changed[0]["tags"] = ["y"]
    write_deltalake(source, pa.Table.from_pylist(changed, schema=rows(1).schema), mode="overwrite")
    done = score(engine, f"runs:/{run}/model", source, output, incremental=True, key=key, trust="pickle")
    assert (done.kind, done.rows, done.deleted) == ("incremental", 3, 1)
    found = DeltaTable(output).to_pyarrow_table().sort_by("My Id")
    assert found.select(rows(1).schema.names).to_pylist() == changed
    assert found["prediction"].to_pylist() == [2.0 * i for i in range(1, 8)]


def test_of_two_jobs_that_make_the_output_one_lands(output):
    both = [Target(output, {}) for _ in range(2)]
    rows = people(range(3))
    both[0].write(rows.schema, rows.to_batches(), "append", Record({"a": 1}, {}))
    with pytest.raises(ConcurrentWrite):
        both[1].write(rows.schema, rows.to_batches(), "append", Record({"a": 1}, {}))
    assert DeltaTable(output).to_pyarrow_table().num_rows == 3


@pytest.mark.parametrize("few", [0, 1_000])
def test_merge_puts_rows_in_the_place_of_those_with_their_key(engine, double, tmp_path, output, monkeypatch, few):
    monkeypatch.setattr(upsert, "MERGED", few)
    first, second = str(tmp_path / "a"), str(tmp_path / "b")
    write_deltalake(first, people(range(10)))
    write_deltalake(second, people(range(5, 12), bmi=7.0))
    for source in (first, second, second):
        assert score(engine, double, source, output, mode="merge", key=["id"]).kind == "full"
    assert scores(output) == expected(first) | expected(second)
    write_deltalake(second, pa.table({"id": pa.array([None], pa.int64()), "bmi": [1.0]}), mode="append")
    with pytest.raises(InvalidInput, match="without a key"):
        score(engine, double, second, output, mode="merge", key=["id"])
    assert DeltaTable(output).version() == 2


def test_a_job_that_died_after_its_commit_is_recorded_by_the_next(engine, double, source, output, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(scoring, "record", die)
        with pytest.raises(KeyboardInterrupt):
            score(engine, double, source, output, incremental=True)
    count = "select count(*) as n from lineage where source like 'artifact:%'"
    assert engine.query(count).to_pylist() == [{"n": 0}]
    for _ in range(2):
        assert score(engine, double, source, output, incremental=True).kind == "nothing"
        assert engine.query(count).to_pylist() == [{"n": 1}]
    assert recorded._LAKE in DeltaTable(output).history()[0]


def test_of_two_jobs_that_start_from_the_same_state_one_lands(engine, double, source, output):
    score(engine, double, source, output, incremental=True)
    rows = DeltaTable(output).to_pyarrow_table()
    both = [Target(output, {}) for _ in range(2)]
    record = Record({"lakelineage.score.table": 7}, {})
    both[0].write(rows.schema, rows.to_batches(), "append", record)
    with pytest.raises(ConcurrentWrite):
        both[1].write(rows.schema, rows.to_batches(), "append", record)
    assert DeltaTable(output).to_pyarrow_table().num_rows == 200


def test_a_model_that_fails_in_a_merge_leaves_the_output_as_it_was(engine, make_run, source, output):
    def picky(frame):
        if (frame["bmi"] > 500).any():
            raise RuntimeError("too much")
        return frame["bmi"]

    run = make_run(trained_on=None)
    log_model(engine, run, picky, "model")
    score(engine, f"runs:/{run}/model", source, output, incremental=True, key="id", trust="pickle")
    DeltaTable(source).update({"bmi": "id * 1.0 + 480"})
    with pytest.raises(RuntimeError, match="too much"):
        score(engine, f"runs:/{run}/model", source, output, incremental=True, key="id", batch_size=10, trust="pickle")
    assert DeltaTable(output).version() == 0
