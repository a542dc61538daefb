"""Programs that log a little and end: the commonest of all."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from deltalake import DeltaTable

import lakelineage as ll

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT = """
import sys
import lakelineage as ll
with ll.open(sys.argv[1]).start_run("short") as run:
    run.log_metric("loss", 1.0)
print(*[name for name in ("deltalake", "duckdb", "pyarrow", "polars", "pandas") if name in sys.modules])
"""


def script(lake: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", SCRIPT, str(lake)], capture_output=True, text=True, check=True)


def test_a_script_that_just_ends_leaves_its_rows_in_the_tables_and_says_nothing(lake_path: Path) -> None:
    for count in (1, 2, 3):
        assert script(lake_path).stderr == ""
        table = DeltaTable(lake_path / "tables" / "metrics")
        assert table.to_pyarrow_table().num_rows == count


def test_logging_to_a_known_experiment_loads_no_engine(lake_path: Path) -> None:
    script(lake_path)
    assert script(lake_path).stdout.split() == []


def test_the_journal_of_ended_programs_holds_nothing_that_is_committed(lake_path: Path) -> None:
    for _ in range(3):
        script(lake_path)
    with ll.open(lake_path) as lake:
        lake.flush()
        assert lake.sql("select count(*) as n from runs where status = 'FINISHED'").to_pylist() == [{"n": 3}]
    sizes = [file.stat().st_size for file in lake_path.glob("journal/*/*.seg")]
    assert sizes == [8]  # one lane, reused by each program in turn; its last segment is empty


def test_what_a_program_logged_is_published_when_it_ends(lake_path: Path) -> None:
    script(lake_path)
    rows = DeltaTable(lake_path / "tables" / "runs").to_pyarrow_table().to_pylist()
    assert [(row["status"], dict(row["metrics"])) for row in rows] == [("FINISHED", {"loss": 1.0})]


FORGETFUL = """
import sys
import lakelineage as ll
run = ll.open(sys.argv[1]).start_run("forgotten")
run.log_metric("loss", 1.0)
{ending}
"""


@pytest.mark.parametrize(
    ("ending", "status"), [("", "FINISHED"), ("sys.exit(3)", "FINISHED"), ("raise RuntimeError('boom')", "FAILED")]
)
def test_a_run_that_its_program_forgot_ends_with_it(lake_path: Path, ending: str, status: str) -> None:
    program = FORGETFUL.format(ending=ending)
    subprocess.run([sys.executable, "-c", program, str(lake_path)], capture_output=True, check=False)
    with ll.open(lake_path) as lake:
        assert lake.search_runs().column("status").to_pylist() == [status]


def test_a_run_that_another_process_resumed_is_not_ended_by_its_exit(lake: ll.Lake, lake_path: Path) -> None:
    run = lake.start_run("shared")
    program = "import sys, lakelineage as ll; ll.open(sys.argv[1]).resume_run(sys.argv[2]).log_metric('loss', 2.0)"
    subprocess.run([sys.executable, "-c", program, str(lake_path), run.id], capture_output=True, check=True)
    assert lake.run(run.id).status == "RUNNING"
    assert lake.run(run.id).metrics == {"loss": 2.0}


def test_a_run_says_how_to_be_sent_to_another_process(lake: ll.Lake) -> None:
    run = lake.start_run()
    with pytest.raises(ll.errors.InvalidInput, match=rf"{run.id}.*resume_run"):
        pickle.dumps(run)


TWO_LAKES = """
import shutil, sys
from pathlib import Path
import lakelineage as ll
runs = [ll.open(place).start_run("two") for place in sys.argv[1:]]
for run in runs:
    run.log_metric("loss", 1.0)
broken = Path(sys.argv[1], "tables")
shutil.rmtree(broken)
broken.write_text("no folder")
"""


def test_a_lake_that_cannot_be_committed_to_at_exit_is_told_of_and_keeps_no_other_from_it(tmp_path: Path) -> None:
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    command = [sys.executable, "-c", TWO_LAKES, str(broken), str(whole)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr
    assert f"{broken}" in done.stderr
    assert "safe in the journal" in done.stderr
    assert DeltaTable(whole / "tables" / "metrics").to_pyarrow_table().num_rows == 1

    (broken / "tables").unlink()
    with ll.open(broken) as lake:
        assert [dict(row["metrics"]) for row in lake.sql("select metrics from runs").to_pylist()] == [{"loss": 1.0}]


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_is_ended_with_its_program_even_if_its_lake_was_closed_or_it_was_reopened(
    lake_path: Path, start: "Callable[..., subprocess.Popen[str]]", fails: bool
) -> None:
    code = """
        import sys, lakelineage as ll
        with ll.open(sys.argv[1]) as lake:
            kept = lake.start_run("closed")
            ended = lake.start_run("reopened")
            ended.end()
        with ll.open(sys.argv[1]) as again:
            again.resume_run(ended.id).log_metric("a", 1)
        if sys.argv[2] == "True":
            raise ValueError("no")
    """
    process = start(code, lake_path, fails)
    process.communicate(timeout=120)
    assert process.returncode == int(fails)
    with ll.open(lake_path) as lake:
        wanted = "FAILED" if fails else "FINISHED"
        assert lake.search_runs().column("status").to_pylist() == [wanted, wanted]
