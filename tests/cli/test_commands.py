"""Laws of each command, on a real lake, in a process of its own."""

import csv
import io
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

import lakelineage

Cli = Callable[..., Any]


def test_init_makes_a_lake_once_and_says_so(tmp_path: Path, call: Cli, answer: Cli) -> None:
    first = answer("init", "new", cwd=tmp_path)
    again = answer("init", "new", cwd=tmp_path)
    assert (first["created"], again["created"], first["id"]) == (True, False, again["id"])
    refused = call("init", "new", "--protection", "reference", cwd=tmp_path)
    assert refused.returncode == 2
    with lakelineage.open(tmp_path / "new", create=False) as lake:
        assert lake.id == first["id"]


def test_init_keeps_the_protection_that_was_asked_for(tmp_path: Path, place: Any, answer: Cli) -> None:
    answer("init", tmp_path / "new", "--protection", "reference")
    assert answer("--lake", tmp_path / "new", "snapshot", place.source)["protection"] == "reference"


def test_runs_are_filtered_ordered_and_limited(place: Any, answer: Cli) -> None:
    def ids(*options: str) -> list[str]:
        return [row["run_id"] for row in answer("runs", "--lake", place.lake, *options)]

    a, b, c = place.run_ids
    assert ids() == [c, b, a]
    assert ids("--order-by", "metrics.rmse") == [c, a, b]
    assert ids("--order-by", "params.alpha DESC", "--limit", "1") == [c]
    assert ids("--filter", "metrics.rmse < 0.3") == [c]
    assert ids("--experiment", "first") == [b, a]
    assert ids("--experiment", "first", "--experiment", "second") == [c, b, a]


def test_json_has_maps_as_objects_times_as_iso_and_nan_as_text(place: Any, answer: Cli) -> None:
    row = answer("--lake", place.lake, "runs", "--filter", "params.alpha = '1'")[0]
    assert row["metrics"] == {"rmse": "NaN"}
    assert row["params"] == {"alpha": "1", "kind": "tree"}
    assert (row["experiment"], row["start_time"][-6:], row["start_time"][10]) == ("first", "+00:00", "T")
    found = answer(
        "--lake", place.lake, "sql", "select 'inf'::double as a, '-inf'::double as b, null as c, 1 as d, 2 as d"
    )
    assert found == [{"a": "Infinity", "b": "-Infinity", "c": None, "d": 1, "d_1": 2}]


def test_a_pipe_gets_full_ids_in_plain_columns(place: Any, call: Cli) -> None:
    done = call("--lake", place.lake, "runs")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["run", *reversed(place.run_ids)]
    assert "\x1b" not in done.stdout


def test_a_run_is_told_with_all_that_belongs_to_it(place: Any, call: Cli, answer: Cli) -> None:
    told = answer("--lake", place.lake, "run", place.run_ids[0])
    assert (told["run_id"], told["experiment"], told["status"]) == (place.run_ids[0], "first", "FINISHED")
    assert (told["params"], told["metrics"], told["tags"]) == ({"alpha": "0", "kind": "tree"}, {"rmse": 0.5}, {})
    (used,) = told["inputs"]
    assert (used["name"], used["version"], used["num_rows"], used["context"]) == ("points", 0, 4, "training")
    assert [row["path"] for row in told["artifacts"]] == ["notes/hello.txt"]
    assert told["environment"]["packages"]["deltalake"]
    people = call("--lake", place.lake, "run", place.run_ids[0]).stdout
    assert all(text in people for text in ("alpha", "0.5", "points", "notes/hello.txt", told["environment"]["python"]))


def test_a_unique_beginning_names_a_run_and_an_ambiguous_one_lists_the_choices(
    place: Any, call: Cli, answer: Cli
) -> None:
    a, b, _ = place.run_ids
    shared = next(i for i in range(33) if a[:i] != b[:i])
    unique = max(len(_common(a, other)) for other in place.run_ids if other != a) + 1
    assert answer("--lake", place.lake, "run", a[:unique])["run_id"] == a
    ambiguous = call("--lake", place.lake, "run", a[: shared - 1])
    assert ambiguous.returncode == 1
    assert a in ambiguous.stderr
    assert b in ambiguous.stderr
    assert call("--lake", place.lake, "run", "ffff").returncode == 1


def _common(a: str, b: str) -> str:
    return a[: next((i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y), len(a))]


def test_sql_answers_from_an_argument_and_from_stdin_alike(place: Any, answer: Cli) -> None:
    query = "select count(*) as n from runs"
    assert answer("--lake", place.lake, "sql", query) == [{"n": 3}]
    assert answer("--lake", place.lake, "sql", "-", stdin=query) == [{"n": 3}]
    assert answer("--lake", place.lake, "sql", "select 1 as n where false") == []


def test_csv_reads_back_as_it_was(place: Any, call: Cli) -> None:
    query = "select name, metrics['rmse'] as rmse, params, end_time, null as nothing from runs order by name"
    done = call("--lake", place.lake, "sql", query, "--csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [float(row["rmse"]) for row in rows if row["name"] != "run 1"] == [0.5, 0.25]
    assert math.isnan(float(rows[1]["rmse"]))
    assert rows[0]["params"] == '{"alpha": "0", "kind": "tree"}'
    assert {row["nothing"] for row in rows} == {""}


def test_csv_and_json_write_every_kind_of_value_as_python_does(place: Any, call: Cli, answer: Cli) -> None:
    query = """
    select * from (values
      (1, 0.1::double, 1e20::double, 'a,b"c', true, timestamp '2026-01-31 12:00:00', [1, 2]),
      (null, 'nan'::double, null, null, null, timestamp '1969-12-31 23:59:59.000001', null),
      (3, '-inf'::double, 2.0, '', false, null, [])) t(i, f, g, s, b, t, l)
    """
    assert call("--lake", place.lake, "sql", query, "--csv").stdout.splitlines() == [
        "i,f,g,s,b,t,l",
        '1,0.1,1e+20,"a,b""c",True,2026-01-31T12:00:00,"[1, 2]"',
        ",NaN,,,,1969-12-31T23:59:59.000001,",
        "3,-Infinity,2.0,,False,,[]",
    ]
    rows = answer("--lake", place.lake, "sql", query)
    assert [(r["i"], r["f"], r["g"]) for r in rows] == [(1, 0.1, 1e20), (None, "NaN", None), (3, "-Infinity", 2.0)]
    assert [r["t"] for r in rows] == ["2026-01-31T12:00:00", "1969-12-31T23:59:59.000001", None]
    assert [(r["s"], r["b"], r["l"]) for r in rows] == [('a,b"c', True, [1, 2]), (None, None, None), ("", False, [])]
    (zoned,) = answer("--lake", place.lake, "sql", "select max(end_time) as t from runs")
    with lakelineage.open(place.lake, create=False) as lake:
        (expected,) = lake.sql("select max(end_time) as t from runs").column("t").to_pylist()
    assert zoned == {"t": expected.isoformat()}


def test_many_rows_are_all_printed_however_they_are_printed(place: Any, call: Cli, answer: Cli) -> None:
    query = "select i, i::double / 2 as half, 'row ' || i as name from range(25000) t(i)"
    expected = [{"i": i, "half": i / 2, "name": f"row {i}"} for i in range(25_000)]
    assert answer("--lake", place.lake, "sql", query) == expected
    lines = call("--lake", place.lake, "sql", query, "--csv").stdout.splitlines()
    assert lines[1:] == [f"{row['i']},{row['half']},{row['name']}" for row in expected]
    words = [line.split() for line in call("--lake", place.lake, "sql", query).stdout.splitlines()]
    assert words[1:] == [[str(row["i"]), str(row["half"]), *str(row["name"]).split()] for row in expected]


def test_snapshot_pins_a_version_and_lists_what_is_pinned(tmp_path: Path, place: Any, answer: Cli) -> None:
    answer("init", tmp_path / "lake")
    assert answer("--lake", tmp_path / "lake", "snapshot") == []
    pinned = answer(
        "--lake", tmp_path / "lake", "snapshot", place.source, "--version", "0", "--protection", "reference"
    )
    assert (pinned["version"], pinned["num_rows"], pinned["protection"]) == (0, 4, "reference")
    newest = answer("--lake", tmp_path / "lake", "snapshot", place.source)
    assert (newest["version"], newest["num_rows"]) == (1, 8)
    listed = answer("--lake", tmp_path / "lake", "snapshot")
    assert {row["snapshot_id"] for row in listed} == {pinned["snapshot_id"], newest["snapshot_id"]}
    as_of = answer("--lake", tmp_path / "lake", "snapshot", place.source, "--as-of", pinned["committed_at"])
    assert as_of["snapshot_id"] == pinned["snapshot_id"]


def test_reload_gives_the_pinned_rows_as_a_head_a_file_and_a_choice_of_them(
    tmp_path: Path, place: Any, call: Cli, answer: Cli
) -> None:
    run = ("--lake", place.lake, "reload", place.run_ids[0])
    head = answer(*run)
    assert [row["x"] for row in head] == [1.0, 2.0, 3.0, 4.0]
    (written,) = answer(*run, "points", "-o", tmp_path / "new" / "out.parquet")
    assert written["rows"] == 4
    assert pq.read_table(tmp_path / "new" / "out.parquet").to_pylist() == head
    call(*run, "-o", tmp_path / "out.csv", "--columns", "x", "--where", "label = 'b'")
    assert (tmp_path / "out.csv").read_text().split() == ['"x"', "2", "4"]
    (one,) = answer(*run, "--all", "-o", tmp_path / "all")
    assert pq.read_table(one["path"]).num_rows == 4
    assert Path(one["path"]) == tmp_path / "all" / "points.parquet"


def test_reload_as_json_gives_every_row_of_one_input_and_of_all(tmp_path: Path, call: Cli, answer: Cli) -> None:
    many, none = pa.table({"x": range(25_000)}), pa.table({"y": pa.array([], pa.int64())})
    with lakelineage.open(tmp_path / "lake") as lake, lake.start_run() as run:
        run.use(many, name="many")
        run.use(none, name="none")
    reload = ("--lake", tmp_path / "lake", "reload", run.id)
    assert answer(*reload, "many") == many.to_pylist()
    assert answer(*reload, "none") == []
    assert answer(*reload, "--all") == {"many": many.to_pylist(), "none": []}
    people = call(*reload, "many").stdout.splitlines()
    assert ("the first rows" in people[0], len(people)) == (True, 12)
    refused = call(*reload, "many", "--columns", "nope", "--json")
    assert (refused.returncode, refused.stdout) == (1, "")


def test_a_refused_reload_leaves_no_file(tmp_path: Path, place: Any, call: Cli) -> None:
    run = ("--lake", place.lake, "reload", place.run_ids[0])
    assert call(*run, "nothing", "-o", tmp_path / "a.parquet").returncode == 1
    assert call(*run, "-o", tmp_path / "a.parquet", "--columns", "nope").returncode == 1
    assert call(*run, "-o", tmp_path / "a.xlsx").returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_lineage_tells_up_and_down_the_stream_and_the_path_between(place: Any, call: Cli, answer: Cli) -> None:
    a = place.run_ids[0]
    both = answer("--lake", place.lake, "lineage", f"{place.source}@0")
    assert both["upstream"] == []
    runs = {f"run:{run_id}" for run_id in place.run_ids}
    assert runs <= {row["node"] for row in both["downstream"]}
    only = answer("--lake", place.lake, "lineage", f"run:{a}", "--upstream", "--depth", "1")
    assert set(only) == {"node", "upstream"}
    path = answer("--lake", place.lake, "lineage", f"{place.source}@0", "--path-to", f"run:{a}")["path"]
    assert [(edge["relation"], edge["target"]) for edge in path] == [("used", f"run:{a}")]
    tree = call("--lake", place.lake, "lineage", f"{place.source}@0", "--downstream").stdout
    assert tree.count("used run run ") == 3
    assert "touched 3 runs" in tree


@pytest.fixture
def registered(tmp_path: Path, place: Any) -> Path:
    """A lake with one run that logged a model."""
    with lakelineage.open(tmp_path / "lake") as lake, lake.start_run(name="trained") as run:
        run.use(place.source, version=0)
        run.log_metric("rmse", 1.0)
        run.log_model(_double, "model")
    return tmp_path / "lake"


def _double(rows):  # type: ignore[no-untyped-def]
    return rows["x"] * 2


def test_models_are_registered_aliased_found_and_score(registered: Path, place: Any, call: Cli, answer: Cli) -> None:
    def models(*arguments: object) -> object:
        return answer("--lake", registered, "models", *arguments)

    (run,) = answer("--lake", registered, "runs")
    assert models() == []
    first = models("register", "double", run["run_id"])
    second = models("register", "double", run["run_id"][:20], "--description", "again")
    assert (first["uri"], second["version"], second["description"]) == ("models:/double/1", 2, "again")
    assert models("alias", "double", "champion", "2", "--comment", "why not")["aliases"] == ["champion"]
    assert models("show", "double@champion") == models("show", "double@2")
    assert [row["version"] for row in models("show", "double")] == [1, 2]
    shown = models("show", "double@2")
    assert (
        models() == models("list") == [{key: value for key, value in shown.items() if key not in {"inputs", "checks"}}]
    )
    found = models("find", "--trained-on", place.source, "--version", "0", "--where", "metrics.rmse < 2")
    assert [row["version"] for row in found] == [1, 2]
    assert models("find", "--trained-on", place.source, "--version", "1") == []

    predictions = registered.parent / "predictions"
    refused = call("--lake", registered, "--json", "score", "models:/double@champion", place.source, predictions)
    error = json.loads(refused.stderr)["error"]
    assert (refused.returncode, error["code"]) == (1, "not_trusted")
    assert "python_model.pkl" in error["message"]
    assert "--trust pickle" in error["message"]
    assert not predictions.exists()
    trusted = ("--trust", "pickle")
    first = ("score", "models:/double@champion", place.source, predictions, "--batch-size", 3, *trusted)
    done = answer("--lake", registered, *first)
    assert (done["rows"], done["model_version"], done["input_version"], done["output_version"]) == (8, 2, 1, 0)
    once = ("score", "models:/double/1", place.source, predictions, "--version", 0, "--mode", "overwrite", *trusted)
    assert answer("--lake", registered, *once)["rows"] == 4
    again = ("score", "models:/double/1", place.source, predictions, "--incremental", *trusted)
    keyed = call("--lake", registered, *again, "--key", "x")
    assert (keyed.returncode, "several rows with x = 1.0" in " ".join(keyed.stderr.split())) == (1, True)
    newer = answer("--lake", registered, *again)
    assert (newer["kind"], newer["rows"]) == ("incremental", 4)
    told = call("--lake", registered, *again)
    assert (told.returncode, "nothing to score" in told.stdout) == (0, True)
    chosen = ("score", "models:/double/1", "select * from t where x < 3", predictions.with_name("few"), *trusted)
    assert 0 < answer("--lake", registered, *chosen, "--table", f"t={place.source}")["rows"] < 8
    assert call("--lake", registered, *chosen, "--table", "t").returncode == 1
    assert models("alias", "double", "champion", "--delete") == {"name": "double", "alias": "champion", "version": None}
    assert call("--lake", registered, "models", "show", "double@champion").returncode == 1


def test_flush_leaves_nothing_in_the_journal(lake_path: Path, answer: Cli) -> None:
    code = (
        "import os, sys, lakelineage as ll\n"
        "lake = ll.open(sys.argv[1])\n"
        "lake.start_run(name='killed').log_metric('m', 1.0)\n"
        "os._exit(9)\n"
    )
    repository = str(Path(lakelineage.__file__).parents[1])
    assert subprocess.run([sys.executable, "-c", code, lake_path], cwd=repository).returncode == 9
    assert answer("--lake", lake_path, "flush") == {"uri": str(lake_path), "flushed": True}
    assert DeltaTable(str(lake_path / "tables" / "metrics")).to_pyarrow_table()["value"].to_pylist() == [1.0]


def test_maintain_publishes_the_tables_of_current_state_for_other_engines(
    lake_path: Path, call: Cli, answer: Cli
) -> None:
    with lakelineage.open(lake_path) as lake, lake.start_run(name="one"):
        pass
    with lakelineage.open(lake_path) as lake, lake.start_run(name="two"):
        pass  # committed in files of its own
    done = answer("--lake", lake_path, "maintain")
    assert (done["uri"], done["maintained"], done["removed"]) == (str(lake_path), True, 0)
    assert done["compacted"]["runs_history"] > 0
    names = DeltaTable(str(lake_path / "tables" / "runs")).to_pyarrow_table()["name"].to_pylist()
    assert sorted(names) == ["one", "two"]
    told = call("--lake", lake_path, "maintain")
    assert (told.returncode, told.stdout.count("\n"), str(lake_path) in told.stdout) == (0, 1, True)
