"""Laws of checks: they are stored as they are, and a process that dies leaves nothing half done."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakelineage as ll
from lakelineage.registry import activity
from lakelineage.validation import Check, Documentation, Evaluation, InputSchema, LoadAndPredict, Metric, Signature
from lakelineage.validation.kinds import parsed

Start = Callable[..., Any]

_number = st.floats(-1e300, 1e300) | st.integers(-(2**53), 2**53)
_name = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20).filter(str.strip)
_id = st.text("0123456789abcdef", min_size=32, max_size=32)
_archive = st.booleans()
_bounds = st.tuples(st.none() | _number, st.none() | _number).filter(
    lambda pair: pair != (None, None) and (None in pair or pair[0] <= pair[1])
)


@st.composite
def _metrics(draw: Any) -> Check:
    least, most = draw(_bounds)
    return Metric(key=draw(_name), min=least, max=most, archive=draw(_archive))


@st.composite
def _evaluations(draw: Any) -> Check:
    least, most = draw(_bounds)
    against = draw(st.none() | st.just("champion"))
    return Evaluation(
        metric=draw(st.sampled_from(["r2_score", "log_loss", "mean_absolute_error"])),
        data=draw(_id),
        label=draw(_name),
        where=draw(st.none() | _name),
        min=least,
        max=most,
        against=against,
        margin=draw(st.floats(-10, 10)) if against else 0.0,
        options=draw(st.none() | st.dictionaries(_name, _number | st.lists(_name), max_size=3)),
        archive=draw(_archive),
    )


_checks = st.one_of(
    _metrics(),
    _evaluations(),
    st.builds(Documentation, length=st.integers(0, 1_000), tags=st.lists(_name, max_size=3), archive=_archive),
    st.builds(Signature, outputs=st.booleans(), archive=_archive),
    st.builds(InputSchema, data=_id),
    st.builds(LoadAndPredict, data=_id, rows=st.integers(1, 10**6), where=st.none() | _name),
    st.builds(LoadAndPredict, timeout=st.floats(0.1, 1e6)),
)


@given(_checks)
def test_a_check_is_read_as_it_was_stored(check: Check) -> None:
    again = parsed(json.loads(check.to_json()))
    assert again == check
    assert again.to_json() == check.to_json()


VALIDATE = """
import sys
import lakelineage as ll
lake = ll.open(sys.argv[1])
lake.models.validate("m", 1, comment="by the child")
"""


@pytest.mark.parametrize("step", [f"exclusive.{when}:{n}" for when in ("before", "after") for n in (1, 2, 3, 4)])
def test_a_validation_that_is_killed_anywhere_is_made_whole_by_the_next(
    lake_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with ll.open(lake_path) as lake:
        with lake.start_run("e") as run:
            run.log_metric("rmse", 5.0)
            run.log_text("x", "model/weights.txt")
        lake.models.register("m", run)
        lake.models.set_checks("m", {"good": Metric(key="rmse", max=10), "told": Documentation()})
    child = start(VALIDATE, lake_path, LAKELINEAGE_FAULT=step)
    child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL
    monkeypatch.setattr(activity, "GRACE", 0)
    with ll.open(lake_path) as lake:
        before = lake.models.check_results("m")
        assert len(before) in (0, 2)  # all of one call, or none
        assert set(lake.models.standing("m", 1).values()) <= ({"missing"} if not before else {"passed", "failed"})
        lake.models.validate("m", 1)
        assert lake.models.get("m", 1).tags == {"check.good": "passed", "check.told": "failed"}
        assert len(lake.models.check_results("m")) == len(before) + 2
        acts = lake.models.activity("m", 1)["action"].to_pylist()
        assert acts.count("check") == len(before) + 2
        assert acts.count("set_tag") == 2
        assert lake.models.verify_activity().ok
