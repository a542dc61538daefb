"""Commands that find runs, set them side by side and print their curves."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest

Cli = Callable[..., Any]


def test_pages_are_walked_by_the_token_that_is_told_on_stderr(place: Any, call: Cli, answer: Cli) -> None:
    first = call("--lake", place.lake, "runs", "--limit", "2")
    assert len(first.stdout.splitlines()) == 3
    assert first.stderr.startswith("there are more: --page-token ")
    second = call("--lake", place.lake, "runs", "--limit", "2", *first.stderr.split()[3:])
    assert second.returncode == 0
    assert [line.split()[0] for line in second.stdout.splitlines()] == ["run", place.run_ids[0]]
    assert second.stderr == ""
    page = answer("--lake", place.lake, "runs", "--limit", "2", "--page")
    assert [len(page["runs"]), page["next_page_token"]] == [2, first.stderr.split()[-1]]
    rest = answer("--lake", place.lake, "runs", "--page", "--page-token", page["next_page_token"])
    assert [row["run_id"] for row in rest["runs"]] == [place.run_ids[0]]
    assert rest["next_page_token"] is None
    assert len(answer("--lake", place.lake, "runs", "--limit", "2")) == 2


def test_a_token_of_another_search_is_an_error(place: Any, call: Cli, answer: Cli) -> None:
    token = answer("--lake", place.lake, "runs", "--limit", "1", "--page")["next_page_token"]
    done = call("--lake", place.lake, "runs", "--filter", "name = 'x'", "--page-token", token)
    assert done.returncode == 1
    assert "another search" in done.stderr


def test_csv_has_a_column_for_each_metric_and_param_and_nothing_for_null(place: Any, call: Cli) -> None:
    done = call("--lake", place.lake, "runs", "--csv", "--order-by", "name")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["run_id"] for row in rows] == list(place.run_ids)
    assert [row["metrics.rmse"] for row in rows] == ["0.5", "NaN", "0.25"]
    assert [row["params.alpha"] for row in rows] == ["0", "1", "2"]
    assert [row["experiment"] for row in rows] == ["first", "first", "second"]
    assert {row["parent_run_id"] for row in rows} == {""}


def test_deleted_runs_are_listed_apart(place: Any, answer: Cli) -> None:
    assert answer("--lake", place.lake, "runs", "--deleted") == []


def test_a_malformed_filter_is_pointed_at(place: Any, call: Cli) -> None:
    done = call("--lake", place.lake, "runs", "--filter", "metrics.rmse == 1")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[1] == "  metrics.rmse == 1"
    assert lines[2] == "               ^^"
    told = call("--lake", place.lake, "runs", "--filter", "metrics.rmse == 1", "--json")
    assert (told.returncode, told.stdout) == (1, "")
    assert json.loads(told.stderr)["error"]["code"] == "invalid_filter"


def test_runs_are_compared_as_a_text_as_json_and_as_csv(place: Any, call: Cli, answer: Cli) -> None:
    a, b, c = place.run_ids
    told = answer("--lake", place.lake, "compare", a, b, c)
    assert [row["key"] for row in told if row["section"] == "params"] == ["alpha"]
    assert [told[0][run_id] for run_id in place.run_ids] == ["0", "1", "2"]
    assert "kind" in [row["key"] for row in answer("--lake", place.lake, "compare", a, b, "--all")]
    text = call("--lake", place.lake, "compare", a, b).stdout
    assert all(word in text for word in ("run 0", "run 1", "params", "alpha", "rmse"))
    rows = list(csv.DictReader(io.StringIO(call("--lake", place.lake, "compare", a, b, "--csv").stdout)))
    assert (rows[0]["key"], rows[0][a], rows[0][b]) == ("alpha", "0", "1")
    assert call("--lake", place.lake, "compare", a).returncode == 1


def test_the_history_of_a_metric_is_printed(place: Any, call: Cli, answer: Cli) -> None:
    run_id = place.run_ids[0]
    (row,) = answer("--lake", place.lake, "history", run_id, "rmse")
    assert (row["run_id"], row["step"], row["value"]) == (run_id, 0, 0.5)
    done = call("--lake", place.lake, "history", run_id, "rmse", "--csv", "--max-points", "10")
    assert done.stdout.splitlines()[0] == "run_id,step,timestamp,value"
    none = call("--lake", place.lake, "history", run_id, "nope")
    assert none.returncode == 0
    assert "logged no metric 'nope'" in none.stderr
    assert answer("--lake", place.lake, "history", run_id, "nope") == []


@pytest.mark.parametrize("command", [("runs",), ("compare", "a", "b"), ("history", "a", "rmse")])
def test_csv_and_json_exclude_each_other(place: Any, call: Cli, command: tuple[str, ...]) -> None:
    done = call("--lake", place.lake, *command, "--csv", "--json")
    assert done.returncode == 2
    assert json.loads(done.stderr)["error"]["code"] == "usage"
    assert call("--lake", place.lake, "runs", "--page").returncode == 2
