"""Commands about who may change models."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lakelineage as ll

Cli = Callable[..., Any]


@pytest.fixture
def registered(lake_path: Path) -> Path:
    """A lake with a model "m" of two versions."""
    with ll.open(lake_path) as lake:
        with lake.start_run("e") as run:
            run.log_text("x", "model/weights.txt")
        for _ in range(2):
            lake.models.register("m", run)
    return lake_path


def test_a_request_goes_its_way_from_the_shell(registered: Path, call: Cli, answer: Cli) -> None:
    def models(*words: str, user: str = "ada") -> Any:
        return answer("--lake", registered, "models", *words, env={"LAKELINEAGE_USER": user})

    held = models("rules", "m", "--stage", "Production", "--approver", "bob", "--check", "slice", "--comment", "audit")
    assert held == models("rules", "m")
    assert (held["stages"], held["approvers"], held["approvals"], held["direct"]) == (["Production"], ["bob"], 1, False)
    refused = call("--lake", registered, "models", "stage", "m", "1", "Production", "--json")
    assert (refused.returncode, json.loads(refused.stderr)["error"]["code"]) == (1, "approval_needed")
    asked = models("request", "m@1", "--stage", "Production", "--comment", "please")
    assert (asked["id"], asked["status"], asked["target"]) == (1, "open", "stage Production")
    for user, code in (("eve", "not_allowed"), ("bob", "checks_not_passed")):
        done = call("--lake", registered, "models", "approve", "1", "--json", env={"LAKELINEAGE_USER": user})
        assert (done.returncode, json.loads(done.stderr)["error"]["code"]) == (1, code)
    models("tag", "m@1", "check.slice=passed")
    assert models("approve", "1", "--comment", "fine", user="bob")["status"] == "applied"
    assert models("requests") == []
    assert [each["answer"] for each in models("requests", "m", "--status", "all")] == ["fine"]
    acts = models("activity", "m@1")
    assert [(a["actor"], a["action"]) for a in acts[-2:]] == [("bob", "approve"), ("bob", "set_stage")]
    assert models("activity", "--verify")["ok"] is True
    assert models("cancel", str(models("request", "m@2", "--alias", "next")["id"]))["status"] == "cancelled"
    assert models("reject", str(models("request", "m@2", "--alias", "next")["id"]))["status"] == "rejected"
    assert models("rules", "m", "--none")["stages"] == []


def test_people_read_what_happened(registered: Path, call: Cli) -> None:
    def models(*words: str) -> str:
        done = call("--lake", registered, "models", *words, env={"LAKELINEAGE_USER": "ada"})
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    assert models("request", "m@1", "--alias", "champion") == "request 1 (m@1 to alias champion) is open\n"
    assert "champion" in models("requests")
    assert models("approve", "1") == "request 1 (m@1 to alias champion) is applied, approved by ada\n"
    models("alias", "m", "champion", "2")
    assert models("roll-back", "m") == "alias champion of m is back at version 1\n"
    assert "1 of 2 versions would be archived" in models(
        "retire", "m", "--keep", "0", "--older-than", "0d", "--dry-run"
    )
    assert "7 acts, none altered, none missing; newest hash" in models("activity", "--verify")
    assert "rules of m" in models("rules", "m")


def test_a_broken_record_is_exit_code_1(registered: Path, call: Cli) -> None:
    from deltalake import DeltaTable

    DeltaTable(str(registered / "tables" / "activity")).update(
        updates={"actor": "'mallory'"}, predicate="to_state = '1'"
    )
    done = call("--lake", registered, "models", "activity", "--verify")
    assert (done.returncode, "BROKEN" in done.stdout, "act 0: its content" in done.stdout) == (1, True, True)
    for words in ((), ("--json",), ("--markdown",)):
        assert call("--lake", registered, "audit", "model:m@1", *words).returncode == 1


def test_an_audit_is_text_json_or_markdown(registered: Path, call: Cli, answer: Cli) -> None:
    told = answer("--lake", registered, "audit", "model:m@2")
    assert (told["version"]["uri"], told["record"]["ok"], told["code"]["diff"]) == ("models:/m/2", True, None)
    text, page = (call("--lake", registered, "audit", "models:/m/2", *w).stdout for w in ((), ("--markdown",)))
    assert text.startswith("audit of models:/m/2\nrecord of acts: intact: 2 acts")
    assert page.startswith("# Audit of `models:/m/2`\n\nRecord of acts: intact: 2 acts")
    assert call("--lake", registered, "audit", "models:/m/2", "--markdown", "--json").returncode == 2


@pytest.mark.parametrize(
    "words",
    [
        ("request", "m", "--stage", "Production"),
        ("request", "m@1"),
        ("request", "m@1", "--stage", "Staging", "--alias", "a"),
        ("rules", "m", "--none", "--approvals", "2"),
        ("rules", "m", "--comment", "why"),
        ("roll-back", "m", "--alias", "a", "--stage", "Production"),
        ("activity", "m", "--verify"),
        ("approve", "one"),
    ],
)
def test_what_was_typed_wrongly_is_exit_code_2(registered: Path, words: tuple[str, ...], call: Cli) -> None:
    assert call("--lake", registered, "models", *words).returncode == 2
