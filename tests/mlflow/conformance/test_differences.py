"""Where a lake differs from MLflow's SQL store, on purpose. The list is whole: every other case of the suite agrees."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Metric, RunTag
from mlflow.exceptions import MlflowException


@dataclass(frozen=True)
class Difference:
    """What is different, as a sentence for the documentation, and what each side is seen to do."""

    reason: str
    seen: Callable[[Any], Any]
    mlflow: Any
    lake: Any


def _infinities(side: Any) -> list[float]:
    run = side.run()
    for step, value in enumerate((math.inf, -math.inf)):
        side.tracking.log_metric(run, Metric("m", value, 1, step))
    return [one.value for one in side.tracking.get_metric_history(run, "m")]


def _tie(side: Any) -> float:
    run = side.run()
    for value in (2.0, 1.0):
        side.tracking.log_metric(run, Metric("m", value, 1, 0))
    return float(side.tracking.get_run(run).data.metrics["m"])


def _nan_of_a_model(side: Any) -> str:
    run = side.run()
    model = side.tracking.create_logged_model(side.tracking.get_run(run).info.experiment_id).model_id
    side.tracking.log_metric(run, Metric("m", math.nan, 1, 0, model_id=model))
    return str(side.tracking.get_logged_model(model).metrics[0].value)


def _unknown_attribute_of_models(side: Any) -> list[str]:
    codes = []
    for filter_string in ("nowhere = 'x'", "tags = 'x'", "metrics.acc > x"):
        with pytest.raises(MlflowException) as raised:
            side.tracking.search_logged_models([side.experiment()], filter_string)
        codes.append(raised.value.error_code)
    return codes


def _refusal(side: Any, metric: Metric) -> str | None:
    """Code of the error; None if the metric is there as it was logged."""
    run = side.run()
    try:
        side.tracking.log_metric(run, metric)
    except MlflowException as error:
        return str(error.error_code)
    (found,) = side.tracking.get_metric_history(run, metric.key)
    assert (found.timestamp, found.step) == (metric.timestamp, metric.step)
    return None


def _no_value(side: Any) -> list[Any]:
    run = side.tracking.create_run(side.experiment(), "ada", 0, [RunTag("begun", None)], None).info.run_id
    side.tracking.set_tag(run, RunTag("set", None))
    tags = side.tracking.get_run(run).data.tags
    return [tags["begun"], tags["set"]]


LARGEST = 1.7976931348623157e308
DIFFERENCES = {
    "infinity": Difference(
        "±inf stays ±inf. The SQL store keeps the largest and smallest number instead (±1.797e308).",
        _infinities, mlflow=[LARGEST, -LARGEST], lake=[math.inf, -math.inf],
    ),
    "tie": Difference(
        "Of points with the same step and timestamp, the one that arrived last is the latest. "
        "The SQL store takes the one with the highest value.",
        _tie, mlflow=2.0, lake=1.0,
    ),
    "times-after-294246": Difference(
        "The time of a metric is kept in µs: one after the year 294,246 is an INVALID_PARAMETER_VALUE. "
        "The SQL store keeps any 64 bits of ms.",
        lambda side: _refusal(side, Metric("m", 1.0, 2**63 - 1, 0)), mlflow=None, lake="INVALID_PARAMETER_VALUE",
    ),
    "beyond-64-bits": Difference(
        "A step that 64 bits do not hold is an INVALID_PARAMETER_VALUE. "
        "The SQL store lets the error of its database through.",
        lambda side: _refusal(side, Metric("m", 1.0, 1, 2**63)),
        mlflow="INTERNAL_ERROR", lake="INVALID_PARAMETER_VALUE",
    ),
    "tags-without-value": Difference(
        "A tag without a value has an empty text, as it has in MLflow's REST API. The SQL store gives None to Python.",
        _no_value, mlflow=[None, None], lake=["", ""],
    ),
    "nan-of-a-model": Difference(
        "A NaN that was logged for a logged model stays NaN. The SQL store shows 0 on the model.",
        _nan_of_a_model, mlflow="0.0", lake="nan",
    ),
    "filters-of-models": Difference(
        "A filter of logged models that names an unknown attribute, or compares a metric with what is no number, is an "
        "INVALID_PARAMETER_VALUE. The SQL store lets errors of its database library and of Python through.",
        _unknown_attribute_of_models,
        mlflow=["INTERNAL_ERROR", "BAD_REQUEST", "INTERNAL_ERROR"],
        lake=["INVALID_PARAMETER_VALUE"] * 3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_difference_is_what_is_published(side: Any, name: str) -> None:
    assert DIFFERENCES[name].seen(side) == getattr(DIFFERENCES[name], side.name)


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_difference_is_one(name: str) -> None:
    assert DIFFERENCES[name].mlflow != DIFFERENCES[name].lake
    assert DIFFERENCES[name].reason.endswith(".")


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_difference_is_told_in_the_documentation(name: str) -> None:
    page = Path(__file__).parents[3] / "docs" / "how-to" / "mlflow.md"
    assert f"- {DIFFERENCES[name].reason}" in page.read_text().splitlines()
