"""``autolog``: what is read inside a run is an input of it, at the version that was read, without further code."""

import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable, QueryBuilder, write_deltalake

import lakelineage as ll
from lakelineage.errors import InvalidInput
from tests.people import people

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def _stops() -> "Iterator[None]":
    yield
    ll.autolog(disable=True)


def of_duckdb(uri: str, version: int) -> int:
    patients = DeltaTable(uri, version=version).to_pyarrow_dataset()
    assert patients is not None  # DuckDB finds it by its name
    return len(duckdb.sql("select * from patients").fetchall())


def files_of_duckdb(uri: str, version: int) -> int:
    files = DeltaTable(uri, version=version).file_uris()
    return len(duckdb.connect().execute("select * from read_parquet(?)", [files]).fetchall())


def of_datafusion(uri: str, version: int) -> int:
    asked = QueryBuilder().register("t", DeltaTable(uri, version=version)).execute("select * from t")
    return sum(batch.num_rows for batch in asked)


READS: "dict[str, Callable[[str, int], int]]" = {
    "to_pandas": lambda uri, version: len(DeltaTable(uri, version=version).to_pandas()),
    "to_pyarrow_table": lambda uri, version: DeltaTable(uri, version=version).to_pyarrow_table().num_rows,
    "to_pyarrow_dataset": lambda uri, version: DeltaTable(uri, version=version).to_pyarrow_dataset().count_rows(),
    "polars.read_delta": lambda uri, version: pl.read_delta(uri, version=version).height,
    "polars.scan_delta": lambda uri, version: pl.scan_delta(uri, version=version).collect().height,
    "polars.scan_delta of a table": lambda uri, version: (
        pl.scan_delta(DeltaTable(uri, version=version)).collect().height
    ),
    "polars.scan_delta by pyarrow": lambda uri, version: (
        pl.scan_delta(uri, version=version, use_pyarrow=True).collect().height
    ),
    "duckdb over a dataset": of_duckdb,
    "duckdb over files": files_of_duckdb,
    "QueryBuilder": of_datafusion,
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("version", [0, 1])
def test_what_is_read_is_an_input_at_its_version(lake: ll.Lake, patients: str, read: str, version: int) -> None:
    ll.autolog()
    with lake.start_run() as run:
        assert READS[read](patients, version) == (10, 15)[version]
        READS[read](patients, version)
    assert [(name, each.version, each.context) for name, each in lake.run(run.id).inputs.items()] == [
        (f"patients@v{version}", version, "training")
    ]
    assert lake.sql("select * from inputs").num_rows == 1
    assert lake.sql("select * from lineage where relation = 'used'").num_rows == 1


def test_a_lazy_scan_reads_the_version_that_is_recorded(lake: ll.Lake, patients: str) -> None:
    ll.autolog()
    with lake.start_run() as run:
        lazy = pl.scan_delta(patients)
        write_deltalake(patients, people(20, 30), mode="append")
        rows = lazy.collect().height
    (pinned,) = lake.run(run.id).inputs.values()
    assert pinned.num_rows == rows == 15


def test_versions_and_tables_are_inputs_of_their_own(lake: ll.Lake, patients: str, tmp_path: Path) -> None:
    other = str(tmp_path / "other")
    write_deltalake(other, people(0, 1))
    ll.autolog(context="validation")
    with lake.start_run() as run:
        for uri, version in ((patients, 0), (patients, 1), (other, 0), (patients, 0)):
            DeltaTable(uri, version=version).to_pandas()
    inputs = lake.run(run.id).inputs
    assert {(name, each.context) for name, each in inputs.items()} == {
        (name, "validation") for name in ("patients@v0", "patients@v1", "other@v0")
    }


def test_an_input_of_its_own_name_can_still_be_used(lake: ll.Lake, patients: str) -> None:
    ll.autolog()
    with lake.start_run() as run:
        DeltaTable(patients).to_pandas()
        run.use(patients, columns=["id"])
    assert sorted(lake.run(run.id).inputs) == ["patients", "patients@v1"]


def test_nothing_is_recorded_outside_of_runs_or_of_the_lake_itself(lake: ll.Lake, patients: str) -> None:
    ll.autolog()
    DeltaTable(patients).to_pandas()
    with lake.start_run() as run:
        run.log_metric("a", 1.0)
        lake.flush()
        pl.read_delta(f"{lake.uri}/tables/metrics")
        threading.Thread(target=lambda: DeltaTable(patients).to_pandas()).start()
    assert lake.sql("select * from inputs").num_rows == 0


def test_disabled_it_leaves_nothing_behind(lake: ll.Lake, patients: str) -> None:
    names = [(DeltaTable, "to_pyarrow_dataset"), (DeltaTable, "file_uris"), (QueryBuilder, "execute")]
    names += [(pl, "scan_delta"), (pl.io, "scan_delta"), (pl.io.delta.functions, "scan_delta")]  # type: ignore[list-item]
    before = [vars(owner)[name] for owner, name in names]
    ll.autolog()
    ll.autolog(context="test")
    assert all(vars(owner)[name] is not it for (owner, name), it in zip(names, before, strict=True))
    assert DeltaTable.file_uris.__name__ == "file_uris"
    ll.autolog(disable=True)
    ll.autolog(disable=True)
    assert all(vars(owner)[name] is it for (owner, name), it in zip(names, before, strict=True))
    with lake.start_run():
        DeltaTable(patients).to_pandas()
    assert lake.sql("select * from inputs").num_rows == 0


def test_what_another_library_put_in_place_stays(lake: ll.Lake, patients: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ll.autolog()
    ours = pl.scan_delta

    def theirs(*args: Any, **kwargs: Any) -> pl.LazyFrame:
        return ours(*args, **kwargs)

    monkeypatch.setattr(pl, "scan_delta", theirs)
    ll.autolog(disable=True)
    assert pl.scan_delta is theirs
    with lake.start_run():
        assert pl.scan_delta(patients).collect().height == 15
    assert lake.sql("select * from inputs").num_rows == 0, "it ends in what was ours, which does nothing any more"


def test_a_read_that_cannot_be_recorded_succeeds_and_is_told_of(
    lake: ll.Lake, patients: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lakelineage.snapshots import pinning

    def fails(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    ll.autolog()
    monkeypatch.setattr(pinning, "use", fails)
    with caplog.at_level(logging.WARNING, "lakelineage"), lake.start_run():
        assert len(DeltaTable(patients).to_pandas()) == 15
        assert pl.read_delta(patients).height == 15
    assert caplog.text.count("no space left") == 1, "once for each version"


def test_the_users_own_mistakes_stay_theirs(lake: ll.Lake, patients: str, tmp_path: Path) -> None:
    plain: dict[str, Exception] = {}
    watched: dict[str, Exception] = {}

    def mistakes(found: dict[str, Exception]) -> None:
        for name, act in {
            "version": lambda: pl.read_delta(patients, version=9),
            "place": lambda: pl.read_delta(str(tmp_path / "nothing")),
            "columns": lambda: DeltaTable(patients).to_pandas(columns=["nothing"]),
            "sql": lambda: QueryBuilder().execute("select"),
        }.items():
            with pytest.raises(Exception) as error:
                act()
            found[name] = error.value

    mistakes(plain)
    ll.autolog()
    with lake.start_run() as run:
        mistakes(watched)
    assert [(k, type(v), str(v)) for k, v in watched.items()] == [(k, type(v), str(v)) for k, v in plain.items()]
    assert set(lake.run(run.id).inputs) <= {"patients@v1"}
    with pytest.raises(InvalidInput):
        ll.autolog(context=" ")


def test_threads_record_in_their_own_runs(lake: ll.Lake, patients: str) -> None:
    ll.autolog()

    def work(version: int) -> tuple[str, int]:
        with lake.start_run() as run:
            for _ in range(3):
                DeltaTable(patients, version=version).to_pyarrow_table()
        return run.id, version

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(work, [0, 1] * 4))
    for run_id, version in done:
        assert [each.version for each in lake.run(run_id).inputs.values()] == [version]
    assert lake.sql("select * from inputs").num_rows == 8


def test_asking_for_it_imports_no_mlflow() -> None:
    code = "import sys, lakelineage; lakelineage.autolog(); lakelineage.read_delta; print('mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
