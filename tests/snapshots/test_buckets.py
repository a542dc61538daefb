"""Pins of tables in object stores, and lakes in object stores: kept by copies inside the store, or by carrying them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

import lakelineage as ll
from lakelineage.errors import SnapshotLost
from lakelineage.store.root import Root

S3 = tuple[str, dict[str, str]]
ROWS = pa.table({"id": pa.array(range(50), pa.int64()), "part": [f"p {n % 3}/x" for n in range(50)]})


@pytest.fixture
def bucket(s3: S3) -> S3:
    return s3


@pytest.fixture(params=["in the same bucket", "on this machine"])
def lake(request: pytest.FixtureRequest, bucket: S3, tmp_path: Path) -> Iterator[ll.Lake]:
    uri, options = bucket
    place = f"{uri}/lake" if request.param == "in the same bucket" else str(tmp_path / "lake")
    with ll.open(place, storage_options=options) as opened:
        yield opened


def remote_table(bucket: S3) -> DeltaTable:
    uri, options = bucket
    write_deltalake(f"{uri}/table", ROWS, partition_by=["part"], storage_options=options)
    return DeltaTable(f"{uri}/table", storage_options=options)


def rows_of(rows: Any) -> list[Any]:
    return sorted(rows.to_pylist(), key=lambda row: row["id"])


def remove_all(uri: str, options: dict[str, str]) -> None:
    root = Root(uri, options)
    for entry in root.walk(""):
        root.remove(entry.path)


def test_an_archived_table_of_a_bucket_survives_its_removal(lake: ll.Lake, bucket: S3) -> None:
    table = remote_table(bucket)
    pinned = lake.snapshot(table, protection="archived")
    assert pinned.protection == "archived"
    remove_all(f"{bucket[0]}/table", bucket[1])
    back = lake.load_snapshot(pinned.id)
    assert rows_of(back.to_arrow()) == rows_of(ROWS)
    assert rows_of(back.to_polars(where="id < 7").to_arrow()) == rows_of(ROWS.slice(0, 7))
    assert sum(batch.num_rows for batch in back.to_batches()) == 50
    (row,) = lake.pins.list().to_pylist()
    assert (row["readable"], row["read_from"], row["protection"]) == (True, "archive", "archived")


def test_a_reference_to_a_table_of_a_bucket_notices_an_altered_object(lake: ll.Lake, bucket: S3) -> None:
    table = remote_table(bucket)
    pinned = lake.snapshot(table, protection="reference")
    root = Root(f"{bucket[0]}/table", bucket[1])
    (first, *_) = [
        entry for entry in root.walk("") if entry.path.endswith(".parquet") and "_delta_log" not in entry.path
    ]
    content = bytearray(root.read(first.path))
    assert rows_of(pinned.to_arrow()) == rows_of(ROWS)
    content[len(content) // 2] ^= 1
    root.write(first.path, bytes(content))
    with pytest.raises(SnapshotLost) as lost:
        pinned.to_arrow()
    assert len(lost.value.missing) == 1
    root.remove(first.path)
    with pytest.raises(SnapshotLost):
        lake.load_snapshot(pinned.id).to_arrow()


def test_a_local_table_is_carried_to_a_lake_in_a_bucket(bucket: S3, tmp_path: Path) -> None:
    uri, options = bucket
    write_deltalake(str(tmp_path / "table"), ROWS)
    with ll.open(f"{uri}/lake", storage_options=options) as lake:
        assert lake.snapshot(tmp_path / "table").protection == "reference"  # carrying is not free
        done: list[int] = []
        pinned = lake.snapshot(tmp_path / "table")
        kept = lake.pins.archive(pinned, progress=done.append)
        assert (kept.protection, done[-1]) == ("archived", kept.bytes)
        (file,) = (tmp_path / "table").glob("*.parquet")
        assert [pin.sha256 for pin in kept.files] == [hashlib.sha256(file.read_bytes()).hexdigest()]
        file.unlink()
        back = lake.load_snapshot(pinned.id)
        assert back.to_arrow(verify=True).equals(ROWS)
        lake.pins.release(pinned)
        assert lake.maintain().unpinned == 0  # other hosts may keep it by now: it stays for a day


def test_many_files_are_looked_at_by_listing(bucket: S3, tmp_path: Path) -> None:
    uri, options = bucket
    many = pa.table({"id": pa.array(range(60), pa.int64()), "part": [f"p{n:02}" for n in range(60)]})
    write_deltalake(f"{uri}/many", many, partition_by=["part"], storage_options=options)
    with ll.open(tmp_path / "lake", storage_options=options) as lake:
        pinned = lake.snapshot(DeltaTable(f"{uri}/many", storage_options=options), protection="archived")
        assert pinned.num_files == 60
        assert all(pin.etag for pin in pinned.files)
        assert rows_of(lake.load_snapshot(pinned.id).to_arrow()) == rows_of(many)
