"""The committer and its thread: nothing waits for ever, nothing is committed twice."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lakelineage import engine as engine_module
from lakelineage.engine import Engine
from lakelineage.errors import StorageFailed
from lakelineage.model.changes import Rows
from lakelineage.store.locks import Lease
from lakelineage.tables import METRICS


def log(engine: Engine, step: int) -> None:
    engine.append((Rows(METRICS.name, (("r", "k", step, 0, 0.0, None, None, None),)),))


def committed(engine: Engine) -> int:
    return sum(f.num_rows for f in engine.store.snapshot(METRICS).files)


def eventually(true: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return true()


def test_what_is_logged_while_another_process_commits_reaches_the_tables_without_a_further_call(engine: Engine) -> None:
    lease = Lease(engine.host_folder / "committer.lock")
    assert lease.acquire()
    log(engine, 1)
    time.sleep(2.5)  # the thread of this process finds the folder taken, and must look again
    assert committed(engine) == 0
    lease.release()
    assert eventually(lambda: committed(engine) == 1)


def test_a_flush_that_cannot_get_at_the_journal_says_so(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "_FLUSH_TIMEOUT", 0.2)  # two minutes are too long for a test
    lease = Lease(engine.host_folder / "committer.lock")
    assert lease.acquire()
    log(engine, 1)
    with pytest.raises(StorageFailed, match="safe in the journal"):
        engine.flush()
    lease.release()
    engine.flush()
    assert committed(engine) == 1


def test_the_thread_commits_by_itself_and_survives_a_failure(
    engine: Engine, lake_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tables = lake_path / "tables"
    tables.write_text("in the way")
    log(engine, 1)
    assert eventually(lambda: "safe in the journal" in caplog.text)
    tables.unlink()
    assert eventually(lambda: committed(engine) == 1)
    log(engine, 2)
    assert eventually(lambda: committed(engine) == 2)


def test_draining_again_commits_nothing_twice(lake_path: Path) -> None:
    first, second = Engine(lake_path, durability="process"), Engine(lake_path, durability="process")
    for step in range(20):
        log(first if step % 2 else second, step)
        (second if step % 3 else first).flush()
    for engine in (first, second, first):
        engine.flush()
        steps = engine.query("SELECT step FROM metrics ORDER BY step").column("step").to_pylist()
        assert steps == list(range(20))
        assert committed(engine) == 20
    first.close()
    second.close()
