"""Experiments: names that are unique among those not deleted, folders, tags; in real processes where they race."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakelineage as ll
from lakelineage.errors import AlreadyExists, Conflict, ExperimentNotFound, InvalidInput
from lakelineage.tracking import experiment_names

if TYPE_CHECKING:
    import subprocess

Start = Callable[..., "subprocess.Popen[str]"]
Done = Callable[..., str]


def names(lake: ll.Lake, **which: object) -> list[str]:
    return lake.experiments.list(**which).column("name").to_pylist()  # type: ignore[arg-type, no-any-return]


def test_an_experiment_tells_what_it_was_made_with_by_name_and_by_id(lake: ll.Lake) -> None:
    made = lake.experiments.create("/team/churn", tags={"owner": "ada", "rows": 3})
    assert (made.name, made.tags, made.lifecycle_stage) == ("/team/churn", {"owner": "ada", "rows": "3"}, "active")
    assert abs(made.created_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert lake.experiments.get("/team/churn") == lake.experiments.get(made.id) == made
    with pytest.raises(ExperimentNotFound, match="'none'"):
        lake.experiments.get("none")


def test_a_name_that_looks_like_an_id_is_a_name_first(lake: ll.Lake) -> None:
    first = lake.experiments.create("2")
    second = lake.experiments.create("other")
    assert (first.id, second.id) == ("1", "2")
    assert lake.experiments.get("2") == first


def test_a_rename_keeps_the_id_and_frees_the_old_name(lake: ll.Lake) -> None:
    with lake.start_run("old") as run:
        pass
    lake.experiments.rename("old", "new")
    assert lake.experiments.get("new").id == run.experiment_id
    assert names(lake) == ["new"]
    assert lake.start_run("new").experiment_id == run.experiment_id
    assert lake.start_run("old").experiment_id != run.experiment_id
    assert lake.search_runs(experiments="new").num_rows == 2
    with pytest.raises(AlreadyExists, match="'old'"):
        lake.experiments.rename("new", "old")
    assert lake.experiments.rename("new", "new").name == "new"


def test_deleting_hides_runs_from_searches_not_from_sql_and_restoring_brings_them_back(lake: ll.Lake) -> None:
    kept, gone = lake.start_run("kept"), lake.start_run("gone")
    lake.experiments.delete("gone")
    lake.experiments.delete(gone.experiment_id)  # again is no error
    assert lake.search_runs().column("run_id").to_pylist() == [kept.id]
    with pytest.raises(ExperimentNotFound):
        lake.search_runs(experiments="gone")
    assert lake.sql("SELECT run_id FROM runs").num_rows == 2
    assert (names(lake), names(lake, deleted=True)) == (["kept"], ["gone"])
    gone.log_metric("m", 1)  # an active run goes on
    gone.end()
    assert lake.run(gone.id).metrics == {"m": 1.0}
    lake.experiments.restore("gone")
    lake.experiments.restore("gone")  # again is no error
    assert lake.search_runs(experiments="gone").column("run_id").to_pylist() == [gone.id]


def test_a_run_in_a_deleted_experiment_makes_a_new_one_and_the_old_comes_back_under_another_name(lake: ll.Lake) -> None:
    old = lake.start_run("churn").experiment_id
    lake.experiments.delete("churn")
    new = lake.start_run("churn").experiment_id
    assert new != old
    with pytest.raises(AlreadyExists, match=rf"{new}.*restore\('{old}', name="):
        lake.experiments.restore(old)
    with pytest.raises(AlreadyExists):
        lake.experiments.restore("churn")
    assert lake.experiments.restore(old, name="churn-1").id == old
    assert names(lake) == ["churn", "churn-1"]


def test_of_several_deleted_of_one_name_the_id_says_which(lake: ll.Lake) -> None:
    ids = []
    for _ in range(2):
        ids.append(lake.experiments.create("twice").id)
        lake.experiments.delete("twice")
    with pytest.raises(InvalidInput, match=", ".join(ids)):
        lake.experiments.restore("twice")
    assert lake.experiments.restore(ids[0]).id == ids[0]


def test_tags_are_set_together_and_taken_off_and_a_note_is_one_of_them(lake: ll.Lake) -> None:
    lake.experiments.create("e", {"a": 1})
    lake.experiments.set_tags("e", {"b": 2, "a": 3})
    lake.experiments.delete_tag("e", "b")
    lake.experiments.delete_tag("e", "never was")
    lake.experiments.set_note("e", "# why")
    found = lake.experiments.get("e")
    assert found.tags == {"a": "3", "mlflow.note.content": "# why"}
    assert found.note == "# why"
    with pytest.raises(InvalidInput, match="empty"):
        lake.experiments.set_tags("e", {"fine": 1, "": 2})
    assert lake.experiments.get("e") == found


@pytest.mark.parametrize("act", ["rename", "set_tag", "delete_tag", "set_note"])
def test_a_deleted_experiment_is_not_changed(lake: ll.Lake, act: str) -> None:
    deleted = lake.experiments.create("e")
    lake.experiments.delete("e")
    arguments = {"rename": ("f",), "set_tag": ("k", "v"), "delete_tag": ("k",), "set_note": ("n",)}[act]
    with pytest.raises(Conflict, match="restore"):
        getattr(lake.experiments, act)(deleted.id, *arguments)
    with pytest.raises(ExperimentNotFound):
        getattr(lake.experiments, act)("e", *arguments)


PART = st.text("ab.", min_size=1, max_size=3)
NAME = st.lists(PART, min_size=1, max_size=4).map("/".join)


@given(NAME, st.booleans(), st.lists(st.integers(1, 3), min_size=4, max_size=4), st.integers(0, 2))
def test_slashes_too_many_say_nothing(name: str, rooted: bool, times: list[int], trailing: int) -> None:
    parts = name.split("/")
    written = "".join(p + "/" * n for p, n in zip(parts[:-1], times, strict=False)) + parts[-1] + "/" * trailing
    root = "/" if rooted else ""
    assert experiment_names.checked(root * times[0] + written) == root + name


@given(st.sets(NAME, max_size=12), NAME)
def test_folders_count_what_lies_below_them(given_names: set[str], folder: str) -> None:
    path = experiment_names.folder_path(folder)
    assert path == experiment_names.folder_path(f"//{folder}/")
    expected: dict[str, int] = {}
    for name in given_names:
        parts = name.split("/")
        inside = parts[: folder.count("/") + 1] == folder.split("/")
        assert experiment_names.is_below(f"/{name}", path) == (inside and len(parts) > folder.count("/") + 1)
        if inside and len(parts) > folder.count("/") + 2:
            below = "/" + "/".join(parts[: folder.count("/") + 2])
            expected[below] = expected.get(below, 0) + 1
    assert experiment_names.subfolders(given_names, path) == expected


@pytest.mark.parametrize("name", ["/", "///"])
def test_a_name_of_slashes_alone_is_refused(lake: ll.Lake, name: str) -> None:
    with pytest.raises(InvalidInput, match="empty"):
        lake.experiments.create(name)


def test_folders_are_listed_and_so_is_what_lies_in_them(lake: ll.Lake) -> None:
    for name in ("/team/churn/xgb", "/team//churn/lgbm/", "team/rents", "/teams/x", "alone"):
        lake.experiments.create(name)
    lake.experiments.delete(lake.experiments.create("/gone/x").id)
    assert (
        names(lake, folder="/team")
        == names(lake, folder="team/")
        == ["/team/churn/lgbm", "/team/churn/xgb", "team/rents"]
    )
    assert len(names(lake, folder="/")) == 5
    assert names(lake, folder="/team/churn/xgb") == []
    assert lake.experiments.folders().to_pylist() == [
        {"folder": "/team", "experiments": 3},
        {"folder": "/teams", "experiments": 1},
    ]
    assert lake.experiments.folders("/team").to_pylist() == [{"folder": "/team/churn", "experiments": 2}]
    assert lake.experiments.folders("/nowhere").num_rows == 0
    assert lake.start_run("/team/churn//xgb/").experiment_id == lake.experiments.get("/team/churn/xgb").id
    assert lake.experiments.create("/TEAM/churn/xgb").name == "/TEAM/churn/xgb", "case differs"


RACER = """
import json, sys
import lakelineage as ll
lake = ll.open(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
won = []
for i in range(6):
    try:
        {act}
        won.append(i)
    except ll.errors.Conflict:
        pass
print(json.dumps(won))
"""


def race(start: Start, done: Done, lake_path: Path, acts: list[str]) -> list[list[int]]:
    racers = [start(RACER.format(act=act), lake_path) for act in acts]
    for racer in racers:
        assert racer.stdout
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("\n")
        racer.stdin.flush()
    return [json.loads(done(racer)) for racer in racers]


def test_of_processes_that_rename_to_one_name_at_once_one_gets_it(lake_path: Path, start: Start, done: Done) -> None:
    with ll.open(lake_path) as lake:
        for i in range(6):
            for who in "abcd":
                lake.experiments.create(f"{who}{i}")
    acts = [f"lake.experiments.rename(f'{who}{{i}}', f'wanted{{i}}')" for who in "abcd"]
    won = race(start, done, lake_path, acts)
    assert sorted(i for each in won for i in each) == list(range(6))
    with ll.open(lake_path) as lake:
        left = {f"{who}{i}" for each, who in zip(won, "abcd", strict=True) for i in range(6) if i not in each}
        assert set(names(lake)) == left | {f"wanted{i}" for i in range(6)}


def test_of_processes_that_restore_and_create_one_name_at_once_one_gets_it(
    lake_path: Path, start: Start, done: Done
) -> None:
    with ll.open(lake_path) as lake:
        ids = [lake.experiments.create(f"name{i}").id for i in range(6)]
        for i in range(6):
            lake.experiments.delete(f"name{i}")
    acts = [f"lake.experiments.restore({ids}[i])", *["lake.experiments.create(f'name{i}')"] * 2]
    won = race(start, done, lake_path, acts)
    assert sorted(i for each in won for i in each) == list(range(6))
    with ll.open(lake_path) as lake:
        assert names(lake) == [f"name{i}" for i in range(6)]


def test_a_process_that_remembers_a_name_sees_that_another_deleted_it(
    lake: ll.Lake, lake_path: Path, start: Start, done: Done
) -> None:
    first = lake.start_run("shared").experiment_id
    done(start("import sys, lakelineage as ll; ll.open(sys.argv[1]).experiments.delete('shared')", lake_path))
    second = lake.start_run("shared").experiment_id
    assert second != first
    done(start("import sys, lakelineage as ll; ll.open(sys.argv[1]).experiments.rename('shared', 'b')", lake_path))
    assert lake.start_run("shared").experiment_id not in (first, second)
    assert lake.start_run("b").experiment_id == second


STARTER = """
import sys
import lakelineage as ll
lake = ll.open(sys.argv[1], durability="process")
for i in range(60):
    lake.start_run("busy").end()
"""
MOVER = """
import sys
import lakelineage as ll
lake = ll.open(sys.argv[1])
for i in range(15):
    lake.experiments.id_of("busy")
    if i % 2:
        lake.experiments.rename("busy", f"away{i}")
    else:
        lake.experiments.delete("busy")
        newest = lake.experiments.list(deleted=True).column("experiment_id")[-1].as_py()
        lake.experiments.restore(newest, name=f"away{i}")
"""


@pytest.mark.slow
def test_the_names_that_a_host_remembers_are_those_of_the_newest_version_whoever_raced(
    lake_path: Path, start: Start, done: Done
) -> None:
    movers = [start(MOVER, lake_path)]
    starters = [start(STARTER, lake_path) for _ in range(2)]
    for process in (*movers, *starters):
        done(process)
    with ll.open(lake_path) as lake:
        now = lake.experiments.id_of("busy")
        remembered = next(lake_path.glob("journal/*/experiments.json"))
        kept = json.loads(remembered.read_text())["ids"]
        assert {name: lake.experiments.get(name).id for name in kept} == kept
        assert lake.start_run("busy").experiment_id == now


def test_a_remembered_name_costs_no_engine(lake_path: Path, start: Start, done: Done) -> None:
    with ll.open(lake_path) as lake:
        lake.experiments.create("/team/x")
        lake.experiments.set_tag("/team/x", "a", "b")
    code = """
    import sys
    import lakelineage as ll
    ll.open(sys.argv[1], durability="process").start_run("/team/x/").end()
    print(*[name for name in ("deltalake", "duckdb", "pyarrow", "psutil") if name in sys.modules])
    """
    assert done(start(code, lake_path)).split() == []
