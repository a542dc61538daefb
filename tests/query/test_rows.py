"""Rows that are fetched from the mapped copy are those of the table."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakelineage as ll
from lakelineage.query.duckdb import rows as row_files
from lakelineage.query.duckdb.rows import RowFile
from lakelineage.tables import RUNS

KEYS = st.text(max_size=3)
RUN = st.tuples(
    st.text("0123456789abcdef", min_size=1, max_size=6),
    st.none() | st.text(max_size=5),
    st.lists(st.tuples(KEYS, st.none() | st.floats(allow_nan=False)), max_size=4, unique_by=lambda entry: entry[0]),
)
SCHEMA = pa.schema([("run_id", pa.string()), ("name", pa.string()), ("metrics", pa.map_(pa.string(), pa.float64()))])


@given(
    st.lists(RUN, min_size=1, max_size=30, unique_by=lambda run: run[0]),
    st.integers(1, 9),
    st.integers(1, 7),
    st.data(),
)
def test_any_row_is_fetched_by_its_number_and_found_by_its_id(
    tmp_path_factory: pytest.TempPathFactory, runs: list, batch: int, given_at_once: int, data: st.DataObject
) -> None:
    table = pa.table(list(map(list, zip(*runs, strict=True))), schema=SCHEMA)
    path = tmp_path_factory.mktemp("rows") / "runs.arrow"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_files, "_BATCH", batch)
        reader = pa.RecordBatchReader.from_batches(SCHEMA, table.to_batches(max_chunksize=given_at_once))
        row_files.write(path, reader, table.column("run_id"))
        file = RowFile(path)
        places = data.draw(st.lists(st.integers(0, len(runs) - 1), min_size=1))
        columns = data.draw(st.lists(st.sampled_from(SCHEMA.names), min_size=1, unique=True))
        assert file.take(places, columns).to_pylist() == table.select(columns).take(places).to_pylist()
        for place, (run_id, *_) in enumerate(runs):
            assert file.find(run_id) == place
        unknown = data.draw(st.text("0123456789abcdef", max_size=7))
        assert (file.find(unknown) is None) == (unknown not in {run[0] for run in runs})


def test_what_is_no_file_of_rows_is_said_so(tmp_path: Path) -> None:
    for content in (b"", b"ARROW1", b"x" * 5_000):
        path = tmp_path / "runs.arrow"
        path.write_bytes(content)
        with pytest.raises(OSError, match=r"runs\.arrow"):
            RowFile(path)
    with pytest.raises(OSError):
        RowFile(tmp_path / "none.arrow")


@pytest.mark.parametrize("copy", ["whole", "broken", "gone"])
def test_a_search_and_a_look_up_tell_the_same_with_the_copy_broken_and_without_it(
    lake_path: Path, monkeypatch: pytest.MonkeyPatch, copy: str
) -> None:
    from lakelineage.query.duckdb import published

    monkeypatch.setattr(published, "_SMALL", 1)
    with ll.open(lake_path) as lake:
        for number in range(7):
            with lake.start_run("e", name=str(number)) as run:
                run.log_params({"a": number, "b": "ä"})
                run.log_metrics({"m": number / 2, "far": float("-inf")}, step=number)
        lake.flush()
        expected = lake.sql("select * from runs order by name desc").to_pylist()
        lake.maintain()
        copies = list(lake.engine.cache.folder("runs").glob("*.arrow"))
        assert len(copies) == 1
    if copy == "broken":
        copies[0].write_bytes(copies[0].read_bytes()[:200])
    elif copy == "gone":
        copies[0].unlink()
    with ll.open(lake_path) as lake:
        found = lake.engine.select_runs("r.metrics['m'] >= ?", [0], "r.name DESC", 100)
        reads_copy = [part.rows is not None for part in lake.engine.reader._parts]
        assert reads_copy == [copy == "whole"]
        assert found.to_pylist() == expected
        for row in found.to_pylist():
            told = lake.engine.find_run(row["run_id"])
            assert told is not None
            assert list(told) == list(RUNS.names)
            assert told == {name: dict(value) if isinstance(value, list) else value for name, value in row.items()}
        assert lake.engine.find_run("0" * 32) is None
