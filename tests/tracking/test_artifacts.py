"""Artifacts of every kind: what is logged reads back, what cannot be kept is refused whole."""

import io
import json
import math
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

import lakelineage as ll
from lakelineage import Lake, Run
from lakelineage.errors import (
    ArtifactNotFound,
    InvalidInput,
    InvalidPath,
    LakeDamaged,
    MissingExtra,
    RunFinished,
)
from lakelineage.tracking import artifact_kinds

S3 = tuple[str, dict[str, str]]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.fixture
def run(lake: Lake) -> Run:
    return lake.start_run()


@settings(max_examples=60)
@given(value=st.dictionaries(st.text(), JSON, max_size=4) | st.lists(JSON, max_size=4))
def test_a_dictionary_reads_back_as_it_was(value: Any) -> None:
    assert json.loads(artifact_kinds.dictionary(value, "a.json")) == value
    assert yaml.safe_load(artifact_kinds.dictionary(value, "a.yaml")) == value


def test_a_dictionary_is_logged_and_read_and_has_nan(run: Run) -> None:
    run.log_dict({"a": [1, math.inf], "ü": None}, "conf/a.json")
    assert run.artifact("conf/a.json").json() == {"a": [1, math.inf], "ü": None}
    run.log_dict([1, {"b": "c"}], "b.yml")
    assert yaml.safe_load(run.artifact("b.yml").read_text()) == [1, {"b": "c"}]


def picture(run: Run, path: str) -> Image.Image:
    return Image.open(io.BytesIO(run.artifact(path).read_bytes()))


def figures() -> dict[str, Any]:
    import plotly.graph_objects as go

    drawn = Figure()
    drawn.subplots().plot([1, 2, 3])
    return {"matplotlib": drawn, "plotly": go.Figure(go.Scatter(y=[1, 2, 3]))}


@pytest.mark.parametrize(
    ("library", "name", "start"),
    [
        ("matplotlib", "a.png", b"\x89PNG"),
        ("matplotlib", "a.svg", b"<?xml"),
        ("matplotlib", "a.pdf", b"%PDF"),
        ("matplotlib", "a.jpg", b"\xff\xd8"),
        ("plotly", "a.html", b"<!doctype html>"),
        ("plotly", "a.json", b"{"),
    ],
)
def test_a_figure_is_kept_in_the_format_of_its_extension(run: Run, library: str, name: str, start: bytes) -> None:
    run.log_figure(figures()[library], name)
    assert run.artifact(name).read_bytes().startswith(start)


def test_options_reach_the_library_that_draws(run: Run) -> None:
    shown = figures()
    run.log_figure(shown["matplotlib"], "small.png", save_kwargs={"dpi": 20})
    run.log_figure(shown["matplotlib"], "large.png", save_kwargs={"dpi": 100})
    width = [picture(run, f"{n}.png").width for n in ("small", "large")]
    assert width[1] == 5 * width[0]
    run.log_figure(shown["plotly"], "whole.html")
    run.log_figure(shown["plotly"], "thin.html", save_kwargs={"include_plotlyjs": "cdn"})
    assert run.artifact("whole.html").size > 1_000_000 > run.artifact("thin.html").size


def test_plotly_without_kaleido_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kaleido", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="pip install kaleido"):
        run.log_figure(figures()["plotly"], "a.png")


@pytest.mark.parametrize("missing", [("PIL", "log_image"), ("yaml", "log_dict")])
def test_a_library_that_is_missing_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, str]
) -> None:
    monkeypatch.setitem(sys.modules, missing[0], None)
    value, name = ({}, "a.yaml") if missing[1] == "log_dict" else (np.zeros((2, 2)), "a.png")
    with pytest.raises(MissingExtra, match=r"lakelineage\[artifacts\]"):
        getattr(run, missing[1])(value, name)
    assert run.list_artifacts().num_rows == 0


RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
CLEAR = RNG.integers(0, 256, (5, 7, 4), dtype=np.uint8)


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (GREY, GREY),
        (GREY[:, :, None], GREY),
        (COLOUR, COLOUR),
        (CLEAR, CLEAR),
        (COLOUR.astype(np.int64), COLOUR),
        (COLOUR.astype(np.float32) / 255, COLOUR),
        (GREY > 127, (GREY > 127) * np.uint8(255)),
        (GREY.tolist(), GREY),
        (Image.fromarray(COLOUR), COLOUR),
        (COLOUR[::2, ::-1], COLOUR[::2, ::-1]),
    ],
)
def test_pixels_of_an_image_read_back(run: Run, given_: Any, expected: "np.ndarray[Any, Any]") -> None:
    for extension in ("png", "tiff"):
        run.log_image(given_, f"a.{extension}")
        assert np.array_equal(np.asarray(picture(run, f"a.{extension}")), expected)


def test_images_of_a_series_are_named_as_mlflow_names_them(run: Run) -> None:
    for step in (0, 7):
        run.log_image(GREY, key="val/cat", step=step)
    names = run.list_artifacts("images").column("path").to_pylist()
    assert [name.split("%timestamp%")[0] for name in names] == ["images/val#cat%step%0", "images/val#cat%step%7"]
    assert all(name.endswith(".png") for name in names)


def tables() -> dict[str, Any]:
    columns = {"n": [1, None, 3], "x": [0.5, 1.5, 2.5], "s": ["a,\n", "", "ü"]}
    return {
        "dict": columns,
        "list": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
        "arrow": pa.table(columns),
        "polars": pl.DataFrame(columns),
        "pandas": pd.DataFrame(columns).astype({"n": "Int64", "s": "category"}),
    }


@pytest.mark.parametrize("kind", ["dict", "list", "arrow", "polars", "pandas"])
@pytest.mark.parametrize("extension", ["parquet", "json", "csv"])
def test_a_table_reads_back(run: Run, kind: str, extension: str) -> None:
    run.log_table(tables()[kind], f"t.{extension}")
    found = run.artifact(f"t.{extension}").to_polars()
    assert isinstance(found, pl.DataFrame)
    assert {name: found[name].to_list() for name in found.columns} == tables()["dict"]
    assert run.artifact(f"t.{extension}").to_arrow().num_rows == 3


def test_tables_of_special_values_keep_them_in_parquet_and_json_is_as_mlflow_writes_it(run: Run) -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    rows = pa.table({"at": [at], "b": [b"\x00"], "m": [{"a": [1]}], "f": [math.nan]})
    run.log_table(rows, "t.parquet")
    assert run.artifact("t.parquet").to_arrow().equals(rows.cast(rows.schema)) or math.isnan(
        run.artifact("t.parquet").to_arrow()["f"][0].as_py()
    )
    run.log_table(rows.drop_columns(["b"]), "t.json")
    stored = json.loads(run.artifact("t.json").read_bytes())
    assert stored["columns"] == ["at", "m", "f"]
    assert stored["data"][0][:2] == [at.isoformat(), {"a": [1]}]
    run.log_table({"a": [], "b": []}, "empty.json")
    assert run.artifact("empty.json").to_arrow().column_names == ["a", "b"]


WRONG: list[tuple[str, Callable[[Run], None]]] = [
    ("extension of a dictionary", lambda run: run.log_dict({}, "a.toml")),
    ("a text as dictionary", lambda run: run.log_dict("text", "a.json")),  # type: ignore[arg-type]
    ("a value without JSON", lambda run: run.log_dict({"a": object()}, "a.json")),
    ("a set in YAML", lambda run: run.log_dict({"a": {1}}, "a.yaml")),
    ("no figure", lambda run: run.log_figure([1, 2], "a.png")),
    ("a figure's extension", lambda run: run.log_figure(figures()["matplotlib"], "a.html")),
    ("an unknown option", lambda run: run.log_figure(figures()["plotly"], "a.html", save_kwargs={"no": 1})),
    ("an image's extension", lambda run: run.log_image(GREY, "a.txt")),
    ("no extension", lambda run: run.log_image(GREY, "a")),
    ("pixels beyond 255", lambda run: run.log_image(GREY.astype(int) + 100, "a.png")),
    ("pixels beyond 1", lambda run: run.log_image(GREY.astype(float), "a.png")),
    ("NaN pixels", lambda run: run.log_image(np.full((2, 2), np.nan), "a.png")),
    ("a vector as image", lambda run: run.log_image(np.zeros(3), "a.png")),
    ("two channels", lambda run: run.log_image(np.zeros((2, 2, 2)), "a.png")),
    ("no pixels", lambda run: run.log_image(np.zeros((0, 2)), "a.png")),
    ("texts as pixels", lambda run: run.log_image([["a"]], "a.png")),
    ("transparent JPEG", lambda run: run.log_image(CLEAR, "a.jpg")),
    ("path and key", lambda run: run.log_image(GREY, "a.png", key="k")),
    ("neither path nor key", lambda run: run.log_image(GREY)),
    ("a step without key", lambda run: run.log_image(GREY, "a.png", step=1)),
    ("no table", lambda run: run.log_table(3, "t.csv")),
    ("columns of unequal length", lambda run: run.log_table({"a": [1], "b": []}, "t.csv")),
    ("a table's extension", lambda run: run.log_table({"a": [1]}, "t.xlsx")),
    ("lists in CSV", lambda run: run.log_table({"a": [[1]]}, "t.csv")),
    ("bytes in JSON", lambda run: run.log_table({"a": [b"x"]}, "t.json")),
    ("text as bytes", lambda run: run.log_bytes("text", "a.bin")),  # type: ignore[arg-type]
    ("a path that leaves", lambda run: run.log_dict({}, "../a.json")),
    ("an absolute path", lambda run: run.log_bytes(b"", "/a")),
]


@pytest.mark.parametrize("act", [act for _, act in WRONG], ids=[name for name, _ in WRONG])
def test_what_cannot_be_kept_is_refused_and_leaves_nothing(
    run: Run, lake_path: Path, act: Callable[[Run], None]
) -> None:
    with pytest.raises(InvalidInput) as refused:
        act(run)
    assert len(str(refused.value)) > 20
    assert run.list_artifacts().num_rows == 0
    assert not (lake_path / "artifacts").exists()


def test_the_backend_of_matplotlib_is_left_alone(run: Run) -> None:
    before = mpl.get_backend()
    run.log_figure(figures()["matplotlib"], "a.png")
    assert mpl.get_backend() == before


def test_a_run_that_has_ended_takes_no_artifact_and_still_shows_them(run: Run) -> None:
    run.log_bytes(b"\x00\xff", "a.bin")
    run.end()
    with pytest.raises(RunFinished):
        run.log_dict({}, "b.json")
    assert run.artifact("a.bin").read_bytes() == b"\x00\xff"


def levels(lake: Lake, run: Run, path: str | None = None) -> list[tuple[Any, ...]]:
    ours = run.list_artifacts(path).to_pylist()
    assert lake.run(run.id).list_artifacts(path).to_pylist() == ours
    return [tuple(row.values()) for row in ours]


def test_artifacts_are_listed_a_folder_at_a_time(lake: Lake, run: Run) -> None:
    assert levels(lake, run) == []
    for path in ("top.txt", "a/b/deep.txt", "a/x.txt", "a/b.txt", "a%/x", "ab/c.txt"):
        run.log_text(path, path)
    run.log_text("longer than before", "a/x.txt")
    assert levels(lake, run) == [("a", True, None), ("a%", True, None), ("ab", True, None), ("top.txt", False, 7)]
    assert levels(lake, run, "a") == [("a/b", True, None), ("a/b.txt", False, 7), ("a/x.txt", False, 18)]
    assert levels(lake, run, "a/b/") == levels(lake, run, "a/b") == [("a/b/deep.txt", False, 12)]
    assert levels(lake, run, "a/x.txt") == [("a/x.txt", False, 18)]
    assert levels(lake, run, "") == levels(lake, run)
    with pytest.raises(ArtifactNotFound, match="lakelineage artifacts"):
        run.list_artifacts("a/c")
    with pytest.raises(InvalidPath):
        run.list_artifacts("../a")


@settings(max_examples=25)
@given(
    files=st.dictionaries(
        st.lists(st.sampled_from(["a", "b c", "ü", "%41", "d.txt"]), min_size=1, max_size=3).map("/".join),
        st.binary(max_size=50),
        min_size=1,
        max_size=5,
    )
)
def test_all_that_was_logged_is_downloaded(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    files = {p: c for p, c in files.items() if not any(other.startswith(f"{p}/") for other in files)}
    base = tmp_path_factory.mktemp("download")
    with ll.open(base / "lake", durability="process") as lake:
        with lake.start_run() as run:
            for path, content in files.items():
                run.log_bytes(content, path)
        past = lake.run(run.id)
        for nothing in (None, ""):
            target = past.download(nothing, base / f"all{nothing}")
            there = {f.relative_to(target).as_posix(): f.read_bytes() for f in target.rglob("*") if f.is_file()}
            assert there == files
        first = next(iter(files))
        assert past.download(first, base / "one").read_bytes() == files[first]
        assert past.download(first.split("/")[0], base / "part") == base / "part" / first.split("/")[0]


def test_a_handle_reads_nothing_until_it_is_asked(lake: Lake, run: Run, lake_path: Path, tmp_path: Path) -> None:
    missing = run.artifact("nowhere.txt")
    for act in (
        lambda: missing.size,
        missing.read_bytes,
        missing.local_path,
        missing.open,
        lambda: missing.download(tmp_path / "x"),
    ):
        with pytest.raises(ArtifactNotFound):
            act()
    assert not (tmp_path / "x").exists()
    run.log_text("hällo", "a/t.txt")
    found = lake.run(run.id).artifact("a/t.txt")
    assert (found.size, found.name, len(found.sha256), found.read_text()) == (6, "t.txt", 64, "hällo")
    assert found.local_path() == lake_path / "artifacts" / run.id / "a" / "t.txt"
    with found.open() as file:
        assert (file.read(2), file.read()) == ("hä".encode()[:2], "hällo".encode()[2:])
    assert found.download(tmp_path) == tmp_path / "t.txt"
    assert found.download(tmp_path / "new" / "name") == tmp_path / "new" / "name"
    assert (tmp_path / "new" / "name").read_text() == "hällo"
    for wrong in (found.json, found.to_arrow):
        with pytest.raises(InvalidInput):
            wrong()
    run.log_bytes(b"\xff", "b.txt")
    with pytest.raises(InvalidInput, match="read_bytes"):
        run.artifact("b.txt").read_text()


def reads(lake: Lake, run_id: str, tmp_path: Path) -> list[Callable[[], Any]]:
    one = lake.run(run_id).artifact("a.txt")
    past = lake.run(run_id)
    return [
        one.read_bytes,
        one.local_path,
        one.open,
        lambda: one.download(tmp_path / "one"),
        lambda: past.download(None, tmp_path / "all"),
    ]


def test_what_was_altered_or_is_gone_is_never_read(lake: Lake, run: Run, lake_path: Path, tmp_path: Path) -> None:
    run.log_text("truth", "a.txt")
    file = lake_path / "artifacts" / run.id / "a.txt"
    for harm in (lambda: file.write_text("lies!"), file.unlink):
        harm()
        for act in reads(lake, run.id, tmp_path):
            with pytest.raises(LakeDamaged, match=r"a\.txt"):
                act()
    assert [p for p in tmp_path.rglob("*") if p.is_file() and lake_path not in p.parents] == []


def test_artifacts_of_a_remote_lake_read_alike_and_are_fetched_once(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKELINEAGE_CACHE", str(tmp_path / "cache"))
    with ll.open(*s3) as lake:
        with lake.start_run() as run:
            run.log_table({"a": [1, 2]}, "t/t.parquet")
            run.log_text("truth", "a.txt")
            assert run.artifact("a.txt").read_text() == "truth"
        past = lake.run(run.id)
        assert past.artifact("t/t.parquet").to_polars()["a"].to_list() == [1, 2]
        local = past.artifact("t/t.parquet").local_path()
        assert local.name == "t.parquet"
        assert local.is_relative_to(tmp_path / "cache")
        before = local.stat().st_ino
        assert pl.read_parquet(past.artifact("t/t.parquet").local_path())["a"].to_list() == [1, 2]
        assert local.stat().st_ino == before
        assert past.download(None, tmp_path / "all") == tmp_path / "all"
        assert (tmp_path / "all" / "a.txt").read_text() == "truth"
        # A copy that rots on this disk is not used, and made again.
        local.write_bytes(b"rot")
        with pytest.raises(LakeDamaged):
            past.artifact("t/t.parquet").local_path()
        assert pl.read_parquet(past.artifact("t/t.parquet").local_path()).height == 2
        # What is altered in the store is found, whichever way it is read.
        lake._engine.root.write(f"artifacts/{run.id}/a.txt", b"lies!")
        for act in reads(lake, run.id, tmp_path):
            with pytest.raises(LakeDamaged):
                act()


def test_a_forked_child_logs_artifacts_of_every_kind(lake: Lake, run: Run) -> None:
    lake.sql("select 1")
    child = os.fork()
    if child == 0:
        try:
            run.log_dict({"a": 1}, "a.json")
            run.log_table({"a": [1]}, "a.csv")
            run.log_image(GREY, "a.png")
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert run.list_artifacts().column("path").to_pylist() == ["a.csv", "a.json", "a.png"]
