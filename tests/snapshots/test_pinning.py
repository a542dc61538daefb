"""Which version is pinned, from which source, and what is refused."""

import datetime as dt
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from lakelineage import snapshots
from lakelineage.engine import Engine
from lakelineage.errors import Conflict, InvalidInput, SnapshotLost, SnapshotNotFound, TableNotFound, VersionNotFound
from lakelineage.store import source

RUN = "0" * 31 + "1"
OTHER = "0" * 31 + "2"
MIXED = pa.table({"a": [1, 2, None], "b": ["x", None, ""], "c": [1.5, float("inf"), None], "d": [True, None, False]})


def ids(snapshot: snapshots.Snapshot) -> list[int]:
    return sorted(snapshot.to_arrow().column("id").to_pylist())


def test_each_version_gives_back_its_own_rows(engine: Engine, patients: str) -> None:
    assert ids(snapshots.pin(engine, patients, version=0)) == list(range(10))
    assert ids(snapshots.pin(engine, patients, version=1)) == list(range(15))
    newest = snapshots.pin(engine, Path(patients))
    assert newest.version == 2
    assert ids(newest) == [n for n in range(15) if n != 3]


def test_a_timestamp_gives_the_newest_version_committed_by_then(engine: Engine, patients: str) -> None:
    history = sorted(DeltaTable(patients).history(), key=lambda e: e["version"])
    times = [1_000, 2_000, 3_000]
    _set_commit_times(patients, [t * 1000 for t in times])
    assert len(history) == 3
    for version, seconds in enumerate(times):
        at = dt.datetime.fromtimestamp(seconds, dt.UTC)
        for as_of in (at, at.isoformat(), at.replace(tzinfo=None), (at + dt.timedelta(seconds=999)).isoformat()):
            pinned = snapshots.pin(engine, patients, as_of=as_of)
            assert (pinned.version, pinned.committed_at) == (version, seconds * 1_000_000)
    assert snapshots.pin(engine, patients, as_of="2999-01-01").version == 2
    with pytest.raises(VersionNotFound, match="1970-01-01T00:16:40"):
        snapshots.pin(engine, patients, as_of="1970-01-01T00:16:39.999999")


def _set_commit_times(uri: str, millis: list[int]) -> None:
    for version, time in enumerate(millis):
        entry = Path(uri, "_delta_log", f"{version:020d}.json")
        actions = [json.loads(line) for line in entry.read_text().splitlines()]
        for action in actions:
            if "commitInfo" in action:
                action["commitInfo"]["timestamp"] = time
        entry.write_text("\n".join(json.dumps(action) for action in actions) + "\n")


def test_a_delta_table_object_is_pinned_at_the_version_that_it_has_loaded(engine: Engine, patients: str) -> None:
    assert snapshots.pin(engine, DeltaTable(patients, version=1)).version == 1
    assert snapshots.pin(engine, DeltaTable(patients, version=1), version=0).version == 0


def test_a_file_uri_is_the_folder(engine: Engine, patients: str) -> None:
    assert snapshots.pin(engine, Path(patients).as_uri()).table_uri == patients


def sources(folder: Path) -> dict[str, Any]:
    pq.write_table(MIXED, folder / "p.parquet")
    (folder / "c.csv").write_text('a,b,c,d\n1,x,1.5,true\n2,,inf,\n,"",,false\n')
    pl.DataFrame(MIXED).write_csv(folder / "t.tsv", separator="\t")
    pl.DataFrame(MIXED.drop_columns("c")).write_ndjson(folder / "j.jsonl")
    (folder / "a.json").write_text(json.dumps(MIXED.drop_columns("c").to_pylist()))
    return {
        "parquet": folder / "p.parquet",
        "csv": str(folder / "c.csv"),
        "tsv": folder / "t.tsv",
        "jsonl": folder / "j.jsonl",
        "json": folder / "a.json",
        "table": MIXED,
        "batch": MIXED.combine_chunks().to_batches()[0],
        "reader": pa.RecordBatchReader.from_batches(MIXED.schema, iter(MIXED.to_batches(max_chunksize=1))),
        "dataset": ds.dataset(MIXED),
        "pandas": pd.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"]}),
        "polars": pl.DataFrame(MIXED),
        "lazy": pl.LazyFrame(MIXED),
    }


EXPECTED: dict[str, pa.Table] = {
    "jsonl": MIXED.drop_columns("c"),
    "json": MIXED.drop_columns("c"),
    "pandas": pa.table({"a": [1, 2, 3], "b": ["x", None, "z"]}),
}


@pytest.mark.parametrize(
    "kind",
    ["parquet", "csv", "tsv", "jsonl", "json", "table", "batch", "reader", "dataset", "pandas", "polars", "lazy"],
)
def test_every_kind_of_source_gives_back_its_rows_in_order(engine: Engine, tmp_path: Path, kind: str) -> None:
    pinned = snapshots.pin(engine, sources(tmp_path)[kind], name="data")
    assert pinned.to_arrow().equals(EXPECTED.get(kind, MIXED))
    assert DeltaTable(pinned.table_uri).version() == pinned.version == 0
    assert pinned.table_uri == str(tmp_path / "lake" / "datasets" / "data")


def test_rows_of_many_batches_keep_their_order(engine: Engine) -> None:
    data = pa.table({"n": range(200_000)})
    batches = pa.RecordBatchReader.from_batches(data.schema, iter(data.to_batches(max_chunksize=7_919)))
    assert snapshots.pin(engine, batches, name="long").to_arrow().equals(data)


def test_the_same_content_is_the_same_version_however_it_is_cut(engine: Engine) -> None:
    whole = pa.table({"n": pa.array([*range(70_000), None]), "s": [*map(str, range(70_000)), None]})
    first = snapshots.pin(engine, whole, name="d")
    cut = pa.Table.from_batches(whole.slice(0, 69_000).to_batches(max_chunksize=999) + whole.slice(69_000).to_batches())
    assert snapshots.pin(engine, cut, name="d").id == first.id
    assert snapshots.pin(engine, pl.DataFrame(whole), name="d").id == first.id
    changed = snapshots.pin(engine, whole.slice(1), name="d")
    assert (changed.version, changed.table_id) == (1, first.table_id)
    again = snapshots.pin(engine, whole, name="d")
    assert (again.id, again.version, again.to_arrow().equals(whole)) == (first.id, 0, True)
    assert DeltaTable(first.table_uri).version() == 1


def _pin_in_a_process(lake: str, content: int) -> str:
    opened = Engine(lake, durability="process")
    try:
        return snapshots.pin(opened, pa.table({"n": [content] * 3}), name="d").id
    finally:
        opened.close()


def test_processes_that_convert_at_once_each_get_their_own_content(engine: Engine, tmp_path: Path) -> None:
    contents = [0, 1, 0]
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        made = list(pool.map(_pin_in_a_process, [str(tmp_path / "lake")] * 3, contents))
    for snapshot_id, content in zip(made, contents, strict=True):
        assert snapshots.load(engine, snapshot_id).to_arrow().column("n").to_pylist() == [content] * 3
    assert made[0] == made[2]
    assert made[1] != made[0]


def test_null_and_what_lies_under_it_are_one_content(engine: Engine) -> None:
    under = pa.Array.from_buffers(pa.int64(), 2, [pa.py_buffer(b"\x01"), pa.array([5, 6]).buffers()[1]])
    assert under.to_pylist() == [5, None]
    first = snapshots.pin(engine, pa.table({"a": under}), name="d")
    assert snapshots.pin(engine, pa.table({"a": [5, None]}), name="d").id == first.id
    assert snapshots.pin(engine, pa.table({"a": [5, 0]}), name="d").id != first.id


def test_content_is_known_again_after_the_log_of_its_table_was_cleaned(engine: Engine) -> None:
    first = snapshots.pin(engine, MIXED, name="d")
    table = DeltaTable(first.table_uri)
    table.create_checkpoint()
    table.cleanup_metadata()
    assert snapshots.pin(engine, MIXED, name="d").id == first.id


@pytest.mark.parametrize("name", ["a/b", "ü %41", "..", ".", "x\\y", "a:b"])
def test_any_name_of_a_dataset_stays_in_its_folder(engine: Engine, tmp_path: Path, name: str) -> None:
    pinned = snapshots.pin(engine, MIXED, name=name)
    assert Path(pinned.table_uri).resolve().parent == tmp_path / "lake" / "datasets"
    assert pinned.to_arrow().equals(MIXED)
    assert snapshots.pin(engine, MIXED, name=name).id == pinned.id


def test_types_without_a_delta_counterpart_become_the_documented_ones(engine: Engine) -> None:
    odd = pa.table(
        {
            "u8": pa.array([255, None], pa.uint8()),
            "u64": pa.array([2**63 - 1, None], pa.uint64()),
            "f16": pa.array([1.5, None], pa.float16()),
            "cat": pa.array(["x", None]).dictionary_encode(),
            "nothing": pa.nulls(2),
            "ns": pa.array([1_000, None], pa.timestamp("ns")),
            "zone": pa.array([1, None], pa.timestamp("ms", "Europe/Berlin")),
            "day": pa.array([dt.date(2020, 1, 2), None], pa.date64()),
            "fixed": pa.array([[1, 2], None], pa.list_(pa.int16(), 2)),
            "view": pa.array(["x", None], pa.string_view()),
            "nested": pa.array(
                [{"u": 1, "c": [None]}, None], pa.struct([("u", pa.uint16()), ("c", pa.list_(pa.null()))])
            ),
        }
    )
    back = snapshots.pin(engine, odd, name="odd").to_arrow()
    expected = {
        "u8": pa.int16(),
        "u64": pa.int64(),
        "f16": pa.float32(),
        "cat": pa.string(),
        "nothing": pa.string(),
        "ns": pa.timestamp("us"),
        "zone": pa.timestamp("us", "UTC"),
        "day": pa.date32(),
        "fixed": pa.list_(pa.field("element", pa.int16())),
        "view": pa.string(),
    }
    assert {name: back.schema.field(name).type for name in expected} == expected
    assert back.column("u8").to_pylist() == [255, None]
    assert back.column("ns").to_pylist() == [pd.Timestamp("1970-01-01 00:00:00.000001"), None]
    assert back.column("zone").to_pylist() == [dt.datetime(1970, 1, 1, 0, 0, 0, 1000, tzinfo=dt.UTC), None]
    assert back.column("fixed").to_pylist() == [[1, 2], None]
    assert back.column("nested").to_pylist() == [{"u": 1, "c": [None]}, None]


@pytest.mark.parametrize(
    ("column", "match"),
    [
        (pa.array([2**63], pa.uint64()), "uint64"),
        (pa.array([1], pa.timestamp("ns")), "timestamp"),
        (pa.array([1], pa.duration("us")), "duration"),
        (pa.array([1], pa.time64("us")), "time64"),
    ],
)
def test_values_that_would_be_lost_are_refused_by_column(engine: Engine, column: pa.Array, match: str) -> None:
    with pytest.raises(InvalidInput, match=f"'odd'.*{match}"):
        snapshots.pin(engine, pa.table({"odd": column}), name="d")
    assert snapshots.list_snapshots(engine).num_rows == 0


def test_a_pandas_index_is_kept_only_if_it_says_something(engine: Engine) -> None:
    frame = pd.DataFrame({"a": [1, 2, 3]})
    assert snapshots.pin(engine, frame, name="plain").schema.names == ["a"]
    assert snapshots.pin(engine, frame.set_index(pd.Index([7, 8, 9], name="key")), name="n").schema.names == [
        "a",
        "key",
    ]
    assert snapshots.pin(engine, frame[frame.a > 1], name="cut").schema.names == ["a", "__index_level_0__"]


def test_zero_rows_keep_their_schema(engine: Engine, tmp_path: Path) -> None:
    empty = MIXED.schema.empty_table()
    assert snapshots.pin(engine, empty, name="none").to_arrow().equals(empty)
    write_deltalake(str(tmp_path / "t"), MIXED)
    DeltaTable(str(tmp_path / "t")).delete()
    pinned = snapshots.pin(engine, tmp_path / "t")
    assert (pinned.num_rows, pinned.num_files, pinned.to_arrow().num_rows) == (0, 0, 0)
    assert pinned.scan().collect().schema == pl.DataFrame(empty).schema
    assert list(pinned.to_batches(5)) == []


def test_using_the_same_again_changes_nothing_and_something_else_conflicts(engine: Engine, patients: str) -> None:
    first = snapshots.use(engine, RUN, patients, version=1, where="id > 3")
    assert (first.name, first.context) == ("patients", "training")
    assert snapshots.use(engine, RUN, patients, version=1, where="id > 3").id == first.id
    for other in ({"version": 0}, {"version": 1, "where": "id > 4"}, {"version": 1, "where": "id > 3", "context": "t"}):
        with pytest.raises(Conflict, match="another name"):
            snapshots.use(engine, RUN, patients, **other)
    snapshots.use(engine, OTHER, patients, version=0)
    assert engine.query("select count(*) as n from inputs").to_pylist() == [{"n": 2}]
    edges = engine.query("select source, target, relation from lineage order by target").to_pylist()
    table_id = DeltaTable(patients).metadata().id
    assert edges == [
        {"source": f"dataset:{table_id}@1", "target": f"run:{RUN}", "relation": "used"},
        {"source": f"dataset:{table_id}@0", "target": f"run:{OTHER}", "relation": "used"},
    ]


def test_another_process_sees_what_a_run_used(engine: Engine, tmp_path: Path, patients: str) -> None:
    snapshots.use(engine, RUN, patients, version=1, columns=["score", "id"], where="id < 3", context="test")
    snapshots.use(engine, RUN, MIXED, name="extra")
    other = Engine(tmp_path / "lake")
    try:
        found = snapshots.inputs_of(other, RUN)
        assert list(found) == ["patients", "extra"]
        assert found["patients"].to_polars().to_dict(as_series=False) == {"score": [0, 1 / 7, 2 / 7], "id": [0, 1, 2]}
        assert (found["patients"].context, found["extra"].num_rows) == ("test", 3)
        assert snapshots.use(other, RUN, MIXED, name="extra").id == found["extra"].id
        with pytest.raises(Conflict):
            snapshots.use(other, RUN, MIXED.slice(1), name="extra")
    finally:
        other.close()


def test_an_input_that_a_run_has_not_is_an_error_that_names_those_it_has(engine: Engine, patients: str) -> None:
    used = snapshots.use(engine, RUN, patients, version=1)
    inputs = snapshots.inputs_of(engine, RUN)
    with pytest.raises(SnapshotNotFound, match="'nope'; its inputs: 'patients'"):
        inputs["nope"]
    with pytest.raises(SnapshotNotFound, match="its inputs: none"):
        snapshots.inputs_of(engine, OTHER)["patients"]
    assert ("nope" in inputs, "patients" in inputs) == (False, True)
    assert (inputs.get("nope"), inputs.get("nope", 7), inputs.get("patients")) == (None, 7, inputs["patients"])
    assert [(name, pin.id) for name, pin in inputs.items()] == [("patients", used.id)]
    assert (list(inputs), len(inputs), dict(inputs)) == (["patients"], 1, {"patients": inputs["patients"]})


def test_an_unknown_snapshot_names_the_command_that_lists_them(engine: Engine) -> None:
    with pytest.raises(SnapshotNotFound, match="`lakelineage snapshot` without a source"):
        snapshots.load(engine, "x")


def test_a_snapshot_can_be_used_again_as_a_source(engine: Engine, patients: str) -> None:
    pinned = snapshots.pin(engine, patients, version=0, where="id > 5")
    used = snapshots.use(engine, RUN, snapshots.load(engine, pinned.id), name="again", where="id > 7")
    assert (used.id, ids(used)) == (pinned.id, [8, 9])


def test_pinning_twice_records_one_snapshot_and_no_file_twice(engine: Engine, patients: str) -> None:
    first = snapshots.pin(engine, patients)
    assert snapshots.pin(engine, patients).id == first.id
    assert engine.query("select count(*) as n from snapshots").to_pylist() == [{"n": 1}]
    assert engine.query("select count(*) as n from snapshot_files").to_pylist() == [{"n": first.num_files}]
    listed = snapshots.list_snapshots(engine).to_pylist()
    assert [(row["snapshot_id"], row["num_rows"], row["runs"]) for row in listed] == [(first.id, 14, 0)]


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        ({"version": 7}, VersionNotFound, "no version 7; its newest is 2"),
        ({"version": -1}, InvalidInput, "negative"),
        ({"version": True}, InvalidInput, "bool"),
        ({"version": "1"}, InvalidInput, "str"),
        ({"version": 1, "as_of": "2024-01-01"}, InvalidInput, "both"),
        ({"as_of": "yesterday"}, InvalidInput, "ISO 8601"),
        ({"as_of": 5}, InvalidInput, "int"),
        ({"columns": ["id", "nosuch"]}, InvalidInput, "nosuch"),
        ({"columns": []}, InvalidInput, "at least one"),
        ({"columns": ["id", "id"]}, InvalidInput, "none twice"),
        ({"columns": "id"}, InvalidInput, "list of column names"),
        ({"where": "id >"}, InvalidInput, "id >"),
        ({"where": "nosuch > 1"}, InvalidInput, "nosuch"),
        ({"where": "id + 1"}, InvalidInput, "condition"),
        ({"where": "id > 1; drop table runs"}, InvalidInput, "drop"),
        ({"where": "id > avg(id)"}, InvalidInput, "more than one row"),
        ({"where": "name > 3"}, InvalidInput, "name > 3"),
        ({"where": " "}, InvalidInput, "SQL condition"),
        ({"protection": "protected"}, InvalidInput, "act of the table's owner"),
        ({"protection": "forever"}, InvalidInput, "unknown"),
        ({"name": ""}, InvalidInput, "empty"),
        ({"context": ""}, InvalidInput, "context"),
    ],
)
def test_a_wrong_call_is_refused_and_records_nothing(
    engine: Engine, patients: str, call: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        snapshots.use(engine, RUN, patients, **call)
    for table in ("snapshots", "snapshot_files", "inputs", "lineage", "pins_history"):
        assert engine.query(f"select count(*) as n from {table}").to_pylist() == [{"n": 0}]


def test_what_is_no_source_is_refused_with_its_remedy(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "bad.parquet").write_text("x")
    (tmp_path / "bad.csv").write_text('a,b\n1,2\n"3,4,5,6\n')
    cases: list[tuple[Any, type[Exception], str]] = [
        (tmp_path / "folder", TableNotFound, "_delta_log"),
        (tmp_path / "nowhere", TableNotFound, "does not exist"),
        (tmp_path / "nowhere.csv", TableNotFound, "no file"),
        (tmp_path / "notes.txt", TableNotFound, "notes.txt"),
        (tmp_path / "bad.parquet", InvalidInput, "bad.parquet"),
        (tmp_path / "bad.csv", InvalidInput, "bad.csv"),
        ("", InvalidInput, "empty"),
        (MIXED, InvalidInput, "name="),
        (42, InvalidInput, "int"),
        (pa.table({}), InvalidInput, "name="),
    ]
    for bad, error, match in cases:
        with pytest.raises(error, match=match):
            snapshots.pin(engine, bad)
    with pytest.raises(InvalidInput, match="no columns"):
        snapshots.pin(engine, pa.table({}), name="x")
    with pytest.raises(InvalidInput, match="letter case"):
        snapshots.pin(engine, pa.table({"a": [1], "A": [2]}), name="x")
    with pytest.raises(InvalidInput, match="no versions"):
        snapshots.pin(engine, MIXED, name="x", version=0)
    with pytest.raises(SnapshotNotFound, match="nosuch"):
        snapshots.load(engine, "nosuch")
    assert snapshots.list_snapshots(engine).num_rows == 0


def test_resolving_tells_partition_values_exactly(tmp_path: Path) -> None:
    data = pa.table({"p": ["", None, "a/b=c %41"], "v": range(3)})
    uri = str(tmp_path / "t")
    write_deltalake(uri, data, partition_by=["p"])
    assert _partitions(source.resolve(uri)) == ["", "a/b=c %41", None]
    DeltaTable(uri).create_checkpoint()
    write_deltalake(uri, data.slice(0, 2), mode="append")
    expected = ["", "", "a/b=c %41", None, None]
    assert _partitions(source.resolve(uri)) == expected


def _partitions(table: source.TableVersion) -> list[str | None]:
    return sorted((f.partition_values[0][1] for f in table.files), key=lambda v: (v is None, v))


def test_content_that_another_writer_commits_meanwhile_is_not_made_a_second_version(engine: Engine) -> None:
    from lakelineage.store.source_write import convert

    def batch(value: int) -> pa.RecordBatch:
        return pa.record_batch({"n": [value]})

    def overtaken() -> Iterator[pa.RecordBatch]:
        # others commit the same content, and then other content, while ours is being written
        others.extend(
            convert(engine.root, "datasets/raced", str(n), batch(0).schema, partial(list, [batch(n)])) for n in (0, 1)
        )
        yield batch(0)

    others: list[source.TableVersion | None] = []
    ours = convert(engine.root, "datasets/raced", "0", batch(0).schema, overtaken)
    assert ours is not None
    assert ours == others[0]
    assert DeltaTable(ours.uri).version() == 1


@pytest.mark.parametrize("level", ["reference", "archived"])
def test_a_copy_of_a_table_is_the_same_version_at_another_place(engine: Engine, patients: str, level: str) -> None:
    first = snapshots.pin(engine, patients, protection="reference")
    before = first.to_arrow()
    copy = f"{patients}-copy"
    shutil.copytree(patients, copy, copy_function=shutil.copyfile)  # with other times
    again = snapshots.pin(engine, copy, protection=level)
    assert again.id == first.id
    for pinned in (first, again, snapshots.load(engine, first.id)):
        assert pinned.to_arrow().equals(before)
    shutil.rmtree(copy)
    assert snapshots.load(engine, first.id).to_arrow().equals(before)


def test_a_table_that_was_moved_is_read_where_it_is_once_it_is_pinned_there(engine: Engine, patients: str) -> None:
    first = snapshots.pin(engine, patients, protection="reference")
    before = first.to_arrow()
    os.rename(patients, f"{patients}-moved")
    with pytest.raises(SnapshotLost):
        snapshots.load(engine, first.id).to_arrow()
    assert snapshots.pin(engine, f"{patients}-moved", protection="reference").id == first.id
    moved = snapshots.load(engine, first.id)
    assert moved.table_uri == f"{patients}-moved"
    assert moved.to_arrow().equals(before)
    (row,) = snapshots.list_snapshots(engine).to_pylist()
    assert row["pins"] == 1
