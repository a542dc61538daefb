"""What a process knows of runs without asking the tables, and when it asks them again."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakelineage as ll
from lakelineage.errors import ParamConflict, RunNotFound
from lakelineage.model.changes import Rows
from lakelineage.model.clock import HybridClock
from lakelineage.model.values import Lifecycle, RunStatus
from lakelineage.tables import PARAMS
from lakelineage.tracking import known, start

if TYPE_CHECKING:
    import subprocess

Start = Callable[..., "subprocess.Popen[str]"]
Done = Callable[..., str]

OTHER = """
import sys, lakelineage
lake = lakelineage.open(sys.argv[1])
run = lake.resume_run(sys.argv[2], reopen=False)
for line in sys.stdin:
    key, value = line.split()
    run.set_tag(key, value) if key == "tag" else run.log_param(key, value)
    print("logged", flush=True)
"""
DELETES = """
import sys, lakelineage
lake = lakelineage.open(sys.argv[1])
lake.delete_run(sys.argv[2])
lake.close()
"""


def say(process: "subprocess.Popen[str]", line: str) -> None:
    """Have the other process log something, and wait until that is done."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    assert process.stdout.readline() == "logged\n"


@given(st.lists(st.sampled_from("ab"), max_size=40))
def test_a_clock_tells_that_others_took_a_place_if_and_only_if_they_did(turns: list[str]) -> None:
    shared = [0]

    def store(reading: int) -> None:
        shared[0] = reading

    clocks = {name: HybridClock(lambda: shared[0], store, lambda: 0) for name in "ab"}
    seen = {name: clocks[name].foreign() for name in "ab"}
    for turn in turns:
        clocks[turn].now()
        other = "b" if turn == "a" else "a"
        assert clocks[turn].foreign() == seen[turn]
        assert clocks[other].foreign() > seen[other]
        seen[other] = clocks[other].foreign()


def test_what_another_process_logged_before_is_known_to_the_next_call(
    lake: ll.Lake, lake_path: Path, start: Start
) -> None:
    run = lake.start_run("e")
    other = start(OTHER, lake_path, run.id)
    for number in range(20):
        say(other, f"p{number} theirs")
        with pytest.raises(ParamConflict) as caught, lake.known_runs.new_params(run.id, {f"p{number}": "ours"}):
            raise AssertionError("the other's value was not known")
        assert caught.value.conflicts == {f"p{number}": ("theirs", "ours")}
    other.kill()


def test_a_run_that_another_process_deleted_is_known_to_be_so(
    lake: ll.Lake, lake_path: Path, start: Start, done: Done
) -> None:
    run = lake.start_run("e")
    assert lake.known_runs.get(run.id).state.lifecycle_stage is Lifecycle.ACTIVE
    done(start(DELETES, lake_path, run.id))
    assert lake.known_runs.get(run.id).state.lifecycle_stage is Lifecycle.DELETED


def test_what_this_process_logs_is_known_without_asking(lake: ll.Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with lake.start_run("e") as run:
        lake.known_runs.get(run.id)

        def refuse(*_: object) -> None:
            raise AssertionError("asked")

        monkeypatch.setattr(known, "load_state", refuse)
        monkeypatch.setattr(known, "SETTLING", -1)  # other tests of this host may have been at work a moment ago
        run.log_param("a", 1)
        assert lake.known_runs.get(run.id).params == {"a": "1"}
        run.end("FAILED")
        assert lake.known_runs.get(run.id).state.status is RunStatus.FAILED


def test_params_are_all_refused_or_all_given_out(lake: ll.Lake) -> None:
    run = lake.start_run("e")
    run.log_params({"a": 1, "b": 2})
    with lake.known_runs.new_params(run.id, {"a": "1", "c": "3"}) as fresh:
        assert fresh == ((run.id, "c", "3"),)
        lake.engine.append((Rows(PARAMS.name, fresh),))
    with pytest.raises(ParamConflict) as caught, lake.known_runs.new_params(run.id, {"a": "2", "b": "2", "c": "4"}):
        raise AssertionError("given out")
    assert caught.value.conflicts == {"a": ("1", "2"), "c": ("3", "4")}


def test_a_purged_run_and_a_run_that_never_was_are_not_found(lake: ll.Lake) -> None:
    with lake.start_run("e") as run:
        lake.known_runs.get(run.id)
    start.set_stage(lake.engine, run.id, Lifecycle.PURGED)
    for unknown in (run.id, "f" * 32):
        with pytest.raises(RunNotFound):
            lake.known_runs.get(unknown)
    with pytest.raises(RunNotFound):
        lake.run(run.id)
    assert not any(lake.search_runs(view=view).num_rows for view in ("active", "deleted", "all"))


def test_a_forked_child_goes_by_what_its_parent_knew(lake: ll.Lake) -> None:
    run = lake.start_run("e")
    run.log_param("a", 1)
    other = lake.start_run("e")
    lake.known_runs.get(run.id)
    lake.known_runs._runs.pop(other.id, None)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            lake.known_runs.get(run.id)
            with lake.known_runs.new_params(run.id, {"b": "2"}) as fresh:
                lake.engine.append((Rows(PARAMS.name, fresh),))
            with pytest.raises(RunNotFound, match="forked"):
                lake.known_runs.get(other.id)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert lake.known_runs.get(run.id).params == {"a": "1", "b": "2"}
