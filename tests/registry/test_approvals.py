"""Rules, requests and approvals: each question has one outcome, and each outcome its row in the record."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from lakelineage.errors import (
    AlreadyExists,
    ApprovalNeeded,
    ChecksNotPassed,
    Conflict,
    InvalidInput,
    ModelNotFound,
    NotAllowed,
    RequestClosed,
    RequestNotFound,
)
from lakelineage.registry import activity
from lakelineage.registry.models import Models
from lakelineage.registry.rules import Rules

As = Callable[[str], None]


@pytest.fixture
def as_(monkeypatch: pytest.MonkeyPatch) -> As:
    """Says who acts from now on."""
    return lambda user: monkeypatch.setenv("LAKELINEAGE_USER", user)


@pytest.fixture
def guarded(models: Models, make_run: Any, as_: As) -> Models:
    """A model "m" of three versions that come to Production, or are champion, by an approval of somebody else."""
    as_("ada")
    run = make_run()
    for _ in range(3):
        models.register("m", run)
    models.set_rules("m", stages=["Production"], aliases=["champion"])
    return models


def actions(models: Models, name: str = "m") -> list[str]:
    return models.activity(name)["action"].to_pylist()


def test_rules_that_are_not_given_stay(models, make_run, as_):
    models.register("m", make_run())
    assert models.rules("m") == Rules()
    as_("ada")
    first = models.set_rules("m", stages=["production"], approvers=["bob", "eve", "bob"], approvals=2, comment="audit")
    assert first == models.rules("m") == Rules(("Production",), (), ("bob", "eve"), 2)
    assert models.set_rules("m", direct=True, checks=["slice"]) == Rules(
        ("Production",), (), ("bob", "eve"), 2, False, ("slice",), True
    )
    models.set_rules("m", direct=True)  # is so already
    told = [row for row in models.activity("m").to_pylist() if row["action"] == "set_rules"]
    assert [(row["actor"], row["from_state"], row["comment"]) for row in told] == [
        ("ada", None, "audit"),
        ("ada", "stage Production: 2 of bob, eve but who asks; not direct", None),
    ]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"approvals": 2},
        {"stages": ["Live"]},
        {"stages": "Production"},
        {"aliases": ["3"]},
        {"stages": ["Production"], "approvals": 0},
        {"stages": ["Production"], "approvals": 1.5},
        {"stages": ["Production"], "approvals": 2, "approvers": ["ada"]},
        {"stages": ["Production"], "approvers": [""]},
        {"stages": ["Production"], "direct": "no"},
    ],
)
def test_rules_about_nothing_or_that_nobody_could_meet_are_refused(models, make_run, given):
    models.register("m", make_run())
    with pytest.raises(InvalidInput):
        models.set_rules("m", **given)
    assert models.rules("m") == Rules()


def test_a_direct_move_is_refused_by_the_rules_and_changes_nothing(guarded, engine):
    before = engine.query("select * from registered_models_history").num_rows
    with pytest.raises(ApprovalNeeded, match="models request m@1 --stage Production"):
        guarded.set_stage("m", 1, "Production", archive_existing=True)
    with pytest.raises(ApprovalNeeded, match="alias='champion'"):
        guarded.set_alias("m", "champion", 1)
    assert engine.query("select * from registered_models_history").num_rows == before
    assert (guarded.get("m", 1).stage, guarded.model("m").aliases) == ("None", {})
    guarded.set_stage("m", 1, "Staging")
    guarded.set_alias("m", "challenger", 1)
    assert guarded.get("m", "challenger").stage == "Staging"


def test_what_is_in_use_can_always_be_taken_out(guarded, as_):
    for target in ({"stage": "Production"}, {"alias": "champion"}):
        asked = guarded.request("m", 1, **target)
        as_("bob")
        assert guarded.approve(asked).status == "applied"
        as_("ada")
    guarded.set_alias("m", "champion", 1)  # is so already
    guarded.delete_alias("m", "champion")
    guarded.set_stage("m", 1, "Archived")
    guarded.delete_version("m", 1)


def test_the_last_approval_makes_the_move(guarded, as_):
    guarded.set_rules("m", approvals=2, approvers=["bob", "eve"])
    asked = guarded.request("m", 2, stage="production", comment="better")
    assert (asked.id, asked.status, asked.from_state, asked.requested_by) == (1, "open", "None", "ada")
    as_("bob")
    assert guarded.approve(asked, comment="fine").status == "open"
    assert guarded.get("m", 2).stage == "None"
    as_("eve")
    done = guarded.approve(1)
    assert (done.status, done.approved_by, done.comment, done.answer) == ("applied", ("bob", "eve"), "better", "fine")
    assert guarded.get("m", 2).stage == "Production"
    assert guarded.requests() == []
    assert guarded.requests("m", "applied") == [done]
    rows = guarded.activity("m", 2).to_pylist()
    assert [(row["actor"], row["action"], row["comment"]) for row in rows] == [
        ("ada", "register", None),
        ("ada", "request", "better"),
        ("bob", "approve", "fine"),
        ("eve", "approve", None),
        ("eve", "set_stage", "request 1"),
    ]
    assert guarded.verify_activity().ok


def test_an_approved_request_archives_the_others_where_that_was_asked(guarded, as_):
    for version in (1, 2):
        asked = guarded.request("m", version, stage="Production", archive_existing=True)
        as_("bob")
        guarded.approve(asked)
        as_("ada")
    assert [v.stage for v in guarded.versions("m")] == ["Archived", "Production", "None"]


def test_who_may_not_approve_is_told_why_and_nothing_changes(guarded, as_):
    asked = guarded.request("m", 1, alias="champion")
    with pytest.raises(NotAllowed, match="ada asked for request 1"):
        guarded.approve(asked)
    guarded.set_rules("m", approvers=["bob", "eve"], approvals=2)
    as_("mallory")
    for answer in (guarded.approve, guarded.reject):
        with pytest.raises(NotAllowed, match="bob, eve"):
            answer(asked)
    with pytest.raises(NotAllowed, match="models reject 1"):
        guarded.cancel(asked)
    as_("bob")
    guarded.approve(asked)
    with pytest.raises(NotAllowed, match="approved request 1 already"):
        guarded.approve(asked)
    assert [(r.status, r.approved_by) for r in guarded.requests()] == [("open", ("bob",))]


def test_approvals_of_who_is_approver_no_more_do_not_count(guarded, as_):
    guarded.set_rules("m", approvers=["bob", "eve"], approvals=2)
    asked = guarded.request("m", 1, alias="champion")
    as_("bob")
    guarded.approve(asked)
    guarded.set_rules("m", approvers=["eve", "zoe"])
    as_("eve")
    assert guarded.approve(asked).status == "open"
    as_("zoe")
    assert guarded.approve(asked).status == "applied"


def test_who_asks_may_approve_where_the_rules_say_so_or_say_nothing(guarded):
    assert guarded.approve(guarded.request("m", 1, stage="Staging")).status == "applied"
    guarded.set_rules("m", requester_may_approve=True)
    assert guarded.approve(guarded.request("m", 1, stage="Production")).status == "applied"


def test_checks_must_have_passed_whichever_way_a_version_comes(guarded, as_):
    guarded.set_rules("m", checks=["slice", "load"])
    asked = guarded.request("m", 1, stage="Production")
    as_("bob")
    guarded.set_tags("m", {"check.slice": "passed", "check.load": "failed"}, 1)
    with pytest.raises(ChecksNotPassed, match="checks load before"):
        guarded.approve(asked)
    guarded.set_rules("m", direct=True)
    with pytest.raises(ChecksNotPassed, match=r"check\.load=passed"):
        guarded.set_alias("m", "champion", 1)
    guarded.set_tags("m", {"check.load": "passed"}, 1)
    assert guarded.approve(asked).status == "applied"
    assert guarded.set_alias("m", "champion", 1).aliases == ("champion",)


def test_a_request_is_rejected_or_cancelled_once(guarded, as_):
    first, second = guarded.request("m", 1, alias="champion"), guarded.request("m", 2, alias="champion")
    assert guarded.cancel(first, comment="mistyped").status == "cancelled"
    as_("bob")
    assert guarded.reject(second, comment="worse").answer == "worse"
    for asked, why in ((first, "cancelled by ada: mistyped"), (second, "rejected by bob: worse")):
        for answer in (guarded.approve, guarded.reject, guarded.cancel):
            with pytest.raises(RequestClosed, match=why):
                answer(asked)
    with pytest.raises(RequestNotFound, match="request 9"):
        guarded.approve(9)
    assert [(r.id, r.status) for r in guarded.requests(status=None)] == [(1, "cancelled"), (2, "rejected")]
    assert actions(guarded)[-4:] == ["request", "request", "cancel", "reject"]


def test_an_equal_request_beside_an_open_one_is_refused(guarded, as_):
    asked = guarded.request("m", 1, stage="Production")
    with pytest.raises(AlreadyExists, match="request 1 of ada"):
        guarded.request("m", 1, stage="Production", archive_existing=True)
    assert guarded.request("m", 2, stage="Production").id == 2
    guarded.set_stage("m", 1, "Staging")
    again = guarded.request("m", 1, stage="Production")  # the first is outdated
    assert [(r.id, r.status) for r in guarded.requests("m", None)] == [(1, "outdated"), (2, "open"), (3, "open")]
    as_("bob")
    with pytest.raises(RequestClosed, match="since went to Staging"):
        guarded.approve(asked)
    assert guarded.approve(again).from_state == "Staging"


def test_a_request_cannot_be_about_nothing(guarded):
    guarded.set_stage("m", 1, "Staging")
    guarded.set_stage("m", 2, "Archived")
    for given in (
        {},
        {"stage": "Staging", "alias": "a"},
        {"alias": "latest"},
        {"alias": "a", "archive_existing": True},
    ):
        with pytest.raises(InvalidInput):
            guarded.request("m", 1, **given)
    with pytest.raises(Conflict, match="at stage Staging already"):
        guarded.request("m", 1, stage="Staging")
    with pytest.raises(Conflict, match="archived"):
        guarded.request("m", 2, alias="champion")
    for name, version in (("m", 9), ("n", 1)):
        with pytest.raises(ModelNotFound):
            guarded.request(name, version, stage="Production")
    with pytest.raises(InvalidInput, match="status"):
        guarded.requests(status="done")
    assert guarded.requests(status=None) == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda m: m.set_stage("m", 1, "Staging"), "was in None when it was asked, and since went to Staging"),
        (lambda m: (m.set_stage("m", 1, "Staging"), m.set_stage("m", 1, "None")), "went to Staging, then None"),
        (lambda m: m.set_stage("m", 1, "Archived"), "went to Archived"),
        (lambda m: m.delete_version("m", 1), "version 1 was deleted"),
        (lambda m: m.delete("m"), "version 1 was deleted"),
    ],
)
def test_a_request_whose_version_moved_is_closed_by_the_next_answer(guarded, as_, change, why):
    asked = guarded.request("m", 1, stage="Production")
    change(guarded)
    assert guarded.requests() == []  # it counts as outdated at once
    as_("bob")
    with pytest.raises(RequestClosed, match=why):
        guarded.approve(asked)
    with pytest.raises(RequestClosed, match="outdated"):
        guarded.approve(asked)
    (closed,) = guarded.requests(status=None)
    assert (closed.status, closed.approved_by) == ("outdated", ())
    assert actions_of_lake(guarded)[-1] == "close_request"


def actions_of_lake(models: Models) -> list[str]:
    return models.activity()["action"].to_pylist()


def test_a_request_for_an_alias_is_outdated_when_the_alias_moved_or_the_version_was_archived(guarded, as_):
    guarded.set_rules("m", direct=True)
    moved, archived = guarded.request("m", 1, alias="champion"), guarded.request("m", 2, alias="next")
    guarded.set_alias("m", "champion", 3)
    guarded.set_stage("m", 2, "Archived")
    as_("bob")
    with pytest.raises(RequestClosed, match="named nothing when it was asked, and since came to name 3"):
        guarded.approve(moved)
    with pytest.raises(RequestClosed, match="version 2 is archived"):
        guarded.approve(archived)
    assert guarded.model("m").aliases == {"champion": 3}


def test_a_renamed_model_keeps_its_rules_and_requests(guarded, as_):
    asked = guarded.request("m", 1, stage="Production")
    guarded.rename("m", "n")
    assert guarded.rules("n").stages == ("Production",)
    assert [r.id for r in guarded.requests("n")] == [1]
    as_("bob")
    assert guarded.approve(asked).name == "n"
    assert guarded.get("n", 1).stage == "Production"
    guarded.register("m", guarded.get("n", 1).run_id)
    assert guarded.rules("m") == Rules()  # the name's rules went with the model


_APPROVE = """
import sys
from lakelineage.engine import Engine
from lakelineage.errors import RequestClosed
from lakelineage.registry import Models

engine = Engine(sys.argv[1], durability="process")
try:
    print(Models(engine).approve(int(sys.argv[2]), comment="from a process").status)
except RequestClosed as error:
    print("closed", error)
engine.close()
"""


def approving(engine: Any, user: str, number: int, **more: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "LAKELINEAGE_USER": user, **more}
    command = [sys.executable, "-c", _APPROVE, engine.root.uri, str(number)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_of_people_racing_for_the_last_approval_one_wins_and_the_others_are_told(guarded, engine):
    asked = guarded.request("m", 1, alias="champion")
    children = [approving(engine, user, asked.id) for user in ("bob", "eve", "zoe")]
    told = sorted(child.communicate(timeout=120)[0].strip() for child in children)
    assert [child.returncode for child in children] == [0, 0, 0]
    assert told[0] == "applied"
    assert all(line.startswith("closed request 1 is ") for line in told[1:])
    (done,) = guarded.requests(status="applied")
    assert len(done.approved_by) == 1
    assert engine.query("select count(*) as n from aliases_history").to_pylist() == [{"n": 1}]
    assert actions(guarded).count("approve") == actions(guarded).count("set_alias") == 1
    assert guarded.verify_activity().ok


@pytest.mark.parametrize("target", [{"stage": "Production", "archive_existing": True}, {"alias": "champion"}])
@pytest.mark.parametrize("step", ["approve.before_move", "approve.after_move"])
def test_a_process_killed_between_approval_and_move_leaves_what_the_next_writer_completes(
    guarded, engine, as_, step, target
):
    asked = guarded.request("m", 1, **target)
    child = approving(engine, "bob", asked.id, LAKELINEAGE_FAULT=step)
    child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL
    assert [r.status for r in guarded.requests(status=None)] == ["approved"]
    with pytest.raises(RequestClosed, match="applied"):
        guarded.cancel(asked)  # whoever writes next completes it, and then looks at it
    moved = guarded.get("m", 1)
    assert (moved.stage, moved.aliases) == (
        "Production" if "stage" in target else "None",
        tuple({*target.values()} & {"champion"}),
    )
    moves = "set_stage" if "stage" in target else "set_alias"
    guarded.set_alias("m", "other", 2)
    assert actions(guarded).count(moves) == (1 if moves == "set_stage" else 2)
    assert [r.status for r in guarded.requests(status=None)] == ["applied"]


def test_what_was_approved_is_not_done_again_after_the_version_went_on(guarded, engine):
    asked = guarded.request("m", 1, stage="Production")
    child = approving(engine, "bob", asked.id, LAKELINEAGE_FAULT="approve.after_move")
    child.communicate(timeout=120)
    guarded.set_stage("m", 1, "Archived")
    guarded.set_stage("m", 2, "Staging")
    assert [v.stage for v in guarded.versions("m")] == ["Archived", "Staging", "None"]
    assert [r.status for r in guarded.requests(status=None)] == ["applied"]


def test_an_approved_request_whose_version_is_deleted_before_the_move_is_outdated(guarded, engine):
    asked = guarded.request("m", 1, stage="Production")
    child = approving(engine, "bob", asked.id, LAKELINEAGE_FAULT="approve.before_move")
    child.communicate(timeout=120)
    guarded.delete_version("m", 1)  # taking out of use asks nobody
    guarded.set_stage("m", 2, "Staging")
    assert [r.status for r in guarded.requests(status=None)] == ["outdated"]
    assert actions(guarded)[-2:] == ["close_request", "set_stage"]


def test_acts_that_are_not_recorded_are_missing_from_the_record(guarded, engine, monkeypatch):
    from deltalake import write_deltalake

    from lakelineage.tables import ACTIVITY

    guarded.request("m", 1, stage="Production")
    assert guarded.verify_activity().ok
    monkeypatch.setattr(activity, "GRACE", 0)
    rows = engine.rows(ACTIVITY)
    write_deltalake(engine.root.child("tables", "activity"), rows.slice(0, rows.num_rows - 1), mode="overwrite")
    found = guarded.verify_activity()
    assert (found.broken, [act.action for act in found.missing], found.ok) == ((), ["request"], False)


def test_rolling_back_goes_to_the_version_before_and_again_to_the_one_before_that(guarded, as_):
    guarded.set_rules("m", direct=True)
    with pytest.raises(ModelNotFound, match="alias champion"):
        guarded.roll_back("m")
    for version in (1, 2, 3):
        guarded.set_alias("m", "champion", version)
        guarded.set_stage("m", version, "Production", archive_existing=True)
    assert [guarded.roll_back("m", comment="drift"), guarded.get("m", "champion").version] == [2, 2]
    assert guarded.roll_back("m") == 1
    with pytest.raises(ModelNotFound):
        guarded.roll_back("m")
    assert guarded.roll_back("m", stage="production") == 2
    assert [v.stage for v in guarded.versions("m")] == ["Archived", "Production", "Archived"]
    comments = guarded.activity("m")["comment"].to_pylist()
    assert (comments.count("roll back: drift"), comments.count("roll back")) == (1, 3)  # one of the two that moved
    guarded.set_rules("m", direct=False)
    with pytest.raises(ApprovalNeeded, match="request m@1 --stage Production"):
        guarded.roll_back("m", stage="Production")
    for given in ({"alias": "a", "stage": "Production"}, {"stage": "Archived"}, {"alias": "3"}):
        with pytest.raises(InvalidInput):
            guarded.roll_back("m", **given)


def test_rolling_back_passes_over_what_was_deleted(guarded):
    guarded.set_rules("m", direct=True)
    for version in (1, 2, 3):
        guarded.set_alias("m", "champion", version)
    guarded.delete_version("m", 2)
    assert guarded.roll_back("m") == 1
    guarded.delete_alias("m", "champion")
    assert guarded.roll_back("m") == 1  # to what it named last


def test_old_versions_that_nothing_points_at_are_retired(models, make_run):
    run = make_run()
    for _ in range(7):
        models.register("m", run)
    models.set_alias("m", "champion", 1)
    models.set_stage("m", 2, "Production")
    models.request("m", 3, alias="next")
    assert [r.archived for r in models.retire("m", keep=2)] == [False] * 6
    would = models.retire("m", keep=2, older_than="0d", dry_run=True)
    assert [(r.version, r.reason) for r in would] == [
        (1, "alias champion names it"),
        (3, "a request about it is open"),
        (4, None),
        (5, None),
        (6, "one of the newest 2"),
        (7, "one of the newest 2"),
    ]
    assert {v.stage for v in models.versions("m")} == {"None", "Production"}
    assert models.retire("m", keep=2, older_than="0d", comment="yearly") == would
    stages = ["None", "Production", "None", "Archived", "Archived", "None", "None"]
    assert [v.stage for v in models.versions("m")] == stages
    assert models.activity("m", 4).to_pylist()[-1]["comment"] == "yearly"
    for wrong in ({"keep": -1}, {"older_than": "old"}, {"stages": ["Archived"]}, {"stages": []}):
        with pytest.raises(InvalidInput):
            models.retire("m", **wrong)


def test_threads_of_one_process_that_retire_ask_and_move_aliases_do_not_wait_for_each_other(guarded):
    from concurrent.futures import ThreadPoolExecutor

    def swing() -> None:
        for version in (1, 2, 3):
            guarded.set_alias("m", "next", version)

    def ask() -> None:
        for version in (1, 2, 3):
            guarded.cancel(guarded.request("m", version, alias="champion"))

    def retire() -> None:
        for _ in range(3):
            guarded.retire("m", keep=3)
            guarded.set_rules("m", approvals=2)
            guarded.set_rules("m", approvals=1)

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(each) for each in (swing, ask, retire)]:
            done.result(timeout=120)
    assert guarded.get("m", "next").version == 3
    assert guarded.verify_activity().ok
