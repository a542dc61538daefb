import statistics

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from lakelineage.errors import InvalidInput, ModelNotFound, TableNotFound, VersionNotFound
from lakelineage.inference.models import log_model
from lakelineage.inference.scoring import score
from lakelineage.inference.trace import trace_prediction
from lakelineage.snapshots import pin


@pytest.fixture
def champion(engine, models, make_run, regressor, features):
    """models:/m@champion, made of the patients at version 1."""
    run = make_run()
    log_model(engine, run, regressor, "model", input_example=features.head(3))
    models.register("m", run)
    return models.set_alias("m", "champion", 1)


def rows(uri, version=None):
    return DeltaTable(uri, version=version).to_pyarrow_table().sort_by("id")


def write(uri, **columns):
    write_deltalake(uri, pa.table(columns))
    return uri


def test_every_row_comes_out_with_its_prediction_and_where_it_came_from(
    engine, champion, patients, output, regressor, features
):
    result = score(engine, "models:/m@champion", patients, output)
    found = rows(output)
    assert found.schema.names == [
        *("id", "bmi", "age", "name", "prediction"),
        *("_model_name", "_model_version", "_run_id", "_input_version", "_scored_at"),
    ]
    assert found["id"].to_pylist() == list(range(1_000))
    assert np.array_equal(found["prediction"].to_numpy(), regressor.predict(features.sort_values("bmi")))
    for column, value in (
        ("_model_name", "m"),
        ("_model_version", 1),
        ("_run_id", champion.run_id),
        ("_input_version", 1),
    ):
        assert found[column].unique().to_pylist() == [value]
    assert (result.rows, result.output_uri, result.output_version, result.input_version) == (1_000, output, 0, 1)
    assert (result.model_name, result.model_version, result.run_id) == ("m", 1, champion.run_id)


def test_predictions_do_not_depend_on_the_size_of_batches(engine, champion, patients, tmp_path):
    tables = []
    for size in (7, 1_000, 10_000):
        out = str(tmp_path / f"out{size}")
        score(engine, champion, patients, out, batch_size=size)
        tables.append(rows(out).drop_columns(["_scored_at"]))
    for table in tables[1:]:
        assert table.drop_columns(["prediction"]).equals(tables[0].drop_columns(["prediction"]))
        # Linear algebra libraries choose their order of summation by the size of the matrix.
        close = np.isclose(table["prediction"].to_numpy(), tables[0]["prediction"].to_numpy(), rtol=1e-12, atol=0)
        assert close.all()


def test_a_scoring_is_one_commit_and_append_keeps_what_is_there(engine, champion, patients, output):
    done = [score(engine, champion, patients, output, batch_size=100, version=v).output_version for v in (0, 1)]
    assert done == [0, 1]
    assert rows(output).num_rows == 1_500
    assert sorted(rows(output)["_input_version"].unique().to_pylist()) == [0, 1]
    assert score(engine, champion, patients, output, mode="overwrite", version=0).output_version == 2
    assert rows(output).num_rows == 500


def test_an_old_version_of_the_input_is_scored_as_it_was(engine, champion, patients, output):
    assert score(engine, champion, patients, output, version=0).input_version == 0
    assert rows(output)["id"].to_pylist() == list(range(500))
    with pytest.raises(VersionNotFound):
        score(engine, champion, patients, output, version=9)


def test_a_snapshot_is_scored_with_its_choice_of_rows(engine, champion, patients, output):
    snapshot = pin(engine, patients, where="id < 10")
    assert score(engine, champion, snapshot, output).rows == 10
    with pytest.raises(InvalidInput, match="contradicts"):
        score(engine, champion, snapshot, output, version=0)


def test_data_frames_are_scored_and_stay_traceable(engine, champion, output, features):
    result = score(engine, champion, features.head(5).assign(id=range(5)), output)
    assert (result.rows, result.input_version) == (5, 0)
    traced = trace_prediction(engine, output, "id = 3").to_pylist()[0]
    assert traced["_input_uri"] == engine.root.child("datasets", "predictions_input")


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"bmi": [1.5]}, ["'age'", "missing"]),
        ({"age": ["old"], "bmi": ["x"]}, ["'age'", "'bmi'", "string", "double"]),
        ({"age": [70], "bmi": [1.5]}, ["'age'", "int64", "double"]),
        ({"age": pa.array([0], pa.int64()), "bmi": [1.5]}, ["'age'", "int64"]),  # the type counts, not the values
    ],
)
def test_an_input_that_does_not_fit_the_signature_is_refused_before_anything_is_written(
    engine, champion, tmp_path, output, columns, named
):
    with pytest.raises(InvalidInput) as refused:
        score(engine, champion, write(str(tmp_path / "in"), **columns), output)
    assert all(word in str(refused.value) for word in named), refused.value
    assert not (tmp_path / "predictions").exists()


def test_types_that_widen_without_loss_are_taken(engine, champion, tmp_path, output):
    source = write(str(tmp_path / "in"), bmi=pa.array([1.5], pa.float32()), age=pa.array([70], pa.int32()), id=[1])
    assert score(engine, champion, source, output).rows == 1
    assert rows(output)["prediction"].to_pylist() == pytest.approx([213.0])


def test_nothing_is_committed_if_a_later_batch_fails(engine, models, make_run, patients, output, tmp_path):
    def picky(frame):
        if (frame["id"] >= 700).any():
            raise RuntimeError("row 700 is odd")
        return frame["id"] * 1.0

    run = make_run()
    log_model(engine, run, picky, "model")
    with pytest.raises(RuntimeError, match="row 700 is odd"):
        score(engine, f"runs:/{run}/model", patients, output, batch_size=100, trust="pickle")
    assert not DeltaTable.is_deltatable(output)
    assert engine.query("select count(*) as n from lineage where source like 'artifact:%'").to_pylist() == [{"n": 0}]


def test_an_output_with_other_columns_is_refused_and_kept(engine, champion, patients, output):
    write(output, something=[1])
    with pytest.raises(InvalidInput, match="something"):
        score(engine, champion, patients, output)
    assert DeltaTable(output).version() == 0
    assert score(engine, champion, patients, output, mode="overwrite").output_version == 1
    assert rows(output).num_rows == 1_000


@pytest.mark.parametrize("taken", ["prediction", "_run_id", "_git_commit"])
def test_an_input_with_a_column_that_the_output_needs_is_refused(engine, champion, tmp_path, output, taken):
    source = write(str(tmp_path / "in"), bmi=[1.0], age=[2.0], **{taken: ["x"]})
    with pytest.raises(InvalidInput, match=taken):
        score(engine, champion, source, output)
    assert not (tmp_path / "predictions").exists()


def test_a_table_is_not_scored_into_itself(engine, champion, patients):
    with pytest.raises(InvalidInput, match="itself"):
        score(engine, champion, patients, patients, mode="overwrite")


def test_wrong_options_are_refused(engine, champion, patients, output, tmp_path):
    for wrong in ({"mode": "upsert"}, {"batch_size": 0}, {"batch_size": 1.5}, {"columns": ["nothing"]}):
        with pytest.raises(InvalidInput):
            score(engine, champion, patients, output, **wrong)
    with pytest.raises(ModelNotFound):
        score(engine, "models:/m/7", patients, output)
    with pytest.raises(TableNotFound):
        score(engine, champion, str(tmp_path / "nowhere"), output)
    empty = str(tmp_path / "empty")
    write_deltalake(empty, DeltaTable(patients).to_pyarrow_table().slice(0, 0))
    with pytest.raises(InvalidInput, match="no rows"):
        score(engine, champion, empty, output)


def test_a_model_named_by_its_run_has_no_name_or_version(engine, make_run, patients, output):
    run = make_run()
    log_model(engine, run, lambda frame: frame["bmi"] * 2, "model")
    result = score(engine, f"runs:/{run}/model", patients, output, trust="pickle")
    assert (result.model_name, result.model_version, result.run_id) == (None, None, run)
    found = rows(output)
    assert found["_model_name"].null_count == found["_model_version"].null_count == 1_000
    assert found["_run_id"].unique().to_pylist() == [run]


def several_as_frame(frame):
    return pd.DataFrame({"low": frame["bmi"] - 1, "high": frame["bmi"] + 1})


def several_as_array(frame):
    return np.column_stack([frame["bmi"] - 1, frame["bmi"] + 1])


def several_as_dict(frame):
    return {"low": frame["bmi"] - 1, "high": frame["bmi"] + 1}


def text(frame):
    return np.where(frame["bmi"] > 50, "high", "low")


def labels(frame):
    return pd.Categorical(text(frame))


def small_counts(frame):
    return frame["bmi"].to_numpy().astype("uint8")


def one_column(frame):
    return frame[["bmi"]].to_numpy()


def nothing(frame):
    return [None] * len(frame)


@pytest.mark.parametrize(
    ("model", "columns"),
    [
        (several_as_frame, {"prediction_low": "double", "prediction_high": "double"}),
        (several_as_dict, {"prediction_low": "double", "prediction_high": "double"}),
        (several_as_array, {"prediction_0": "double", "prediction_1": "double"}),
        (one_column, {"prediction": "double"}),
        (text, {"prediction": "string"}),
        (labels, {"prediction": "string"}),
        (small_counts, {"prediction": "int16"}),
        (nothing, {"prediction": "double"}),
    ],
)
def test_predictions_of_every_shape_become_columns(engine, make_run, patients, output, model, columns):
    run = make_run()
    log_model(engine, run, model, "model")
    score(engine, f"runs:/{run}/model", patients, output, batch_size=300, trust="pickle")
    schema = rows(output).schema
    found = {name: str(schema.field(name).type) for name in schema.names if name.startswith("prediction")}
    assert found == columns
    if "prediction_low" in columns or "prediction_0" in columns:
        low, high = (rows(output)[name].to_numpy() for name in columns)
        assert np.allclose(high - low, 2)


def test_a_model_that_returns_too_few_predictions_is_refused(engine, make_run, patients, output):
    run = make_run()
    log_model(engine, run, lambda frame: frame["bmi"].head(1), "model")
    with pytest.raises(InvalidInput, match="1000 rows"):
        score(engine, f"runs:/{run}/model", patients, output, trust="pickle")
    assert not DeltaTable.is_deltatable(output)


def test_a_prediction_that_changes_its_type_is_refused(engine, make_run, patients, output):
    run = make_run()

    def fickle(frame):
        return ["x"] * len(frame) if (frame["id"] < 500).any() else frame["id"]

    log_model(engine, run, fickle, "model")
    with pytest.raises(InvalidInput, match="first batch"):
        score(engine, f"runs:/{run}/model", patients, output, batch_size=500, trust="pickle")
    assert not DeltaTable.is_deltatable(output)


def test_columns_say_what_a_model_without_names_gets(engine, make_run, patients, output, features, regressor):
    from sklearn.linear_model import LinearRegression

    plain = LinearRegression().fit(features.to_numpy(), regressor.predict(features))
    run = make_run()
    log_model(engine, run, plain, "model", input_example=features.to_numpy()[:3])
    score(engine, f"runs:/{run}/model", patients, output, columns=["bmi", "age"])
    found = rows(output)
    assert np.allclose(found["prediction"], 2 * found["bmi"].to_numpy() + 3 * found["age"].to_numpy())


def test_writing_keeps_pace_with_what_is_predicted(output):
    """The writer takes batches as it writes them: it does not gather the stream first."""
    from lakelineage.store.output import Target

    size, batches = 20_000, 200
    alive = []

    def stream():
        for i in range(batches):
            values = np.random.default_rng(i).random(size)
            yield pa.record_batch({"id": pa.array(values).take(pa.array(np.arange(size)))})
            alive.append(pa.total_allocated_bytes())

    idle = pa.total_allocated_bytes()
    Target(output, {}).write(pa.schema([("id", pa.float64())]), stream(), "append")
    assert len(alive) == batches
    assert max(alive) - idle < 40 * size * 8  # it holds about 20 batches
    assert DeltaTable(output).to_pyarrow_table().num_rows == size * batches


def test_memory_holds_a_few_batches_however_many_there_are(engine, make_run, tmp_path, output):
    """The Arrow bytes alive at each batch stay a small part of the input, and do not grow as it goes on."""
    size, files = 10_000, 120
    source = str(tmp_path / "wide")
    for part in range(files):
        values = np.random.default_rng(part).random(2 * size)
        write_deltalake(source, pa.table({"id": np.arange(2 * size), "a": values, "b": values}), mode="append")
    run = make_run(trained_on=None)
    log_model(engine, run, lambda frame: frame["a"] + frame["b"], "model")
    seen, alive = [], []

    def watch(done):
        seen.append(done)
        alive.append(pa.total_allocated_bytes())

    snapshot = pin(engine, source)
    idle, count = pa.total_allocated_bytes(), 2 * size * files
    score(engine, f"runs:/{run}/model", snapshot, output, batch_size=size, progress=watch, trust="pickle")
    assert seen == list(range(size, count + 1, size))
    a_batch = size * 8 * 9  # three columns in, a prediction, and the provenance
    assert max(alive) - idle < 40 * a_batch < count * 8 * 9 / 5
    assert statistics.median(alive[-60:]) < 2 * statistics.median(alive[:60])  # it does not grow on the way
    assert rows(output).num_rows == count


def test_the_graph_leads_from_model_and_data_to_the_output(engine, champion, patients, output):
    result = score(engine, champion, patients, output)
    there, source = DeltaTable(output).metadata().id, DeltaTable(patients).metadata().id
    target = f"dataset:{there}@{result.output_version}"
    edges = engine.query(
        "select source, relation, run_id from lineage where target = ? order by 1", (target,)
    ).to_pylist()
    assert edges == [
        {"source": f"dataset:{source}@1", "relation": "derived_from", "run_id": champion.run_id},
        {"source": "model:m@1", "relation": "generated", "run_id": champion.run_id},
    ]
    places = engine.query("select table_uri, version from snapshots where table_id = ?", (there,)).to_pylist()
    assert places == [{"table_uri": output, "version": 0}]


def test_a_prediction_is_traced_to_model_data_and_code(engine, champion, patients, output):
    score(engine, champion, patients, output, version=0)
    found = trace_prediction(engine, output, "id = 7").to_pylist()
    assert len(found) == 1
    assert found[0] | {"prediction": None, "_scored_at": None, "_trained_snapshot_id": None} == {
        "id": 7,
        "bmi": 0.7,
        "age": 7.0,
        "name": "p7",
        "prediction": None,
        "_model_name": "m",
        "_model_version": 1,
        "_run_id": champion.run_id,
        "_input_version": 0,
        "_scored_at": None,
        "_model": "models:/m/1",
        "_input_uri": patients,
        "_trained_as": "patients",
        "_trained_on": patients,
        "_trained_version": 1,
        "_trained_snapshot_id": None,
        "_git_commit": "abc123",
        "_git_dirty": False,
        "_code": "train.py",
    }
    assert trace_prediction(engine, output, limit=5).num_rows == 5
    assert trace_prediction(engine, output, "id < 0").num_rows == 0


def test_a_trace_says_what_is_wrong(engine, champion, patients, output):
    with pytest.raises(TableNotFound):
        trace_prediction(engine, output)
    with pytest.raises(InvalidInput, match="_model_name"):
        trace_prediction(engine, patients)
    score(engine, champion, patients, output)
    with pytest.raises(InvalidInput, match="nonsense"):
        trace_prediction(engine, output, "nonsense = 3")


def test_what_was_scored_is_read_by_polars(engine, champion, patients, output):
    import polars as pl

    score(engine, champion, patients, output)
    assert pl.read_delta(output).filter(pl.col("_model_version") == 1).height == 1_000


def test_progress_may_be_a_bar(engine, champion, patients, tmp_path, capsys):
    score(engine, champion, patients, str(tmp_path / "out"), batch_size=300, progress=True)
    assert "scoring: 100%" in capsys.readouterr().err
