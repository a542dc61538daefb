"""A lake in an object store: two hosts (each with a journal of its own) on one server that speaks S3."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import lakelineage
from lakelineage.errors import StorageFailed
from lakelineage.tables import METRICS, RUNS_HISTORY

if TYPE_CHECKING:
    import subprocess

S3 = tuple[str, dict[str, str]]
Start = Callable[..., "subprocess.Popen[str]"]
Done = Callable[..., str]

WORKER = """
import json, sys
import lakelineage
lake = lakelineage.open(sys.argv[1], json.loads(sys.argv[2]))
name = sys.argv[3]
ids = []
for number in range(4):
    with lake.start_run(f"e{number % 2}", name=name) as run:
        run.log_params({"p": name})
        for step in range(5):
            run.log_metric("m", step, step=step)
    ids.append(run.id)
lake.close()
print(json.dumps({"id": lake.id, "runs": ids}))
"""


def host(tmp_path: Path, name: str) -> dict[str, str]:
    """Environment of a host: its own spool, and its own cache."""
    return {"LAKELINEAGE_SPOOL": str(tmp_path / name / "spool"), "LAKELINEAGE_CACHE": str(tmp_path / name / "cache")}


@pytest.mark.slow
def test_four_processes_of_two_hosts_on_one_bucket_lose_and_double_nothing(
    s3: S3, tmp_path: Path, start: Start, done: Done
) -> None:
    """The lake is made by all of them at once; each sees the other's runs after they ended."""
    uri, options = s3[0] + "/lakes/one", s3[1]
    given = (uri, json.dumps(options))
    processes = [start(WORKER, *given, f"p{i}", **host(tmp_path, f"host{i % 2}")) for i in range(4)]
    answers = [json.loads(done(p, 200)) for p in processes]
    assert len({a["id"] for a in answers}) == 1, "the lake was made twice"
    ids = [i for a in answers for i in a["runs"]]
    with lakelineage.open(uri, options, create=False) as lake:  # a third host, with an empty journal
        for _ in range(2):
            found = lake.sql("SELECT run_id, step FROM metrics").to_pylist()
            assert Counter((r["run_id"], r["step"]) for r in found) == Counter((i, s) for i in ids for s in range(5))
            assert sorted(lake.search_runs("status = 'FINISHED'").column("run_id").to_pylist()) == sorted(ids)
            assert lake.experiments.list().column("name").to_pylist() == ["e0", "e1"]
            lake.maintain()
        assert lake.run(ids[0]).params == {"p": "p0"}


def test_end_returns_after_the_run_is_in_the_object_store(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in host(tmp_path, "one").items():
        monkeypatch.setenv(name, value)
    lake = lakelineage.open(*s3)
    lake._engine._flusher.stop()  # nobody else commits
    run = lake.start_run()
    run.log_metric("m", 1.5)
    for name, value in host(tmp_path, "two").items():
        monkeypatch.setenv(name, value)
    other = lakelineage.open(*s3)
    assert other.sql("SELECT * FROM metrics").num_rows == 0
    run.end()
    store = other._engine.store
    assert [sum(f.num_rows for f in store.snapshot(t).files) for t in (METRICS, RUNS_HISTORY)] == [1, 2]
    seen = other.run(run.id)
    assert (seen.status, seen.metrics) == ("FINISHED", {"m": 1.5})
    other.close()
    lake.close()


def test_journal_of_a_remote_lake_is_on_this_host_and_read_before_it_is_committed(s3: S3, tmp_path: Path) -> None:
    lake = lakelineage.open(*s3)
    run = lake.start_run()
    run.log_metric("m", 1)
    assert lake.run(run.id).metrics == {"m": 1.0}
    assert lake._engine.host_folder.is_dir()
    run.log_text("hello", "notes/a.txt")
    run.end()
    assert lake.run(run.id).download("notes/a.txt", tmp_path).read_text() == "hello"
    lake.maintain()
    assert lake.run(run.id).metrics == {"m": 1.0}
    lake.close()


def test_a_store_that_cannot_be_reached_is_said_so_and_what_was_logged_stays_safe(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKELINEAGE_SPOOL", str(tmp_path / "spool"))
    lake = lakelineage.open(*s3)
    lake._engine._flusher.stop()
    run = lake.start_run()
    lake._engine.store._root.storage_options = {**s3[1], "aws_endpoint": "http://127.0.0.1:9", "max_retries": "0"}
    lake._engine.store._handles.clear()
    run.log_metric("m", 1)
    with pytest.raises(StorageFailed):
        run.end()
    assert run.status.ended
    lake._engine.journal.close()
    again = lakelineage.open(*s3)
    again.flush()
    assert (again.run(run.id).status, again.run(run.id).metrics) == ("FINISHED", {"m": 1.0})
    assert sum(f.num_rows for f in again._engine.store.snapshot(METRICS).files) == 1
    again.close()


NAMES = """
import json, sys
import lakelineage
lake = lakelineage.open(sys.argv[1], json.loads(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps({name: lake.experiments.id_of(name) for name in ["shared", sys.argv[3]]}))
"""


@pytest.mark.slow
def test_names_taken_by_four_hosts_at_once_are_unique(s3: S3, tmp_path: Path, start: Start, done: Done) -> None:
    processes = [start(NAMES, s3[0], json.dumps(s3[1]), f"own{i}", **host(tmp_path, f"host{i}")) for i in range(4)]
    for process in processes:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("\n")
    answers = [json.loads(done(p, 200)) for p in processes]
    assert len({a["shared"] for a in answers}) == 1
    assert len({i for a in answers for i in a.values()}) == 5
    with lakelineage.open(*s3) as lake:
        names = lake.experiments.list().column("name").to_pylist()
        assert names == ["own0", "own1", "own2", "own3", "shared"]
