"""Every fault is really made, and found and named; a healthy lake gets no warning, whatever happens in it meanwhile."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

import lakelineage as ll
from lakelineage.cli import main
from lakelineage.maintenance.doctor import Finding, Severity, examine_at, finding, runs, system
from lakelineage.model.clock import wall_clock
from lakelineage.tables import METRICS, RUNS, RUNS_HISTORY

Start = Callable[..., "subprocess.Popen[str]"]
S3 = tuple[str, dict[str, str]]


@pytest.fixture(autouse=True)
def _settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written a moment ago is judged too: these tests have no hour to wait."""
    monkeypatch.setattr(finding, "SETTLED", -1.0)
    monkeypatch.setattr(runs, "STILL", -1.0)


@pytest.fixture
def busy(lake_path: Path, tmp_path: Path) -> Path:
    """A lake with runs, artifacts, an archived pin and a managed table; closed."""
    source, csv = tmp_path / "points", tmp_path / "people.csv"
    write_deltalake(str(source), pa.table({"x": [1.0, 2.0]}))
    csv.write_text("name,age\nada,36\n")
    with ll.open(lake_path) as lake:
        for number in range(3):
            with lake.start_run("e", name=f"r{number}") as run:
                run.use(source, name="points", protection="archived")
                run.use(csv, name="people", protection="reference")
                run.log_metric("m", number)
                run.log_text("hello", f"notes/{number}.txt")
        lake.maintain()
    return lake_path


def look(lake_path: Path, deep: bool = False) -> list[Finding]:
    return examine_at(str(lake_path), None, deep)


def bad(findings: list[Finding], least: Severity = Severity.NOTE) -> dict[str, Finding]:
    return {f.check: f for f in findings if f.severity.rank >= least.rank}


def only(lake_path: Path, check: str, severity: Severity, *words: str, deep: bool = False) -> Finding:
    """There is this one finding, and it says these words and what to do."""
    found = look(lake_path, deep)
    assert set(bad(found)) == {check}, found
    (one,) = (f for f in found if f.check == check and f.severity is not Severity.OK)
    assert one.severity is severity
    assert all(word in one.message for word in words), one.message
    assert one.advice
    return one


def contents(lake_path: Path) -> dict[str, tuple[int, int]]:
    files = (path for path in lake_path.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("deep", [False, True])
def test_a_healthy_lake_has_no_findings_and_is_not_changed_by_looking(busy: Path, deep: bool) -> None:
    before = contents(busy)
    found = look(busy, deep)
    assert bad(found) == {}
    assert {f.check for f in found} >= {"libraries", "lake.json", "clock", "journal", "tables", "artifacts", "archive"}
    assert contents(busy) == before


def test_an_open_lake_is_looked_at_too(busy: Path) -> None:
    with ll.open(busy) as lake:
        assert bad(lake.doctor(deep=True)) == {}


def active_file(lake_path: Path, table: str) -> Path:
    return Path(DeltaTable(str(lake_path / "tables" / table)).file_uris()[0])


def test_a_data_file_that_is_gone(busy: Path) -> None:
    file = active_file(busy, METRICS.name)
    file.unlink()
    found = bad(look(busy))["tables.metrics"]
    assert found.severity is Severity.ERROR
    assert file.name in found.message
    assert "backup" in found.advice


def test_a_data_file_of_another_size(busy: Path) -> None:
    with active_file(busy, METRICS.name).open("ab") as file:
        file.write(b"x")
    assert "another size" in bad(look(busy), Severity.ERROR)["tables.metrics"].message


def test_a_published_table_that_is_broken_may_be_thrown_away(busy: Path) -> None:
    active_file(busy, RUNS.name).unlink()
    found = bad(look(busy), Severity.ERROR)
    assert "maintain" in found["tables.runs"].advice
    shutil.rmtree(busy / "tables" / RUNS.name)
    with ll.open(busy) as lake:
        lake.maintain()
    assert bad(look(busy)) == {}


def test_a_log_that_cannot_be_read(busy: Path) -> None:
    for entry in (busy / "tables" / "params" / "_delta_log").glob("*"):
        entry.unlink()
    log = busy / "tables" / "inputs" / "_delta_log"
    for entry in log.glob("*.checkpoint.parquet"):
        entry.write_bytes(b"rubbish")
    found = bad(look(busy), Severity.ERROR)
    assert "tables.inputs" in found
    assert "cannot be opened" in found["tables.inputs"].message


def test_a_table_set_back_behind_what_was_published(busy: Path) -> None:
    shutil.rmtree(busy / "tables" / METRICS.name)
    assert METRICS.name in bad(look(busy), Severity.ERROR)["publishing"].message


def test_rows_that_are_there_twice(busy: Path) -> None:
    place = str(busy / "tables" / METRICS.name)
    rows = DeltaTable(place).to_pyarrow_table()
    write_deltalake(DeltaTable(place), rows, mode="append")
    assert bad(look(busy)) == {}, "counting rows is for --deep"
    only(busy, "tables.metrics", Severity.ERROR, f"{rows.num_rows} rows are there twice", deep=True)


def test_rows_that_somebody_else_appended(busy: Path) -> None:
    place = str(busy / "tables" / METRICS.name)
    rows = DeltaTable(place).to_pyarrow_table().slice(0, 1)
    rows = rows.set_column(2, rows.schema.field(2), pa.array([10_000]))
    write_deltalake(DeltaTable(place), rows, mode="append")
    only(busy, "tables.metrics", Severity.ERROR, "beyond what its transactions say", deep=True)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda t: t.delete(), "DELETE"),
        (lambda t: t.alter.set_table_properties({"delta.appendOnly": "true"}), "delta.appendOnly"),
        (lambda t: t.alter.set_table_properties({"delta.checkpointInterval": "7"}), "checkpointInterval = 7"),
        (lambda t: write_deltalake(t, t.to_pyarrow_table(), mode="overwrite"), "OVERWRITE"),
    ],
)
def test_what_somebody_else_did_to_a_table(act: Callable[[DeltaTable], object], words: str, busy: Path) -> None:
    table = DeltaTable(str(busy / "tables" / METRICS.name))
    act(table)
    found = bad(look(busy), Severity.WARNING)
    assert words in " ".join(f.message for f in look(busy) if f.check == "tables.metrics")
    assert "tables.metrics" in found


def test_columns_that_somebody_else_added(busy: Path) -> None:
    from deltalake import Field
    from deltalake.schema import PrimitiveType

    DeltaTable(str(busy / "tables" / METRICS.name)).alter.add_columns([Field("mine", PrimitiveType("string"))])
    only(busy, "tables.metrics", Severity.WARNING, "mine")


def test_a_table_that_nobody_maintains(busy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lakelineage.maintenance.doctor import tables

    monkeypatch.setattr(tables, "_CROWDED", 3)
    place = str(busy / "tables" / METRICS.name)
    empty = DeltaTable(place).to_pyarrow_table().slice(0, 1)
    for number in range(2):
        row = empty.set_column(2, empty.schema.field(2), pa.array([20_000 + number]))
        ticket = Transaction(row.column("writer")[0].as_py(), 20_000 + number)
        properties = CommitProperties(app_transactions=[ticket])
        write_deltalake(DeltaTable(place), row, mode="append", commit_properties=properties)
    found = only(busy, "tables.metrics", Severity.WARNING, "get slow", deep=True)
    assert "lakelineage maintain" in found.advice


KILLED = """
import os, signal, sys
import lakelineage
lake = lakelineage.open(sys.argv[1])
lake._engine._flusher.stop()
run = lake.start_run("e", name="killed")
run.log_metric("m", 1.0)
print(run.id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(busy: Path, start: Start) -> str:
    process = start(KILLED, busy)
    out, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, err
    return out.strip()


def test_rows_and_the_run_that_a_killed_process_left(busy: Path, start: Start) -> None:
    run_id = killed(busy, start)
    found = bad(look(busy))
    assert found["journal"].severity is Severity.NOTE
    assert "processes that ended" in found["journal"].message
    assert "flush" in found["journal"].advice
    assert run_id in found["runs"].message
    assert found["runs"].severity is Severity.WARNING
    advised = shlex.split(found["runs"].advice.split("`")[1])
    assert main(["--lake", str(busy), *advised[1:]]) == 0
    with ll.open(busy) as lake:
        lake.maintain()
        assert lake.run(run_id).status == "KILLED"
    assert bad(look(busy)) == {}


def test_a_running_run_whose_process_lives_is_no_fault(busy: Path, start: Start) -> None:
    code = KILLED.replace("os.kill(os.getpid(), signal.SIGKILL)", "sys.stdin.readline()")
    process = start(code, busy)
    assert process.stdout
    assert process.stdout.readline()
    found = look(busy)
    assert bad(found) == {}
    assert "1 are running" in next(f.message for f in found if f.check == "runs")
    process.kill()
    process.wait()
    assert "runs" in bad(look(busy))


def test_a_run_that_a_forked_child_still_logs_to_is_no_fault(busy: Path, start: Start) -> None:
    code = """
    import os, sys, time
    import lakelineage
    lake = lakelineage.open(sys.argv[1])
    lake._engine._flusher.stop()
    run = lake.start_run("e")
    if os.fork() == 0:
        run.log_metric("m", 1.0)
        print(os.getpid(), flush=True)
        time.sleep(60)
        os._exit(0)
    os.waitpid(-1, os.WNOHANG)
    time.sleep(1)
    os._exit(0)
    """
    process = start(code, busy)
    assert process.stdout
    child = int(process.stdout.readline())
    process.wait(120)
    try:
        assert "runs" not in bad(look(busy))
    finally:
        os.kill(child, signal.SIGKILL)
    deadline = time.monotonic() + 120
    while "runs" not in bad(look(busy)):
        assert time.monotonic() < deadline
    assert "RUNNING" in bad(look(busy))["runs"].message


def last_segment(busy: Path) -> Path:
    return max(busy.glob("journal/*/*.seg"), key=lambda path: path.stat().st_size)


def test_a_torn_segment_and_what_is_set_aside(busy: Path, start: Start) -> None:
    killed(busy, start)
    segment = last_segment(busy)
    with segment.open("ab") as file:
        file.write(b"\x40\x00\x00\x00half a record")
    torn = [f for f in look(busy) if f.check == "journal" and "no whole record" in f.message]
    assert torn[0].severity is Severity.WARNING
    assert segment.name.partition(".")[0] in torn[0].message
    with ll.open(busy) as lake:
        lake.flush()
    aside = [f for f in look(busy) if f.check == "journal" and "set aside" in f.message]
    assert aside[0].severity is Severity.WARNING
    assert ".damaged" in aside[0].message


def test_lanes_of_an_earlier_boot(busy: Path, start: Start) -> None:
    killed(busy, start)
    for path in busy.glob("journal/*/*-*"):
        path.rename(path.with_name("00000000" + path.name[8:]))
    told = [f.message for f in look(busy) if f.check == "journal" and f.severity is Severity.NOTE]
    assert any("earlier boot" in message for message in told)


def test_rows_that_wait_for_too_long(busy: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    from lakelineage.maintenance.doctor import journal

    killed(busy, start)
    monkeypatch.setattr(journal, "_LATE", 0.0)
    assert bad(look(busy))["journal"].severity is Severity.WARNING


def test_a_network_file_system_under_the_journal(busy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lakelineage.maintenance.doctor import journal

    monkeypatch.setattr(journal, "file_system", lambda _: "nfs4")
    only(busy, "journal", Severity.WARNING, "network file system", "nfs4")


def test_data_files_that_no_version_needs_and_maintain_deletes_them(busy: Path) -> None:
    file = active_file(busy, METRICS.name)
    orphan = file.with_name("part-00000-orphan.zstd.parquet")
    shutil.copyfile(file, orphan)
    os.utime(orphan, (1e9, 1e9))
    assert "maintain" in only(busy, "unneeded files", Severity.NOTE, "1 data files").advice
    with ll.open(busy) as lake:
        assert lake.maintain().removed == 1
    assert not orphan.exists()
    assert bad(look(busy)) == {}


def artifact(busy: Path) -> Path:
    return min(busy.glob("artifacts/*/notes/*.txt"))


def test_an_artifact_that_is_gone(busy: Path) -> None:
    artifact(busy).unlink()
    only(busy, "artifacts", Severity.ERROR, "files are gone", artifact(busy).parent.parent.name[:4])


def test_an_artifact_of_another_size_and_of_other_content(busy: Path) -> None:
    file = artifact(busy)
    file.write_text("HELLO")
    assert bad(look(busy)) == {}, "reading content is for --deep"
    only(busy, "artifacts", Severity.ERROR, "not what was logged", file.name, deep=True)
    file.write_text("longer than it was")
    only(busy, "artifacts", Severity.ERROR, "not what was logged", file.name)


def test_files_that_no_run_recorded_and_what_died_writers_left(busy: Path) -> None:
    stray = artifact(busy).with_name("stray.txt")
    stray.write_text("x" * 2048)
    only(busy, "artifacts", Severity.NOTE, "1 files (2 KiB)", "stray.txt")
    stray.rename(stray.with_name(".new-abc"))
    only(busy, "temporary files", Severity.NOTE, ".new-abc")


def test_a_kept_copy_that_is_gone_and_one_that_nobody_needs(busy: Path) -> None:
    (kept,) = busy.glob("archive/*/*")
    stray = kept.with_name("f" * 40)
    shutil.copyfile(kept, stray)
    only(busy, "archive", Severity.NOTE, "needed by no snapshot", stray.name)
    stray.unlink()
    kept.unlink()
    assert "pin it again" in only(busy, "archive", Severity.ERROR, "are gone", kept.name).advice


def test_a_file_of_a_managed_table_that_is_gone(busy: Path) -> None:
    (file,) = busy.glob("datasets/*/*.parquet")
    file.unlink()
    only(busy, "datasets", Severity.ERROR, file.name)


def test_a_clock_that_is_behind(lake_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = ll.open(lake_path)
    monkeypatch.setattr(lake._engine.journal.clock, "_wall", lambda: wall_clock() + 3_600_000_000)
    with lake.start_run():
        pass
    lake.close()
    (found,) = (f for f in look(lake_path) if f.check == "clock")
    assert found.severity is Severity.WARNING
    assert "60 min" in found.message
    assert "NTP" in found.advice


@pytest.mark.parametrize(
    ("versions", "severity", "words"),
    [
        ({"deltalake": "1.6.6"}, Severity.ERROR, "duplicate"),
        ({"deltalake": "1.5.0"}, Severity.ERROR, "deltalake 1.5.0"),
        ({"duckdb": "1.4.0"}, Severity.WARNING, "duckdb"),
        ({"mlflow": "1.30.0", "pyarrow": "26.0.0"}, Severity.WARNING, "pyarrow 26"),
    ],
)
def test_library_versions_with_known_faults(
    versions: dict[str, str], severity: Severity, words: str, busy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = system.version
    monkeypatch.setattr(system, "version", lambda name: versions.get(name) or real(name))
    only(busy, "libraries", severity, words)


@pytest.mark.parametrize(("content", "words"), [("{}", "backup"), ('{"format": 99, "lake_id": "x"}', "pip install")])
def test_a_lake_json_that_is_damaged_or_too_new(content: str, words: str, busy: Path) -> None:
    (busy / "lake.json").write_text(content)
    found = bad(look(busy))
    assert set(found) == {"lake.json"}
    assert words in found["lake.json"].advice


LOGGER = """
import sys, time
import lakelineage
lake = lakelineage.open(sys.argv[1])
end = time.monotonic() + float(sys.argv[2])
rounds = 0
while time.monotonic() < end:
    with lake.start_run(f"e{rounds % 3}", name=sys.argv[3]) as run:
        run.log_params({"p": rounds})
        for step in range(20):
            run.log_metric("m", step, step=step)
        run.log_text("x" * rounds, "notes/same.txt")
        run.log_text("longer", "notes/same.txt")
    if rounds % 5 == 4:
        lake.flush()
    if rounds % 10 == 9 and sys.argv[3] == "a":
        try:
            lake.maintain()
        except lakelineage.errors.ConcurrentWrite:
            pass
    rounds += 1
lake.close()
print(rounds)
"""


@pytest.mark.slow
@pytest.mark.parametrize("lives", ["long", "short"])
def test_a_busy_lake_gives_no_false_alarm(
    lives: str, busy: Path, start: Start, done: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # with the patience that users get
    rounds = 0
    for _ in range(1 if lives == "long" else 5):
        loggers = [start(LOGGER, busy, 12 if lives == "long" else 1.5, name) for name in ("a", "b")]
        while any(logger.poll() is None for logger in loggers):
            found = look(busy, deep=rounds % 3 == 2)
            assert bad(found, Severity.WARNING) == {}, found
            rounds += 1
        for logger in loggers:
            assert int(done(logger)) > 0
    assert rounds >= 4
    assert bad(look(busy, deep=True), Severity.WARNING) == {}


def test_a_remote_lake_is_looked_at_and_a_lost_file_is_found(s3: S3) -> None:
    import boto3

    uri, options = s3
    with ll.open(f"{uri}/lake", options) as lake:
        with lake.start_run("e") as run:
            run.log_metric("m", 1.0)
            run.log_text("hello", "notes/a.txt")
        lake.maintain()
        assert bad(lake.doctor(deep=True)) == {}
    assert bad(examine_at(f"{uri}/lake", options, deep=True)) == {}
    client = boto3.client(
        "s3",
        endpoint_url=options["aws_endpoint"],
        region_name=options["aws_region"],
        aws_access_key_id=options["aws_access_key_id"],
        aws_secret_access_key=options["aws_secret_access_key"],
    )
    bucket = uri.removeprefix("s3://")
    client.delete_object(Bucket=bucket, Key=f"lake/artifacts/{run.id}/notes/a.txt")
    for url in DeltaTable(f"{uri}/lake/tables/{RUNS_HISTORY.name}", storage_options=options).file_uris():
        client.delete_object(Bucket=bucket, Key=url.removeprefix(f"{uri}/"))
    client.close()
    found = bad(examine_at(f"{uri}/lake", options), Severity.ERROR)
    assert {"artifacts", "tables.runs_history"} <= set(found)


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "lakelineage", "doctor", *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, timeout=120)


def test_the_command_tells_what_to_do_and_exits_1_only_for_more_than_notes(busy: Path) -> None:
    fine = command("--lake", busy)
    assert (fine.returncode, fine.stderr) == (0, "")
    assert "ok       tables: " in fine.stdout
    file = active_file(busy, METRICS.name)
    file.unlink()
    plain, told = command("--lake", busy), command("--lake", busy, "--json", "--deep")
    assert plain.returncode == told.returncode == 1
    assert "error    tables.metrics: " in plain.stdout
    assert "→ restore" in plain.stdout
    (one,) = (f for f in json.loads(told.stdout) if f["severity"] == "error" and f["check"] == "tables.metrics")
    assert set(one) == {"check", "severity", "message", "advice"}
    assert command("--lake", busy / "nothing").returncode == 1
    assert not (busy / "nothing").exists()
