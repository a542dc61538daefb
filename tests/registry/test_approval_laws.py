"""Whatever is asked and answered in whatever order: requests do what a plain dictionary does."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lakelineage.errors import (
    ApprovalNeeded,
    Conflict,
    InvalidInput,
    NotAllowed,
    RequestClosed,
    RequestNotFound,
)
from lakelineage.registry.models import Models

USERS = st.sampled_from(["ada", "bob", "eve"])
VERSIONS = st.integers(1, 2)
NUMBERS = st.integers(1, 4)


class Governance(RuleBasedStateMachine):
    """Rules, requests and one stage as plain Python: request → who asked, version, approvals, status, steps then."""

    engine: Any
    make_run: Any
    monkeypatch: pytest.MonkeyPatch

    def __init__(self) -> None:
        super().__init__()
        self.models = Models(self.engine)
        for known in self.models.registered():
            self.models.delete(known.name)
        run = self.make_run()
        for _ in range(2):
            self.models.register("m", run)
        self.first = len(self.models.requests(status=None)) + 1
        self.held: dict[str, Any] = {"approvals": 1, "approvers": set(), "own": False, "direct": False}
        self.models.set_rules("m", stages=["Production"])
        self.asked: list[dict[str, Any]] = []
        self.steps = {1: ["None"], 2: ["None"]}

    def user(self, name: str) -> None:
        self.monkeypatch.setenv("LAKELINEAGE_USER", name)

    @rule(approvals=st.integers(1, 2), approvers=st.sets(USERS), own=st.booleans(), direct=st.booleans())
    def set_rules(self, approvals: int, approvers: set[str], own: bool, direct: bool) -> None:
        given = {"approvals": approvals, "approvers": sorted(approvers), "requester_may_approve": own, "direct": direct}
        if approvers and len(approvers) < approvals:
            with pytest.raises(InvalidInput):
                self.models.set_rules("m", **given)
        else:
            self.models.set_rules("m", **given)
            self.held = {"approvals": approvals, "approvers": approvers, "own": own, "direct": direct}

    @rule(version=VERSIONS, stage=st.sampled_from(["Staging", "Production"]))
    def move(self, version: int, stage: str) -> None:
        now = self.steps[version][-1]
        if stage == "Production" and now != stage and not self.held["direct"]:
            with pytest.raises(ApprovalNeeded):
                self.models.set_stage("m", version, stage)
        else:
            self.models.set_stage("m", version, stage)
            self.steps[version] += [stage] if now != stage else []

    def late(self, asked: dict[str, Any]) -> bool:
        return len(self.steps[asked["version"]]) != asked["steps"]

    @rule(user=USERS, version=VERSIONS)
    def request(self, user: str, version: int) -> None:
        self.user(user)
        equal = [a for a in self.asked if a["status"] == "open" and a["version"] == version and not self.late(a)]
        if self.steps[version][-1] == "Production" or equal:
            with pytest.raises(Conflict):
                self.models.request("m", version, stage="Production")
            return
        made = self.models.request("m", version, stage="Production")
        for other in self.asked:
            if other["status"] == "open" and other["version"] == version:
                other["status"] = "outdated"
        self.asked.append(
            {"by": user, "version": version, "approved": [], "status": "open", "steps": len(self.steps[version])}
        )
        assert made.id == self.first + len(self.asked) - 1

    def open(self, number: int) -> dict[str, Any] | None:
        """The request if it can be answered; what is outdated is closed by the attempt."""
        if number > len(self.asked):
            return None
        asked = self.asked[number - 1]
        if asked["status"] == "open" and self.late(asked):
            asked["status"] = "outdated"
        return asked if asked["status"] == "open" else None

    @rule(user=USERS, number=NUMBERS)
    def approve(self, user: str, number: int) -> None:
        self.user(user)
        asked, held = self.open(number), self.held
        place = self.first + number - 1
        if asked is None:
            with pytest.raises(RequestClosed if number <= len(self.asked) else RequestNotFound):
                self.models.approve(place)
        elif (
            (held["approvers"] and user not in held["approvers"])
            or (user == asked["by"] and not held["own"])
            or user in asked["approved"]
        ):
            with pytest.raises(NotAllowed):
                self.models.approve(place)
        else:
            self.models.approve(place)
            asked["approved"].append(user)
            if len([u for u in asked["approved"] if u in (held["approvers"] or {u})]) >= held["approvals"]:
                asked["status"] = "applied"
                self.steps[asked["version"]].append("Production")

    @rule(user=USERS, number=NUMBERS, verb=st.sampled_from(["reject", "cancel"]))
    def close(self, user: str, number: int, verb: str) -> None:
        self.user(user)
        asked, place = self.open(number), self.first + number - 1
        allowed = asked is not None and (
            user == asked["by"] if verb == "cancel" else user in (self.held["approvers"] or {user})
        )
        if asked is None or not allowed:
            with pytest.raises((RequestClosed, RequestNotFound) if asked is None else NotAllowed):
                getattr(self.models, verb)(place)
        else:
            getattr(self.models, verb)(place)
            asked["status"] = {"reject": "rejected", "cancel": "cancelled"}[verb]

    @invariant()
    def the_lake_says_what_the_dictionary_says(self) -> None:
        found = self.models.requests("m", None)
        late = ["outdated" if a["status"] == "open" and self.late(a) else a["status"] for a in self.asked]
        assert [r.status for r in found] == late
        assert [list(r.approved_by) for r in found] == [a["approved"] for a in self.asked]
        assert {v.version: v.stage for v in self.models.versions("m")} == {n: s[-1] for n, s in self.steps.items()}

    def teardown(self) -> None:
        assert self.models.verify_activity().ok


@pytest.mark.slow
def test_requests_do_what_a_dictionary_does(engine, make_run, monkeypatch):
    parts = {"engine": engine, "make_run": staticmethod(make_run), "monkeypatch": monkeypatch}
    machine = type("Machine", (Governance,), parts)
    machine.TestCase.settings = settings(max_examples=8, stateful_step_count=25)
    machine.TestCase().runTest()
