"""What each kind of check finds, where that is kept, and what it opens and shuts."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from deltalake import DeltaTable, write_deltalake
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score, root_mean_squared_error

import lakelineage as ll
from lakelineage.errors import ApprovalNeeded, ChecksNotPassed, InvalidInput, ModelNotFound, NotTrusted, TableNotFound
from lakelineage.validation import (
    Check,
    CheckResult,
    Documentation,
    Evaluation,
    InputSchema,
    LoadAndPredict,
    Metric,
    Signature,
    run,
)


def only(lake: ll.Lake, version: int, check: Check) -> CheckResult:
    """What one check finds of a version of "m"."""
    lake.models.set_checks("m", {"it": check})
    (found,) = lake.models.validate("m", version, checks=["it"]).results
    return found


def told(result: CheckResult) -> tuple[str, str]:
    return result.result, result.detail


# What each kind finds -----------------------------------------------------------------------------------------------


def test_a_metric_of_the_run_lies_within_bounds_or_not(lake: ll.Lake, model: str) -> None:
    assert told(only(lake, 1, Metric(key="rmse", max=5))) == ("passed", "rmse is 5, wanted at most 5")
    assert told(only(lake, 2, Metric(key="rmse", min=1, max=20))) == (
        "failed",
        "rmse is 25, wanted at least 1 and at most 20",
    )
    found = only(lake, 1, Metric(key="mae", max=5))
    assert (found.result, found.value) == ("failed", None)
    assert "logged no metric 'mae'" in found.detail


def test_a_metric_that_is_nan_does_not_pass(lake: ll.Lake, model: str) -> None:
    with lake.start_run("prices") as made:
        made.log_metric("rmse", float("nan"))
        made.log_text("x", "model/weights.txt")
    lake.models.register("m", made)
    assert told(only(lake, 3, Metric(key="rmse", max=1e9)))[0] == "failed"


def test_an_evaluation_is_the_metric_of_scikit_learn_on_the_pinned_slice(
    lake: ll.Lake, model: str, houses: str, on: dict[str, Any]
) -> None:
    frame = DeltaTable(houses).to_pandas()
    old = frame[frame["age"] > 40]
    predicted = lake.load_model("models:/m/1").predict(old[["size", "age"]])
    found = only(lake, 1, Evaluation(**on, where="age > 40", max=100))
    assert found.result == "passed"
    assert found.value == pytest.approx(root_mean_squared_error(old["price"], predicted), rel=1e-12)
    other = only(lake, 1, Evaluation(metric="r2_score", data=houses, label="price", min=0.5))
    assert other.value == pytest.approx(r2_score(frame["price"], lake.load_model("models:/m/1").predict(frame)))


def test_what_becomes_of_the_table_does_not_change_an_evaluation(
    lake: ll.Lake, model: str, houses: str, on: dict[str, Any]
) -> None:
    before = only(lake, 1, Evaluation(**on, max=100))
    write_deltalake(houses, DeltaTable(houses).to_pyarrow_table().slice(0, 3), mode="overwrite")
    DeltaTable(houses).vacuum(0, enforce_retention_duration=False, dry_run=False)
    (after,) = lake.models.validate("m", 1).results
    assert (after.value, after.snapshot_id, after.definition) == (before.value, before.snapshot_id, before.definition)


def test_whoever_is_evaluated_on_the_data_of_the_training_is_told(
    lake: ll.Lake, model: str, houses: str, on: dict[str, Any]
) -> None:
    careful = "careful, it was trained on this very version of the data"
    assert careful in only(lake, 1, Evaluation(**on, max=100)).detail
    write_deltalake(houses, DeltaTable(houses).to_pyarrow_table().slice(0, 50), mode="append")
    assert careful not in only(lake, 1, Evaluation(**on, max=100)).detail


@pytest.mark.parametrize(
    ("margin", "version", "result", "words"),
    [
        (0.0, 2, "failed", "wanted no worse than"),
        (-100.0, 2, "passed", "wanted at most 100 worse than"),
        (1.0, 2, "failed", "wanted better by 1 than"),
        (1.0, 1, "passed", "it is champion itself"),
    ],
)
def test_a_version_is_no_worse_than_the_champion(
    lake: ll.Lake, model: str, on: dict[str, Any], margin: float, version: int, result: str, words: str
) -> None:
    lake.models.set_alias("m", "champion", 1)
    found = only(lake, version, Evaluation(**on, against="champion", margin=margin))
    assert (found.result, found.compared_with) == (result, 1)
    assert words in found.detail


def test_a_better_version_beats_the_champion_by_errors_and_by_scores(
    lake: ll.Lake, model: str, on: dict[str, Any]
) -> None:
    lake.models.set_alias("m", "champion", 2)
    for metric in ("root_mean_squared_error", "r2_score"):
        found = only(lake, 1, Evaluation(**(on | {"metric": metric}), against="champion", margin=0.01))
        assert (found.result, found.compared_with) == ("passed", 2)


def test_without_a_champion_there_is_nothing_to_be_worse_than(lake: ll.Lake, model: str, on: dict[str, Any]) -> None:
    found = only(lake, 2, Evaluation(**on, against="champion"))
    assert (found.result, found.compared_with) == ("passed", None)


@pytest.mark.parametrize(
    ("changed", "result", "words"),
    [
        ({"where": "age > 1000"}, "error", "no rows to evaluate on where age > 1000"),
        ({"prediction": "prediction_high"}, "failed", "gives no 'prediction_high'"),
    ],
)
def test_an_evaluation_that_cannot_be_done_fails_and_says_why(
    lake: ll.Lake, model: str, on: dict[str, Any], changed: dict[str, str], result: str, words: str
) -> None:
    found = only(lake, 1, Evaluation(**(on | {"max": 1.0} | changed)))
    assert found.result == result
    assert words in found.detail


def test_a_label_that_the_data_lacks_is_refused_when_the_check_is_set(
    lake: ll.Lake, model: str, on: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput, match="label 'value' is no column of the data"):
        lake.models.set_checks("m", {"it": Evaluation(**(on | {"label": "value"}), max=1.0)})
    assert lake.models.checks("m") == {}


def test_a_champion_that_cannot_be_measured_is_no_fault_of_its_rival(lake: ll.Lake, model: str, houses: str) -> None:
    write_deltalake(
        houses, DeltaTable(houses).to_pyarrow_table().drop_columns(["age"]), mode="overwrite", schema_mode="overwrite"
    )
    lake.models.set_alias("m", "champion", 1)  # wants the age, which the data lacks now
    asked = {"metric": "r2_score", "data": houses, "label": "price", "against": "champion", "archive": True}
    found = only(lake, 2, Evaluation(**asked))
    assert (found.result, lake.models.get("m", 2).stage) == ("error", "None")
    assert "champion, version 1, cannot be compared with" in found.detail
    assert "'age' (double) is missing" in found.detail


def test_rows_without_a_label_are_not_left_out_silently(lake: ll.Lake, model: str, tmp_path: Path) -> None:
    holes = str(tmp_path / "holes")
    write_deltalake(holes, pd.DataFrame({"size": [1.0, 2.0], "age": [1.0, 2.0], "price": [1.0, None]}))
    asked = {"metric": "mean_absolute_error", "data": holes, "label": "price", "max": 1e9}
    assert "1 of 2 rows have no 'price'" in only(lake, 1, Evaluation(**asked)).detail
    assert only(lake, 1, Evaluation(**asked, where="age < 2")).result == "passed"


def test_the_columns_of_a_table_fit_the_signature_or_are_named(
    lake: ll.Lake, model: str, houses: str, tmp_path: Path
) -> None:
    assert only(lake, 1, InputSchema(data=houses)).result == "passed"
    other = str(tmp_path / "other")
    write_deltalake(other, pd.DataFrame({"size": ["big"], "price": [1.0]}))
    found = only(lake, 1, InputSchema(data=other))
    assert found.result == "failed"
    assert "column 'size' is" in found.detail
    assert "column 'age' (double) is missing" in found.detail


def test_a_signature_is_there_or_not(lake: ll.Lake, model: str) -> None:
    assert told(only(lake, 1, Signature())) == ("passed", "it takes size, age")
    with lake.start_run("prices") as made:
        made.log_model(LinearRegression().fit(np.array([[1.0], [2.0]]), [1.0, 2.0]))
    lake.models.register("m", made)
    for kind in (Signature(), InputSchema(data=made_of(lake))):
        assert "no signature" in only(lake, 3, kind).detail


def made_of(lake: ll.Lake) -> Any:
    return next(iter(lake.models.inputs("m", 1).values()))


def test_documentation_is_that_of_the_version_or_of_its_model(lake: ll.Lake, model: str) -> None:
    check = Documentation(length=10, tags=("owner",))
    assert told(only(lake, 1, check)) == ("failed", "lacks a description, tag owner")
    lake.models.describe("m", "prices", 1)
    lake.models.set_tags("m", {"owner": "ada"})
    assert told(only(lake, 1, check)) == ("failed", "lacks a description of 10 characters (it has 6)")
    lake.models.describe("m", "prices of houses")
    assert only(lake, 1, check).result == "passed"


def test_a_model_loads_and_predicts_in_a_process_of_its_own(lake: ll.Lake, model: str, houses: str) -> None:
    for check, rows in ((LoadAndPredict(), 100), (LoadAndPredict(data=houses, rows=7, where="age > 20"), 7)):
        found = only(lake, 1, check)
        assert (found.result, found.detail.split()[0]) == ("passed", str(rows))


def test_a_model_without_its_files_is_not_validated_by_an_error(lake: ll.Lake, model: str, lake_path: Path) -> None:
    """What keeps a check from finding out is no fault of the version's: it is not archived, and has not passed."""
    source = lake.models.get("m", 1)
    next((lake_path / "artifacts" / source.run_id / "model").glob("MLmodel")).write_text("altered")
    found = only(lake, 1, Signature(archive=True))
    assert found.result == "error"
    assert "not what was logged" in found.detail
    assert lake.models.get("m", 1).stage == "None"
    assert lake.models.standing("m", 1) == {"it": "error"}


def test_a_model_that_would_run_code_is_not_judged_without_trust(lake: ll.Lake, model: str, tmp_path: Path) -> None:
    with lake.start_run("prices") as made:
        made.log_model(lambda frame: frame["size"] * 2.0, input_example=pd.DataFrame({"size": [1.0, 2.0]}))
    lake.models.register("m", made)
    doubles = str(tmp_path / "doubles")
    write_deltalake(doubles, pd.DataFrame({"size": [1.0, 2.0], "y": [2.0, 4.0]}))
    evaluation = Evaluation(metric="r2_score", data=doubles, label="y", min=0.9, archive=True)
    lake.models.set_checks("m", {"loads": LoadAndPredict(), "good": evaluation})
    for check in ("loads", "good"):
        with pytest.raises(NotTrusted, match=r"models:/m/3.*python_model\.pkl"):
            lake.models.validate("m", 3, checks=[check])
    assert lake.models.check_results("m", 3) == []
    assert (lake.models.get("m", 3).stage, lake.models.get("m", 3).tags) == ("None", {})
    done = lake.models.validate("m", 3, trust="pickle")
    assert [each.result for each in done.results] == ["passed", "passed"]


#: An evaluation that names no threshold.
EVALUATION = {"kind": "evaluation", "metric": "r2_score", "data": "x", "label": "y"}

# What is kept -------------------------------------------------------------------------------------------------------


def test_results_are_rows_tags_and_acts(lake: ll.Lake, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKELINEAGE_USER", "ada")
    lake.models.set_checks("m", {"good": Metric(key="rmse", max=10), "documented": Documentation()}, comment="rules")
    done = lake.models.validate("m", 1, comment="before the release")
    assert not done.ok
    assert [(each.check, each.result) for each in done.results] == [("documented", "failed"), ("good", "passed")]
    rows = lake.sql(
        "select check_name, result, value, user_id, comment from model_check_results order by 1"
    ).to_pylist()
    assert rows[1] == {
        "check_name": "good",
        "result": "passed",
        "value": 5.0,
        "user_id": "ada",
        "comment": "before the release",
    }
    assert lake.models.get("m", 1).tags == {"check.documented": "failed", "check.good": "passed"}
    acts = [(act["action"], act["to_state"]) for act in lake.models.activity("m", 1).to_pylist()]
    assert ("check", "good: passed, rmse is 5, wanted at most 10") in acts
    assert ("set_tag", "check.good = passed") in acts
    assert lake.models.verify_activity().ok
    assert lake.models.check_results("m", 1) == list(done.results)
    assert lake.models.check_results("m", 2) == []
    audit = lake.audit("model:m@1")
    assert [(each["check"], each["standing"], each["detail"]) for each in audit.checks] == [
        ("documented", "failed", "lacks a description"),
        ("good", "passed", "rmse is 5, wanted at most 10"),
    ]


def test_checks_are_set_changed_and_taken_off_on_record(lake: ll.Lake, model: str) -> None:
    first = lake.models.set_checks("m", {"a": Metric(key="rmse", max=10), "b": {"kind": "documentation"}})
    assert first == lake.models.checks("m") == {"a": Metric(key="rmse", max=10), "b": Documentation()}
    lake.models.set_checks("m", {"a": Metric(key="rmse", max=10)})  # is so already
    assert lake.models.set_checks("m", {"a": Metric(key="rmse", max=9), "b": None}) == {"a": Metric(key="rmse", max=9)}
    acts = [(act["action"], act["from_state"], act["to_state"]) for act in lake.models.activity("m").to_pylist()]
    nine, ten = ('a: {"key": "rmse", "kind": "metric", "max": %d}' % most for most in (9, 10))  # noqa: UP031
    assert acts[-2:] == [("set_check", ten, nine), ("remove_check", 'b: {"kind": "documentation"}', None)]
    assert sum(action == "set_check" for action, *_ in acts) == 3
    assert lake.models.verify_activity().ok


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"a": EVALUATION | {"metric": "r2", "min": 0}}, "none of scikit-learn's"),
        ({"a": EVALUATION}, "could not fail"),
        ({"a": EVALUATION | {"min": 0, "margin": 1}}, "margin=1 goes with against"),
        ({"a": {"kind": "magic"}}, "'magic' is no kind of check"),
        ({"a": {"kind": "metric", "key": "rmse", "most": 3}}, "has no most"),
        ({"a": {"kind": "metric", "max": 3}}, "key"),
        ({"a": {"kind": "metric", "key": "rmse"}}, "wants min, max, or both"),
        ({"a": {"kind": "metric", "key": "rmse", "min": 3, "max": 2}}, "at least 3 and at most 2"),
        ({"a": {"kind": "metric", "key": "rmse", "max": float("nan")}}, "finite"),
        ({"a": {"kind": "metric", "key": "rmse", "max": 1, "archive": "yes"}}, "archive is yes or no"),
        (
            {"a": {"kind": "evaluation", "metric": "r2_score", "data": "x", "label": "y", "min": 0, "margin": 1}},
            "against",
        ),
        ({"a": {"kind": "input_schema"}}, "data"),
        ({"a": {"kind": "load_and_predict", "where": "x > 1"}}, "Give data"),
        ({"a": {"kind": "load_and_predict", "rows": 0}}, "1 or more"),
        ({"a": {"kind": "documentation", "tags": "owner"}}, "are a list"),
        ({"a": None}, "has no check 'a'"),
        ({"": {"kind": "signature"}}, "check is empty"),
        ("signature", "checks are a dictionary"),
    ],
)
def test_a_check_that_cannot_be_is_refused_and_nothing_is_changed(
    lake: ll.Lake, model: str, wanted: Any, words: str
) -> None:
    with pytest.raises(InvalidInput, match=words.replace("(", r"\(")):
        lake.models.set_checks("m", wanted)
    assert lake.models.checks("m") == {}


def test_what_is_not_there_cannot_be_checked(lake: ll.Lake, model: str, tmp_path: Path) -> None:
    with pytest.raises(TableNotFound):
        lake.models.set_checks("m", {"a": InputSchema(data=tmp_path / "nothing")})
    with pytest.raises(InvalidInput, match="has no checks"):
        lake.models.validate("m", 1)
    lake.models.set_checks("m", {"a": Documentation()})
    with pytest.raises(InvalidInput, match="has no check 'b'; it has a"):
        lake.models.validate("m", 1, checks=["b"])
    with pytest.raises(ModelNotFound):
        lake.models.validate("m", 9)
    with pytest.raises(ModelNotFound):
        lake.models.set_checks("n", {"a": Documentation()})
    assert lake.models.check_results("m") == []


def test_a_version_that_is_deleted_while_it_is_checked_gets_no_results(
    lake: ll.Lake, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(check: Check, subject: Any) -> Any:
        lake.models.delete_version("m", 1)
        return judged(check, subject)

    judged = run._judged
    monkeypatch.setattr(run, "_judged", meanwhile)
    lake.models.set_checks("m", {"a": Documentation()})
    with pytest.raises(ModelNotFound):
        lake.models.validate("m", 1)
    assert lake.models.check_results("m") == []


# What it opens and shuts --------------------------------------------------------------------------------------------


def test_a_check_that_the_rules_want_shuts_the_way_until_it_has_passed(lake: ll.Lake, model: str) -> None:
    lake.models.set_checks("m", {"good": Metric(key="rmse", max=10)})
    lake.models.set_rules("m", stages=["Production"], aliases=["champion"], direct=True, checks=["good"])
    for version in (1, 2):
        with pytest.raises(
            ChecksNotPassed, match=f"good is missing; `lakelineage models validate m@{version}` runs it"
        ):
            lake.models.set_alias("m", "champion", version)
        lake.models.validate("m", version)
    lake.models.set_alias("m", "champion", 1)
    with pytest.raises(ChecksNotPassed, match="good is failed"):
        lake.models.set_stage("m", 2, "Production")


def test_an_approval_waits_for_the_checks(lake: ll.Lake, model: str) -> None:
    lake.models.set_checks("m", {"good": Metric(key="rmse", max=10)})
    lake.models.set_rules("m", aliases=["champion"], requester_may_approve=True, checks=["good"])
    asked = lake.models.request("m", 1, alias="champion")
    with pytest.raises(ChecksNotPassed):
        lake.models.approve(asked)
    lake.models.validate("m", 1)
    assert lake.models.approve(asked).status == "applied"


def test_a_tag_does_not_stand_for_a_check_that_is_defined(lake: ll.Lake, model: str) -> None:
    lake.models.set_rules("m", aliases=["champion"], direct=True, checks=["good"])
    lake.models.set_tags("m", {"check.good": "passed"}, 2)
    lake.models.set_alias("m", "champion", 2)
    lake.models.delete_alias("m", "champion")
    lake.models.set_checks("m", {"good": Metric(key="rmse", max=10)})
    with pytest.raises(ChecksNotPassed, match="missing"):
        lake.models.set_alias("m", "champion", 2)
    lake.models.validate("m", 2)
    lake.models.set_tags("m", {"check.good": "passed"}, 2)
    with pytest.raises(ChecksNotPassed, match="failed"):
        lake.models.set_alias("m", "champion", 2)


def test_a_check_that_is_defined_anew_has_to_be_passed_anew(lake: ll.Lake, model: str) -> None:
    lake.models.set_checks("m", {"good": Metric(key="rmse", max=10)})
    lake.models.validate("m", 1)
    assert lake.models.standing("m", 1) == {"good": "passed"}
    lake.models.set_checks("m", {"good": Metric(key="rmse", max=20)})
    assert lake.models.standing("m", 1) == {"good": "outdated"}
    lake.models.set_checks("m", {"good": Metric(key="rmse", max=10)})  # as it was
    assert lake.models.standing("m", 1) == {"good": "passed"}


def test_a_comparison_with_one_who_is_champion_no_more_does_not_count(
    lake: ll.Lake, model: str, on: dict[str, Any]
) -> None:
    lake.models.register("m", lake.models.get("m", 1).run_id)
    lake.models.set_checks("m", {"beats": Evaluation(**on, against="champion", margin=-1000.0)})
    for now, stands in ((None, "passed"), (1, "outdated"), (2, "outdated"), (3, "passed")):
        if now is not None:
            lake.models.set_alias("m", "champion", now)
        if now in (None, 2):
            lake.models.validate("m", 3)
            assert lake.models.standing("m", 3) == {"beats": "passed"}
        assert lake.models.standing("m", 3)["beats"] == (stands if now != 2 else "passed")
    lake.models.delete_alias("m", "champion")
    assert lake.models.standing("m", 3) == {"beats": "outdated"}


def test_a_version_that_fails_is_archived_where_the_check_says_so(lake: ll.Lake, model: str) -> None:
    lake.models.set_checks("m", {"good": Metric(key="rmse", max=10, archive=True), "documented": Documentation()})
    assert [lake.models.validate("m", version).archived for version in (1, 2, 2)] == [False, True, False]
    assert [each.stage for each in lake.models.versions("m")] == ["None", "Archived"]
    (act,) = [each for each in lake.models.activity("m", 2).to_pylist() if each["action"] == "set_stage"]
    assert act["comment"] == "failed good"


def test_where_archiving_needs_a_request_the_validation_says_so(lake: ll.Lake, model: str) -> None:
    lake.models.set_checks("m", {"good": Metric(key="rmse", max=10, archive=True)})
    lake.models.set_rules("m", stages=["Archived"])
    done = lake.models.validate("m", 2)
    assert not done.archived
    assert "by request only" in str(done.remark)
    with pytest.raises(ApprovalNeeded):
        lake.models.set_stage("m", 2, "Archived")


def test_versions_are_found_by_whether_they_are_validated(lake: ll.Lake, model: str, houses: str) -> None:
    def numbers(**options: Any) -> list[int]:
        return [each.version for each in lake.models.find(trained_on=houses, **options)]

    assert (numbers(validated=True), numbers(validated=False), numbers()) == ([], [1, 2], [1, 2])
    lake.models.set_tags("m", {"check.by-hand": "passed"}, 2)
    assert (numbers(validated=True), numbers(validated=False)) == ([2], [1])
    lake.models.set_checks("m", {"good": Metric(key="rmse", max=10), "signed": Signature()})
    assert numbers(validated=True) == []
    for version in (1, 2):
        lake.models.validate("m", version)
    assert (numbers(validated=True), numbers(validated=False)) == ([1], [2])
    assert numbers(validated=False, order_by="metrics.rmse desc", limit=1) == [2]
    lake.models.set_checks("m", {"third": Documentation()})
    assert numbers(validated=True) == []


def test_a_version_knows_the_data_it_was_trained_on(lake: ll.Lake, model: str, houses: str) -> None:
    used = lake.models.inputs("m", 1)
    assert {name: (each.table_uri, each.version) for name, each in used.items()} == {"houses": (houses, 0)}
    assert used["houses"].to_arrow().num_rows == 200
