"""Laws of the commands artifacts and source."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import lakelineage

Cli = Callable[..., Any]
PROGRAM = """
import sys
import lakelineage as ll
with ll.open(sys.argv[1]).start_run(name="kept") as run:
    run.log_text("hello", "notes/hello.txt")
    run.log_bytes(bytes(range(256)), "notes/deep/all.bin")
print(run.id)
"""


@dataclass(frozen=True)
class Kept:
    """A run of a program in a dirty repository, and one of a prompt."""

    lake: Path
    folder: Path
    run_id: str
    prompt: str
    commit: str


def _git(folder: Path, *args: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", *identity, *args], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    folder = tmp_path_factory.mktemp("kept")
    _git(folder, "init", "-q", "--initial-branch=work")
    (folder / "train.py").write_text("first = 1\n")
    _git(folder, "add", "train.py")
    _git(folder, "commit", "-q", "-m", "first")
    (folder / "train.py").write_text(PROGRAM)
    lake = tmp_path_factory.mktemp("lakes") / "lake"
    repository = str(Path(lakelineage.__file__).parents[1])
    env = {**os.environ, "PYTHONPATH": repository, "LAKELINEAGE_CAPTURE_SOURCE": "1"}

    def program(*arguments: object, cwd: Path) -> str:
        command = [sys.executable, *map(str, arguments), str(lake)]
        return subprocess.run(command, cwd=cwd, env=env, check=True, capture_output=True, text=True).stdout.strip()

    return Kept(
        lake,
        folder,
        program("train.py", cwd=folder),
        program("-c", PROGRAM, cwd=lake.parent),
        _git(folder, "rev-parse", "HEAD"),
    )


def test_artifacts_are_listed_all_or_below_a_folder(kept: Kept, call: Cli, answer: Cli) -> None:
    found = answer("--lake", kept.lake, "artifacts", kept.run_id)
    paths = ["notes/deep/all.bin", "notes/hello.txt", "source/train.py", "source/uncommitted.diff"]
    assert [row["path"] for row in found] == paths
    assert {len(row["sha256"]) for row in found} == {64}
    below = answer("--lake", kept.lake, "artifacts", kept.run_id, "notes/deep/")
    assert [(row["path"], row["size"]) for row in below] == [("notes/deep/all.bin", 256)]
    plain = call("--lake", kept.lake, "artifacts", kept.run_id).stdout.splitlines()
    assert [line.split()[0] for line in plain] == ["path", *paths]


def test_one_artifact_is_printed_byte_for_byte(kept: Kept) -> None:
    command = [sys.executable, "-m", "lakelineage", "--lake", str(kept.lake), "artifacts", kept.run_id]
    done = subprocess.run([*command, "notes/deep/all.bin", "--cat"], capture_output=True, check=True)
    assert done.stdout == bytes(range(256))


def test_artifacts_are_copied(kept: Kept, tmp_path: Path, answer: Cli) -> None:
    told = answer("--lake", kept.lake, "artifacts", kept.run_id, "--download", tmp_path / "all")
    assert (tmp_path / "all" / "notes" / "hello.txt").read_text() == "hello"
    assert len(told["artifacts"]) == 4
    told = answer("--lake", kept.lake, "artifacts", kept.run_id, "notes/hello.txt", "--download", tmp_path / "one")
    assert Path(told["downloaded"]).read_text() == "hello"


def test_what_is_not_there_or_goes_not_together_is_said(kept: Kept, call: Cli) -> None:
    for words, code in (
        (("artifacts", kept.run_id, "nothing"), 1),
        (("artifacts", kept.run_id, "nothing", "--cat"), 1),
        (("artifacts", kept.run_id, "nothing", "--download", "x"), 1),
        (("artifacts", "ffff"), 1),
        (("artifacts", kept.run_id, "--cat"), 2),
        (("artifacts", kept.run_id, "notes/hello.txt", "--cat", "--download", "x"), 2),
        (("artifacts", kept.run_id, "notes/hello.txt", "--cat", "--json"), 2),
        (("source", kept.prompt), 1),
        (("source", kept.prompt, "--diff"), 1),
    ):
        done = call("--lake", kept.lake, *words)
        assert (done.returncode, done.stdout) == (code, ""), words
        assert done.stderr.count("\n") == 1


def test_source_tells_the_code_its_commit_and_its_diff(kept: Kept, call: Cli, answer: Cli, tmp_path: Path) -> None:
    assert call("--lake", kept.lake, "source", kept.run_id).stdout == PROGRAM
    told = answer(
        "--lake", kept.lake, "source", kept.run_id[:20] if kept.prompt[:20] != kept.run_id[:20] else kept.run_id
    )
    assert told["code"] == PROGRAM
    assert (told["git_commit"], told["git_branch"], told["git_dirty"]) == (kept.commit, "work", True)
    assert (told["source"], told["source_type"], len(told["source_hash"])) == (
        str(kept.folder / "train.py"),
        "script",
        64,
    )
    assert told["files"] == ["source/train.py", "source/uncommitted.diff"]
    done = call("--lake", kept.lake, "source", kept.run_id, "--diff", "-o", tmp_path / "deep" / "x.patch")
    assert done.stdout == f"wrote {tmp_path / 'deep' / 'x.patch'}\n"
    patch = (tmp_path / "deep" / "x.patch").read_bytes()
    assert call("--lake", kept.lake, "source", kept.run_id, "--diff").stdout.encode() == patch
    assert patch.startswith(b"diff --git a/train.py b/train.py")
    assert answer("--lake", kept.lake, "source", kept.run_id, "--diff")["diff"].encode() == patch


def _on_a_terminal(*words: object) -> tuple[int, str]:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "lakelineage", *map(str, words)],
        stdout=slave,
        stderr=slave,
        stdin=slave,
        env={**os.environ, "TERM": "dumb", "COLUMNS": "200", "NO_COLOR": "1"},
    )
    os.close(slave)
    seen = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:  # Linux tells the end of a terminal so
            break
        if not part:
            break
        seen += part
    os.close(master)
    return process.wait(120), seen.decode().replace("\r\n", "\n")


def test_people_see_a_tree_and_no_binary(kept: Kept) -> None:
    code, seen = _on_a_terminal("--lake", kept.lake, "artifacts", kept.run_id, "notes")
    assert code == 0
    assert seen == "notes/\n  deep/\n    all.bin  256 bytes\n  hello.txt  5 bytes\n2 files, 261 bytes\n"
    code, seen = _on_a_terminal("--lake", kept.lake, "artifacts", kept.run_id, "notes/deep/all.bin", "--cat")
    assert code == 2
    assert "--download" in seen
    code, seen = _on_a_terminal("--lake", kept.lake, "source", kept.run_id)
    assert code == 0
    assert kept.commit in seen
    assert seen.endswith(PROGRAM)


def test_errors_of_these_commands_are_read_by_programs(kept: Kept, call: Cli) -> None:
    done = call("--lake", kept.lake, "artifacts", kept.run_id, "nothing", "--json")
    assert json.loads(done.stderr)["error"]["code"] == "artifact_not_found"
