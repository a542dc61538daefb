"""The patch of a work tree, applied to a clean checkout, gives the work tree again: seen in real repositories."""

import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakelineage.tracking import diff
from lakelineage.tracking.diff import uncommitted

IDENTITY = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}
#: The bound on time is tested by itself; here a busy machine must not decide.
PATIENT = 60.0


def git(folder: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=folder, env=os.environ | IDENTITY, check=True, capture_output=True)
    return done.stdout.decode(errors="replace").strip()


def commit(folder: Path) -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    return git(folder, "rev-parse", "HEAD")


def tree(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Every file: whether it is executable or a link, and its content."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if name.split("/")[0] == ".git" or (path.is_dir() and not path.is_symlink()):
            continue
        if path.is_symlink():
            found[name] = ("link", os.fsencode(os.readlink(path)))
        else:
            found[name] = ("x" if path.stat().st_mode & stat.S_IXUSR else "-", path.read_bytes())
    return found


def applied(repository: Path, revision: str, patch: bytes | None, folder: Path) -> dict[str, tuple[str, bytes]]:
    """The files of a clean checkout with the patch."""
    git(repository, "worktree", "add", "--detach", str(folder), revision)
    if patch is not None:
        subprocess.run(["git", "apply", "--whitespace=nowarn"], cwd=folder, input=patch, check=True)
    return {name: file for name, file in tree(folder).items() if name != ".git"}


def state(repository: Path) -> tuple[str, bytes, list[str]]:
    """What a look at the repository must leave as it was: status, index, objects."""
    index = repository / ".git" / "index"
    objects = sorted(f.as_posix() for f in (repository / ".git").rglob("*") if f.is_file())
    before = index.read_bytes() if index.exists() else b""
    return git(repository, "--no-optional-locks", "status", "--porcelain=v2", "--ignored"), before, objects


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "--initial-branch=work")
    (folder / "train.py").write_text("alpha = 1\n")
    commit(folder)
    return folder


NAMES = st.sampled_from(
    ["a.py", "b c.txt", "näme.py", 'q"uote.md', "tab\tname", "-dash", ":(top)x", "d/e.py", "d/f/g.bin", "*.py"]
)
TEXT = st.lists(
    st.sampled_from(["x = 1", "", "# ü", "\tindented  ", "no\rcarriage", "--- a/b", "diff --git"]), max_size=6
)
CONTENT = st.one_of(
    TEXT.map(lambda lines: "\n".join(lines).encode()),
    TEXT.map(lambda lines: "".join(f"{line}\r\n" for line in lines).encode()),
    st.binary(max_size=200),
    st.just("latin-1: \xe4\n".encode("latin-1")),
)
KINDS = st.sampled_from(["-", "-", "-", "x", "link"])
TREES = st.dictionaries(NAMES, st.tuples(KINDS, CONTENT), max_size=6)
STAGING = st.lists(st.tuples(NAMES, st.sampled_from(["add", "add -N", "rm --cached"])), max_size=3)


def lay_out(folder: Path, wanted: dict[str, tuple[str, bytes]]) -> None:
    """Make the folder hold just these files, beside ``.git``."""
    for entry in folder.iterdir():
        if entry.name != ".git":
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    for name, (kind, content) in wanted.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "link":
            path.symlink_to(f"somewhere {len(content)}")
        else:
            path.write_bytes(content)
            path.chmod(0o755 if kind == "x" else 0o644)


@settings(max_examples=60)
@given(before=TREES, after=TREES, staging=STAGING)
def test_the_patch_on_a_clean_checkout_is_the_work_tree_and_the_repository_is_untouched(
    before: dict[str, Any], after: dict[str, Any], staging: list[tuple[str, str]]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        repository = Path(name, "repository: one")
        repository.mkdir()
        git(repository, "init", "-q", "--initial-branch=work")
        lay_out(repository, before)
        revision = commit(repository)
        lay_out(repository, after)
        for path, act in staging:
            subprocess.run(
                ["git", "--literal-pathspecs", *act.split(), "--", path], cwd=repository, capture_output=True
            )
        was = state(repository)
        found = uncommitted(repository, revision, dirty=True, timeout=PATIENT)
        assert found.remark is None
        assert state(repository) == was
        assert applied(repository, revision, found.diff, Path(name, "clean")) == tree(repository)


def test_what_git_ignores_is_not_in_the_patch(repository: Path) -> None:
    (repository / ".gitignore").write_text("secret\n")
    revision = commit(repository)
    (repository / "secret").write_text("password")
    assert uncommitted(repository, revision, dirty=False) == diff.Uncommitted()
    (repository / "train.py").write_text("alpha = 2\n")
    patch = uncommitted(repository, revision, dirty=True).diff
    assert patch is not None
    assert b"+alpha = 2" in patch
    assert b"password" not in patch


def test_a_renamed_and_a_moved_file_come_back(repository: Path, tmp_path: Path) -> None:
    revision = git(repository, "rev-parse", "HEAD")
    (repository / "new").mkdir()
    git(repository, "mv", "train.py", "new/fit.py")
    patch = uncommitted(repository, revision, dirty=True).diff
    assert applied(repository, revision, patch, tmp_path / "clean") == {"new/fit.py": ("-", b"alpha = 1\n")}


def test_a_file_in_place_of_a_folder_and_a_folder_in_place_of_a_file_come_back(
    repository: Path, tmp_path: Path
) -> None:
    (repository / "folder").mkdir()
    (repository / "folder" / "a").write_text("a")
    (repository / "file").write_text("b")
    revision = commit(repository)
    shutil.rmtree(repository / "folder")
    (repository / "folder").write_text("now a file")
    (repository / "file").unlink()
    (repository / "file").mkdir()
    (repository / "file" / "c").write_text("now a folder")
    patch = uncommitted(repository, revision, dirty=True).diff
    assert applied(repository, revision, patch, tmp_path / "clean") == tree(repository)


def test_a_conflict_of_a_merge_is_kept_as_the_file_is(repository: Path, tmp_path: Path) -> None:
    git(repository, "checkout", "-q", "-b", "other")
    (repository / "train.py").write_text("alpha = 3\n")
    commit(repository)
    git(repository, "checkout", "-q", "work")
    (repository / "train.py").write_text("alpha = 2\n")
    revision = commit(repository)
    merge = subprocess.run(["git", "merge", "other"], cwd=repository, env=os.environ | IDENTITY, capture_output=True)
    assert merge.returncode != 0
    was = state(repository)
    patch = uncommitted(repository, revision, dirty=True).diff
    assert state(repository) == was
    assert applied(repository, revision, patch, tmp_path / "clean") == tree(repository)


@pytest.mark.parametrize(
    "setting",
    [
        ("core.splitIndex", "true"),
        ("core.untrackedCache", "true"),
        ("diff.noprefix", "true"),
        ("diff.mnemonicPrefix", "true"),
        ("diff.external", "false"),
        ("diff.renames", "copies"),
        ("diff.relative", "true"),
        ("diff.context", "0"),
        ("diff.algorithm", "histogram"),
        ("color.ui", "always"),
        ("core.quotePath", "false"),
        ("core.safecrlf", "true"),
        ("core.pager", "false"),
        ("diff.suppressBlankEmpty", "true"),
    ],
)
def test_settings_of_the_user_change_neither_the_patch_nor_the_repository(
    repository: Path, tmp_path: Path, setting: tuple[str, str]
) -> None:
    git(repository, "config", *setting)
    git(repository, "update-index", "--force-write-index")
    (repository / "sub").mkdir()
    revision = git(repository, "rev-parse", "HEAD")
    (repository / "train.py").write_text("alpha = 2\n\nbeta = 1\n")
    (repository / "sub" / "ü.py").write_bytes(b"1\r\n2\n")
    was = state(repository)
    found = uncommitted(repository / "sub", revision, dirty=True)
    assert state(repository) == was
    git(repository, "config", "--unset", setting[0])
    assert applied(repository, revision, found.diff, tmp_path / "clean") == tree(repository)


def test_large_untracked_files_and_inner_repositories_are_named_and_the_rest_is_kept(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = git(repository, "rev-parse", "HEAD")
    (repository / "weights.bin").write_bytes(os.urandom(diff.LONGEST_UNTRACKED + 1))
    (repository / "small.py").write_text("x = 1\n")
    git(tmp_path, "init", "-q", str(repository / "inner"))
    (repository / "inner" / "a").write_text("a")
    found = uncommitted(repository, revision, dirty=False)
    assert found.left_out == (("inner/", 0), ("weights.bin", diff.LONGEST_UNTRACKED + 1))
    assert found.remark is not None
    assert "weights.bin (1,048,577 bytes)" in found.remark
    there = applied(repository, revision, found.diff, tmp_path / "clean")
    assert there == {"train.py": ("-", b"alpha = 1\n"), "small.py": ("-", b"x = 1\n")}
    monkeypatch.setattr(diff, "ALL_UNTRACKED", 10)
    (repository / "smaller.py").write_text("y\n")
    names = [name for name, _ in uncommitted(repository, revision, dirty=False).left_out]
    assert names == ["inner/", "weights.bin"]
    (repository / "third.py").write_text("zzzz")
    names = [name for name, _ in uncommitted(repository, revision, dirty=False).left_out]
    assert names == ["inner/", "small.py", "weights.bin"], "the smallest files go first"


def test_a_patch_beyond_the_limit_is_not_kept_and_says_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff, "LONGEST_DIFF", 10_000)
    revision = git(repository, "rev-parse", "HEAD")
    (repository / "train.py").write_bytes(os.urandom(20_000))
    found = uncommitted(repository, revision, dirty=True)
    assert found.diff is None
    assert found.remark == "not kept: it is larger than 10,000 bytes"


def test_a_git_that_takes_too_long_is_given_up_and_said(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text(f"#!/bin/sh\nexec {shutil.which('sleep')} 100\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(slow.parent))
    assert uncommitted(repository, "0" * 40, dirty=True, timeout=0.2).remark == "not kept: git took too long"


def test_no_scratch_folder_is_left(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    (repository / "train.py").write_text("alpha = 2\n")
    assert uncommitted(repository, git(repository, "rev-parse", "HEAD"), dirty=True).diff
    assert uncommitted(repository, "0" * 40, dirty=True).failure
    assert list(scratch.iterdir()) == []
