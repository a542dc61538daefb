"""A managed table belongs to one origin."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from lakelineage import snapshots
from lakelineage.engine import Engine
from lakelineage.snapshots import Snapshot


def plant(folder: Path, name: str, content: bytes) -> Path:
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    return folder


def test_inputs_of_one_name_from_different_places_have_tables_of_their_own(engine: Engine, tmp_path: Path) -> None:
    def pin(source: Path, **more: Any) -> Snapshot:
        return snapshots.pin(engine, source, **more)

    sources = [plant(tmp_path / each / "x", "f", each.encode()) for each in "abc"]
    for each in "ab":
        (tmp_path / each / "x.csv").write_text(f"n\n{ord(each)}\n")
    first = [pin(source) for source in [*sources, tmp_path / "a/x.csv", tmp_path / "b/x.csv"]]
    assert len({each.table_id for each in first}) == 5
    assert [each.name for each in first] == ["x"] * 5
    assert first[0].table_uri == f"{engine.root.uri}/datasets/x"
    assert all(each.version == 0 for each in first)
    assert [pin(source).table_id for source in sources] == [each.table_id for each in first[:3]]
    named = pin(sources[2], name="mine")
    assert named.table_uri == f"{engine.root.uri}/datasets/mine"
    data = snapshots.pin(engine, pa.table({"n": [1]}), name="mine")
    assert (data.table_uri, data.version) == (named.table_uri, 1)


def test_a_table_of_an_older_version_goes_on_with_the_origins_that_are_recorded(engine: Engine, tmp_path: Path) -> None:
    def old(description: str) -> str:
        return description.partition(" Made from: ")[0]

    (tmp_path / "x.csv").write_text("n\n1\n")
    made = snapshots.pin(engine, tmp_path / "x.csv")
    log = Path(made.table_uri, "_delta_log", f"{0:020d}.json")
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    for action in actions:
        if "metaData" in action:
            action["metaData"]["description"] = old(action["metaData"]["description"])
    log.write_text("".join(json.dumps(action) + "\n" for action in actions))
    (tmp_path / "x.csv").write_text("n\n2\n")
    again = snapshots.pin(engine, tmp_path / "x.csv")
    assert (again.table_uri, again.version) == (made.table_uri, 1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.csv").write_text("n\n3\n")
    other = snapshots.pin(engine, tmp_path / "other" / "x.csv")
    assert other.table_uri.startswith(f"{made.table_uri}-")


def test_of_two_origins_that_make_a_table_at_once_the_later_takes_another_name(engine: Engine) -> None:
    from lakelineage.store.source_write import Origin, convert

    def batches(value: int) -> Callable[[], list[pa.RecordBatch]]:
        return lambda: [pa.record_batch({"n": [value]})]

    def overtaken() -> Iterator[pa.RecordBatch]:
        theirs.append(convert(engine.root, "datasets/raced", "b", schema, batches(2), Origin("/b", lambda _: False)))
        yield pa.record_batch({"n": [1]})

    theirs: list[Any] = []
    schema = pa.schema([("n", pa.int64())])
    assert convert(engine.root, "datasets/raced", "a", schema, overtaken, Origin("/a", lambda _: False)) is None
    table = DeltaTable(theirs[0].uri)
    assert table.version() == 0
    assert {Path(place).name for place in Path(theirs[0].uri).glob("*.parquet")} == {
        Path(place).name for place in table.file_uris()
    }
