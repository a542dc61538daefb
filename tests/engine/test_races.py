"""Readers and writers in real processes: no acknowledged row is ever missing from a read."""

import json
import mmap
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import lakelineage

if TYPE_CHECKING:
    import subprocess

Start = Callable[..., "subprocess.Popen[str]"]
Done = Callable[..., str]

#: Logs rows one by one and publishes, in memory that readers share, how many were acknowledged.
WRITER = """
import mmap, os, struct, sys, time
import lakelineage
lake = lakelineage.open(sys.argv[1], durability="process")
shared = mmap.mmap(os.open(sys.argv[2], os.O_RDWR), 8)
name, seconds = sys.argv[3], float(sys.argv[4])
run = lake.start_run(name=name)
end = time.monotonic() + seconds
number = 0
while time.monotonic() < end:
    run.log_metric(name, number, step=number)
    number += 1
    struct.pack_into("<q", shared, 0, number)
    if number % 50 == 0:
        time.sleep(0.01)
lake.close()
"""

#: Flushes, compacts and publishes without a pause.
KEEPER = """
import sys, time
import lakelineage
lake = lakelineage.open(sys.argv[1])
end = time.monotonic() + float(sys.argv[2])
rounds = 0
while time.monotonic() < end:
    lake.flush()
    if rounds % 5 == 0:
        lake.maintain()
    rounds += 1
lake.close()
print(rounds)
"""

#: Starts runs, has forked children log to them, and ends them.
ENDER = """
import os, sys, time
import lakelineage
lake = lakelineage.open(sys.argv[1], durability="process")
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    run = lake.start_run("ended")
    run.log_metric("parent", 1)
    children = []
    for number in range(3):
        pid = os.fork()
        if pid == 0:
            run.log_metric(f"child{number}", 1)
            run.log_param(f"child{number}", 1)
            os._exit(0)
        children.append(pid)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    run.log_metrics({"last": 1})
    run.set_tag("t", 1)
    run.end()
lake.close()
"""


class Counted:
    """A number in memory that processes share."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(8))
        self.path = path
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8)

    @property
    def value(self) -> int:
        return int(struct.unpack_from("<q", self._map)[0])


@pytest.mark.slow
def test_no_acknowledged_row_is_ever_missing_from_a_read(
    lake_path: Path, tmp_path: Path, start: Start, done: Done
) -> None:
    lake = lakelineage.open(lake_path)
    counts = {name: Counted(tmp_path / name) for name in ("w0", "w1")}
    keeper = start(KEEPER, lake_path, 10)
    writers = [start(WRITER, lake_path, counted.path, name, 8) for name, counted in counts.items()]
    reads = 0
    while any(w.poll() is None for w in writers):
        for name, counted in counts.items():
            before = counted.value
            found = lake.sql(
                "SELECT count(*) n, count(DISTINCT step) d, max(step) m FROM metrics WHERE key = ?", [name]
            )
            seen = found.to_pylist()[0]
            after = counted.value
            assert before <= seen["n"] <= after + 1
            assert seen["n"] == seen["d"]
            latest = lake.sql("SELECT metrics[?] AS v FROM runs WHERE name = ?", [name, name]).to_pylist()
            assert before == 0 or latest[0]["v"] >= before - 1
            reads += 1
    for writer in writers:
        done(writer)
    assert int(done(keeper)) > 5
    assert reads > 20
    for name, counted in counts.items():
        steps = lake.sql("SELECT step FROM metrics WHERE key = ? ORDER BY step", [name]).column("step").to_pylist()
        assert steps == list(range(counted.value))
    lake.close()


@pytest.mark.slow
def test_a_run_seen_as_finished_has_all_its_metrics(lake_path: Path, start: Start, done: Done) -> None:
    lake = lakelineage.open(lake_path)
    enders = [start(ENDER, lake_path, 8) for _ in range(2)]
    keeper = start(KEEPER, lake_path, 8)
    wanted = {"parent", "child0", "child1", "child2", "last"}
    seen = 0
    while any(p.poll() is None for p in enders):
        for row in lake.sql("SELECT * FROM runs WHERE status = 'FINISHED'").to_pylist():
            assert {k for k, _ in row["metrics"]} == wanted
            assert {k for k, _ in row["params"]} == {"child0", "child1", "child2"}
            assert dict(row["tags"]) == {"t": "1"}
            seen += 1
        lacking = lake.sql(
            "SELECT h.run_id, count(DISTINCT m.key) AS n FROM runs_history h LEFT JOIN metrics m USING (run_id) "
            "WHERE h.status = 'FINISHED' GROUP BY h.run_id HAVING n != 5"
        )
        assert lacking.num_rows == 0
    for process in (*enders, keeper):
        done(process)
    assert seen > 10
    lake.close()


MANY = """
import json, sys
import lakelineage
lake = lakelineage.open(sys.argv[1], durability="process")
name = sys.argv[2]
ids = []
for number in range(6):
    with lake.start_run(f"e{number % 3}", name=name) as run:
        run.log_params({"p": number})
        for step in range(10):
            run.log_metric("m", step, step=step)
        ids.append(run.id)
lake.close()
print(json.dumps(ids))
"""


def test_eight_processes_on_one_new_lake_lose_and_double_nothing(lake_path: Path, start: Start, done: Done) -> None:
    processes = [start(MANY, lake_path, f"p{i}") for i in range(8)]
    ids = [i for p in processes for i in json.loads(done(p))]
    assert len(set(ids)) == 48
    with lakelineage.open(lake_path) as lake:
        for _ in range(2):
            found = lake.sql("SELECT run_id, step FROM metrics").to_pylist()
            assert Counter((r["run_id"], r["step"]) for r in found) == Counter((i, s) for i in ids for s in range(10))
            runs = lake.search_runs("status = 'FINISHED'")
            assert sorted(runs.column("run_id").to_pylist()) == sorted(ids)
            assert lake.experiments.list().column("name").to_pylist() == ["e0", "e1", "e2"]
            lake.maintain()


SETTER = """
import sys
import lakelineage
lake = lakelineage.open(sys.argv[1])
run = lake.resume_run(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
run.log_params({f"k{i}": sys.argv[3] for i in range(50)})
lake.close()
"""


def test_of_two_values_for_one_param_the_first_in_lake_order_wins(lake_path: Path, start: Start, done: Done) -> None:
    with lakelineage.open(lake_path) as lake:
        run = lake.start_run()
        setters = [start(SETTER, lake_path, run.id, name) for name in ("one", "two")]
        for setter in setters:
            assert setter.stdout
            assert setter.stdout.readline() == "ready\n"
        for setter in setters:
            assert setter.stdin
            setter.stdin.write("\n")
            setter.stdin.flush()
        for setter in setters:
            done(setter)
        for _ in range(2):
            rows = lake.sql("SELECT key, value FROM params ORDER BY ingested_at, writer, seq").to_pylist()
            assert len(rows) == 100, "the other value stays visible as a conflict"
            first: dict[str, str] = {}
            for row in rows:
                first.setdefault(row["key"], row["value"])
            assert lake.run(run.id).params == first
            lake.maintain()


CREATOR = """
import json, sys
import lakelineage
lake = lakelineage.open(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps({name: lake.experiments.id_of(name) for name in [f"shared{i}" for i in range(4)] + [sys.argv[2]]}))
"""


def test_names_taken_by_many_processes_at_once_are_unique_and_agreed_on(
    lake_path: Path, start: Start, done: Done
) -> None:
    creators = [start(CREATOR, lake_path, f"own{i}") for i in range(6)]
    for creator in creators:
        assert creator.stdout
        assert creator.stdin
        assert creator.stdout.readline() == "ready\n"
        creator.stdin.write("\n")
    answers = [json.loads(done(c)) for c in creators]
    assert all(answer[f"shared{i}"] == answers[0][f"shared{i}"] for answer in answers for i in range(4))
    ids = {**answers[0], **{f"own{i}": answer[f"own{i}"] for i, answer in enumerate(answers)}}
    assert len(set(ids.values())) == len(ids) == 10
    with lakelineage.open(lake_path) as lake:
        assert {r["name"]: r["experiment_id"] for r in lake.experiments.list().to_pylist()} == ids


def test_a_row_of_one_process_is_seen_by_another_at_once(lake_path: Path, start: Start) -> None:
    code = """
    import sys
    import lakelineage
    lake = lakelineage.open(sys.argv[1])
    run = lake.start_run()
    for line in sys.stdin:
        run.log_metric("m", float(line), step=int(line))
        print(run.id, flush=True)
    """
    writer = start(code, lake_path)
    assert writer.stdin
    assert writer.stdout
    with lakelineage.open(lake_path) as lake:
        for number in range(30):
            writer.stdin.write(f"{number}\n")
            writer.stdin.flush()
            run_id = writer.stdout.readline().strip()
            assert lake.run(run_id).metrics == {"m": float(number)}
            assert lake.run(run_id).history("m").num_rows == number + 1
