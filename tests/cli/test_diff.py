"""The command diff: what changed between what two runs saw."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

import lakelineage

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two runs on versions of ``points``; the first also saw ``old``, the second ``new``; a third saw both versions."""
    folder = tmp_path_factory.mktemp("diff")
    uri = str(folder / "points")
    write_deltalake(uri, pa.table({"id": [1, 2, 3], "x": [1.0, 2.0, 3.0]}))
    with lakelineage.open(folder / "lake") as lake:
        with lake.start_run() as first:
            a = first.use(uri, name="points")
            first.use(pa.table({"n": [1]}), name="old")
        DeltaTable(uri).update(updates={"x": "x * 10"}, predicate="id = 2")
        write_deltalake(uri, pa.table({"id": [4], "x": [4.0]}), mode="append")
        DeltaTable(uri).delete("id = 1")
        with lake.start_run() as second:
            b = second.use(uri, name="points")
            second.use(pa.table({"n": [2]}), name="new")
        with lake.start_run() as both:
            both.use(uri, version=0, name="points")
            both.use(pa.table({"n": [1]}), name="new")
    return {
        "lake": folder / "lake",
        "folder": folder,
        "runs": (first.id, second.id, both.id),
        "pins": (a.id, b.id),
    }


def test_what_changed_between_two_runs_is_told_for_machines(seen: dict[str, Any], answer: Cli) -> None:
    first, second, _ = seen["runs"]
    told = answer("--lake", seen["lake"], "diff", first, second, "--key", "id")
    assert (told["only_in_a"], told["only_in_b"]) == (["old"], ["new"])
    points = told["inputs"]["points"]
    counts = {"added": 1, "removed": 1, "changed": 1, "rows_a": 3, "rows_b": 3, "unchanged": 1}
    assert points["counts"] == counts
    assert points["changed_columns"] == {"x": 1}
    assert points["differs"] is True
    changed = [row for row in points["rows"] if row["_change"] == "changed"]
    assert changed == [{"_change": "changed", "id": 2, "x_before": 2.0, "x_after": 20.0, "_changed_columns": ["x"]}]


def test_what_changed_is_told_for_people(seen: dict[str, Any], call: Cli) -> None:
    first, second, _ = seen["runs"]
    done = call("--lake", seen["lake"], "diff", first, second, "points", "--key", "id", "--summary")
    assert done.returncode == 0, done.stderr
    assert "rows 1 added, 1 removed, 1 changed, 1 unchanged" in done.stdout
    assert "x: 1 rows changed" in done.stdout
    assert "only " not in done.stdout
    assert "distinct" in done.stdout


def test_without_a_key_rows_are_added_or_removed_and_the_limit_holds(seen: dict[str, Any], answer: Cli) -> None:
    first, second, _ = seen["runs"]
    told = answer("--lake", seen["lake"], "diff", first, second, "points", "--limit", 3)
    rows = told["inputs"]["points"]["rows"]
    assert len(rows) == 3
    assert {row["_change"] for row in rows} <= {"added", "removed"}
    assert set(rows[0]) == {"_change", "id", "x"}


def test_snapshots_and_beginnings_of_ids_are_taken_too(seen: dict[str, Any], answer: Cli, call: Cli) -> None:
    (first, second, both), (a, b) = seen["runs"], seen["pins"]
    by_runs = answer("--lake", seen["lake"], "diff", first, second, "points")["inputs"]["points"]["counts"]
    for one, other in ((a, b), (a[:10], b[:10])):
        told = answer("--lake", seen["lake"], "diff", one, other)["inputs"]
        assert [t["counts"] for t in told.values()] == [by_runs]
    told = answer("--lake", seen["lake"], "diff", both, b, "points")["inputs"]
    assert told["points"]["counts"] == by_runs
    unclear = call("--lake", seen["lake"], "diff", both, b)
    assert unclear.returncode == 2
    assert "points, new" in unclear.stderr
    assert call("--lake", seen["lake"], "diff", a, b, "points").returncode == 2


def test_the_exit_code_tells_a_difference_only_if_asked(seen: dict[str, Any], call: Cli) -> None:
    first, second, both = seen["runs"]
    assert call("--lake", seen["lake"], "diff", first, second).returncode == 0
    assert call("--lake", seen["lake"], "diff", first, second, "--exit-code").returncode == 1
    assert call("--lake", seen["lake"], "diff", first, second, "--json", "--exit-code").returncode == 1
    same = call("--lake", seen["lake"], "diff", first, both, "points", "--exit-code")
    assert (same.returncode, "nothing differs" in same.stdout) == (0, True)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_all_changes_go_to_a_file(seen: dict[str, Any], answer: Cli, tmp_path: Path, suffix: str) -> None:
    first, second, _ = seen["runs"]
    target = tmp_path / f"changes.{suffix}"
    told = answer("--lake", seen["lake"], "diff", first, second, "points", "--key", "id", "-o", target)
    assert told["inputs"]["points"]["written"] == {"path": str(target), "rows": 3}
    if suffix == "csv":
        with target.open() as file:
            rows = [row for row in csv.DictReader(file) if row["_change"] == "changed"]
        assert rows[0]["_changed_columns"] == "x"
        assert (rows[0]["x_before"], rows[0]["x_after"]) == ("2", "20")
    else:
        assert sorted(pq.read_table(target)["_change"].to_pylist()) == ["added", "changed", "removed"]


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (("--key", "nope"), 1, "neither side has"),
        (("-o", "rows.json"), 2, "neither .parquet nor .csv"),
        (("other",), 1, "share no input 'other'"),
    ],
)
def test_mistakes_are_told(seen: dict[str, Any], call: Cli, more: tuple[str, ...], code: int, words: str) -> None:
    first, second, _ = seen["runs"]
    done = call("--lake", seen["lake"], "diff", first, second, *more, "--json")
    assert done.returncode == code, done.stdout
    assert words in json.loads(done.stderr)["error"]["message"]


def test_what_is_neither_a_run_nor_a_snapshot_is_told(seen: dict[str, Any], call: Cli) -> None:
    done = call("--lake", seen["lake"], "diff", "0000abcd", seen["pins"][0])
    assert done.returncode == 1
    assert "snapshot" in done.stderr
