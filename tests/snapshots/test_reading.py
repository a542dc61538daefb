"""The rows of a pin, in every form: the same ones, with the types of the pinned version."""

import datetime as dt
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from lakelineage import snapshots
from lakelineage.engine import Engine
from lakelineage.errors import InvalidInput, SnapshotLost
from lakelineage.snapshots import Snapshot


def by_every_form(pinned: Snapshot, **how: Any) -> dict[str, list[dict[str, Any]]]:
    """Rows as Python values, sorted, by form. pandas is left out where it turns null into NaN."""
    con = duckdb.connect()
    con.execute("set timezone = 'UTC'")
    forms = {
        "arrow": pinned.to_arrow(**how),
        "polars": pinned.to_polars(**how).to_arrow(),
        "scan": pinned.scan(**how).collect().to_arrow(),
        "batches": pa.Table.from_batches(pinned.to_batches(3, **how), pinned.to_arrow(**how).schema),
        "relation": pinned.to_duckdb(con, **how).to_arrow_table(),
        "view": (pinned.to_duckdb(con, "named", **how), con.sql("from named").to_arrow_table())[1],
    }
    return {form: sorted(table.to_pylist(), key=repr) for form, table in forms.items()}


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"columns": ["score", "id"]},
        {"where": "id >= 4 and name is not null"},
        {"columns": ["name"], "where": "id in (1, 2, 9) or score > 1.5"},
        {"where": "true"},
        {"where": "id > 1000"},
    ],
)
def test_all_forms_give_the_same_rows(engine: Engine, patients: str, how: dict[str, Any]) -> None:
    pinned = snapshots.pin(engine, patients, version=1)
    forms = by_every_form(pinned, **how)
    chosen = how.get("columns", ["id", "name", "score"])
    people = [{"id": n, "name": None if n % 4 == 1 else f"n{n}", "score": n / 7} for n in range(15)]
    conditions = {
        "id >= 4 and name is not null": lambda p: p["id"] >= 4 and p["name"] is not None,
        "id in (1, 2, 9) or score > 1.5": lambda p: p["id"] in (1, 2, 9) or p["score"] > 1.5,
        "true": lambda p: True,
        "id > 1000": lambda p: False,
    }
    keep = conditions[how["where"]] if "where" in how else conditions["true"]
    expected = sorted(({c: p[c] for c in chosen} for p in people if keep(p)), key=repr)
    assert forms == dict.fromkeys(forms, expected)
    frame = pinned.to_pandas(**how)
    assert isinstance(frame, pd.DataFrame)
    assert (list(frame.columns), len(frame)) == (chosen, len(expected))


def test_rows_without_columns_can_be_counted(engine: Engine, patients: str) -> None:
    pinned = snapshots.pin(engine, patients, version=1)
    for where, rows in ((None, 15), ("id >= 4", 11)):
        assert pinned.to_arrow([], where).num_rows == rows
        assert pinned.to_polars([], where).shape == pinned.scan([], where).collect().shape == (rows, 0)
        assert pinned.to_pandas([], where).shape == (rows, 0)
        assert sum(batch.num_rows for batch in pinned.to_batches(4, [], where)) == rows
    with pytest.raises(InvalidInput, match="without columns"):
        pinned.to_duckdb(duckdb.connect(), columns=[])


def test_choices_of_the_pin_hold_unless_overridden(engine: Engine, patients: str) -> None:
    pinned = snapshots.pin(engine, patients, columns=["id"], where="id < 3")
    assert pinned.schema.names == ["id"]
    assert by_every_form(pinned)["relation"] == [{"id": 0}, {"id": 1}, {"id": 2}]
    assert pinned.to_polars(columns=["name"], where="id = 4").to_dicts() == [{"name": "n4"}]
    assert pinned.num_rows == 14


def test_polars_pushes_its_own_choices_into_the_scan(engine: Engine, patients: str) -> None:
    lazy = snapshots.pin(engine, patients, version=0).scan(where="id > 2")
    assert lazy.filter(pl.col("name").is_null()).select("id").collect()["id"].to_list() == [5, 9]
    assert lazy.select(pl.len()).collect().item() == 7
    assert lazy.head(2).collect()["id"].to_list() == [3, 4]
    assert lazy.select("score").sort("score").tail(1).collect().item() == 9 / 7


def test_batches_have_the_size_asked_for_across_files(engine: Engine, tmp_path: Path) -> None:
    for start in range(0, 50, 5):
        write_deltalake(str(tmp_path / "t"), pa.table({"n": range(start, start + 5)}), mode="append")
    pinned = snapshots.pin(engine, tmp_path / "t")
    batches = list(pinned.to_batches(8))
    assert [b.num_rows for b in batches] == [8] * 6 + [2]
    assert sorted(n for b in batches for n in b.column("n").to_pylist()) == list(range(50))
    for bad in (0, -1, True, 2.0):
        with pytest.raises(InvalidInput, match="batch_size"):
            pinned.to_batches(bad)  # type: ignore[arg-type]


PARTITIONS = pa.table(
    {
        "text": pa.array(["", None, "a/b=c d", "ü%41?#", "7", "x'y\"\\"]),
        "day": pa.array([dt.date(2020, 1, 1), None, dt.date(1969, 12, 31), None, None, dt.date(9999, 12, 31)]),
        "number": pa.array([1, None, -3, 2**31 - 1, 0, 5], pa.int32()),
        "flag": pa.array([True, None, False, True, None, False]),
        "ratio": pa.array([1.5, None, -0.1, 1e15, 1e-5, float("inf")]),
        "price": pa.array([Decimal("1.10"), None, Decimal("20.05"), None, Decimal("0.99"), None], pa.decimal128(10, 2)),
        "at": pa.array([dt.datetime(2020, 1, 1, 1, 2, 3, 4, dt.UTC), None] * 3, pa.timestamp("us", "UTC")),
        "local": pa.array([pd.Timestamp("2020-01-01 01:02:03.000004"), None] * 3, pa.timestamp("us")),
        "v": pa.array(range(6), pa.int64()),
    }
)


@pytest.mark.parametrize("column", PARTITIONS.column_names[:-1])
def test_partition_values_come_back_with_their_types(engine: Engine, tmp_path: Path, column: str) -> None:
    data = PARTITIONS.select([column, "v"])
    write_deltalake(str(tmp_path / "t"), data, partition_by=[column])
    pinned = snapshots.pin(engine, tmp_path / "t")
    back = pinned.to_arrow()
    assert back.schema.field(column).type == data.schema.field(column).type
    assert back.sort_by("v").equals(data.cast(back.schema))
    forms = by_every_form(pinned)
    assert forms == {form: sorted(data.to_pylist(), key=repr) for form in forms}
    assert snapshots.load(engine, pinned.id).to_arrow().equals(back)
    nulls = sum(v is None for v in data.column(column).to_pylist())
    assert pinned.to_arrow(columns=["v"], where=f"{column} is null").num_rows == nulls


def test_several_partition_columns_are_restored_together_and_alone(engine: Engine, tmp_path: Path) -> None:
    data = PARTITIONS.select(["text", "day", "number", "v"])
    write_deltalake(str(tmp_path / "t"), data, partition_by=["text", "day", "number"])
    pinned = snapshots.pin(engine, tmp_path / "t")
    assert pinned.to_arrow().schema.names == data.schema.names
    assert pinned.to_arrow().sort_by("v").to_pylist() == data.to_pylist()
    alone = pinned.to_arrow(columns=["number"]).column("number").to_pylist()
    assert sorted(alone, key=str) == sorted(PARTITIONS.column("number").to_pylist(), key=str)
    con = duckdb.connect()
    relation = pinned.to_duckdb(con)
    assert relation.filter("text = ''").fetchall()[0][-1] == 0
    assert [row[-1] for row in relation.filter("text is null").fetchall()] == [1]
    assert [row[-1] for row in relation.filter("day < date '2000-01-01'").fetchall()] == [2]


def test_older_files_fill_new_columns_with_null_at_every_depth(engine: Engine, tmp_path: Path) -> None:
    uri = str(tmp_path / "t")
    write_deltalake(uri, pa.table({"a": [1], "s": [{"x": 1}]}))
    wider = pa.table({"a": [2], "s": [{"x": 2, "y": "q"}], "l": [[{"k": 1.5}]], "m": pa.array([[("k", 1)]], _MAP)})
    write_deltalake(uri, wider, mode="append", schema_mode="merge")
    pinned = snapshots.pin(engine, uri)
    rows = pinned.to_arrow().sort_by("a").to_pylist()
    assert rows == [
        {"a": 1, "s": {"x": 1, "y": None}, "l": None, "m": None},
        {"a": 2, "s": {"x": 2, "y": "q"}, "l": [{"k": 1.5}], "m": [("k", 1)]},
    ]
    assert pinned.scan().sort("a").select("a", "l").collect().to_dicts() == [
        {"a": 1, "l": None},
        {"a": 2, "l": [{"k": 1.5}]},
    ]
    assert sorted(pinned.to_duckdb(duckdb.connect(), columns=["a", "s", "l"]).fetchall()) == [
        (1, {"x": 1, "y": None}, None),
        (2, {"x": 2, "y": "q"}, [{"k": 1.5}]),
    ]
    assert snapshots.pin(engine, uri, version=0).schema.names == ["a", "s"]


_MAP = pa.map_(pa.string(), pa.int64())


def test_times_with_a_zone_are_compared_as_utc(engine: Engine) -> None:
    at = [dt.datetime(2020, 1, 1, hour, tzinfo=dt.UTC) for hour in range(3)]
    pinned = snapshots.pin(engine, pa.table({"at": at}), name="t", where="at >= timestamp '2020-01-01 01:00:00'")
    assert pinned.to_arrow().column("at").to_pylist() == at[1:]


def test_nan_and_infinities_come_back_as_they_are(engine: Engine) -> None:
    values = pa.array([float("nan"), float("inf"), float("-inf"), -0.0, None])
    back = snapshots.pin(engine, pa.table({"x": values}), name="t").to_arrow().column("x").combine_chunks()
    assert back.is_null().to_pylist() == [False] * 4 + [True]
    assert back.fill_null(0.0).view(pa.int64()).equals(values.fill_null(0.0).view(pa.int64()))


def test_a_duckdb_name_may_need_quotes_and_may_be_taken_again(engine: Engine, patients: str) -> None:
    con = duckdb.connect()
    pinned = snapshots.pin(engine, patients)
    for where in ("id < 2", "id < 5"):
        pinned.to_duckdb(con, 'my "rows"', where=where)
    assert con.sql('select count(*) from "my ""rows"""').fetchall() == [(4,)]
    pinned.to_duckdb(con, "plain")
    pinned.to_duckdb(con, "plain", columns=["id"])
    assert con.sql("from plain").columns == ["id"]


def test_rows_hidden_by_a_vector_in_the_log_are_hidden_in_every_form(engine: Engine, tmp_path: Path) -> None:
    # An example of delta-kernel's own tests, which hides rows 3, 4, 7, 11, 18 and 29.
    vector = {"storageType": "i", "pathOrInlineDv": "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L"}
    pinned = snapshots.pin(engine, _table_with_vector(tmp_path, {**vector, "sizeInBytes": 44, "cardinality": 6}))
    assert pinned.num_rows == 34
    rows = [{"a": n} for n in range(40) if n not in {3, 4, 7, 11, 18, 29}]
    forms = by_every_form(snapshots.load(engine, pinned.id))
    assert forms == {form: sorted(rows, key=repr) for form in forms}
    assert pinned.to_arrow().to_pylist() == pinned.to_polars().to_dicts() == rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cardinality": 5}, "deletion vector"),
        ({"pathOrInlineDv": "wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L"}, "deletion vector"),
    ],
)
def test_a_vector_that_is_not_what_the_log_says_is_never_taken_for_it(
    engine: Engine, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    vector = {"storageType": "i", "pathOrInlineDv": "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L"}
    vector |= {"sizeInBytes": 44, "cardinality": 6, **change}
    pinned = snapshots.pin(engine, _table_with_vector(tmp_path, vector))
    for read in (pinned.to_arrow, pinned.to_polars, pinned.scan, lambda: list(pinned.to_batches())):
        with pytest.raises(SnapshotLost, match=message):
            read()
    with pytest.raises(SnapshotLost, match=message):
        pinned.to_duckdb(duckdb.connect())


def _table_with_vector(folder: Path, vector: dict[str, Any]) -> str:
    uri = _table_with_feature(folder, "deletionVectors", {})
    entry = Path(uri, "_delta_log", f"{0:020d}.json")
    actions = [json.loads(line) for line in entry.read_text().splitlines()]
    for action in actions:
        if "add" in action:
            action["add"]["deletionVector"] = vector
    entry.write_text("\n".join(map(json.dumps, actions)) + "\n")
    return uri


@pytest.mark.parametrize("feature", ["geospatial", "superFeature", "catalogManaged"])
def test_features_that_the_delta_engine_cannot_open_are_named(engine: Engine, tmp_path: Path, feature: str) -> None:
    uri = _table_with_feature(tmp_path, feature, {})
    with pytest.raises(InvalidInput, match="Catalog-managed|" + feature, check=lambda e: "cleaned" not in str(e)):
        snapshots.pin(engine, uri)


def test_features_that_nobody_here_can_read_are_refused_by_name(engine: Engine, tmp_path: Path) -> None:
    pinned = snapshots.pin(engine, _table_with_feature(tmp_path, "variantType", {}))
    for read in (pinned.to_arrow, pinned.to_polars, pinned.scan, lambda: list(pinned.to_batches())):
        with pytest.raises(InvalidInput, match="variantType"):
            read()


def _table_with_feature(folder: Path, feature: str, configuration: dict[str, str]) -> str:
    uri = str(folder / "t")
    write_deltalake(uri, pa.table({"a": range(40)}))
    entry = Path(uri, "_delta_log", f"{0:020d}.json")
    actions = [json.loads(line) for line in entry.read_text().splitlines()]
    for action in actions:
        if "protocol" in action:
            action["protocol"] = {
                "minReaderVersion": 3,
                "minWriterVersion": 7,
                "readerFeatures": [feature],
                "writerFeatures": [feature],
            }
        if "metaData" in action:
            action["metaData"]["configuration"] = configuration
    entry.write_text("\n".join(map(json.dumps, actions)) + "\n")
    return uri


def test_a_file_with_other_rows_of_the_same_size_is_noticed(engine: Engine, tmp_path: Path) -> None:
    uri = str(tmp_path / "t")
    write_deltalake(uri, pa.table({"a": range(10), "b": [str(n) * 50 for n in range(10)]}))
    pinned = snapshots.pin(engine, uri, protection="reference")
    (file,) = Path(uri).glob("*.parquet")
    size, changed = file.stat().st_size, file.stat().st_mtime_ns
    pq.write_table(pa.table({"a": range(9), "b": ["x"] * 9}), file, compression="none")
    assert file.stat().st_size <= size
    _pad(file, size)
    os.utime(file, ns=(changed, changed))
    for read in (pinned.to_arrow, lambda: pinned.to_duckdb(duckdb.connect()), lambda: list(pinned.to_batches())):
        with pytest.raises(SnapshotLost, match="9 rows instead of 10"):
            read()


def _pad(file: Path, size: int) -> None:
    """Make a Parquet file longer without changing what it says: bytes between its head and its footer are free."""
    data = file.read_bytes()
    footer = int.from_bytes(data[-8:-4], "little") + 8
    file.write_bytes(data[:-footer] + b"\0" * (size - len(data)) + data[-footer:])
    assert file.stat().st_size == size


def test_a_forked_child_reads_what_its_parent_archived(engine: Engine, patients: str) -> None:
    pinned = snapshots.pin(engine, patients, protection="archived")
    child = os.fork()
    if child == 0:
        os._exit(0 if sum(b.num_rows for b in pinned.to_batches()) == 14 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_reading_by_hand_agrees_with_the_delta_engine(engine: Engine, patients: str) -> None:
    theirs = DeltaTable(patients).to_pyarrow_table().sort_by("id")
    assert snapshots.pin(engine, patients).to_arrow().sort_by("id").equals(theirs)


_STREAM = """
import sys, pathlib, lakelineage

def peak():
    [line] = [l for l in pathlib.Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM")]
    return int(line.split()[1]) / 1024

place, small, large, level = sys.argv[1:]
with lakelineage.open(place) as lake:
    for batch in lake.load_snapshot(small).to_batches(10_000):
        pass  # all libraries are loaded
    before, rows = peak(), 0
    for batch in lake.load_snapshot(large).to_batches(10_000):
        rows += batch.num_rows
    print(rows, peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("level", ["reference", "archived"])
def test_memory_of_a_stream_does_not_depend_on_the_size(
    engine: Engine, tmp_path: Path, start: Any, done: Any, level: str
) -> None:
    """12 M rows, 920 MB in memory, in files of 500,000. 90 to 165 MiB were measured, whatever the number of files."""
    ids = range(500_000)
    data = pa.table({"id": ids, "text": [f"{i * 7919:064d}" for i in ids]})
    pins = []
    for files in (1, 24):
        uri = str(tmp_path / f"t{files}")
        for _ in range(files):
            write_deltalake(uri, data, mode="append", target_file_size=1 << 30)
        pins.append(snapshots.pin(engine, uri, protection=level).id)
    engine.flush()
    told = done(start(_STREAM, engine.root.uri, *pins, level), timeout=280)
    rows, grown = told.split()
    assert int(rows) == 12_000_000
    assert float(grown) < 300, f"{grown} MiB"
