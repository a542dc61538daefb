"""kill -9 at every named step and at random times: acknowledged means there exactly once, finished means complete."""

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import lakelineage
from lakelineage.store import faults
from lakelineage.tables import FACTS, RUNS

if TYPE_CHECKING:
    import subprocess

Start = Callable[..., "subprocess.Popen[str]"]

#: Logs runs for ever, and notes on disk what was acknowledged, after the call returned.
WORKER = """
import json, os, random, sys
import lakelineage

lake_path, acks, name, durability, rounds = sys.argv[1:6]
notes = os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

def acknowledged(**what):
    os.write(notes, json.dumps(what).encode() + b"\\n")
    os.fsync(notes)

lake = lakelineage.open(lake_path, durability=durability)
dice = random.Random(name)
for number in range(int(rounds)):
    experiment = f"{name}-{number // 3}"
    run = lake.start_run(experiment)
    acknowledged(run=run.id, experiment=experiment)
    for step in range(dice.randint(1, 4)):
        run.log_metrics({"a": step, "b": step}, step=step)
        acknowledged(run=run.id, metric=step)
    run.log_param("p", name)
    acknowledged(run=run.id, param=name)
    run.log_metric_table({"step": [100, 101], "bulk": [1.0, 2.0]})
    acknowledged(run=run.id, bulk=True)
    if number % 2 == 0:
        lake.flush()
    run.log_metrics({"last": 1.0})
    run.end()
    acknowledged(run=run.id, ended=step + 1)
    if number % 4 == 1:
        lake.maintain()
"""


def notes(*files: Path) -> list[dict[str, Any]]:
    lines = [line for file in files if file.exists() for line in file.read_text().splitlines(keepends=True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def check(lake: lakelineage.Lake, acknowledged: list[dict[str, Any]]) -> None:
    """The laws, on what a reader sees now."""
    metrics = Counter(
        (r["run_id"], r["key"], r["step"]) for r in lake.sql("SELECT run_id, key, step FROM metrics").to_pylist()
    )
    assert set(metrics.values()) <= {1}, "a row is there twice"
    runs = {r["run_id"]: r for r in lake.sql("SELECT * FROM runs").to_pylist()}
    assert len(runs) == lake.sql("SELECT * FROM runs").num_rows
    names = {r["experiment_id"]: r["name"] for r in lake.experiments.list().to_pylist()}
    assert len(set(names.values())) == len(names), "a name was given twice"
    for note in acknowledged:
        run = note["run"]
        assert run in runs, note
        if "experiment" in note:
            assert names[runs[run]["experiment_id"]] == note["experiment"]
        if "metric" in note:
            assert metrics[run, "a", note["metric"]] == metrics[run, "b", note["metric"]] == 1, note
        if "bulk" in note:
            assert metrics[run, "bulk", 100] == metrics[run, "bulk", 101] == 1, note
        if "param" in note:
            assert dict(runs[run]["params"]) == {"p": note["param"]}
        if "ended" in note:
            assert runs[run]["status"] == "FINISHED"
            assert sum(n for (r, key, _), n in metrics.items() if r == run and key == "a") == note["ended"]
    for run, row in runs.items():
        assert {k for k, _ in row["metrics"]} == {key for r, key, _ in metrics if r == run}
        if row["status"] == "FINISHED":
            assert metrics[run, "last", 0] == 1, "a finished run lacks a metric"
            assert metrics[run, "bulk", 101] == 1
            assert dict(row["params"])


def check_all(lake_path: Path, acknowledged: list[dict[str, Any]]) -> None:
    """As found, after a flush, after maintenance, and by a fresh process's eyes on the Delta tables alone."""
    lake = lakelineage.open(lake_path)
    check(lake, acknowledged)
    lake.flush()
    check(lake, acknowledged)
    lake.maintain()
    check(lake, acknowledged)
    fresh = lake._engine.reader.unpublished_runs()
    assert fresh.rows.num_rows == 0
    lake.close()
    again = lakelineage.open(lake_path)
    check(again, acknowledged)
    published = again._engine.store.snapshot(RUNS)
    assert sum(f.num_rows for f in published.files) == again.sql("SELECT * FROM runs").num_rows
    for table in FACTS:
        order = again.sql(f"SELECT writer, seq FROM {table.name}").to_pylist()
        if not table.unique:
            assert len({(r["writer"], r["seq"]) for r in order}) == len(order), table.name
    again.close()


#: Steps of an upgrade are gone through in tests/migrations.
_STEPS = [step for step in faults.STEPS if not step.startswith(("upgrade.", "forget.", "approve.", "score."))]
_CASES = [(step, n, d) for step in _STEPS for n, d in ((1, "power"), (3, "process"))]
_CASES = [
    (s, n, "power" if s == "journal.after_sync" else d) for s, n, d in _CASES if s != "journal.new_segment" or n == 1
]


@pytest.mark.slow
@pytest.mark.parametrize(("step", "count", "durability"), _CASES)
def test_a_process_killed_at_any_step_loses_and_doubles_nothing(
    step: str, count: int, durability: str, lake_path: Path, tmp_path: Path, start: Start
) -> None:
    acks = tmp_path / "acks"
    process = start(WORKER, lake_path, acks, "w", durability, 40, LAKELINEAGE_FAULT=f"{step}:{count}")
    _, err = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, f"the step was never reached: {err[-2000:]}"
    check_all(lake_path, notes(acks))


def test_every_step_that_code_announces_is_gone_through() -> None:
    package = Path(lakelineage.__file__).parent
    sources = "\n".join(p.read_text() for p in package.rglob("*.py"))
    missing = [step for step in faults.STEPS if f'faults.reach("{step}")' not in sources]
    assert not missing
    assert sources.count('faults.reach("') == sum(sources.count(f'faults.reach("{step}")') for step in faults.STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["power", "process"])
def test_processes_killed_at_random_times_lose_and_double_nothing(
    durability: str, lake_path: Path, tmp_path: Path, start: Start
) -> None:
    dice = random.Random(durability)
    files: list[Path] = []
    for life in range(5):
        processes = []
        for number in range(3):
            acks = tmp_path / f"acks-{life}-{number}"
            files.append(acks)
            processes.append(start(WORKER, lake_path, acks, f"w{life}-{number}", durability, 1_000))
        deadline = time.monotonic() + 120
        while not all(f.exists() and f.stat().st_size for f in files[-3:]):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for process in processes:
            time.sleep(dice.uniform(0.0, 0.4))
            process.kill()
        for process in processes:
            process.communicate()
        if life % 4 == 3:
            lake = lakelineage.open(lake_path)
            check(lake, notes(*files))
            lake.close()
    check_all(lake_path, notes(*files))
