"""Folders of files through the command line."""

from pathlib import Path
from typing import Any

import lakelineage as ll


def test_a_pinned_folder_is_written_as_files_or_as_their_list(tmp_path: Path, call: Any, answer: Any) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    (images / "1.png").write_bytes(b"meow")
    (images / "2.txt").write_bytes(b"")
    (tmp_path / "rows.csv").write_text("n\n1\n")
    lake = ("--lake", tmp_path / "lake")
    with ll.open(tmp_path / "lake") as opened, opened.start_run() as run:
        run.use(images)
        run.use(tmp_path / "rows.csv")

    assert {row["path"] for row in answer(*lake, "reload", run.id, "images")} == {"1.png", "2.txt"}
    assert "files of" in call(*lake, "reload", run.id, "images").stdout
    written = answer(*lake, "reload", run.id, "images", "-o", out)
    assert written == [{"name": "images", "path": str(out), "files": 2}]
    assert (out / "1.png").read_bytes() == b"meow"
    some = call(*lake, "reload", run.id, "images", "--where", "size > 0", "-o", tmp_path / "some")
    assert "1 files of images" in some.stdout
    assert [place.name for place in (tmp_path / "some").iterdir()] == ["1.png"]
    listed = answer(*lake, "reload", run.id, "images", "--columns", "path", "-o", tmp_path / "list.csv")
    assert (listed[0]["rows"], (tmp_path / "list.csv").read_text()) == (2, '"path"\n"1.png"\n"2.txt"\n')
    answer(*lake, "reload", run.id, "--all", "-o", tmp_path / "all")
    assert {p.relative_to(tmp_path / "all").as_posix() for p in (tmp_path / "all").rglob("*") if p.is_file()} == {
        "images/1.png",
        "images/2.txt",
        "rows.parquet",
    }
    for wrong in (("images", "--columns", "path", "-o", out), ("rows", "-o", out)):
        assert call(*lake, "reload", run.id, *wrong).returncode == 2
