"""Whatever is merged, appended or deleted by key: the output has one row for each."""

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from lakelineage.errors import InvalidInput
from lakelineage.inference import upsert
from lakelineage.inference.scoring import score
from lakelineage.snapshots import pin
from tests.inference.scored import expected, people, scores


@pytest.fixture(params=[0, 1_000])
def few(request, monkeypatch):
    """With 0 the output is written anew instead of merged."""
    monkeypatch.setattr(upsert, "MERGED", request.param)


@pytest.mark.parametrize("ids", [[100, 101, 100], [100, 42]], ids=["twice in the append", "there already"])
def test_a_key_that_comes_again_is_refused_by_name_and_changes_nothing(engine, double, source, output, ids):
    score(engine, double, source, output, incremental=True, key="id")
    write_deltalake(source, people(ids), mode="append")
    with pytest.raises(InvalidInput, match="id = 100" if ids[-1] == 100 else "id = 42"):
        score(engine, double, source, output, incremental=True, key="id")
    assert DeltaTable(output).version() == 0
    DeltaTable(source).delete(f"id = {ids[-1]} and bmi >= 0")
    if ids[-1] == 42:
        write_deltalake(source, people([42]), mode="append")  # late, but now the only one
    assert score(engine, double, source, output, incremental=True, key="id").kind == "incremental"
    assert scores(output) == expected(source)


@pytest.mark.usefixtures("few")
def test_a_key_that_comes_again_is_refused_beside_other_changes(engine, double, source, output):
    score(engine, double, source, output, incremental=True, key="id")
    write_deltalake(source, people([42], bmi=1.0), mode="append")
    DeltaTable(source).update({"bmi": "7.0"}, predicate="id = 3")
    with pytest.raises(InvalidInput, match="id = 42"):
        score(engine, double, source, output, incremental=True, key="id")
    assert DeltaTable(output).version() == 0


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("change", ["update", "delete"])
def test_rows_of_one_key_that_an_output_has_already_are_never_mixed_up(engine, double, tmp_path, output, change):
    source = str(tmp_path / "in")
    twins = pa.table({"id": pa.array([1, 1, 2], pa.int64()), "bmi": [1.0, 2.0, 3.0]})
    write_deltalake(source, twins)
    score(engine, double, source, output, incremental=True)  # without a key that is fine
    if change == "update":
        DeltaTable(source).update({"bmi": "5.0"}, predicate="bmi = 1.0")
    else:
        DeltaTable(source).delete("bmi = 1.0")
    with pytest.raises(InvalidInput, match=r"2 rows with id = 1"):
        score(engine, double, source, output, incremental=True, key="id")
    assert DeltaTable(output).version() == 0


@pytest.mark.usefixtures("few")
def test_a_merge_into_an_output_with_several_rows_of_a_key_is_refused(engine, double, tmp_path, source, output):
    first = str(tmp_path / "in")
    write_deltalake(first, pa.table({"id": pa.array([1, 1], pa.int64()), "bmi": [1.0, 2.0]}))
    score(engine, double, first, output)
    with pytest.raises(InvalidInput, match=r"2 rows with id = 1; .*mode='overwrite'"):
        score(engine, double, source, output, mode="merge", key="id")
    assert DeltaTable(output).version() == 0


def test_appended_rows_without_a_key_are_refused(engine, double, source, output):
    score(engine, double, source, output, incremental=True, key="id")
    write_deltalake(source, pa.table({"id": pa.array([None], pa.int64()), "bmi": [1.0]}), mode="append")
    with pytest.raises(InvalidInput, match="1 rows without a key"):
        score(engine, double, source, output, incremental=True, key="id")
    assert DeltaTable(output).version() == 0


def test_a_key_may_have_any_name(engine, double, tmp_path, output):
    source = str(tmp_path / "in")
    rows = {"n": pa.array([1, 2], pa.int64()), "_sign": ["a", "a"], "bmi": [1.0, 2.0]}
    write_deltalake(source, pa.table(rows))
    for _ in range(2):
        score(engine, double, source, output, incremental=True, key=["_sign", "n"])
        rows["n"] = pa.array([3, 4], pa.int64())
        write_deltalake(source, pa.table(rows), mode="append")
    assert DeltaTable(output).to_pyarrow_table().num_rows == 4
    write_deltalake(source, pa.table(rows), mode="append")
    with pytest.raises(InvalidInput, match="_sign = a, n = 3"):
        score(engine, double, source, output, incremental=True, key=["_sign", "n"])


@pytest.mark.parametrize("key", [None, "id"])
def test_an_input_that_became_empty_empties_the_output_once_and_goes_on(engine, double, source, output, key):
    more = {"incremental": True, "key": key}
    score(engine, double, source, output, **more)
    DeltaTable(source).delete()
    done = score(engine, double, source, output, **more)
    assert (done.rows, done.output_version) == (0, 1)
    assert scores(output) == {}
    assert score(engine, double, source, output, **more).kind == "nothing"
    assert DeltaTable(output).version() == 1
    write_deltalake(source, people(range(5)), mode="append")
    assert score(engine, double, source, output, **more).rows == 5
    assert scores(output) == expected(source)


def test_a_choice_of_rows_that_became_empty_empties_the_output(engine, double, source, output):
    score(engine, double, pin(engine, source, where="id < 5"), output, incremental=True)
    DeltaTable(source).delete("id < 5")
    for kind in ("full", "nothing"):
        assert score(engine, double, pin(engine, source, where="id < 5"), output, incremental=True).kind == kind
    assert scores(output) == {}


def test_of_nothing_no_output_is_made(engine, double, source, output):
    DeltaTable(source).delete()
    for more in ({"incremental": True}, {"mode": "overwrite"}):
        with pytest.raises(InvalidInput, match="no rows"):
            score(engine, double, source, output, **more)
    assert not DeltaTable.is_deltatable(output)
