"""What a run captures by itself, seen by real programs in real git repositories."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lakelineage.tracking.capture import capture

ROOT = Path(__file__).parents[2]
PROGRAM = """
import dataclasses, json
from lakelineage.tracking.capture import capture
print(json.dumps(dataclasses.asdict(capture())))
"""
IDENTITY = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


def git(folder: Path, *args: str) -> str:
    done = subprocess.run(
        ["git", *args], cwd=folder, env=os.environ | IDENTITY, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def run_program(program: Path, cwd: Path, **env: str) -> dict[str, Any]:
    full = os.environ | {"PYTHONPATH": str(ROOT)} | env
    done = subprocess.run([sys.executable, str(program)], cwd=cwd, env=full, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def code_of(captured: dict[str, Any]) -> tuple[Any, Any, Any]:
    return captured["git_commit"], captured["git_branch"], captured["git_dirty"]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit on branch ``work``, which holds train.py."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--initial-branch=work")
    (folder / "train.py").write_text(PROGRAM)
    git(folder, "add", "train.py")
    git(folder, "commit", "-m", "first")
    return folder


def test_the_revision_is_that_of_the_repository_of_the_source_file(repository: Path, tmp_path: Path) -> None:
    captured = run_program(repository / "train.py", cwd=tmp_path)
    assert code_of(captured) == (git(repository, "rev-parse", "HEAD"), "work", False)
    assert captured["source"] == str(repository / "train.py")


def test_a_changed_tracked_file_makes_it_dirty_and_an_untracked_one_does_not(repository: Path) -> None:
    (repository / "notes.txt").write_text("untracked")
    assert run_program(repository / "train.py", cwd=repository)["git_dirty"] is False
    (repository / "train.py").write_text(PROGRAM + "# changed\n")
    assert run_program(repository / "train.py", cwd=repository)["git_dirty"] is True
    git(repository, "add", "train.py")
    assert run_program(repository / "train.py", cwd=repository)["git_dirty"] is True


def test_a_detached_head_has_a_commit_and_no_branch(repository: Path) -> None:
    git(repository, "checkout", "--detach")
    assert code_of(run_program(repository / "train.py", cwd=repository)) == (
        git(repository, "rev-parse", "HEAD"),
        None,
        False,
    )


def test_a_repository_without_commits_has_a_branch_and_no_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "--initial-branch=work")
    (tmp_path / "train.py").write_text(PROGRAM)
    assert code_of(run_program(tmp_path / "train.py", cwd=tmp_path)) == (None, "work", False)


def test_outside_a_repository_there_is_no_revision(tmp_path: Path, repository: Path) -> None:
    outside = tmp_path / "train.py"
    outside.write_text(PROGRAM)
    ceiling = {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    assert code_of(run_program(outside, cwd=repository, **ceiling)) == (None, None, None)


def test_the_environment_of_a_git_hook_does_not_mislead(repository: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--initial-branch=elsewhere")
    hook = {"GIT_DIR": str(other / ".git"), "GIT_WORK_TREE": str(other)}
    assert run_program(repository / "train.py", cwd=repository, **hook)["git_branch"] == "work"


def test_asking_git_takes_no_lock_and_writes_no_index(repository: Path) -> None:
    index = repository / ".git" / "index"
    (repository / "train.py").touch()  # makes git want to refresh its index
    before = index.stat().st_mtime_ns, index.read_bytes()
    (repository / ".git" / "index.lock").write_text("")  # as if another git were at work
    assert run_program(repository / "train.py", cwd=repository)["git_branch"] == "work"
    assert (index.stat().st_mtime_ns, index.read_bytes()) == before
    assert (repository / ".git" / "index.lock").exists()


def test_without_git_there_is_no_revision_and_no_error(repository: Path, tmp_path: Path) -> None:
    assert code_of(run_program(repository / "train.py", cwd=repository, PATH=str(tmp_path))) == (None, None, None)


def test_a_git_that_hangs_is_given_up(repository: Path, tmp_path: Path) -> None:
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    # `exec`, so that killing it leaves no grandchild that holds the pipe open.
    slow.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec {shutil.which('sleep')} 100\n")
    slow.chmod(0o755)
    assert code_of(run_program(repository / "train.py", cwd=repository, PATH=str(slow.parent))) == (None, None, None)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_at_a_prompt_there_is_no_source_file_and_the_working_directory_tells_the_revision(repository: Path) -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-"], input=PROGRAM, cwd=repository, env=env, capture_output=True, text=True, check=True
    )
    captured = json.loads(done.stdout)
    assert captured["source"] is None
    assert captured["git_branch"] == "work"


def test_packages_are_those_that_importlib_metadata_finds() -> None:
    expected: dict[str, str] = {}
    for found in importlib.metadata.distributions():
        expected.setdefault(re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower(), found.version)
    assert dict(capture().environment.packages) == expected


def test_an_older_form_of_installation_is_captured(tmp_path: Path) -> None:
    egg = tmp_path / "site" / "Old_Thing.egg-info"
    egg.mkdir(parents=True)
    (egg / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: Old_Thing\nVersion: 1.2\n")
    program = tmp_path / "train.py"
    program.write_text(PROGRAM)
    captured = run_program(program, cwd=tmp_path, PYTHONPATH=f"{ROOT}{os.pathsep}{egg.parent}")
    assert ["old-thing", "1.2"] in captured["environment"]["packages"]


def test_the_environment_id_depends_on_the_packages_and_on_nothing_of_the_run(tmp_path: Path) -> None:
    program, twin = tmp_path / "train.py", tmp_path / "twin.py"
    for file in (program, twin):
        file.write_text(PROGRAM)
    info = tmp_path / "site" / "extra-1.0.dist-info"
    info.mkdir(parents=True)
    first = run_program(program, cwd=tmp_path)["environment"]["environment_id"]
    assert run_program(twin, cwd=ROOT)["environment"]["environment_id"] == first
    more = run_program(program, cwd=tmp_path, PYTHONPATH=f"{ROOT}{os.pathsep}{info.parent}")
    assert more["environment"]["environment_id"] != first


def test_it_is_gathered_once_and_a_forked_child_keeps_it() -> None:
    mine = capture()
    assert capture() is mine
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, b"same" if capture() is mine else b"other")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 10) == b"same"
    os.close(reader)
    os.close(writer)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start a program as another user")
def test_a_user_without_a_name_is_known_by_number() -> None:
    env = {k: v for k, v in os.environ.items() if k not in {"LAKELINEAGE_USER", "LOGNAME", "USER", "LNAME", "USERNAME"}}
    # The module is loaded before the change of user: that user may not be able to read our files.
    program = "import os, getpass, pwd; from lakelineage.tracking import capture; "
    program += "os.setuid(54321); print(capture.current_user())"
    env["PYTHONPATH"] = str(ROOT)
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "uid:54321"
