"""SIGTERM, in real processes: their runs are KILLED, nothing acknowledged is lost, they end as SIGTERM ends them."""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import lakelineage as ll

if TYPE_CHECKING:
    import subprocess

Start = Callable[..., "subprocess.Popen[str]"]


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def sigterm(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Terminate it, and return what it said on stdout since the last line read, and on stderr."""
    process.send_signal(signal.SIGTERM)
    assert process.stdout
    assert process.stderr
    said = process.stdout.read(), process.stderr.read()  # not communicate: it forgets what was read ahead
    process.wait(120)
    return said


#: Logs in all ways, as fast as it can, and says on its stdout what was acknowledged.
LOGGER = """
import sys
import lakelineage as ll
lake = ll.open(sys.argv[1], durability=sys.argv[2])
{opening}
print(run.id, flush=True)
for i in range(10**9):
    run.log_metric("m", i, step=i)
    print("m", i, flush=True)
    run.log_params({{f"p{{i}}": i}})
    print("p", i, flush=True)
    if i % 7 == 0:
        run.set_tag(f"t{{i}}", i)
        print("t", i, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["power", "process"])
@pytest.mark.parametrize("opening", ["run = lake.start_run()", "run = lake.start_run().__enter__()"])
def test_a_process_that_is_terminated_at_any_moment_loses_nothing_and_its_run_is_killed(
    lake_path: Path, start: Start, durability: str, opening: str
) -> None:
    chance = random.Random(durability + opening)
    acknowledged: dict[str, set[tuple[str, int]]] = {}
    for _ in range(6):
        process = start(LOGGER.format(opening=opening), lake_path, durability)
        run_id = line(process)
        time.sleep(chance.random() * 0.5)
        out, err = sigterm(process)
        assert (process.returncode, err) == (-signal.SIGTERM, "")
        whole = out[: out.rfind("\n") + 1].splitlines()  # the signal may cut the last line
        said = [text.split() for text in whole if text.count(" ") == 1]
        acknowledged[run_id] = {(kind, int(number)) for kind, number in said}
    with ll.open(lake_path) as lake:
        for run_id, said in acknowledged.items():
            seen = lake.run(run_id)
            assert seen.status == "KILLED"
            steps = {("m", i) for i in seen.history("m").column("step").to_pylist()}
            kept = {(key[0], int(key[1:])) for key in (*seen.params, *seen.tags)}
            assert _complete(said) <= steps | kept
            assert len(steps | kept) <= len(said) + 2, "more than one call was not acknowledged"


def _complete(said: set[tuple[str, int]]) -> set[tuple[str, int]]:
    """All but the greatest numbers: the last line may have been cut off when the process ended."""
    greatest = max((number for _, number in said), default=0)
    return {(kind, number) for kind, number in said if number < greatest}


def test_what_was_logged_is_in_the_tables_when_the_process_has_ended(lake_path: Path, start: Start) -> None:
    from deltalake import DeltaTable

    process = start(LOGGER.format(opening="run = lake.start_run()"), lake_path, "process")
    run_id = line(process)
    time.sleep(0.2)
    sigterm(process)
    rows = DeltaTable(lake_path / "tables" / "runs").to_pyarrow_table().to_pylist()
    assert [(row["run_id"], row["status"]) for row in rows] == [(run_id, "KILLED")]


#: Holds a lock of ours in the main thread when the signal arrives.
HOLDER = """
import sys, time
import lakelineage as ll
lake = ll.open(sys.argv[1])
run = lake.start_run()
with {lock}:
    print(run.id, flush=True)
    end = time.monotonic() + 2
    while time.monotonic() < end:
        pass
    print("let go", flush=True)
while True:
    run.log_metric("after", 1)
"""


@pytest.mark.parametrize(
    "lock", ["run._lock", "lake._engine.journal._lock", "lake._engine.journal.clock._lock", "lake._engine.reader._lock"]
)
def test_a_lock_that_the_main_thread_holds_delays_the_end_but_does_not_prevent_it(
    lake_path: Path, start: Start, lock: str
) -> None:
    process = start(HOLDER.format(lock=lock), lake_path)
    run_id = line(process)
    _, err = sigterm(process)
    assert (process.returncode, err) == (-signal.SIGTERM, "")
    with ll.open(lake_path) as lake:
        assert lake.run(run_id).status == "KILLED"


OWN_HANDLER = """
import signal, sys, time
import lakelineage as ll
def obey(number, frame):
    print("mine", flush=True)
    {act}
lake = ll.open(sys.argv[1])
{before}
with lake.start_run() as run:
    {inside}
    print(run.id, flush=True)
    until = time.monotonic() + 120
    while time.monotonic() < until and not stop:
        time.sleep(0.01)
print("went on", flush=True)
"""
INSTALL = "signal.signal(signal.SIGTERM, obey)"


@pytest.mark.parametrize(
    ("act", "code", "status", "said"),
    [
        ("sys.exit(7)", 7, "KILLED", ["mine"]),
        ("sys.exit(0)", 0, "KILLED", ["mine"]),
        ("stop.append(1)", 0, "FINISHED", ["mine", "went on"]),
        ("raise RuntimeError('stop')", 1, "FAILED", ["mine"]),
    ],
)
def test_a_handler_of_the_program_is_kept_and_decides(
    lake_path: Path, start: Start, act: str, code: int, status: str, said: list[str]
) -> None:
    process = start(OWN_HANDLER.format(act=act, before=f"stop = []; {INSTALL}", inside="pass"), lake_path)
    run_id = line(process)
    out, _ = sigterm(process)
    assert (process.returncode, out.split("\n")[:-1]) == (code, said)
    with ll.open(lake_path) as lake:
        assert lake.run(run_id).status == status


def test_a_handler_that_the_program_installs_later_is_kept_too(lake_path: Path, start: Start) -> None:
    inside = f"{INSTALL}; lake.start_run('other').end()"
    process = start(OWN_HANDLER.format(act="sys.exit(3)", before="stop = []", inside=inside), lake_path)
    run_id = line(process)
    assert sigterm(process)[0] == "mine\n"
    assert process.returncode == 3
    with ll.open(lake_path) as lake:
        assert lake.run(run_id).status == "KILLED"


def test_a_handler_that_hands_on_to_the_one_before_it_ends_the_process_as_sigterm_does(
    lake_path: Path, start: Start
) -> None:
    chained = "before = signal.signal(signal.SIGTERM, lambda n, f: before(n, f)); lake.start_run('other').end()"
    process = start(OWN_HANDLER.format(act="pass", before="stop = []", inside=chained), lake_path)
    run_id = line(process)
    sigterm(process)
    assert process.returncode == -signal.SIGTERM
    with ll.open(lake_path) as lake:
        assert lake.run(run_id).status == "KILLED"


def test_a_program_that_ignores_sigterm_goes_on_ignoring_it(lake_path: Path, start: Start) -> None:
    code = """
    import signal, sys
    import lakelineage as ll
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with ll.open(sys.argv[1]).start_run() as run:
        print(run.id, flush=True)
        sys.stdin.readline()
    """
    process = start(code, lake_path)
    run_id = line(process)
    process.send_signal(signal.SIGTERM)
    process.communicate("\n", timeout=60)
    assert process.returncode == 0
    with ll.open(lake_path) as lake:
        assert lake.run(run_id).status == "FINISHED"


FORKING = """
import os, signal, sys, time
import lakelineage as ll
lake = ll.open(sys.argv[1], durability="process")
{handler}
with lake.start_run("parent") as run:
    print(run.id, flush=True)
    child = os.fork()
    if child == 0:
        {child}
        print("ready", flush=True)
        time.sleep(30)
        os._exit(9)
    sys.stdin.readline()
    os.kill(child, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    run.log_metric("after", 1)
"""


@pytest.mark.parametrize(
    ("child", "own"), [("pass", 0), ("lake.start_run('child', name='c')", 1), ("run.log_metric('c', 1)", 0)]
)
def test_a_forked_child_that_is_terminated_ends_its_own_runs_and_none_of_its_parent(
    lake_path: Path, start: Start, child: str, own: int
) -> None:
    with ll.open(lake_path) as lake:  # a child of a process that has used the Delta engine makes no experiments
        lake.experiments.create("parent")
        lake.experiments.create("child")
    process = start(FORKING.format(child=child, handler=""), lake_path)
    run_id = line(process)
    assert line(process) == "ready"
    out, err = process.communicate("\n", timeout=60)
    assert (process.returncode, out, err) == (0, f"{-signal.SIGTERM}\n", "")
    with ll.open(lake_path) as lake:
        assert lake.run(run_id).status == "FINISHED"
        killed = lake.search_runs("status = 'KILLED'").column("name").to_pylist()
        assert killed == ["c"] * own


def test_a_forked_child_gets_the_handler_that_was_there_before_ours(lake_path: Path, start: Start) -> None:
    handler = "signal.signal(signal.SIGTERM, lambda n, f: os._exit(5))"
    process = start(FORKING.format(child="pass", handler=handler), lake_path)
    line(process)
    assert line(process) == "ready"
    assert process.communicate("\n", timeout=60)[0] == "5\n"


def test_a_forked_child_that_leaves_the_block_of_its_parent_ends_nothing(lake_path: Path, start: Start) -> None:
    code = """
    import os, sys
    import lakelineage as ll
    lake = ll.open(sys.argv[1])
    with lake.start_run() as run:
        print(run.id, flush=True)
        if os.fork() == 0:
            raise SystemExit(1)
        os.wait()
        assert lake.run(run.id).status == "RUNNING"
    """
    process = start(code, lake_path)
    run_id = line(process)
    assert process.wait(120) == 0
    with ll.open(lake_path) as lake:
        assert lake.run(run_id).status == "FINISHED"


def test_runs_of_other_threads_and_lakes_are_killed_too(tmp_path: Path, start: Start) -> None:
    code = """
    import sys, threading, time
    import lakelineage as ll
    lakes = [ll.open(place) for place in sys.argv[1:]]
    runs = [lake.start_run(system_metrics=0.1) for lake in lakes]
    def work(lake):
        with lake.start_run() as run:
            time.sleep(60)
    threads = [threading.Thread(target=work, args=(lake,)) for lake in lakes]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    print("ready", flush=True)
    threads[0].join()
    """
    places = [tmp_path / "a", tmp_path / "b"]
    process = start(code, *places)
    assert line(process) == "ready"
    sigterm(process)
    assert process.returncode == -signal.SIGTERM
    for place in places:
        with ll.open(place) as lake:
            assert lake.search_runs().column("status").to_pylist() == ["KILLED", "KILLED"]
