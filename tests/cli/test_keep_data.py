"""Laws of the commands that keep and free data: snapshot protect, unprotect, vacuum, experiments protect."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

import lakelineage

Cli = Callable[..., Any]
FILES = "delta.deletedFileRetentionDuration"


@pytest.fixture
def own(tmp_path: Path) -> tuple[Path, Path, str]:
    """A lake, a table of two versions, and the id of a pin of the first."""
    table, rows = tmp_path / "points", pa.table({"x": [1.0, 2.0]})
    write_deltalake(str(table), rows)
    write_deltalake(str(table), rows, mode="overwrite")
    with lakelineage.open(tmp_path / "lake", protection="reference") as lake:
        pinned = lake.snapshot(table, version=0).id
        lake.snapshot(table, version=1)
    return tmp_path / "lake", table, pinned


def test_protect_shows_old_and_new_and_refuses_where_nobody_can_be_asked(own: Any, call: Cli) -> None:
    lake, table, pinned = own
    asked = call("--lake", lake, "snapshot", "protect", pinned[:8])
    assert asked.returncode == 2
    assert all(word in asked.stdout for word in (FILES, "not set", "interval 36500 days"))
    assert "--yes" in asked.stderr
    assert call("--lake", lake, "snapshot", "protect", pinned, "--json").returncode == 2
    assert DeltaTable(str(table)).version() == 1
    assert (
        "will fail"
        in call("snapshot", "protect", "--help").stdout
        + (Path(lakelineage.__file__).parent / "cli" / "protect.py").read_text()
    )


def test_protect_release_and_unprotect_go_round(own: Any, call: Cli, answer: Cli) -> None:
    lake, table, pinned = own
    planned = answer("--lake", lake, "snapshot", "protect", pinned, "--until", "100d", "--dry-run")
    assert (len(planned["changes"]), planned["version"]) == (2, None)
    made = answer("--lake", lake, "snapshot", "protect", pinned, "--until", "100d", "--yes")
    assert (made["version"], made["changes"]) == (2, planned["changes"])
    told = {pin["snapshot_id"]: pin for pin in answer("--lake", lake, "snapshot", "pins")}
    assert (told[pinned]["protection"], told[pinned]["problem"]) == ("protected", None)
    assert "has to change" in call("--lake", lake, "snapshot", "protect", pinned, "--until", "90d").stdout
    released = call("--lake", lake, "snapshot", "release", pinned)
    assert f"lakelineage snapshot unprotect {pinned}" in released.stdout
    assert answer("--lake", lake, "snapshot", "unprotect", pinned, "--yes")["changes"][0]["after"] == "interval 1 week"
    assert DeltaTable(str(table)).metadata().configuration[FILES] == "interval 1 week"


def test_vacuum_shows_sizes_and_what_pins_keep_and_asks(own: Any, call: Cli, answer: Cli) -> None:
    lake, table, pinned = own
    short = ("--retention-hours", 0, "--no-enforce-retention-duration")
    before = set(table.glob("*.parquet"))
    asked = call("--lake", lake, "vacuum", table, *short)
    assert asked.returncode == 0, "there is nothing to delete, and nothing to ask"
    assert pinned in asked.stdout
    assert "pins keep 1 files" in asked.stdout
    with lakelineage.open(lake) as opened:
        opened.pins.release(pinned)
    asked = call("--lake", lake, "vacuum", table, *short)
    assert (asked.returncode, set(table.glob("*.parquet"))) == (2, before)
    assert "1 files" in asked.stdout
    assert "--yes" in asked.stderr
    only = answer("--lake", lake, "vacuum", table, *short, "--dry-run")
    assert (only["dry_run"], only["files"], set(table.glob("*.parquet"))) == (True, 1, before)
    done = answer("--lake", lake, "vacuum", table, *short, "--yes", "--comment", "space")
    assert (done["dry_run"], done["paths"], done["bytes"]) == (False, only["paths"], only["bytes"])
    assert len(set(table.glob("*.parquet"))) == len(before) - 1


def test_vacuum_refuses_a_retention_that_is_too_short(own: Any, call: Cli) -> None:
    lake, table, _ = own
    refused = call("--lake", lake, "vacuum", table, "--retention-hours", 1, "--yes")
    assert refused.returncode == 1
    assert "--no-enforce-retention-duration" in refused.stderr
    assert call("--lake", lake, "vacuum", "/no/such/table", "--dry-run").returncode == 1


def test_experiments_have_a_level_for_their_runs(own: Any, call: Cli, answer: Cli) -> None:
    lake, _, _ = own
    made = answer("--lake", lake, "experiments", "create", "audit", "--protection", "archived")
    assert made["tags"] == {"lakelineage.protection": "archived"}
    changed = answer("--lake", lake, "experiments", "protect", "audit", "reference")
    assert changed["tags"] == {"lakelineage.protection": "reference"}
    assert answer("--lake", lake, "experiments", "protect", "audit", "default")["tags"] == {}
    assert call("--lake", lake, "experiments", "protect", "audit", "eternal").returncode == 1
