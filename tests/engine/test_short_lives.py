"""Programs that log a little and end: the commonest of all."""

import subprocess
import sys
from pathlib import Path

from deltalake import DeltaTable

import lakelineage as ll

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
