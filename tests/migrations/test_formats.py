"""Lakes of every format that there was are read for ever, and brought up to the present one whatever happens."""

import importlib.util
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

import lakelineage as ll
from lakelineage import migrations
from lakelineage.engine import Engine
from lakelineage.errors import LakeDamaged, LakeTooNew, StorageFailed
from lakelineage.journal import segment
from lakelineage.model.changes import Batch, Rows
from lakelineage.settings import FORMAT
from lakelineage.store import faults
from lakelineage.store.delta import DeltaStore
from lakelineage.store.root import Root
from lakelineage.tables import BY_NAME, FACTS, METRICS, RUNS, RUNS_HISTORY

Start = Callable[..., "subprocess.Popen[str]"]
Done = Callable[..., str]
S3 = tuple[str, dict[str, str]]

LAKES = Path(__file__).parents[1] / "lakes"
PACKED = sorted(LAKES.glob("format-*"))
_SPEC = importlib.util.spec_from_file_location("make_lakes", LAKES / "make.py")
assert _SPEC is not None
assert _SPEC.loader is not None
make: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(make)

#: Columns that format 1 did not have.
NEW = dict.fromkeys((RUNS_HISTORY.name, RUNS.name), ("source_type", "source_hash", "artifact_uri"))


@pytest.fixture
def old(lake_path: Path) -> Path:
    """A copy of the lake of format 1."""
    return Path(make.unpack(LAKES / "format-1", lake_path))


def expected(packed: Path = LAKES / "format-1") -> dict[str, Any]:
    answers: dict[str, Any] = json.loads((packed / "expected.json").read_text())
    return answers


def check(lake: ll.Lake, answers: dict[str, Any]) -> None:
    """The lake says all that it said when it was made."""
    assert lake.id == answers["lake_id"]
    for sql, rows in answers["sql"].items():
        assert make.answer(lake, sql) == rows, sql
    for key, rows in answers["snapshots"].items():
        assert make.plain(lake.load_snapshot(key).to_arrow().to_pylist()) == rows, key


def format_of(lake_path: Path) -> int:
    return int(json.loads((lake_path / "lake.json").read_text())["format"])


def columns(lake_path: Path, name: str) -> set[str]:
    return {field.name for field in DeltaTable(str(lake_path / "tables" / name)).schema().fields}


def log_more(lake: ll.Lake, name: str = "new") -> str:
    with lake.start_run("first", name=name, tags={"team": "y"}) as run:
        run.log_metric("loss", 0.5)
        run.log_metric_table({"step": [1, 2], "bulk": [1.0, 2.0]})
    return run.id


def test_there_is_a_lake_of_every_format() -> None:
    assert [path.name for path in PACKED] == [f"format-{n}" for n in range(1, FORMAT + 1)]
    assert set(migrations.STEPS) == set(range(2, FORMAT + 1))


@pytest.mark.parametrize("packed", PACKED, ids=lambda path: path.name)
def test_a_lake_of_any_format_says_what_it_said_and_is_logged_to(packed: Path, lake_path: Path) -> None:
    make.unpack(packed, lake_path)
    answers = expected(packed)
    with ll.open(lake_path) as lake:
        check(lake, answers)
        lake.flush()
        check(lake, answers)
        lake.maintain()
        check(lake, answers)
        run_id = log_more(lake)
        assert lake.run(run_id).metrics == {"loss": 0.5, "bulk": 2.0}
        (trained,) = lake.search_runs("attributes.run_name = 'trained' and metrics.loss < 1").to_pylist()
        assert set(lake.run(trained["run_id"]).inputs) == {"points", "people"}
        assert lake.models.resolve("models:/doubler@champion").version == 2
        assert lake.lineage(f"run:{trained['run_id']}").upstream().num_rows
    assert format_of(lake_path) == FORMAT
    with ll.open(lake_path) as again:
        lake_after = {sql: rows for sql, rows in answers["sql"].items() if " FROM runs " in sql}
        (rows,) = lake_after.values()
        assert make.answer(again, next(iter(lake_after)))[: len(rows)] == rows
        assert again.run(run_id).status == "FINISHED"
        found = again.sql("SELECT source_type FROM runs WHERE name = 'trained'").to_pylist()
        assert len(found) == 1


@pytest.mark.parametrize("packed", PACKED, ids=lambda path: path.name)
def test_artifacts_of_a_lake_of_any_format_are_what_was_logged(packed: Path, lake_path: Path, tmp_path: Path) -> None:
    import hashlib

    make.unpack(packed, lake_path)
    with ll.open(lake_path) as lake:
        rows = lake.sql("SELECT * FROM artifacts").to_pylist()
        assert rows
        for row in rows:
            file = lake.run(row["run_id"]).download(row["path"], tmp_path / row["run_id"])
            assert hashlib.sha256(file.read_bytes()).hexdigest() == row["sha256"]


def test_an_upgrade_adds_the_columns_once_and_names_the_format_last(old: Path) -> None:
    values = json.loads((old / "lake.json").read_text())
    (old / "lake.json").write_text(json.dumps({**values, "note": "kept"}))
    versions = {name: DeltaTable(str(old / "tables" / name)).version() for name in NEW}
    ll.open(old).close()
    now = json.loads((old / "lake.json").read_text())
    assert now == {**values, "format": FORMAT, "note": "kept"}
    for name, added in NEW.items():
        table = DeltaTable(str(old / "tables" / name))
        assert columns(old, name) == {c.name for c in BY_NAME[name].all_columns}
        assert set(added) <= columns(old, name)
        commits = [c["operation"] for c in table.history() if c["version"] > versions[name]]
        assert commits.count("ADD COLUMN") == 2  # by the steps to formats 2 and 4
        assert table.metadata().configuration["delta.checkpointInterval"] == "100"


def refuse(*_: object) -> None:
    raise StorageFailed("read-only file system")


def test_a_lake_that_cannot_be_upgraded_is_read_and_logged_to_and_upgraded_later(
    old: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers = expected()
    with monkeypatch.context() as patch:
        patch.setattr(DeltaStore, "add_columns", refuse)
        lake = ll.open(old)
        lake._engine._flusher.stop()
        assert "could not be upgraded" in caplog.text
        check(lake, answers)
        run_id = log_more(lake, name="waiting")
        assert lake.run(run_id).metrics["loss"] == 0.5
        with pytest.raises(StorageFailed, match="read-only"):
            lake.flush()
        assert format_of(old) == 1
    lake.flush()
    assert format_of(old) == FORMAT
    assert lake.run(run_id).status == "FINISHED"
    lake.close()


OPENER = """
import sys
import lakelineage
lake = lakelineage.open(sys.argv[1])
with lake.start_run("first", name=sys.argv[2]) as run:
    run.log_metric("m", 1.0)
lake.flush()
lake.maintain()
lake.close()
print(run.id)
"""

UPGRADE_STEPS = [step for step in faults.STEPS if step.startswith("upgrade.")]


@pytest.mark.parametrize("step", UPGRADE_STEPS)
def test_an_upgrade_killed_at_any_step_is_completed_by_the_next_to_open(step: str, old: Path, start: Start) -> None:
    process = start(OPENER, old, "killed", LAKELINEAGE_FAULT=step)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert format_of(old) == (2 if step == "upgrade.after" else 1)  # one step of several
    with ll.open(old) as lake:
        check(lake, expected())
        assert format_of(old) == FORMAT
        log_more(lake)
    for name in NEW:
        assert columns(old, name) == {c.name for c in BY_NAME[name].all_columns}


@pytest.mark.slow
def test_processes_that_open_an_old_lake_at_once_upgrade_it_once_and_lose_nothing(
    old: Path, start: Start, done: Done
) -> None:
    reader = start(READER, old, json.dumps([row[0] for row in _runs(expected())]))
    openers = [start(OPENER, old, f"p{i}") for i in range(5)]
    ids = [done(p).strip() for p in openers]
    assert int(done(reader)) > 0
    with ll.open(old) as lake:
        assert set(ids) <= set(lake.search_runs("status = 'FINISHED'").column("run_id").to_pylist())
        assert all(lake.run(i).metrics == {"m": 1.0} for i in ids)
        for table in FACTS:
            rows = lake.sql(f"SELECT writer, seq FROM {table.name}").to_pylist()
            assert len({(r["writer"], r["seq"]) for r in rows}) == len(rows)
    history = DeltaTable(str(old / "tables" / RUNS_HISTORY.name)).history()
    assert [c["operation"] for c in history].count("ADD COLUMN") == 2  # by the steps to formats 2 and 4


#: Reads while others upgrade: what was there is always there.
READER = """
import json, sys, time
import lakelineage
lake = lakelineage.open(sys.argv[1])
wanted = set(json.loads(sys.argv[2]))
end = time.monotonic() + 4
reads = 0
while time.monotonic() < end:
    for table in ("runs", "runs_history"):
        assert wanted <= set(lake.sql(f"SELECT run_id FROM {table}").column("run_id").to_pylist())
    reads += 1
lake.close()
print(reads)
"""


def _runs(answers: dict[str, Any]) -> list[list[Any]]:
    return next(rows for sql, rows in answers["sql"].items() if " FROM runs " in sql)


def _state(run_id: str, status: str = "FINISHED") -> tuple[Any, ...]:
    """A state of a run as format 1 journaled it: without the columns of format 2."""
    row = RUNS_HISTORY.row(
        run_id=run_id, experiment_id="1", name="old", status=status, lifecycle_stage="active", start_time=1
    )
    return row[: -len(NEW[RUNS_HISTORY.name])]


def test_what_an_old_process_journals_after_the_upgrade_is_read_and_committed(old: Path) -> None:
    run_id = "0" * 32
    engine = Engine(old)
    engine._flusher.stop()
    metrics = pa.record_batch(
        [[run_id], ["m"], [0], pa.array([1], pa.timestamp("us", "UTC")), [2.0]],
        schema=pa.schema(list(METRICS.own_schema)[:5]),  # some columns short of today's
    )
    engine.append((Rows(RUNS_HISTORY.name, (_state(run_id),)), Batch(METRICS.name, metrics)))
    for _ in range(2):
        (row,) = engine.query("SELECT * FROM runs WHERE run_id = ?", [run_id]).to_pylist()
        assert (row["status"], dict(row["metrics"]), row["source_type"]) == ("FINISHED", {"m": 2.0}, None)
        engine.flush()
    engine.close()


def test_an_old_process_cannot_commit_after_the_upgrade_and_disturbs_nobody(old: Path) -> None:
    """Its Delta engine refuses rows that lack columns; they stay in the journal, which the law above speaks of."""
    place = str(old / "tables" / RUNS_HISTORY.name)
    stale = DeltaTable(place)
    before = stale.schema()
    lake = ll.open(old)
    lake.flush()
    rows = pa.Table.from_batches([], schema=pa.schema(before))
    assert len(rows.schema) == len(RUNS_HISTORY.all_columns) - len(NEW[RUNS_HISTORY.name])
    row = dict.fromkeys(rows.schema.names) | {
        "ingested_at": 1, "writer": "w", "seq": 1, "run_id": "f" * 32, "experiment_id": "1", "status": "RUNNING",
        "lifecycle_stage": "active", "start_time": 1,
    }  # fmt: skip
    one = pa.Table.from_pylist([row], schema=RUNS_HISTORY.schema.remove(len(RUNS_HISTORY.schema) - 1))
    one = one.select(rows.schema.names)
    for table in (stale, DeltaTable(place)):
        with pytest.raises(DeltaError):
            write_deltalake(table, one, mode="append")
    check(lake, expected())
    log_more(lake)
    lake.close()


def test_a_table_that_an_old_process_makes_after_the_upgrade_gets_its_columns(old: Path) -> None:
    """It publishes ``runs`` for the first time, say, having found none."""
    before = DeltaTable(str(old / "tables" / RUNS.name)).schema()
    shutil.rmtree(old / "tables" / RUNS.name)
    with ll.open(old) as lake:
        DeltaTable.create(str(old / "tables" / RUNS.name), before)
        lake.maintain()
        check(lake, expected())
    assert columns(old, RUNS.name) == {c.name for c in RUNS.all_columns}


def test_rows_are_committed_to_a_table_that_a_newer_version_gave_columns(old: Path) -> None:
    from deltalake import Field
    from deltalake.schema import PrimitiveType

    with ll.open(old) as lake:
        lake.flush()
        for name in (RUNS_HISTORY.name, METRICS.name, "experiments_history"):
            DeltaTable(str(old / "tables" / name)).alter.add_columns([Field("later", PrimitiveType("string"))])
        run_id = log_more(lake, "beside a newer one")
        lake.experiments.id_of("made beside a newer one")
        lake.flush()
        lake.maintain()
        check_runs = lake.run(run_id)
        assert (check_runs.status, check_runs.metrics["loss"]) == ("FINISHED", 0.5)
    assert "later" in columns(old, RUNS_HISTORY.name)


def test_rows_of_a_newer_version_in_the_journal_ask_for_an_upgrade() -> None:
    wide = segment.Part(RUNS_HISTORY.name, 1, 1, [[*RUNS_HISTORY.row(**_values()), "newer"]])
    with pytest.raises(LakeTooNew, match="upgrade"):
        segment.to_arrow(RUNS_HISTORY, [segment.Piece("w", 1, wide)])


def _values() -> dict[str, Any]:
    return {"run_id": "r", "experiment_id": "1", "status": "RUNNING", "lifecycle_stage": "active", "start_time": 1}


def upload(folder: Path, uri: str, options: dict[str, str]) -> None:
    """The lake as it is in an object store; its journal is on a disk of its host."""
    root = Root(uri, options)
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        if file.relative_to(folder).parts[0] != "journal":
            root.upload(file, file.relative_to(folder).as_posix())


@pytest.fixture
def remote(old: Path, s3: S3) -> S3:
    """The old lake, all of it committed, in a bucket."""
    uri = f"{s3[0]}/lake"
    upload(old, uri, s3[1])
    return uri, s3[1]


@pytest.mark.slow
def test_hosts_that_open_an_old_remote_lake_at_once_upgrade_it_and_lose_nothing(
    remote: S3, tmp_path: Path, start: Start, done: Done
) -> None:
    code = OPENER.replace("import sys", "import json, sys").replace("lake.maintain()\n", "")
    code = code.replace("sys.argv[1])", "sys.argv[1], json.loads(sys.argv[3]))")
    hosts = [
        start(
            code, remote[0], f"h{i}", json.dumps(remote[1]),
            LAKELINEAGE_SPOOL=str(tmp_path / f"h{i}"), LAKELINEAGE_CACHE=str(tmp_path / f"c{i}"),
        )
        for i in range(3)
    ]  # fmt: skip
    ids = [done(process, 200).strip() for process in hosts]
    with ll.open(*remote) as lake:
        assert lake._engine.settings.format == FORMAT
        assert all(lake.run(i).metrics == {"m": 1.0} for i in ids)
        assert lake.run(_runs(expected())[0][0]).status == "FINISHED"
        assert lake.sql("SELECT source_type, source_hash FROM runs_history").num_rows
    schema = DeltaTable(f"{remote[0]}/tables/runs_history", storage_options=remote[1]).schema()
    assert [f.name for f in schema.fields] == [c.name for c in RUNS_HISTORY.all_columns]


def test_of_two_that_replace_a_remote_file_at_once_one_is_told_that_it_came_late(s3: S3) -> None:
    root = Root(f"{s3[0]}/lake", s3[1])
    root.write("lake.json", b"1")
    (_, one), (_, two) = root.read_tagged("lake.json"), root.read_tagged("lake.json")
    assert root.replace("lake.json", b"2", one)
    assert not root.replace("lake.json", b"3", two)
    assert root.read("lake.json") == b"2"


def test_a_newer_lake_is_refused_with_what_to_install(lake_path: Path) -> None:
    ll.open(lake_path).close()
    values = json.loads((lake_path / "lake.json").read_text())
    (lake_path / "lake.json").write_text(json.dumps({**values, "format": FORMAT + 1}))
    with pytest.raises(LakeTooNew, match=f"format {FORMAT + 1}.*pip install --upgrade lakelineage"):
        ll.open(lake_path)
    command = [sys.executable, "-m", "lakelineage", "runs", "--lake", str(lake_path), "--json"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert told.returncode == 1
    error = json.loads(told.stderr)["error"]
    assert error["code"] == "lake_too_new"
    assert "pip install --upgrade lakelineage" in error["message"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b"3", b"{}", b'{"format": 1}', b'{"format": "1", "lake_id": "x"}', b"\xff\xfe",
     b'{"format": 0, "lake_id": "x"}', b'{"format": true, "lake_id": "x"}', b'{"format": Infinity, "lake_id": "x"}',
     b'{"format": 1, "lake_id": ""}', b'{"format": 1, "lake_id": 7}'],
)  # fmt: skip
def test_a_lake_json_that_says_nothing_is_damaged(content: bytes, lake_path: Path) -> None:
    lake_path.mkdir()
    (lake_path / "lake.json").write_bytes(content)
    with pytest.raises(LakeDamaged, match="backup"):
        ll.open(lake_path)
    assert (lake_path / "lake.json").read_bytes() == content
