"""Training code forks all the time: nothing that a child logs is lost, and nothing hangs."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import lakelineage
from lakelineage.errors import ForkedProcess
from lakelineage.tables import METRICS

if TYPE_CHECKING:
    import subprocess

Start = Callable[..., "subprocess.Popen[str]"]
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def forked(body: Callable[[], None]) -> int:
    """Run a body in a forked child that then leaves without any clean-up, as a killed worker would."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.alarm(60)  # a child that hangs dies, and fails the test
        body()
        code = 0
    except BaseException as error:  # noqa: BLE001 - the child must never run on as a second pytest
        print(f"child: {error!r}", file=sys.stderr)
    finally:
        os._exit(code)


def wait(*pids: int) -> None:
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * len(pids)


def keys(lake: lakelineage.Lake) -> Counter[str]:
    return Counter(lake.sql("SELECT key FROM metrics").column("key").to_pylist())


def once(*names: str) -> Counter[str]:
    return Counter(dict.fromkeys(names, 1))


def test_children_and_grandchildren_log_to_the_runs_of_their_parents(lake: lakelineage.Lake) -> None:
    run = lake.start_run()
    run.log_metric("parent-before", 1)

    def grandchild() -> None:
        run.log_metric("grandchild", 1)
        run.log_param("from", "grandchild")
        run.set_tag("t", "grandchild")

    def child() -> None:
        run.log_metric("child-before", 1)
        wait(forked(grandchild))
        run.log_metric("child-after", 1)

    pid = forked(child)
    run.log_metric("parent-meanwhile", 1)
    wait(pid)
    run.end()
    wanted = once("parent-before", "grandchild", "child-before", "child-after", "parent-meanwhile")
    assert keys(lake) == wanted
    lake.flush()
    assert keys(lake) == wanted
    seen = lake.run(run.id)
    assert (seen.params, seen.tags["t"], seen.status) == ({"from": "grandchild"}, "grandchild", "FINISHED")


def test_a_fork_while_other_threads_log_loses_nothing_and_hangs_nobody(lake: lakelineage.Lake) -> None:
    run = lake.start_run()
    stop = threading.Event()
    logged = Counter[str]()

    def log(name: str) -> None:
        number = 0
        while not stop.is_set():
            run.log_metric(f"{name}-m", number)
            run.log_param(f"{name}-p{number}", number)  # takes the run's own lock too
            number += 1
        logged[f"{name}-m"] = number

    threads = [threading.Thread(target=log, args=(f"thread{i}",)) for i in range(2)]
    for thread in threads:
        thread.start()

    def child(name: str) -> None:
        run.log_metric(name, 1)
        run.log_param(name, 1)
        run.set_tag(name, 1)

    names = [f"child{i}" for i in range(25)]
    for name in names:
        wait(forked(lambda name=name: child(name)))  # type: ignore[misc]
    stop.set()
    for thread in threads:
        thread.join()
    run.end()
    assert keys(lake) == logged + once(*names)
    params = lake.run(run.id).params
    assert set(names) <= set(params)
    assert len(params) == sum(logged.values()) + len(names)


def test_a_fork_while_the_first_record_is_written_hangs_nobody(lake_path: Path) -> None:
    """The first record takes a lane, whose lease has fork hooks of its own."""
    for attempt in range(10):
        lake = lakelineage.open(lake_path, durability="process")
        run = lake.start_run()
        lake._engine.journal.close()  # the next record takes a lane again
        thread = threading.Thread(target=run.log_metric, args=(f"parent{attempt}", 1))
        thread.start()
        wait(forked(lambda run=run, attempt=attempt: run.log_metric(f"child{attempt}", 1)))  # type: ignore[misc]
        thread.join()
        lake.close()
    lake = lakelineage.open(lake_path)
    assert keys(lake) == once(*(f"{who}{n}" for n in range(10) for who in ("parent", "child")))
    lake.close()


def test_a_child_goes_on_logging_after_its_parent_has_closed_the_lake(lake_path: Path) -> None:
    lake = lakelineage.open(lake_path)
    run = lake.start_run()
    run.log_metric("parent", 1)
    closed, told = os.pipe()

    def child() -> None:
        run.log_metric("early", 1)
        os.read(closed, 1)  # until the parent has closed
        for number in range(50):
            run.log_metric(f"late{number}", 1)

    pid = forked(child)
    time.sleep(0.2)
    lake.close()
    os.write(told, b"x")
    wait(pid)
    os.close(closed)
    os.close(told)
    again = lakelineage.open(lake_path)
    assert keys(again) == once("parent", "early", *(f"late{n}" for n in range(50)))
    again.close()


ORPHAN = """
import os, sys, time
import lakelineage
lake = lakelineage.open(sys.argv[1], durability=sys.argv[2])
run = lake.start_run()
run.log_metric("parent", 1)
lake.sql("SELECT count(*) FROM metrics")
parent = os.getpid()  # before the fork: the child may first run when its parent is gone already
if os.fork() == 0:
    while os.getppid() == parent:
        time.sleep(0.01)
    for number in range(20):
        run.log_metric(f"orphan{number}", 1)
    print(run.id, flush=True)
    os._exit(0)
if sys.argv[3] == "exits":
    sys.exit(0)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize(("how", "status"), [("exits", "FINISHED"), ("is killed", "RUNNING")])
def test_a_child_goes_on_logging_after_its_parent_is_gone(how: str, status: str, lake_path: Path, start: Start) -> None:
    process = start(ORPHAN, lake_path, "process", how)
    assert process.stdout
    run_id = process.stdout.readline().strip()
    process.wait()
    lake = lakelineage.open(lake_path)
    assert keys(lake) == once("parent", *(f"orphan{n}" for n in range(20)))
    assert lake.run(run_id).status == status  # a program that exits ends the runs that it started
    lake.close()


def _work(job: tuple[str, int]) -> int:
    assert _RUN is not None
    name, number = job
    _RUN.log_metric(name, number, step=number)
    return number


_RUN: lakelineage.Run | None = None


def test_workers_of_a_forked_pool_log_to_the_run_of_their_parent(lake: lakelineage.Lake) -> None:
    global _RUN
    with lake.start_run() as run:
        _RUN = run
        lake.sql("SELECT 1 FROM metrics")  # the parent has used the Delta engine
        with multiprocessing.get_context("fork").Pool(4) as pool:
            assert sorted(pool.map(_work, [("loss", n) for n in range(200)], chunksize=5)) == list(range(200))
    _RUN = None
    history = lake.run(run.id).history("loss")
    assert history.column("step").to_pylist() == list(range(200))
    assert history.column("value").to_pylist() == [float(n) for n in range(200)]


def test_a_child_of_a_reader_can_log_but_reading_says_why_it_cannot(lake: lakelineage.Lake) -> None:
    run = lake.start_run()
    lake.sql("SELECT * FROM metrics")
    lake.flush()

    def child() -> None:
        run.log_metric("child", 1)
        for read in (
            lambda: lake.sql("SELECT 1 FROM runs"),
            lambda: lake.run(run.id),
            lake.search_runs,
            lambda: lake.experiments.create("new"),
            lambda: lake.resume_run(run.id),
            lake._maintenance.run,
        ):
            with pytest.raises(ForkedProcess, match="spawn"):
                read()

    wait(forked(child))
    assert keys(lake) == once("child")


def test_a_child_whose_parent_is_committing_gets_an_error_and_does_not_hang(lake: lakelineage.Lake) -> None:
    run = lake.start_run()
    stop = threading.Event()

    def commit() -> None:
        while not stop.is_set():
            run.log_metric("m", 1)
            lake.flush()

    thread = threading.Thread(target=commit)
    thread.start()
    time.sleep(0.3)

    def child() -> None:
        run.log_metric("child", 1)
        with pytest.raises(ForkedProcess):
            lake.experiments.create("new")
        with pytest.raises(ForkedProcess):
            lake._engine.store.snapshot(METRICS)  # whose lock the committing thread holds most of the time
        with pytest.raises(ForkedProcess):
            lake.sql("SELECT 1 FROM metrics")

    for _ in range(10):
        wait(forked(child))
    stop.set()
    thread.join()
    assert keys(lake)["child"] == 10


def test_a_child_starts_and_ends_runs_of_its_own(lake: lakelineage.Lake) -> None:
    lake.start_run("shared").end()
    lake.sql("SELECT 1 FROM metrics")

    def child() -> None:
        with lake.start_run("shared", name="own") as run:
            run.log_metric("m", 3)

    wait(forked(child), forked(child))
    found = lake.search_runs("name = 'own'").to_pylist()
    assert [(r["status"], dict(r["metrics"])) for r in found] == [("FINISHED", {"m": 3.0})] * 2


def test_a_child_flushes_through_a_fresh_process(lake: lakelineage.Lake) -> None:
    run = lake.start_run()
    lake.sql("SELECT 1 FROM metrics")
    lake._engine._flusher.stop()  # so that nobody else commits

    def child() -> None:
        run.log_metric("child", 1)
        lake.flush()

    wait(forked(child))
    assert sum(f.num_rows for f in lake._engine.store.snapshot(METRICS).files) == 1
    assert keys(lake) == once("child")


def test_a_child_that_closes_the_lake_leaves_its_parent_untouched(lake: lakelineage.Lake) -> None:
    run = lake.start_run()
    run.log_metric("before", 1)

    def child() -> None:
        run.log_metric("child", 1)
        lake.close()

    wait(forked(child))
    run.log_metric("after", 1)
    assert keys(lake) == once("before", "child", "after")
    other = lakelineage.open(lake.uri)  # must not get the parent's lane
    other.start_run().log_metric("other", 1)
    run.log_metric("last", 1)
    assert keys(lake) == once("before", "child", "after", "other", "last")
    other.close()
