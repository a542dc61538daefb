"""Bad input gets an error that names the value and the remedy, and changes nothing."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import lakelineage
from lakelineage.errors import (
    ArtifactNotFound,
    ExperimentNotFound,
    InvalidInput,
    InvalidPath,
    InvalidQuery,
    LakeDamaged,
    LakelineageError,
    LakeTooNew,
    ParamConflict,
    RunFinished,
    RunNotFound,
    StorageFailed,
    StorageFull,
)
from lakelineage.settings import FORMAT
from lakelineage.tables import FACTS

ROOT = Path(__file__).parents[2]
SURROGATE = "a\ud800b"


def contents(lake: lakelineage.Lake) -> dict[str, int]:
    return {t.name: lake.sql(f"SELECT count(*) AS n FROM {t.name}").to_pylist()[0]["n"] for t in FACTS}


@pytest.fixture
def run(lake: lakelineage.Lake) -> Iterator[lakelineage.Run]:
    """An active run; afterwards it, and the lake, must work as if nothing had happened."""
    active = lake.start_run()
    before = contents(lake)
    yield active
    assert contents(lake) == before, "a refused call changed the lake"
    active.log_metric("fine", 1)
    active.log_param("fine", "1")
    active.end()
    lake.flush()
    assert (lake.run(active.id).metrics, lake.run(active.id).params) == ({"fine": 1.0}, {"fine": "1"})


BAD_KEYS = [
    ("", "empty"),
    ("   ", "empty"),
    ("k" * 251, "251 characters"),
    (SURROGATE, "surrogate"),
    ("a\0b", "NUL"),
    (None, "NoneType"),
    (3, "int"),
    (b"k", "bytes"),
]


@pytest.mark.parametrize(("key", "why"), BAD_KEYS)
def test_a_bad_key_is_refused_by_every_verb(key: Any, why: str, run: lakelineage.Run) -> None:
    calls: list[Callable[[], object]] = [
        lambda: run.log_param(key, 1),
        lambda: run.log_params({"fine": 1, key: 2}),
        lambda: run.log_metric(key, 1),
        lambda: run.log_metrics({"fine": 1, key: 2}),
        lambda: run.set_tag(key, "v"),
        lambda: run.set_tags({"fine": "v", key: "v"}),
        lambda: run.delete_tag(key),
        lambda: run.log_metric("fine", 1, model_id=key) if key is not None else run.log_metric(key, 1),
        lambda: run.log_metric("fine", 1, dataset=key) if key is not None else run.log_metric(key, 1),
    ]
    if isinstance(key, str) and key != SURROGATE:
        calls.append(lambda: run.log_metric_table({"key": ["fine", key], "value": [1.0, 2.0]}))
        calls.append(lambda: run.log_metric_table({"fine": [1.0], key: [2.0]}))
    for call in calls:
        with pytest.raises(InvalidInput, match=why):
            call()


@pytest.mark.parametrize(("name", "why"), BAD_KEYS)
def test_a_bad_name_of_an_experiment_or_run_is_refused(name: Any, why: str, lake: lakelineage.Lake) -> None:
    with pytest.raises(InvalidInput, match=why):
        lake.experiments.create(name)
    with pytest.raises(InvalidInput, match=why):
        lake.start_run(name)
    if name is not None:
        with pytest.raises(InvalidInput, match=why):
            lake.start_run("e", name=name)
    with pytest.raises(InvalidInput, match=why):
        lake.start_run("e", tags={name: "v"})
    assert lake.search_runs().num_rows == 0


@pytest.mark.parametrize(
    "value",
    ["1.0", None, True, [1.0], {"a": 1}, 1j, b"1", 10**400, datetime(2024, 1, 1, tzinfo=UTC), np.array([1.0, 2.0])],
)
def test_a_metric_that_is_no_number_is_refused(value: Any, run: lakelineage.Run) -> None:
    with pytest.raises(InvalidInput, match=r"'bad'"):
        run.log_metric("bad", value)
    with pytest.raises(InvalidInput, match=r"'bad'"):
        run.log_metrics({"fine": 1.0, "bad": value})


def test_every_real_number_is_kept_as_its_double(lake: lakelineage.Lake) -> None:
    from fractions import Fraction

    numbers = {
        "i": 3,
        "np": np.float32(0.5),
        "npi": np.int64(-7),
        "zero": np.array(2.5),
        "f": Fraction(1, 4),
        "nan": math.nan,
    }
    with lake.start_run() as run:
        run.log_metrics(numbers)
    found = lake.run(run.id).metrics
    assert {k: v for k, v in found.items() if k != "nan"} == {"i": 3, "np": 0.5, "npi": -7, "zero": 2.5, "f": 0.25}
    assert math.isnan(found["nan"])


@pytest.mark.parametrize("step", [1.0, "1", None, True, 2**63, -(2**63) - 1])
def test_a_step_that_is_no_64_bit_integer_is_refused(step: Any, run: lakelineage.Run) -> None:
    with pytest.raises(InvalidInput, match="step"):
        run.log_metric("m", 1, step=step)
    with pytest.raises(InvalidInput, match="step"):
        run.log_metrics({"m": 1}, step=step)
    if step is not None and not isinstance(step, int):
        with pytest.raises(InvalidInput, match="step"):
            run.log_metric_table({"step": [step], "m": [1.0]})


@pytest.mark.parametrize("timestamp", ["2024-01-01", 1.5, True, 2**53, -(2**53), 2**70])
def test_a_timestamp_that_is_no_time_is_refused(timestamp: Any, run: lakelineage.Run) -> None:
    with pytest.raises(InvalidInput, match="timestamp"):
        run.log_metric("m", 1, timestamp=timestamp)


@pytest.mark.parametrize(
    "timestamp",
    [
        0,
        -1,
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2026, 11, 21, 2, 40, 44, 123457, tzinfo=UTC),
        datetime(2026, 11, 21, 2, 40, 44, 123457),  # noqa: DTZ001 - naive means UTC
    ],
)
def test_a_timestamp_is_kept_to_the_microsecond(timestamp: Any, lake: lakelineage.Lake) -> None:
    with lake.start_run() as run:
        run.log_metric("m", 1, timestamp=timestamp)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    wanted = epoch + timedelta(milliseconds=timestamp) if isinstance(timestamp, int) else timestamp.replace(tzinfo=UTC)
    for _ in range(2):
        assert lake.run(run.id).history("m").column("timestamp").to_pylist() == [wanted]
        lake.flush()


@pytest.mark.parametrize("timestamp", [2**53 - 1, -(2**53) + 1])
def test_the_furthest_timestamps_are_refused_or_can_be_committed(timestamp: int, lake: lakelineage.Lake) -> None:
    run = lake.start_run()
    try:
        run.log_metric("m", 1, timestamp=timestamp)
    except InvalidInput:
        assert lake.sql("SELECT * FROM metrics").num_rows == 0
    lake.flush()
    run.end()
    lake.maintain()
    assert lake.run(run.id).status == "FINISHED"


BAD_TABLES: list[tuple[Any, str]] = [
    ("text", "str"),
    (3, "int"),
    ([1, 2], "list"),
    ({"a": [1.0], "b": [1.0, 2.0]}, "dict"),
    ({"step": [1]}, "none is a metric"),
    ({"a": ["x"]}, "'a'"),
    ({"a": [True]}, "'a'"),
    ({"key": ["a"], "value": ["x"]}, "'value'"),
    ({"key": ["a"], "value": [1.0], "extra": [1]}, "extra"),
    ({"key": ["a", None], "value": [1.0, 2.0]}, "null"),
    ({"key": ["a"], "value": [None]}, "value"),
    ({"key": ["a"], "value": [1.0], "step": [1.5]}, "step"),
    ({"key": ["a"], "value": [1.0], "step": ["1"]}, "step"),
    ({"key": ["a"], "value": [1.0], "step": [None]}, "step"),
    (pa.table({"key": ["a"], "value": [1.0], "step": pa.array([2**63], pa.uint64())}), "step"),
    ({"key": ["a"], "value": [1.0], "timestamp": ["now"]}, "timestamp"),
    ({"key": ["a"], "value": [1.0], "timestamp": [2**62]}, "timestamp"),
    (pa.table({"key": ["a"], "value": [1.0], "timestamp": pa.array([2**62], pa.timestamp("s"))}), "timestamp"),
    ({"key": [1], "value": [1.0]}, "int"),
    (pa.table([[1.0], [2.0]], names=["a", "a"]), "twice"),
]


@pytest.mark.parametrize(("data", "why"), BAD_TABLES, ids=range(len(BAD_TABLES)))
def test_a_table_that_is_no_table_of_metrics_is_refused(data: Any, why: str, run: lakelineage.Run) -> None:
    with pytest.raises(InvalidInput, match=why):
        run.log_metric_table(data)


@pytest.mark.parametrize(("value", "why"), [("v" * 8001, "8001 characters"), (SURROGATE, "surrogate"), ("a\0b", "NUL")])
def test_a_text_that_cannot_be_kept_is_refused(value: str, why: str, run: lakelineage.Run) -> None:
    with pytest.raises(InvalidInput, match=why):
        run.log_param("p", value)
    with pytest.raises(InvalidInput, match=why):
        run.set_tag("t", value)


def test_two_values_for_one_param_are_a_conflict_and_none_of_the_call_is_kept(lake: lakelineage.Lake) -> None:
    run = lake.start_run()
    run.log_param("p", 1)
    with pytest.raises(ParamConflict, match=r"'p'.*'1'.*'2'.*tag"):
        run.log_params({"q": 1, "p": 2})
    run.log_param("p", "1")  # the same again
    with pytest.raises(ParamConflict):
        lake.resume_run(run.id).log_param("p", 2)
    assert lake.run(run.id).params == {"p": "1"}
    assert contents(lake)["params"] == 1


def test_a_finished_run_takes_nothing_but_tags(lake: lakelineage.Lake, tmp_path: Path) -> None:
    run = lake.start_run()
    run.log_metric("m", 1)
    run.end()
    file = tmp_path / "f"
    file.write_text("x")
    before = contents(lake)
    calls: list[Callable[[], object]] = [
        lambda: run.log_metric("m", 2),
        lambda: run.log_metrics({"m": 2}),
        lambda: run.log_metric_table({"m": [1.0]}),
        lambda: run.log_param("p", 1),
        lambda: run.log_artifact(file),
        lambda: run.log_artifacts(tmp_path / "lake" / "tables"),
        lambda: run.log_text("x", "a.txt"),
        lambda: run.end("FAILED"),
    ]
    for call in calls:
        with pytest.raises(RunFinished, match=rf"{run.id}.*FINISHED.*resume_run"):
            call()
    run.end()
    assert contents(lake) == before
    run.set_tag("t", 1)
    assert lake.run(run.id).tags == {"t": "1"}
    lake.resume_run(run.id).log_metric("m", 2, step=1)
    assert lake.run(run.id).metrics == {"m": 2.0}


@pytest.mark.parametrize("status", ["RUNNING", "finished", "", "DONE", None, 3])
def test_a_status_that_ends_no_run_is_refused(status: Any, run: lakelineage.Run) -> None:
    with pytest.raises(InvalidInput, match="FINISHED, FAILED, KILLED"):
        run.end(status)


@pytest.mark.parametrize("run_id", ["0" * 32, "0190b3f2a1b27c3d8e4f5a6b7c8d9e0f"])
def test_an_unknown_run_is_said_to_be_unknown(run_id: str, lake: lakelineage.Lake) -> None:
    for look in (lake.run, lake.resume_run):
        with pytest.raises(RunNotFound, match=f"{run_id}.*lakelineage runs"):
            look(run_id)
    assert sum(contents(lake).values()) == 0


@pytest.mark.parametrize("run_id", ["", "xyz", "0" * 33, "g" * 32, 5, None, "'; DROP TABLE runs; --"])
def test_what_cannot_be_a_run_id_is_refused(run_id: Any, lake: lakelineage.Lake) -> None:
    for look in (lake.run, lake.resume_run, lambda r: lake.start_run(parent=r) if r is not None else lake.run(r)):
        with pytest.raises(InvalidInput, match=r"run id"):
            look(run_id)


ESCAPES = ["../x", "a/../../x", "/etc/x", "..", "", " ", "a\\..\\x", "C:/x", "a\0b", SURROGATE, "a\nb", ".", "x" * 1001]


@pytest.mark.parametrize("path", ESCAPES)
def test_an_artifact_path_that_leaves_the_runs_folder_is_refused(
    path: str, run: lakelineage.Run, lake_path: Path
) -> None:
    file = lake_path.parent / "f"
    file.write_text("x")
    before = sorted(p for p in lake_path.rglob("*") if "artifacts" in p.parts)
    with pytest.raises(InvalidInput):
        run.log_text("x", path)
    if path not in ("", ".", " "):
        with pytest.raises(InvalidInput):
            run.log_artifact(file, path)
    if path not in ("", "."):  # these name all artifacts
        with pytest.raises((InvalidPath, InvalidInput)):
            lakelineage.open(lake_path).run(run.id).download(path, lake_path.parent / "out")
    assert sorted(p for p in lake_path.rglob("*") if "artifacts" in p.parts) == before
    assert not (lake_path / "artifacts" / "x").exists()


def test_artifacts_that_are_not_there_are_said_so(run: lakelineage.Run, lake: lakelineage.Lake, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nowhere"):
        run.log_artifact(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="log_artifacts"):
        run.log_artifact(tmp_path)
    with pytest.raises(InvalidInput, match="nowhere"):
        run.log_artifacts(tmp_path / "nowhere")
    with pytest.raises(ArtifactNotFound, match=r"'a/b'"):
        lake.run(run.id).download("a/b", tmp_path / "out")


def test_an_experiment_that_is_not_there_is_said_so(lake: lakelineage.Lake) -> None:
    with pytest.raises(ExperimentNotFound, match="'nope'"):
        lake.experiments.get("nope")
    lake.experiments.create("e")
    with pytest.raises(LakelineageError, match="'e'") as caught:
        lake.experiments.create("e")
    assert caught.value.code == "already_exists"


@pytest.mark.parametrize(
    "sql",
    ["SELEC 1", "SELECT * FROM nowhere", "SELECT nope FROM runs", "SELECT * FROM read_parquet('/nowhere.parquet')"],
)
def test_sql_that_the_engine_refuses_says_why(sql: str, lake: lakelineage.Lake) -> None:
    lake.start_run().end()
    with pytest.raises(InvalidQuery):
        lake.sql(sql)
    assert lake.sql("SELECT count(*) AS n FROM runs").to_pylist() == [{"n": 1}]


def test_a_lake_of_a_newer_format_is_left_alone(lake_path: Path) -> None:
    lakelineage.open(lake_path).close()
    file = lake_path / "lake.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": FORMAT + 1}))
    before = sorted((p, p.stat().st_mtime_ns) for p in lake_path.rglob("*"))
    with pytest.raises(LakeTooNew, match=rf"format {FORMAT + 1}.*up to {FORMAT}.*upgrade"):
        lakelineage.open(lake_path)
    assert sorted((p, p.stat().st_mtime_ns) for p in lake_path.rglob("*")) == before


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "{}", '{"format": "x", "lake_id": "a"}', '{"format": 1}', "\udcff"]
)
def test_damaged_settings_are_said_to_be_damaged(text: str, lake_path: Path) -> None:
    lakelineage.open(lake_path).close()
    (lake_path / "lake.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(LakeDamaged, match=r"lake\.json.*backup"):
        lakelineage.open(lake_path)
    assert (lake_path / "lake.json").read_bytes() == text.encode(errors="surrogateescape")


def test_what_is_no_place_for_a_lake_is_refused_and_left_alone(tmp_path: Path) -> None:
    from deltalake import write_deltalake

    file = tmp_path / "file"
    file.write_text("x")
    write_deltalake(tmp_path / "table", pa.table({"a": [1]}))
    cases: list[tuple[Any, str]] = [
        (file, "is a file"),
        (tmp_path / "table", "Delta table"),
        ("", "empty"),
        ("ftp://host/lake", "ftp"),
        ("file://host/lake", "host"),
    ]
    for place, why in cases:
        with pytest.raises(InvalidInput, match=why):
            lakelineage.open(place)
    with pytest.raises(InvalidInput, match="lakelineage init"):
        lakelineage.open(tmp_path / "none", create=False)
    with pytest.raises(InvalidInput, match="durability 'fast'"):
        lakelineage.open(tmp_path / "none", durability="fast")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="protection 'all'"):
        lakelineage.open(tmp_path / "none", protection="all")
    with pytest.raises(InvalidInput, match="LAKELINEAGE_URI"):
        lakelineage.open()
    assert not (tmp_path / "none").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "table"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte, or, where none may be mounted, a reason to skip."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("no file system may be mounted here; the law is tested with a limit of file sizes too")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # the clock of the journal stays mapped


def fill_up(filler: Path) -> None:
    """Write a file until no byte fits any more."""
    size = 4096
    with filler.open("wb", buffering=0) as file:
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2


def test_on_a_full_disk_nothing_of_the_call_is_kept_and_logging_goes_on_after_space_is_made(small_disk: Path) -> None:
    lake = lakelineage.open(small_disk / "lake", durability="power")
    lake._engine._flusher.stop()  # what is asked for here is the journal alone
    run = lake.start_run()
    run.log_metric("before", 1)
    filler = small_disk / "filler"
    fill_up(filler)
    logged = 0

    def log_for_ever() -> None:
        nonlocal logged
        while True:
            run.log_metrics({f"m{i}": logged for i in range(50)}, step=logged)
            logged += 1

    with pytest.raises(StorageFull, match="nothing of the call was kept"):
        log_for_ever()
    for _ in range(3):
        with pytest.raises(StorageFull):
            run.log_text("x" * 100_000, "a.txt")
    with pytest.raises(StorageFull):
        run.log_params({f"p{i}": "v" * 1000 for i in range(100)})
    filler.unlink()
    run.log_metric("after", 1)
    run.end()
    steps = lake.sql(
        "SELECT step, count(*) AS n FROM metrics WHERE key LIKE 'm%' GROUP BY step ORDER BY step"
    ).to_pylist()
    assert steps == [{"step": s, "n": 50} for s in range(logged)]
    seen = lake.run(run.id)
    assert {"before", "after"} <= set(seen.metrics)
    assert seen.params == {}
    assert seen.artifacts.num_rows == 0
    lake.flush()
    assert lake.sql("SELECT count(*) AS n FROM metrics").to_pylist() == [{"n": logged * 50 + 2}]
    lake.close()


def test_a_disk_too_full_to_commit_keeps_the_journal_and_says_so(small_disk: Path) -> None:
    lake = lakelineage.open(small_disk / "lake", durability="process")
    lake._engine._flusher.stop()
    run = lake.start_run()
    run.log_metric("m", 1)
    filler = small_disk / "filler"
    fill_up(filler)
    with pytest.raises((StorageFull, StorageFailed)):
        lake.flush()
    filler.unlink()
    lake.flush()
    assert lake.run(run.id).metrics == {"m": 1.0}
    lake.close()


LIMITED = """
import resource, signal, sys
import lakelineage
from lakelineage.errors import StorageFailed
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
lake = lakelineage.open(sys.argv[1], durability="process")
lake._engine._flusher.stop()
run = lake.start_run()
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
logged = 0
try:
    while True:
        run.log_metrics({f"m{i}": 1.0 for i in range(20)}, step=logged)
        logged += 1
except StorageFailed as error:
    assert "nothing of the call was kept" in str(error), error
run.log_param("still", "alive")
print(logged, run.id, flush=True)
import os
os._exit(0)
"""


def test_a_frame_that_was_written_in_part_is_taken_back(lake_path: Path) -> None:
    program = lake_path.parent / "limited.py"
    program.write_text(LIMITED)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    answer = subprocess.run([sys.executable, program, lake_path], env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    logged, run_id = answer.stdout.split()
    lake = lakelineage.open(lake_path)
    for _ in range(2):
        found = lake.sql("SELECT step, count(*) AS n FROM metrics GROUP BY step ORDER BY step").to_pylist()
        assert found == [{"step": s, "n": 20} for s in range(int(logged))]
        assert lake.run(run_id).params == {"still": "alive"}
        lake.flush()
    assert not list(lake._engine.host_folder.glob("*.damaged"))
    lake.close()


def test_a_journal_that_may_not_be_written_is_said_so(lake_path: Path) -> None:
    lakelineage.open(lake_path).close()
    (lake_path / "journal").rename(lake_path / "old")
    (lake_path / "journal").write_text("in the way")
    with pytest.raises(StorageFailed, match="journal"):
        lakelineage.open(lake_path)
