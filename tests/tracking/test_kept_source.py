"""The code of a run, kept by real programs in real repositories, and looked at later."""

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import lakelineage as ll
from lakelineage import PastRun

ROOT = Path(__file__).parents[2]
IDENTITY = {f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
DIFF = "source/uncommitted.diff"
PROGRAM = """
import json, os, sys
import lakelineage as ll
lake = ll.open(sys.argv[1])
ids = []
for _ in range(3):
    with lake.start_run() as run:
        run.log_metric("m", 1.0)
    ids.append(run.id)
print(json.dumps(ids))
"""


def git(folder: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=folder, env=os.environ | IDENTITY, check=True, capture_output=True)
    return done.stdout.decode().strip()


def run_python(*arguments: object, cwd: Path, stdin: str | None = None, **env: str) -> Any:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LAKELINEAGE_CAPTURE_SOURCE": "1", **env}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=environment, input=stdin, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def runs(lake_path: Path, ids: list[str]) -> list[PastRun]:
    with ll.open(lake_path, create=False) as lake:
        found = [lake.run(run_id) for run_id in ids]
        for run in found:
            run.source_files  # noqa: B018 - read while the lake is open
    return found


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit, which holds train.py."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "--initial-branch=work")
    (folder / "train.py").write_text(PROGRAM)
    git(folder, "add", "train.py")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_a_clean_tree_keeps_nothing_and_its_code_comes_from_the_repository(repository: Path, lake_path: Path) -> None:
    for run in runs(lake_path, run_python("train.py", lake_path, cwd=repository)):
        assert (run.source_files, run.diff, run.code()) == ((), None, PROGRAM)
        assert run.attributes["source_type"] == "script"
        assert run.attributes["source_hash"] == hashlib.sha256(PROGRAM.encode()).hexdigest()
        assert "lakelineage.source.diff" not in run.tags
    (repository / "train.py").write_text("changed since")
    assert runs(lake_path, [run.id])[0].code() == PROGRAM
    shutil.rmtree(repository)
    assert runs(lake_path, [run.id])[0].code() is None


def test_every_run_of_a_dirty_tree_has_the_diff_and_the_file_that_ran(
    repository: Path, lake_path: Path, tmp_path: Path
) -> None:
    (repository / "helper.py").write_text("x = 1\n")
    changed = PROGRAM + "# changed\n"
    (repository / "train.py").write_text(changed)
    found = runs(lake_path, run_python(repository / "train.py", lake_path, cwd=tmp_path))
    clean = tmp_path / "clean"
    git(repository, "worktree", "add", "--detach", str(clean), found[0].attributes["git_commit"])
    subprocess.run(["git", "apply"], cwd=clean, input=found[0].artifact(DIFF).read_bytes(), check=True)
    assert (clean / "train.py").read_text() == changed
    assert (clean / "helper.py").read_text() == "x = 1\n"
    shutil.rmtree(repository)
    for run in found:
        assert (run.source_files, run.code()) == (("source/train.py", DIFF), changed)
        assert run.diff == found[0].diff
        assert run.attributes["git_dirty"] is True
    with ll.open(lake_path) as lake:
        assert lake.sql("select * from lineage").num_rows == 0, "code is no product of its run"


def test_later_runs_of_a_process_share_the_file_and_one_that_was_altered_is_not_shared(
    repository: Path, lake_path: Path
) -> None:
    program = PROGRAM.replace(
        "    ids.append(run.id)",
        "    ids.append(run.id)\n"
        "    if len(ids) == 2:\n"
        "        for i in ids:\n"
        f"            open(f'{{sys.argv[1]}}/artifacts/{{i}}/{DIFF}', 'w').write('altered')\n",
    )
    (repository / "train.py").write_text(program)
    ids = run_python("train.py", lake_path, cwd=repository)
    files = [lake_path / "artifacts" / i / DIFF for i in ids]
    assert files[0].stat().st_ino == files[1].stat().st_ino
    last = runs(lake_path, ids)[2]
    assert last.diff is not None
    assert last.diff.startswith("diff --git")
    assert files[2].stat().st_ino != files[0].stat().st_ino


def test_code_outside_a_repository_or_untracked_or_ignored_is_kept(repository: Path, lake_path: Path) -> None:
    outside = repository.parent / "outside.py"
    (repository / ".gitignore").write_text("ignored.py\n")
    git(repository, "add", ".gitignore")
    git(repository, "commit", "-q", "-m", "second")
    for program in (outside, repository / "ignored.py", repository / "untracked.py"):
        program.write_text(PROGRAM)
        ids = run_python(program, lake_path, cwd=repository.parent, GIT_CEILING_DIRECTORIES=str(repository.parent))
        program.unlink()
        run = runs(lake_path, ids)[0]
        assert run.code() == PROGRAM
        assert f"source/{program.name}" in run.source_files
        assert (DIFF in run.source_files) == (program.name == "untracked.py")


def test_a_module_a_prompt_and_an_option_tell_what_they_are(tmp_path: Path, lake_path: Path) -> None:
    package = tmp_path / "package"
    (package / "sub").mkdir(parents=True)
    (package / "fit.py").write_text(PROGRAM)
    (package / "sub" / "__main__.py").write_text(PROGRAM)
    for arguments, stdin, kind, source in (
        (("-m", "package.fit"), None, "module", package / "fit.py"),
        (("-m", "package.sub"), None, "module", package / "sub" / "__main__.py"),
        ((package / "sub",), None, "script", package / "sub" / "__main__.py"),
        (("-c", PROGRAM), None, "console", None),
        (("-",), PROGRAM, "console", None),
    ):
        ids = run_python(*arguments, lake_path, cwd=tmp_path, stdin=stdin)
        run = runs(lake_path, ids)[0]
        assert run.attributes["source_type"] == kind
        assert run.attributes["source"] == (None if source is None else str(source))
        assert run.code() == (None if source is None else PROGRAM)


def test_a_command_of_an_installed_package_is_not_copied(lake_path: Path, tmp_path: Path) -> None:
    run_python("-c", "import lakelineage, sys; lakelineage.open(sys.argv[1]); print(1)", lake_path, cwd=tmp_path)
    program = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(program)], check=True)
    command = program / "bin" / "train"
    command.write_text(PROGRAM)
    site = os.pathsep.join([str(ROOT), *(p for p in sys.path if p.endswith("site-packages"))])
    done = subprocess.run(
        [str(program / "bin" / "python"), str(command), str(lake_path)],
        env={**os.environ, "PYTHONPATH": site, "LAKELINEAGE_CAPTURE_SOURCE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    run = runs(lake_path, json.loads(done.stdout))[0]
    assert (run.attributes["source"], run.source_files) == (str(command), ())


@pytest.mark.parametrize(
    ("variable", "kept"), [("LAKELINEAGE_CAPTURE_DIFF", ("source/train.py",)), ("LAKELINEAGE_CAPTURE_SOURCE", ())]
)
def test_what_must_not_leave_the_repository_does_not(
    repository: Path, lake_path: Path, variable: str, kept: tuple[str, ...]
) -> None:
    (repository / "train.py").write_text(PROGRAM + "# secret\n")
    for run in runs(lake_path, run_python("train.py", lake_path, cwd=repository, **{variable: "0"})):
        assert (run.source_files, run.diff) == (kept, None)
        assert run.attributes["git_dirty"] is True


def test_what_the_diff_lacks_is_said_in_a_tag_of_every_run(repository: Path, lake_path: Path) -> None:
    (repository / "weights.bin").write_bytes(bytes(2 << 20))
    (repository / "huge.py").write_bytes(os.urandom(11 << 20))
    git(repository, "add", "huge.py")
    for run in runs(lake_path, run_python("train.py", lake_path, cwd=repository)):
        assert run.tags["lakelineage.source.diff"] == "not kept: it is larger than 10,485,760 bytes"
    git(repository, "rm", "-q", "--cached", "huge.py")
    (repository / "huge.py").unlink()
    for run in runs(lake_path, run_python("train.py", lake_path, cwd=repository)):
        expected = "without large untracked files: weights.bin (2,097,152 bytes)"
        assert run.tags["lakelineage.source.diff"] == expected
        assert run.diff is None


SLOW_GIT = """#!/bin/sh
case "$*" in *rev-parse*) until [ -e {gate} ]; do {sleep} 0.02; done; {sleep} 1;; esac
exec {git} "$@"
"""
IMPATIENT = """
import json, sys
from pathlib import Path
import lakelineage as ll
lake = ll.open(sys.argv[1])
run = lake.start_run()
Path(sys.argv[2]).touch()
run.end()
print(json.dumps(lake.run(run.id).source_files))
"""


def test_a_start_does_not_wait_for_the_diff_and_an_end_does(repository: Path, lake_path: Path, tmp_path: Path) -> None:
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    gate = tmp_path / "the run has started"
    slow.write_text(SLOW_GIT.format(gate=shlex.quote(str(gate)), sleep=shutil.which("sleep"), git=shutil.which("git")))
    slow.chmod(0o755)
    (repository / "train.py").write_text(IMPATIENT)
    ll.open(lake_path).experiments.id_of("Default")
    path = f"{slow.parent}{os.pathsep}{os.environ['PATH']}"
    files = run_python("train.py", lake_path, gate, cwd=repository, PATH=path)
    assert files == ["source/train.py", DIFF]


FORKING = """
import json, os, sys, time
import lakelineage as ll
lake = ll.open(sys.argv[1])
mine = lake.start_run(name="parent's")
reader, writer = os.pipe()
for number in range(3):
    if os.fork() == 0:
        own = lake.start_run(name=f"child {number}")
        own.log_metric("m", number)
        own.end()
        if number == 0:
            mine.end()
        os.write(writer, own.id.encode())
        os._exit(0)
    if sys.argv[2] == "ready" and number == 0:
        time.sleep(1.0)
for _ in range(3):
    os.wait()
print(json.dumps([mine.id, *(os.read(reader, 32).decode() for _ in range(3))]))
"""


@pytest.mark.parametrize("when", ["asking", "ready"])
def test_runs_of_forked_children_have_the_diff_too(repository: Path, lake_path: Path, when: str) -> None:
    """Forked while the parent's thread asks git, and after it is done."""
    (repository / "train.py").write_text(FORKING)
    ids = run_python("train.py", lake_path, when, cwd=repository)
    for run in runs(lake_path, ids):
        assert run.source_files == ("source/train.py", DIFF)
        assert run.artifact(DIFF).read_bytes().startswith(b"diff --git")
        assert run.status == "FINISHED"


KILLED = """
import sys, time
import lakelineage as ll
run = ll.open(sys.argv[1]).start_run()
print(run.id, flush=True)
time.sleep(100)
"""


def test_a_run_that_is_killed_has_its_code_a_moment_after_its_start(
    repository: Path, lake_path: Path, start: Any
) -> None:
    (repository / "train.py").write_text(KILLED)
    environment = {"LAKELINEAGE_CAPTURE_SOURCE": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "train.py", str(lake_path)], cwd=repository, env=os.environ | environment, stdout=-1, text=True
    )
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()
    until = time.monotonic() + 120
    with ll.open(lake_path) as lake:
        while DIFF not in lake.run(run_id).source_files and time.monotonic() < until:
            time.sleep(0.05)
        process.kill()
        process.communicate()
        assert lake.run(run_id).source_files == ("source/train.py", DIFF)
        assert lake.run(run_id).status == "RUNNING"


REMOTE = """
import json, sys
import lakelineage as ll
lake = ll.open(sys.argv[1], json.loads(sys.argv[2]))
ids = []
for _ in range(3):
    with lake.start_run() as run:
        run.log_text("hello", "a/b.txt")
    ids.append(run.id)
lake.close()
print(json.dumps(ids))
"""


def test_in_an_object_store_the_code_is_there_when_the_run_has_ended(
    repository: Path, tmp_path: Path, s3: tuple[str, dict[str, str]]
) -> None:
    uri, options = s3
    (repository / "train.py").write_text(REMOTE)
    ids = run_python("train.py", uri, json.dumps(options), cwd=repository, LAKELINEAGE_SPOOL=str(tmp_path / "spool"))
    with ll.open(uri, options, create=False) as lake:
        for run in map(lake.run, ids):
            assert run.source_files == ("source/train.py", DIFF)
            assert run.code() == REMOTE
            assert run.diff is not None


BROKEN = """
import json, logging, sys
from pathlib import Path
import lakelineage as ll
lake = ll.open(sys.argv[1])
logging.basicConfig(stream=open(sys.argv[2], "w"))
Path(sys.argv[1], "artifacts").write_text("no folder")
with lake.start_run() as run:
    pass
print(json.dumps([run.id]))
"""


def test_code_that_cannot_be_kept_fails_no_run_and_is_logged(repository: Path, lake_path: Path, tmp_path: Path) -> None:
    (repository / "train.py").write_text(BROKEN)
    ids = run_python("train.py", lake_path, tmp_path / "log", cwd=repository)
    (run,) = runs(lake_path, ids)
    assert (run.status, run.source_files) == ("FINISHED", ())
    assert f"the code of run {run.id} is not among its artifacts" in (tmp_path / "log").read_text()


def test_a_resumed_run_keeps_the_code_that_started_it(repository: Path, lake_path: Path, tmp_path: Path) -> None:
    ids = run_python("train.py", lake_path, cwd=repository)
    resume = tmp_path / "resume.py"
    resume.write_text(
        "import json, sys\nimport lakelineage as ll\nlake = ll.open(sys.argv[1])\n"
        "run = lake.resume_run(sys.argv[2])\nrun.end()\nprint(json.dumps(run.id))\n"
    )
    run_python(resume, lake_path, ids[0], cwd=tmp_path)
    (run,) = runs(lake_path, ids[:1])
    assert (run.attributes["source"], run.code()) == (str(repository / "train.py"), PROGRAM)
    assert run.attributes["source_hash"] == hashlib.sha256(PROGRAM.encode()).hexdigest()
