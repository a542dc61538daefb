"""Names, versions and answers under processes that race, on a disk and in an object store: one outcome each."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

import lakelineage
from lakelineage import Lake
from lakelineage.registry import activity

if TYPE_CHECKING:
    import subprocess

Start = Callable[..., "subprocess.Popen[str]"]
Done = Callable[..., str]

#: Opens the lake, waits for the word, does what it was told, and prints the outcome.
RACER = """
import json, sys
import lakelineage
from lakelineage.errors import LakelineageError

uri, options, task = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
lake = lakelineage.open(uri, options, durability="process")
lake.models.registered()
print("ready", flush=True)
sys.stdin.readline()
told = []
for verb, arguments, more in task:
    try:
        made = getattr(lake.models, verb)(*arguments, **more)
        told.append(getattr(made, "version", None) if verb == "register" else getattr(made, "status", "done"))
    except LakelineageError as error:
        told.append(type(error).__name__)
print(json.dumps(told))
lake.close()
"""


@pytest.fixture(params=["disk", "s3"])
def place(request: pytest.FixtureRequest, lake_path: Any) -> tuple[str, dict[str, str]]:
    """Where the lake is, and its storage options."""
    return request.getfixturevalue("s3") if request.param == "s3" else (str(lake_path), {})


@pytest.fixture
def shared(place: tuple[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    """A lake with a model's files, which ada opened."""
    monkeypatch.setenv("LAKELINEAGE_USER", "ada")
    with lakelineage.open(*place, durability="process") as lake:
        yield lake


def files(lake: Lake) -> str:
    """A model among the artifacts of a run, as far as the registry looks."""
    with lake.start_run() as run:
        run.log_text("a model", "model/MLmodel")
    return run.id


def race(place: Any, start: Start, done: Done, tasks: list[Any], users: list[str]) -> list[list[Any]]:
    """What each process was told; they begin together."""
    given = (place[0], json.dumps(place[1]))
    racers = [start(RACER, *given, json.dumps(t), LAKELINEAGE_USER=u) for t, u in zip(tasks, users, strict=True)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    return [json.loads(done(racer, 200).splitlines()[-1]) for racer in racers]


def acts(lake: Lake, name: str) -> Counter[str]:
    return Counter(lake.models.activity(name)["action"].to_pylist())


@pytest.mark.slow
def test_eight_processes_that_make_and_register_one_model_take_each_number_once(place, shared, start, done):
    run, users = files(shared), [f"u{i}" for i in range(8)]
    told = race(place, start, done, [[["register", ["busy", run], {}]] * 2] * 8, users)
    assert sorted(number for each in told for number in each) == list(range(1, 17))
    assert all(first < second for first, second in told)
    assert [v.version for v in shared.models.versions("busy")] == list(range(1, 17))
    assert [m.name for m in shared.models.registered()] == ["busy"]
    rows = shared.sql("select count(*) as n from registered_models_history").to_pylist()
    assert rows == [{"n": 1}]
    assert acts(shared, "busy") == {"register": 16}
    versions = sorted(v.node for v in shared.models.versions("busy"))
    edges = shared.sql("select target from lineage where relation = 'derived_from'")["target"].to_pylist()
    assert sorted(edges) == versions
    assert shared.models.verify_activity().ok


@pytest.mark.slow
def test_a_name_that_eight_processes_create_is_created_by_one(place, shared, start, done):
    tasks = [[["create", ["shared"], {"description": f"by {i}"}], ["create", [f"own{i}"], {}]] for i in range(8)]
    told = race(place, start, done, tasks, [f"u{i}" for i in range(8)])
    assert Counter(first for first, _ in told) == {"done": 1, "AlreadyExists": 7}
    assert {second for _, second in told} == {"done"}
    names = [m.name for m in shared.models.registered()]
    assert sorted(names) == sorted(["shared", *(f"own{i}" for i in range(8))])
    winner = [first for first, _ in told].index("done")
    assert shared.models.model("shared").description == f"by {winner}"
    assert acts(shared, "shared") == {"create_model": 1}


@pytest.mark.slow
def test_equal_requests_of_many_processes_are_one_and_different_ones_have_numbers_of_their_own(
    place, shared, start, done
):
    run = files(shared)
    for _ in range(6):
        shared.models.register("m", run)
    tasks = [
        [["request", ["m", 1], {"stage": "Production"}], ["request", ["m", i + 1], {"alias": "next"}]] for i in range(6)
    ]
    told = race(place, start, done, tasks, [f"u{i}" for i in range(6)])
    assert Counter(first for first, _ in told) == {"open": 1, "AlreadyExists": 5}
    assert {second for _, second in told} == {"open"}
    found = shared.models.requests("m")
    assert [r.id for r in found] == list(range(1, 8))
    assert len({r.requested_by for r in found if r.alias}) == 6
    assert acts(shared, "m") == {"register": 6, "request": 7}


@pytest.mark.slow
def test_of_answers_that_race_each_request_has_one_outcome(place, shared, start, done):
    """Request 1 lacks one approval, request 2 is approved, rejected and cancelled at once, 3 and 4 want one alias."""
    models, run = shared.models, files(shared)
    for _ in range(3):
        models.register("m", run)
    models.set_rules("m", stages=["Production"], aliases=["champion"], requester_may_approve=True)
    asked = [models.request("m", 1, stage="Production"), models.request("m", 2, stage="Production")]
    asked += [models.request("m", 1, alias="champion"), models.request("m", 3, alias="champion")]
    one, two, three, four = (request.id for request in asked)
    tasks = [
        [["approve", [one], {}], ["approve", [two], {}], ["approve", [three], {}]],
        [["approve", [one], {}], ["reject", [two], {}], ["approve", [four], {}]],
        [["approve", [one], {}], ["cancel", [two], {}], ["approve", [three], {}]],
        [["approve", [one], {}], ["reject", [two], {}], ["approve", [four], {}]],
    ]
    told = race(place, start, done, tasks, ["bob", "eve", "ada", "zoe"])
    outcomes = [Counter(each[i] for each in told) for i in range(3)]
    assert outcomes[0] == {"applied": 1, "RequestClosed": 3}
    assert outcomes[1]["RequestClosed"] == 3
    assert outcomes[2] == {"applied": 1, "RequestClosed": 3}
    first, second, *aliases = (request.status for request in models.requests("m", None))
    assert (first, outcomes[1][second]) == ("applied", 1)
    assert sorted(aliases) == ["applied", "outdated"]
    stages = [version.stage for version in models.versions("m")]
    assert stages == ["Production", "Production" if second == "applied" else "None", "None"]
    champion = models.get("m", "champion").version
    assert champion == (1 if aliases[0] == "applied" else 3)
    assert shared.sql("select count(*) as n from aliases_history").to_pylist() == [{"n": 1}]
    found = acts(shared, "m")
    assert (found["set_alias"], found["set_stage"]) == (1, stages.count("Production"))
    assert models.verify_activity().ok


@pytest.mark.slow
def test_an_approved_request_that_several_complete_at_once_is_applied_once(place, shared, start, done, monkeypatch):
    monkeypatch.setattr(activity, "GRACE", 0)
    run = files(shared)
    for _ in range(2):
        shared.models.register("m", run)
    asked = shared.models.request("m", 1, stage="Production", archive_existing=True)
    shared.flush()
    dying = start(
        RACER,
        place[0],
        json.dumps(place[1]),
        json.dumps([["approve", [asked.id], {}]]),
        LAKELINEAGE_USER="bob",
        LAKELINEAGE_FAULT="approve.before_move",
    )
    dying.communicate("\n", timeout=100)
    assert dying.returncode == -9
    tasks = [[["set_stage", ["m", 2, "Staging"], {}]], [["set_alias", ["m", "a", 2], {}]]] * 2
    race(place, start, done, tasks, ["u0", "u1", "u2", "u3"])
    assert shared.maintain().completed == 0
    assert [r.status for r in shared.models.requests("m", None)] == ["applied"]
    found = shared.models.activity("m", 1)["action"].to_pylist()
    assert found.count("set_stage") == 1
    assert [v.stage for v in shared.models.versions("m")] == ["Production", "Staging"]
    assert shared.models.verify_activity().ok
