"""What an auditor reads of a version."""

import json
import subprocess
from pathlib import Path

import pytest
from deltalake import DeltaTable, write_deltalake

import lakelineage as ll
from lakelineage.errors import InvalidInput, ModelNotFound


@pytest.fixture
def audited(lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ll.Lake:
    """A version that was trained on version 0 of a table, asked for, approved, and scored with."""
    import pyarrow as pa

    monkeypatch.setenv("LAKELINEAGE_USER", "ada")
    write_deltalake(str(tmp_path / "points"), pa.table({"x": [1.0, 2.0]}))
    with lake.start_run("e", name="trained") as run:
        run.use(tmp_path / "points", name="points")
        run.log_param("text", "a | b")
        run.log_metric("rmse", 0.5)
        run.log_model(lambda frame: frame["x"] * 2, "model")
    lake.models.register("m", run, tags={"check.slice": "passed"})
    lake.models.approve(lake.models.request("m", 1, alias="champion", comment="please"), comment="fine")
    lake.score("models:/m@champion", tmp_path / "points", tmp_path / "out", trust="pickle")
    return lake


def test_an_audit_walks_from_a_version_to_all_that_is_behind_it(audited, tmp_path):
    found = audited.audit("model:m@1")
    assert found.run is not None
    assert (found.run["name"], found.run["params"], found.run["metrics"]) == (
        "trained",
        {"text": "a | b"},
        {"rmse": 0.5},
    )
    assert [(row["name"], row["table_uri"], row["version"]) for row in found.data] == [
        ("points", str(tmp_path / "points"), 0)
    ]
    assert found.environment is not None
    assert "deltalake" in found.environment["packages"]
    assert [(each["check"], each["standing"]) for each in found.checks] == [("slice", "passed")]
    assert [(r.requested_by, r.approved_by, r.status) for r in found.requests] == [("ada", ("ada",), "applied")]
    assert [act["action"] for act in found.acts] == ["register", "request", "approve", "set_alias"]
    assert [row["label"].partition("@")[0] for row in found.predictions] == [str(tmp_path / "out")]
    assert found.record.ok
    for same in ("model:m@champion", "models:/m/1", "models:/m@champion"):
        assert audited.audit(same) == found
    for wrong, error in (("m", InvalidInput), ("model:@1", InvalidInput), ("model:m@2", ModelNotFound)):
        with pytest.raises(error):
            audited.audit(wrong)


def test_an_audit_is_told_as_text_json_and_markdown(audited):
    found = audited.audit("model:m@1")
    told = json.loads(json.dumps(found.to_dict(), default=str))
    assert (told["version"]["uri"], told["record"]["ok"], told["requests"][0]["id"]) == ("models:/m/1", True, 1)
    for page in (str(found), found.to_markdown()):
        for word in (
            "intact: 4 acts",
            found.record.head,
            "please",
            "fine",
            "points",
            "slice",
            "Requests and approvals",
        ):
            assert str(word) in page
    assert "text=a \\| b" in found.to_markdown()


def test_an_audit_says_that_the_record_is_broken(audited):
    table = DeltaTable(audited._engine.root.child("tables", "activity"))
    table.update(updates={"actor": "'mallory'"}, predicate="action = 'approve'")
    found = audited.audit("model:m@1")
    assert (found.record.ok, len(found.record.broken)) == (False, 1)
    assert "BROKEN: 1 acts altered" in found.to_markdown()


def test_an_audit_has_the_changes_that_were_not_committed(lake_path, tmp_path, monkeypatch):
    import sys

    monkeypatch.setenv("LAKELINEAGE_CAPTURE_SOURCE", "1")
    program = tmp_path / "code" / "train.py"
    program.parent.mkdir()
    program.write_text("# before\n")
    git = ["git", "-C", str(program.parent), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    program.write_text(
        "import sys, lakelineage as ll\n"
        "with ll.open(sys.argv[1]) as lake:\n"
        "    with lake.start_run('e') as run:\n"
        "        run.log_text('x', 'model/weights.txt')\n"
        "    lake.models.register('m', run)\n"
    )
    subprocess.run([sys.executable, str(program), str(lake_path)], check=True)
    with ll.open(lake_path) as lake:
        found = lake.audit("model:m@1")
    assert found.code is not None
    assert (found.code["git_dirty"], "-# before" in found.code["diff"]) == (True, True)
    assert "```diff\n" in found.to_markdown()
    assert "-# before" in str(found)
