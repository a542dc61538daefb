"""Diffs: keys, types, schemas, and what is not read."""

import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from lakelineage import Lake, snapshots
from lakelineage.engine import Engine
from lakelineage.errors import InvalidInput, SnapshotLost, SnapshotNotFound, StorageFull
from lakelineage.query.duckdb.workspace import Workspace
from lakelineage.snapshots.diff import Counts, diff
from lakelineage.snapshots.diff.columns import common, match

Make = Callable[..., Any]


@pytest.fixture
def pinned(engine: Engine) -> Make:
    """Pins columns given by name, as a table of its own."""
    made: Iterator[int] = iter(range(100))
    return lambda **columns: snapshots.pin(engine, pa.table(columns), name=f"t{next(made)}")


def table_of(uri: str, *parts: pa.Table, **how: Any) -> str:
    for part in parts:
        write_deltalake(uri, part, mode="append", **how)
    return uri


# --- what is not read


def test_files_that_both_have_need_not_be_there(engine: Engine, tmp_path: Path) -> None:
    uri = str(tmp_path / "t")
    for start in (0, 10, 20):
        write_deltalake(uri, pa.table({"id": range(start, start + 10), "x": [0.0] * 10}), mode="append")
    a = snapshots.pin(engine, uri, protection="reference")
    DeltaTable(uri).update(updates={"x": "1.0"}, predicate="id = 15")
    b = snapshots.pin(engine, uri, protection="reference")
    shared = {pin.file.path for pin in a.files} & {pin.file.path for pin in b.files}
    assert len(shared) == 2
    for path in shared:
        Path(uri, path).unlink()
    with diff(engine, a, b, key="id") as found:
        assert found.counts == Counts(0, 0, 1, 30, 30)
        assert found.counts.unchanged == 29
        assert found.read.source == "file lists"
        assert found.read.skipped == sum(pin.file.size for pin in a.files if pin.file.path in shared)
    with pytest.raises(SnapshotLost):
        b.to_arrow()


def test_change_data_is_read_instead_of_the_files_that_were_rewritten(engine: Engine, tmp_path: Path) -> None:
    uri = str(tmp_path / "t")
    rows = pa.table({"id": range(5_000), "x": [i / 7 for i in range(5_000)]})
    write_deltalake(uri, rows, configuration={"delta.enableChangeDataFeed": "true"})
    a = snapshots.pin(engine, uri, protection="reference")
    DeltaTable(uri).update(updates={"x": "-x"}, predicate="id = 7")
    DeltaTable(uri).update(updates={"x": "x - 1"}, predicate="id = 7")
    DeltaTable(uri).optimize.z_order(["id"])
    b = snapshots.pin(engine, uri, protection="reference")
    for pin in (*a.files, *b.files):
        Path(uri, pin.file.path).unlink()
    with diff(engine, a, b, key="id") as found:
        assert found.read.source == "change data"
        assert found.read.bytes < found.read.skipped / 4
        [row] = found.changed().read_all().to_pylist()
        assert (row["id"], row["x_before"], row["x_after"]) == (7, 1.0, -2.0)
        assert found.counts.unchanged == 4_999


def test_what_only_moved_between_files_is_no_change(engine: Engine, tmp_path: Path) -> None:
    uri = table_of(str(tmp_path / "t"), *(pa.table({"id": range(i, i + 50)}) for i in range(0, 500, 50)))
    a = snapshots.pin(engine, uri)
    DeltaTable(uri).optimize.compact()
    b = snapshots.pin(engine, uri)
    with diff(engine, a, b, key="id") as found:
        assert not found.differs
        assert found.read.source == "change data"
        assert found.counts == Counts(0, 0, 0, 500, 500)
        assert str(found).splitlines()[1] == "  nothing differs"


def test_change_data_that_is_gone_is_done_without(engine: Engine, tmp_path: Path) -> None:
    uri = str(tmp_path / "t")
    rows = pa.table({"id": range(5_000), "x": [i / 7 for i in range(5_000)]})
    write_deltalake(uri, rows, configuration={"delta.enableChangeDataFeed": "true"})
    a = snapshots.pin(engine, uri)
    DeltaTable(uri).update(updates={"x": "-x"}, predicate="id = 7")
    b = snapshots.pin(engine, uri)
    for gone in ("_change_data", "_delta_log"):
        os.rename(Path(uri, gone), tmp_path / gone)
        with diff(engine, a, b, key="id") as found:
            assert (found.read.source, found.counts.changed) == ("all files", 1)


def test_change_data_that_does_not_add_up_is_not_believed(engine: Engine, tmp_path: Path) -> None:
    uri = str(tmp_path / "t")
    rows = pa.table({"id": range(5_000), "x": [i / 7 for i in range(5_000)]})
    write_deltalake(uri, rows, configuration={"delta.enableChangeDataFeed": "true"})
    a = snapshots.pin(engine, uri)
    DeltaTable(uri).delete("id < 3")
    b = snapshots.pin(engine, uri)
    log = Path(uri, "_delta_log", f"{1:020d}.json")
    empty = table_of(str(tmp_path / "other"), pa.table({"id": [0], "x": [0.0], "_change_type": ["delete"]}))
    other = next(Path(empty).glob("*.parquet"))
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    for action in actions:
        if "cdc" in action:
            (Path(uri) / action["cdc"]["path"]).write_bytes(other.read_bytes())
            action["cdc"]["size"] = other.stat().st_size
    log.write_text("\n".join(map(json.dumps, actions)))
    with diff(engine, a, b, key="id") as found:
        assert (found.read.source, found.counts.removed) == ("all files", 3)


def test_a_snapshot_does_not_differ_from_itself_and_nothing_is_read(engine: Engine, patients: str) -> None:
    pin = snapshots.pin(engine, patients, protection="reference")
    for file in pin.files:
        Path(patients, file.file.path).unlink()
    with diff(engine, pin, pin.id[:8]) as found:
        assert not found.differs
        assert (found.read.source, found.read.bytes) == ("nothing", 0)
        assert found.rows().read_all().num_rows == 0


def test_what_is_lost_and_needed_is_told(engine: Engine, patients: str) -> None:
    a, b = (snapshots.pin(engine, patients, version=v, protection="reference") for v in (0, 2))
    for pin in (*a.files, *b.files):
        Path(patients, pin.file.path).unlink(missing_ok=True)
    with pytest.raises(SnapshotLost, match="files are gone"):
        diff(engine, a, b)


# --- keys


def test_keys_of_several_columns_and_null_keys(engine: Engine, pinned: Make) -> None:
    a = pinned(k=[1, 1, None], l=["x", "y", "z"], v=[1, 2, 3])
    b = pinned(k=[1, 1, None], l=["x", "y", "z"], v=[1, 5, 6])
    with diff(engine, a, b, key=["k", "l"]) as found:
        told = found.changed().read_all().to_pylist()
    assert [(row["k"], row["l"], row["v_before"], row["v_after"]) for row in told] == [
        (1, "y", 2, 5),
        (None, "z", 3, 6),
    ]


def test_rows_that_differ_and_share_a_key_are_refused(engine: Engine, pinned: Make) -> None:
    a, b = pinned(k=[1, 2, 2], v=[1, 2, 3]), pinned(k=[1, 2], v=[1, 9])
    with pytest.raises(
        InvalidInput, match=r"a has 2 rows that differ with k = 2; give more columns as the key, or none"
    ):
        diff(engine, a, b, key="k")
    with pytest.raises(InvalidInput, match=r"b has 2 rows"):
        diff(engine, b, a, key="k")
    with diff(engine, a, b, key=["k", "v"]) as found:
        assert (found.counts.added, found.counts.removed) == (1, 2)


def test_rows_that_do_not_differ_may_share_a_key(engine: Engine, pinned: Make) -> None:
    a, b = pinned(k=[2, 2, 3], v=[1, 1, 1]), pinned(k=[2, 2, 3], v=[1, 1, 7])
    with diff(engine, a, b, key="k") as found:
        assert found.counts == Counts(0, 0, 1, 3, 3)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("nope", "neither side has"),
        ([], "names no column"),
        (["k", "k"], "twice"),
        ([1], "list of column names"),
        ("only_b", "no column of a"),
        ("text", "types of different kinds"),
    ],
)
def test_keys_that_cannot_be_are_refused(engine: Engine, pinned: Make, key: Any, words: str) -> None:
    a = pinned(k=[1], text=["1"])
    b = pinned(k=[1], text=[1], only_b=[1])
    with pytest.raises(InvalidInput, match=words):
        diff(engine, a, b, key=key)


# --- values and types


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([0.0, math.nan, None], [-0.0, math.nan, None], True),
        ([[0.0], [math.nan], [None], None], [[-0.0], [math.nan], [None], None], True),
        ([{"x": None}], [None], False),
        ([[]], [None], False),
        ([""], [None], False),
        ([Decimal("1.10")], [Decimal("1.1")], True),
        ([1, 2], [1.0, 2.0], True),
        ([1, 2], [1.0, 2.5], False),
        (["1"], [1], True),
        (["01"], [1], False),
        ([{"x": 1}], [{"x": 1, "y": None}], True),
        ([{"x": 1}], [{"x": 1, "y": 2}], False),
        ([[{"x": 1}]], [[{"y": None, "x": 1}]], True),
    ],
)
def test_equality_is_told_and_nested(engine: Engine, pinned: Make, one: Any, other: Any, same: bool) -> None:
    keys = list(range(len(one)))
    a, b = pinned(k=keys, v=one), pinned(k=keys, v=other)
    for key in (None, "k"):
        with diff(engine, a, b, key=key) as found:
            counts = found.counts
            assert (counts.added + counts.removed + counts.changed == 0) is same
            assert found.rows().read_all().schema.names[0] == "_change"


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (pa.int8(), pa.int32(), pa.int32()),
        (pa.int32(), pa.float32(), pa.float64()),
        (pa.decimal128(9, 3), pa.decimal128(12, 1), pa.decimal128(14, 3)),
        (pa.decimal128(9, 3), pa.int64(), pa.decimal128(22, 3)),
        (pa.decimal128(38, 0), pa.decimal128(38, 10), None),
        (pa.date32(), pa.timestamp("us"), pa.timestamp("us")),
        (pa.timestamp("us", "UTC"), pa.timestamp("us"), None),
        (pa.string(), pa.binary(), None),
        (pa.list_(pa.int8()), pa.list_(pa.int64()), pa.list_(pa.field("element", pa.int64()))),
        (pa.list_(pa.int64()), pa.list_(pa.float64()), None),
        (pa.map_(pa.string(), pa.int8()), pa.map_(pa.string(), pa.int16()), pa.map_(pa.string(), pa.int16())),
        (pa.struct([("x", pa.int8())]), pa.list_(pa.int8()), None),
    ],
)
def test_types_are_compared_in_the_least_that_holds_both(one: Any, other: Any, both: Any) -> None:
    assert common(one, other) == both
    assert common(other, one) == both


def test_whole_numbers_that_no_double_holds_are_refused_not_rounded(engine: Engine, pinned: Make) -> None:
    a, b = pinned(k=[1], v=[2**53 + 1]), pinned(k=[1], v=[float(2**53)])
    with pytest.raises(InvalidInput, match=r"column 'v' is whole on one side .* leave it out with columns="):
        diff(engine, a, b, key="k")
    with diff(engine, a, b, key="k", columns=["k"]) as found:
        assert [str(change) for change in found.schema_changes] == []
        assert found.counts.unchanged == 1


# --- schemas


def test_a_column_that_one_side_lacks_counts_as_null_there(engine: Engine, pinned: Make) -> None:
    a, b = pinned(k=[1, 2], old=["x", None]), pinned(k=[1, 2], new=[None, 7])
    with diff(engine, a, b, key="k") as found:
        told = found.changed().read_all().to_pylist()
        assert [(row["k"], row["_changed_columns"]) for row in told] == [(1, ["old"]), (2, ["new"])]
        assert (told[1]["new_before"], told[1]["new_after"]) == (None, 7)
        assert [str(change) for change in found.schema_changes] == ["added new (int64)", "removed old (string)"]
        assert found.changed_columns == {"new": 1, "old": 1}


def test_schema_changes_alone_are_a_difference(engine: Engine, pinned: Make) -> None:
    a, b = pinned(k=pa.array([1], pa.int32())), pinned(k=pa.array([1], pa.int64()))
    with diff(engine, a, b, key="k") as found:
        assert found.differs
        assert found.counts.unchanged == 1
        [change] = found.schema_changes
        assert change.to_dict() == {"column": "k", "what": "type", "before": "int32", "after": "int64"}


def test_a_renamed_column_is_the_same_field_by_its_id(engine: Engine, pinned: Make) -> None:
    def mapped(pin: snapshots.Snapshot, **ids_: int) -> snapshots.Snapshot:
        schema = json.loads(pin.schema_json)
        for field in schema["fields"]:
            field["metadata"] = {"delta.columnMapping.id": ids_[field["name"]]}
        return replace(pin, schema_json=json.dumps(schema), table_id="t", column_mapping="name")

    a, b = mapped(pinned(k=[1], old=[1]), k=1, old=2), mapped(pinned(k=[1], new=[1], old=[2]), k=1, new=2, old=3)
    found = match(a, b, None, ["k"])
    assert [(c.a, c.b) for c in found.columns] == [("k", "k"), ("old", "new"), (None, "old")]
    assert [change.what for change in found.changes] == ["renamed", "added"]


def test_columns_that_one_pin_left_out_are_told_and_not_compared(engine: Engine, tmp_path: Path) -> None:
    uri = table_of(str(tmp_path / "t"), pa.table({"k": [1, 2], "x": [1, 2], "y": [1, 2]}))
    a = snapshots.pin(engine, uri, columns=["x"])
    DeltaTable(uri).update(updates={"x": "9", "y": "9"}, predicate="k = 2")
    b = snapshots.pin(engine, uri, columns=["x", "y"])
    with diff(engine, a, b, key="k") as found:
        assert found.schema.names == ["k", "x"]
        assert [str(change) for change in found.schema_changes] == ["not chosen y: - -> int64"]
        assert found.changed_columns == {"x": 1}
    with diff(engine, a, b, key="k", columns=["y"]) as found:
        assert found.changed_columns == {"y": 1}
        assert found.schema.names == ["k", "y"]


def test_conditions_of_two_pins_may_differ(engine: Engine, tmp_path: Path) -> None:
    uri = table_of(str(tmp_path / "t"), pa.table({"k": [1, 2, 3, 4]}))
    a, b = snapshots.pin(engine, uri, where="k < 4"), snapshots.pin(engine, uri, where="k > 1")
    with diff(engine, a, b, key="k") as found:
        assert (found.added().read_all().to_pylist(), found.removed().read_all().to_pylist()) == (
            [{"k": 4}],
            [{"k": 1}],
        )
        assert found.counts == Counts(1, 1, 0, 3, 3)
    with diff(engine, a, b, key="k", where="k > 2") as found:
        assert not found.differs
    with pytest.raises(InvalidInput, match=r"cannot be understood|names"):
        diff(engine, a, b, where="nope = 1")


def test_names_that_differ_in_letter_case_only_are_two_columns(engine: Engine, pinned: Make) -> None:
    a, b = pinned(k=[1], X=[1]), pinned(k=[1], x=[1])
    with diff(engine, a, b, key="k") as found:
        assert found.changed_columns == {"x": 1, "X": 1}


def test_names_that_would_be_there_twice_are_refused_when_rows_are_taken(engine: Engine, pinned: Make) -> None:
    a, b = pinned(x_before=[1], x=[1]), pinned(x_before=[1], x=[2])
    with diff(engine, a, b, key="x_before") as found:
        assert found.counts.changed == 1
        with pytest.raises(InvalidInput, match="'x_before'; leave one out"):
            found.changed()


# --- what a diff gives


def test_rows_go_to_polars_and_duckdb_as_they_are(engine: Engine, pinned: Make) -> None:
    a, b = pinned(k=[1, 2, 3], v=["a", "b", "c"]), pinned(k=[2, 3, 4], v=["b", "x", "d"])
    with diff(engine, a, b, key="k") as found:
        frame = pl.from_arrow(found.rows())
        assert isinstance(frame, pl.DataFrame)
        assert frame.select("_change", "k").rows() == [("removed", 1), ("changed", 3), ("added", 4)]
        changed = duckdb.connect().from_arrow(found.changed())
        assert changed.project("k, v_before, v_after").fetchall() == [(3, "c", "x")]
        one, other = found.added(), found.removed()  # several at a time
        assert (one.read_all()["k"].to_pylist(), other.read_all()["k"].to_pylist()) == ([4], [1])
        assert "1 added, 1 removed, 1 changed, 1 unchanged" in repr(found)
        assert "rows that differ (3)" in found._repr_html_()
        assert json.loads(json.dumps(found.to_dict()))["counts"]["unchanged"] == 1
    with pytest.raises(InvalidInput, match="close"):
        found.added()


def test_the_summary_tells_how_values_are_distributed(engine: Engine, pinned: Make) -> None:
    a = pinned(k=[1, 2, 3], x=[1.0, math.nan, None], s=["a", "a", "b"])
    b = pinned(k=[1, 2, 4], x=[3.0, 5.0, math.inf], s=["a", "c", "d"])
    with diff(engine, a, b, key="k") as found:
        told = {(row["column"], row["rows"]): row for row in found.summary().to_pylist()}
        whole = {(row["column"], row["rows"]): row for row in found.summary(whole=True).to_pylist()}
    after = told["x", "after"]
    assert (after["count"], after["nulls"], after["mean"], after["min"]) == (2, 0, 4.0, "3.0")
    assert told["x", "before"]["nans"] == 1
    assert told["x", "added"]["mean"] is None  # infinite
    assert told["s", "before"]["top"] == [{"value": "a", "count": 2}]
    assert (whole["x", "a"]["count"], whole["x", "a"]["nulls"]) == (3, 1)
    assert whole["s", "a"]["top"][0] == {"value": "a", "count": 2}


def test_a_lake_diffs_by_id_as_of_a_moment_and_refuses_the_rest(lake: Lake, patients: str) -> None:
    a, b = (lake.snapshot(patients, version=v) for v in (0, 2))
    with lake.diff(a.id, b.id[:12], key="id") as found:
        assert (found.counts.added, found.counts.removed) == (5, 1)
    with pytest.raises(SnapshotNotFound):
        lake.diff(a, "0123456789abcdef")
    with pytest.raises(InvalidInput, match=r"lake\.snapshot"):
        lake.diff(a, 7)  # type: ignore[arg-type]
    for bad in ("much", 7):
        with pytest.raises(InvalidInput, match="memory_limit"):
            lake.diff(a, b, memory_limit=bad)  # type: ignore[arg-type]


def test_the_temporary_folder_is_gone_in_the_end(
    engine: Engine, pinned: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    a, b = pinned(k=[1], v=[1]), pinned(k=[1], v=[2])

    def folders() -> list[Path]:
        return list(tmp_path.glob("lakelineage-work-*"))

    found = diff(engine, a, b, key="k")
    rows = found.changed()
    assert len(folders()) == 1
    del found
    assert rows.read_all().num_rows == 1  # what is being read stays
    del rows
    assert folders() == []
    with pytest.raises(InvalidInput):
        diff(engine, a, pinned(k=[1], v=["x"]), key="v")
    assert folders() == []


def test_too_little_room_is_told_with_the_remedy(tmp_path: Path) -> None:
    work = Workspace("20MB")
    try:
        work.execute("SET max_temp_directory_size = '1MB'")
        with pytest.raises(StorageFull, match="memory_limit"):
            work.execute("CREATE TABLE t AS SELECT range AS i, random() AS r FROM range(20000000) ORDER BY r")
    finally:
        work.close()


_HUNGRY = """
import sys, pathlib, lakelineage

def peak():
    [line] = [l for l in pathlib.Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM")]
    return int(line.split()[1]) / 1024

place, a, b = sys.argv[1:]
with lakelineage.open(place) as lake:
    lake.diff(a, a).close()  # loads all libraries
    before = peak()
    with lake.diff(a, b, key="id", memory_limit="150MB") as found:
        rows = sum(batch.num_rows for batch in found.rows())
        print(rows, found.read.source, peak() - before)
"""


@pytest.mark.slow
def test_memory_is_bounded_whatever_the_size(lake: Lake, tmp_path: Path, start: Make, done: Make) -> None:
    """Two tables of 4 M rows, 350 MB each in memory; half of the rows differ. 130 to 190 MiB were measured."""
    pins = []
    for side in range(2):
        uri = str(tmp_path / f"t{side}")
        for first in range(0, 4_000_000, 500_000):
            ids_ = range(first, first + 500_000)
            data = {"id": ids_, "text": [f"{i * 7919:064d}" for i in ids_], "x": [i % 2 * side for i in ids_]}
            write_deltalake(uri, pa.table(data), mode="append")
        pins.append(lake.snapshot(uri))
    lake.flush()
    told = done(start(_HUNGRY, lake.uri, pins[0].id, pins[1].id), timeout=280)
    rows, *source, grown = told.split()
    assert (int(rows), " ".join(source)) == (2_000_000, "all files")
    assert float(grown) < 400, f"{grown} MiB"
