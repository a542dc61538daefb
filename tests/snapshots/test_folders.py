"""Folders of files: what comes back, what is noticed, what is stored once."""

import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

import lakelineage as ll
from lakelineage import snapshots
from lakelineage.engine import Engine
from lakelineage.errors import (
    ConcurrentWrite,
    InvalidInput,
    LakeDamaged,
    NotFound,
    SnapshotErased,
    SnapshotLost,
    StorageFailed,
    TableNotFound,
)
from lakelineage.snapshots.folders import digests, files
from lakelineage.snapshots.sweep import sweep

if TYPE_CHECKING:
    import subprocess

S3 = tuple[str, dict[str, str]]
Tree = dict[str, bytes]
RUN = "0199c0ffee1200000000000000000000"

#: Names as they occur, and as they may.
NAMES = st.one_of(
    st.sampled_from(
        [".hidden", "%41", "a%2Fb", "new\nline", "back\\slash", "ü", "u\u0308", "folder:x", "a b", "x.PNG"]
    ),
    st.text(st.characters(exclude_characters="/\x00", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
        lambda name: name not in (".", "..", "_delta_log") and len(name.encode()) < 200
    ),
)
TREES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map("/".join),
    st.one_of(st.just(b""), st.sampled_from([b"same", b"other"]), st.binary(max_size=200)),
    min_size=1,
    max_size=8,
).filter(lambda tree: not any(a != b and b.startswith(f"{a}/") for a in tree for b in tree))


def plant(folder: Path, tree: Tree) -> Path:
    for path, content in tree.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def planted(folder: Path) -> Tree:
    found = (Path(base, name) for base, _, names in os.walk(folder) for name in names)
    return {place.relative_to(folder).as_posix(): place.read_bytes() for place in found}


def settled(folder: Path) -> None:
    """As if it had been written long ago."""
    for base, _, names in os.walk(folder):
        for name in names:
            os.utime(Path(base, name), (1e9, 1e9))


def archive_of(engine: Engine) -> list[Path]:
    assert engine.root.local is not None
    return [place for place in (engine.root.local / "archive").rglob("*") if place.is_file()]


@pytest.fixture
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    tree = {"cats/1.png": b"meow", "cats/2.png": b"purr", "dogs/1.jpg": b"wuff", "readme": b"", "copy.png": b"meow"}
    return plant(tmp_path / "images", tree)


@given(TREES)
@settings(max_examples=25)
def test_any_tree_of_files_comes_back_bit_for_bit_after_its_folder_changed(engine: Engine, tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as base:
        folder = plant(Path(base, "folder"), tree)
        pinned = snapshots.pin(engine, folder, protection="archived")
        assert (pinned.kind, pinned.protection) == ("folder", "archived")
        assert (pinned.num_files, pinned.bytes) == (len(tree), sum(map(len, tree.values())))
        for path in tree:
            (folder / path).write_bytes(b"overwritten in place")
        loaded = snapshots.load(engine, pinned.id)
        assert planted(loaded.download(Path(base, "first"))) == tree
        shutil.rmtree(folder)
        assert planted(loaded.download(Path(base, "second"))) == tree
        assert pinned.paths() == sorted(tree)
        assert {path: pinned.read(path) for path in pinned.paths()} == tree
        rows = {row["path"]: (row["size"], row["sha256"]) for row in loaded.to_arrow().to_pylist()}
        assert rows == {path: (len(data), hashlib.sha256(data).hexdigest()) for path, data in tree.items()}


@given(TREES, st.data())
@settings(max_examples=25)
def test_each_alteration_of_what_is_only_referenced_is_noticed(engine: Engine, tree: Tree, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as base:
        folder = plant(Path(base, "folder"), tree)
        pinned = snapshots.pin(engine, folder, protection="reference")
        path = data.draw(st.sampled_from(sorted(tree)))
        victim, before = folder / path, os.stat(folder / path)
        how = data.draw(st.sampled_from(["gone", "longer", "another, of the same size and time"]))
        if how == "gone" or (how.startswith("another") and not tree[path]):
            victim.unlink()
        elif how == "longer":
            victim.write_bytes(tree[path] + b"x")
        else:
            victim.write_bytes(bytes([tree[path][0] ^ 1]) + tree[path][1:])
            os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))
        with pytest.raises(SnapshotLost) as lost:
            pinned.read(path)
        assert lost.value.missing == (path,)
        with pytest.raises(SnapshotLost) as lost:
            pinned.download(Path(base, "copy"))
        assert lost.value.missing == (path,)
        assert planted(Path(base, "copy")) == {p: c for p, c in tree.items() if p != path}


def test_links_survive_removal_and_what_reaches_them_by_their_other_name_is_noticed(
    engine: Engine, images: Path
) -> None:
    pinned = snapshots.pin(engine, images)
    assert pinned.protection == "archived"
    assert {os.stat(place).st_nlink for place in archive_of(engine)} == {2}
    (images / "cats/2.png").unlink()
    (images / "dogs/1.jpg").write_bytes(b"miau")  # in place, so in the archive too
    assert pinned.read("cats/2.png") == b"purr"
    with pytest.raises(SnapshotLost, match=r"overwritten in place.*dogs/1\.jpg"):
        pinned.read("dogs/1.jpg")
    (images / "dogs/1.jpg").write_bytes(b"wuff")  # restored, with another time
    assert pinned.read("dogs/1.jpg") == b"wuff"


def test_pinning_again_mends_an_archive_that_was_written_to_by_its_other_name(engine: Engine, images: Path) -> None:
    pinned = snapshots.pin(engine, images)
    (images / "dogs/1.jpg").write_bytes(b"miau")
    (images / "dogs/1.jpg").unlink()
    (images / "dogs/1.jpg").write_bytes(b"wuff")
    assert snapshots.pin(engine, images).id == pinned.id
    shutil.rmtree(images)
    assert pinned.read("dogs/1.jpg") == b"wuff"


def test_what_is_asked_to_be_archived_is_copied_also_where_it_was_linked(engine: Engine, images: Path) -> None:
    linked = snapshots.pin(engine, images)
    snapshots.pin(engine, images, protection="archived")
    contents = {hashlib.sha256(data).hexdigest() for data in planted(images).values()}
    kept = {place.name: os.stat(place) for place in archive_of(engine) if len(place.name) == 64}
    assert set(kept) == contents
    assert {state.st_nlink for state in kept.values()} == {1}
    before = {name: state.st_ino for name, state in kept.items()}
    for path in planted(images):
        (images / path).write_bytes(b"x")
    assert linked.read("cats/1.png") == b"meow"
    snapshots.pin(engine, snapshots.load(engine, linked.id), protection="archived")
    assert {p.name: os.stat(p).st_ino for p in archive_of(engine) if p.name in before} == before


def test_identical_files_of_all_folders_and_versions_are_stored_once(engine: Engine, images: Path) -> None:
    first = snapshots.pin(engine, images, protection="archived")
    (images / "new.png").write_bytes(b"new")
    second = snapshots.pin(engine, images, protection="archived")
    other = snapshots.pin(engine, plant(images.parent / "other", {"a": b"new", "b": b"meow"}), protection="archived")
    assert len([place for place in archive_of(engine) if len(place.name) == 64]) == 5
    shutil.rmtree(images)
    assert (len(first.paths()), second.read("new.png"), other.read("a")) == (5, b"new", b"new")


def test_unchanged_content_makes_no_new_version_whatever_its_times(engine: Engine, images: Path) -> None:
    first = snapshots.pin(engine, images)
    settled(images)
    again = snapshots.pin(engine, images)
    assert (again.id, again.version) == (first.id, 0)
    (images / "cats/1.png").rename(images / "cats/3.png")
    assert snapshots.pin(engine, images).version == 1
    (images / "cats/3.png").rename(images / "cats/1.png")
    assert snapshots.pin(engine, images).id == first.id
    assert engine.query("select count(distinct snapshot_id) as n from snapshots").to_pylist() == [{"n": 2}]


def test_pinning_an_unchanged_folder_again_reads_no_file(
    engine: Engine, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(images)
    first = snapshots.pin(engine, images)  # links, which change a time of the files
    monkeypatch.setattr(digests, "_read_as_seen", lambda file, seen: pytest.fail(f"{seen.path} was read"))
    assert snapshots.pin(engine, images).id == first.id


def test_a_change_within_a_tick_of_the_clock_is_seen(engine: Engine, images: Path) -> None:
    victim = images / "cats/1.png"
    first = snapshots.pin(engine, images, protection="reference")
    before = os.stat(victim)
    victim.write_bytes(b"MEOW")
    os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert snapshots.pin(engine, images, protection="reference").id != first.id


def test_a_change_that_keeps_size_and_time_of_modification_is_seen(engine: Engine, images: Path) -> None:
    settled(images)
    first = snapshots.pin(engine, images, protection="reference")
    (images / "cats/1.png").write_bytes(b"MEOW")
    settled(images)
    assert snapshots.pin(engine, images, protection="reference").id != first.id


def test_a_cache_that_cannot_be_read_is_no_cache(engine: Engine, images: Path) -> None:
    settled(images)
    first = snapshots.pin(engine, images)
    (cached,) = engine.cache.folder("folders").iterdir()
    cached.write_bytes(b"damaged")
    assert snapshots.pin(engine, images).id == first.id


@pytest.mark.parametrize("change", ["append", "replace", "remove", "add"])
def test_a_folder_that_changes_while_it_is_hashed_is_not_pinned(
    engine: Engine, images: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = digests._read_as_seen

    def overtaken(file: Any, seen: Any) -> str | None:
        if seen.path == "cats/2.png":
            if change == "append":
                with (images / "cats/2.png").open("ab") as out:
                    out.write(b"!")
            elif change == "replace":
                (images / "other").write_bytes(b"new")
                (images / "other").replace(images / "cats/1.png")
            elif change == "remove":
                (images / "copy.png").unlink()
            else:
                (images / "late.png").write_bytes(b"x")
        return real(file, seen)

    monkeypatch.setattr(digests, "_read_as_seen", overtaken)
    with pytest.raises(ConcurrentWrite, match="changed while"):
        snapshots.pin(engine, images)
    assert engine.query("select count(*) as n from snapshots").to_pylist() == [{"n": 0}]


PIN = """
import sys
import lakelineage as ll
with ll.open(sys.argv[1]) as lake:
    for _ in range(3):
        print(lake.snapshot(sys.argv[2], protection=sys.argv[3]).id, flush=True)
"""


@pytest.mark.slow
def test_processes_that_pin_a_folder_at_once_agree(
    lake_path: Path,
    images: Path,
    start: Callable[..., "subprocess.Popen[str]"],
    done: Callable[..., str],
    tmp_path: Path,
) -> None:
    ll.open(lake_path).close()
    told = [start(PIN, lake_path, images, level) for level in ("archived", "archived", "reference")]
    ids = {line for process in told for line in done(process).split()}
    assert len(ids) == 1
    with ll.open(lake_path) as lake:
        pinned = lake.load_snapshot(ids.pop())
        tree = planted(images)
        shutil.rmtree(images)
        assert planted(pinned.download(tmp_path / "out")) == tree
        assert (pinned.protection, pinned.version) == ("archived", 0)
        assert [finding for finding in lake.doctor(deep=True) if finding.severity == "error"] == []


def _link_loop(folder: Path) -> None:
    (folder / "loop").symlink_to(folder, target_is_directory=True)


def _table(folder: Path) -> None:
    write_deltalake(folder / "deep" / "table", pa.table({"a": [1]}))


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


def _socket(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "s"))


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda folder: (folder / "broken").symlink_to("nowhere"), "broken is a link to nothing"),
        (_link_loop, "loop.* is a link to a folder that it is in"),
        (_table, "Delta table 'deep/table'"),
        (_pipe, "pipe is neither a file nor a folder"),
        (_socket, "s is neither"),
        (lambda folder: Path(os.fsdecode(os.fsencode(folder) + b"/\xff.png")).write_bytes(b""), r"xff.png'.*UTF-8"),
    ],
)
def test_what_cannot_be_pinned_is_refused_by_name(
    engine: Engine, images: Path, spoil: Callable[[Path], object], match: str
) -> None:
    spoil(images)
    with pytest.raises(InvalidInput, match=match):
        snapshots.pin(engine, images)
    assert engine.query("select count(*) as n from snapshots").to_pylist() == [{"n": 0}]


def test_a_file_that_cannot_be_read_is_named(engine: Engine, images: Path) -> None:
    (images / "unreadable").symlink_to("/proc/self/mem")  # rights do not stop root, this does
    with pytest.raises(StorageFailed, match="unreadable"):
        snapshots.pin(engine, images)


def test_wrong_calls_are_refused(engine: Engine, images: Path, lake_path: Path) -> None:
    (images / "empty" / "folders").mkdir(parents=True)
    for call in ({"version": 0}, {"as_of": "2026-01-01"}):
        with pytest.raises(InvalidInput, match=r"the folder .* has no versions"):
            snapshots.pin(engine, images, **call)  # type: ignore[arg-type]
    with pytest.raises(TableNotFound, match="no files in it"):
        snapshots.pin(engine, images / "empty")
    for inside in (lake_path, lake_path.parent, lake_path / "journal"):
        with pytest.raises(InvalidInput, match="lake"):
            snapshots.pin(engine, inside)
    (images / "lake").symlink_to(lake_path, target_is_directory=True)
    with pytest.raises(InvalidInput, match="the lake is inside"):
        snapshots.pin(engine, images)


def test_links_are_followed(engine: Engine, images: Path, tmp_path: Path) -> None:
    plant(tmp_path / "elsewhere", {"deep/x": b"x"})
    (images / "folder").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (images / "file").symlink_to(tmp_path / "elsewhere/deep/x")
    pinned = snapshots.pin(engine, images)
    assert pinned.protection == "archived"
    shutil.rmtree(tmp_path / "elsewhere")
    assert (pinned.read("folder/deep/x"), pinned.read("file")) == (b"x", b"x")
    assert not (pinned.download(tmp_path / "out") / "file").is_symlink()


def test_a_table_has_no_files_to_read_and_says_what_it_has(engine: Engine, patients: str) -> None:
    pinned = snapshots.pin(engine, patients)
    asked: list[Callable[[], object]] = [
        pinned.paths,
        lambda: pinned.read("x"),
        lambda: pinned.open("x"),
        lambda: pinned.download("x"),
    ]
    for ask in asked:
        with pytest.raises(InvalidInput, match="to_polars"):
            ask()


def test_a_path_that_is_not_in_the_folder_is_not_found_and_near_ones_are_named(engine: Engine, images: Path) -> None:
    pinned = snapshots.pin(engine, images)
    with pytest.raises(NotFound, match=r"'cats/3\.png'; did you mean .*cats/1\.png"):
        pinned.read("cats/3.png")


def test_conditions_choose_files(engine: Engine, images: Path, tmp_path: Path) -> None:
    cats = snapshots.use(engine, RUN, images, where="path LIKE 'cats/%'")
    assert cats.paths() == ["cats/1.png", "cats/2.png"]
    assert cats.paths(where="media_type = 'image/jpeg'") == ["dogs/1.jpg"]
    assert planted(cats.download(tmp_path / "cats")) == {"cats/1.png": b"meow", "cats/2.png": b"purr"}
    assert set(planted(cats.download(tmp_path / "empty", where="size = 0"))) == {"readme"}
    assert cats.to_polars(columns=["path"]).height == 2
    assert cats.read("dogs/1.jpg") == b"wuff"


def test_a_download_goes_on_where_it_stopped_and_touches_nothing_else(
    engine: Engine, images: Path, tmp_path: Path
) -> None:
    pinned, out, told = snapshots.pin(engine, images), tmp_path / "out", []
    plant(out, {"cats/1.png": b"meow", "cats/2.png": b"half", "mine": b"mine"})
    before = os.stat(out / "cats/1.png")
    pinned.download(out, progress=told.append)
    assert planted(out) == {**planted(images), "mine": b"mine"}
    assert os.stat(out / "cats/1.png") == before
    assert told[-1] == pinned.bytes
    (out / "dogs/1.jpg").write_bytes(b"edited")
    assert pinned.read("dogs/1.jpg") == b"wuff"


def test_a_file_that_is_open_stays_what_was_pinned(engine: Engine, images: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(files, "_IN_MEMORY", 2)
    pinned = snapshots.pin(engine, images)
    with pinned.open("cats/1.png") as file:
        (images / "cats/1.png").write_bytes(b"MEOW")
        assert (file.read(2), file.seek(0), file.read()) == (b"me", 0, b"meow")


def test_a_path_that_leaves_the_target_is_not_followed(engine: Engine, images: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    pinned = snapshots.pin(engine, images)
    for path in ("/etc/x", "a/../../x"):
        wrong = replace(pinned.contents[0], file=replace(pinned.contents[0].file, path=path))
        with pytest.raises(LakeDamaged, match="no pin of a folder has"):
            replace(pinned, _contents=(wrong,)).download(tmp_path / "out")


def test_an_interrupted_archiving_goes_on_and_a_sweep_removes_only_what_no_pin_needs(
    lake: ll.Lake, images: Path
) -> None:
    engine = lake._engine
    pinned = lake.snapshot(images, protection="archived")
    kept = [place for place in archive_of(engine) if len(place.name) == 64]
    stays = {place.name: os.stat(place).st_ino for place in kept[1:]}
    kept[0].unlink()
    lake.pins.archive(pinned.id)
    now = {place.name: os.stat(place).st_ino for place in archive_of(engine)}
    assert stays.items() < now.items()
    assert kept[0].name in now
    assert sweep(engine).files == 0
    lake.pins.release(pinned.id)
    assert sweep(engine).files == len(now)
    again = lake.snapshot(images, protection="archived")
    shutil.rmtree(images)
    assert again.read("cats/1.png") == b"meow"


def test_the_archive_of_a_reference_is_made_later(lake: ll.Lake, images: Path) -> None:
    pinned = lake.snapshot(images, protection="reference")
    assert lake.load_snapshot(pinned.id).protection == "reference"
    assert lake.pins.archive(pinned.id).protection == "archived"
    assert lake.load_snapshot(pinned.id).protection == "archived"
    shutil.rmtree(images)
    assert lake.load_snapshot(pinned.id).read("cats/1.png") == b"meow"


def test_what_is_gone_cannot_be_archived_any_more(lake: ll.Lake, images: Path) -> None:
    pinned = lake.snapshot(images, protection="reference")
    (images / "cats/2.png").unlink()
    with pytest.raises(SnapshotLost, match=r"cats/2\.png") as lost:
        lake.pins.archive(pinned.id)
    assert lost.value.missing == ("cats/2.png",)


def test_pins_and_verification_tell_of_the_files(lake: ll.Lake, images: Path) -> None:
    def told() -> tuple[object, ...]:
        (pin,) = lake.pins.list().to_pylist()
        problems = tuple(next(lake.verify(depth=depth)).problem is None for depth in ("files", "rows", "checksums"))  # type: ignore[arg-type]
        return (pin["readable"], pin["read_from"], *problems)

    lake.snapshot(images, protection="reference")
    assert told() == (True, "folder", True, True, True)
    before = os.stat(images / "cats/1.png")
    (images / "cats/1.png").write_bytes(b"MEOW")
    assert told() == (False, None, False, False, False)
    os.utime(images / "cats/1.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert told() == (True, "folder", True, True, False)  # only content tells


def test_the_doctor_finds_kept_files_that_are_gone_or_altered(lake: ll.Lake, images: Path) -> None:
    lake.snapshot(images)
    assert {f.severity for f in lake.doctor(deep=True)} <= {"ok", "note"}
    (images / "cats/2.png").write_bytes(b"PURR")
    altered = hashlib.sha256(b"purr").hexdigest()
    assert [f.severity for f in lake.doctor() if f.check == "archive"] == ["ok"]
    assert any(f.severity == "error" and altered in f.message for f in lake.doctor(deep=True))


def test_lineage_search_and_html_know_the_folder(lake: ll.Lake, images: Path) -> None:
    with lake.start_run("photos") as run:
        pinned = run.use(images)
    assert (pinned.name, pinned.origin) == ("images", str(images))
    assert f"run:{run.id}" in lake.lineage(str(images)).downstream().column("node").to_pylist()
    assert str(images) in pinned._repr_html_()
    assert "5 files" in repr(pinned)
    with lake.start_run("photos") as again:
        again.use(lake.run(run.id).inputs["images"], name="again")
    assert lake.run(again.id).inputs["again"].kind == "folder"
    assert lake.run(again.id).inputs["again"].read("cats/1.png") == b"meow"


@pytest.mark.parametrize("mode", ["rewrite", "drop"])
def test_files_of_a_folder_can_be_forgotten(lake: ll.Lake, images: Path, tmp_path: Path, mode: Any) -> None:
    pinned = lake.snapshot(images, protection="archived")
    elsewhere = lake.snapshot(plant(tmp_path / "other", {"a": b"meow"}), protection="archived")
    (images / "cats/1.png").unlink()
    (images / "cats/2.png").unlink()
    done = lake.forget(str(images), "path LIKE 'cats/%'", mode=mode, dry_run=False)
    kept = {place.name for place in archive_of(lake._engine)}
    assert hashlib.sha256(b"purr").hexdigest() not in kept
    asked: list[Callable[[], object]] = [
        lambda: lake.load_snapshot(pinned.id).read("dogs/1.jpg"),
        lambda: lake.load_snapshot(pinned.id).download(tmp_path / "out"),
    ]
    for ask in asked:
        with pytest.raises(SnapshotErased):
            ask()
    shutil.rmtree(tmp_path / "other")
    assert elsewhere.read("a") == b"meow"  # the same content, which somebody else has pinned
    assert done.successors is not None
    if mode == "rewrite":
        left = lake.load_snapshot(done.successors[pinned.id])
        assert (left.num_files, left.bytes) == (3, 8)
        assert planted(left.download(tmp_path / "left")) == {"copy.png": b"meow", "dogs/1.jpg": b"wuff", "readme": b""}
        assert lake.snapshot(images).paths() == left.paths()
