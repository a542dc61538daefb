"""Folders of files where the lake, the folder or both are in a bucket."""

import shutil
import time
from pathlib import Path

import pytest

import lakelineage as ll
from lakelineage.errors import TableNotFound
from lakelineage.store.root import Root

S3 = tuple[str, dict[str, str]]


def test_a_remote_lake_keeps_files_by_upload_when_that_is_asked_for(s3: S3, tmp_path: Path) -> None:
    tree, images = {"a.png": b"meow", "copy.png": b"meow", "b": b"", "c d%41": b"x"}, tmp_path / "images"
    images.mkdir()
    for path, data in tree.items():
        (images / path).write_bytes(data)
    with ll.open(f"{s3[0]}/lake", storage_options=s3[1]) as lake:
        plain = lake.snapshot(images)
        assert plain.protection == "reference"
        kept = lake.snapshot(images, protection="archived")
        uploaded = {entry.path: entry.changed for entry in lake._engine.root.walk("archive")}
        time.sleep(1.1)  # S3 tells whole seconds
        assert lake.snapshot(images, protection="archived").id == plain.id
        assert {entry.path: entry.changed for entry in lake._engine.root.walk("archive")} == uploaded
        assert len([path for path in uploaded if len(path.rpartition("/")[2]) == 64]) == 3
        shutil.rmtree(images)
        out = lake.load_snapshot(kept.id).download(tmp_path / "out")
        assert {place.name: place.read_bytes() for place in out.iterdir()} == tree
        assert next(lake.verify(depth="checksums")).read_from == "archive"


@pytest.mark.parametrize("remote_lake", [True, False])
def test_a_folder_in_a_bucket_is_pinned_as_one_on_a_disk(s3: S3, lake_path: Path, remote_lake: bool) -> None:
    tree = {"cats/1 %41.png": b"meow", "ü/a+b": b"x", "empty": b""}
    bucket = Root(f"{s3[0]}/images", s3[1])
    for path, data in tree.items():
        bucket.write(path, data)
    with ll.open(f"{s3[0]}/lake" if remote_lake else lake_path, storage_options=s3[1]) as lake:
        pinned = lake.snapshot(f"{s3[0]}/images/")
        assert (pinned.kind, pinned.protection, pinned.paths()) == ("folder", "reference", sorted(tree))
        assert {path: pinned.read(path) for path in tree} == tree
        kept = lake.snapshot(f"{s3[0]}/images", protection="archived")
        assert kept.id == pinned.id
        bucket.write("empty", b"no more")
        bucket.remove("ü/a+b")
        assert {path: lake.load_snapshot(kept.id).read(path) for path in tree} == tree
        assert next(lake.verify(depth="files")).read_from == "both"
        with pytest.raises(TableNotFound):
            lake.snapshot(f"{s3[0]}/nothing")
