"""A process that acts in the registry is killed at each step: the next completes what it began, once."""

from contextlib import suppress
from typing import Any

import pytest

import lakelineage
from lakelineage import Lake
from lakelineage.errors import Conflict
from lakelineage.registry import activity

ACTS = """
import os
from lakelineage.engine import Engine
from lakelineage.registry import Models

uri, options, run, name, target = args
engine = Engine(uri, options, durability="process")
models = Models(engine)
os.environ["LAKELINEAGE_USER"] = "ada"
models.register(name, run)
models.register(name, run)
models.set_rules(name, stages=["Production"], aliases=["champion"])
asked = models.request(name, 1, **target)
os.environ["LAKELINEAGE_USER"] = "bob"
models.approve(asked)
engine.close()
"""

TARGETS: list[dict[str, Any]] = [{"stage": "Production", "archive_existing": True}, {"alias": "champion"}]


def go_on(lake: Lake, run: str, name: str, target: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what of the acts is not done: as people would who look what is there."""
    models = lake.models
    monkeypatch.setenv("LAKELINEAGE_USER", "ada")
    there = models.versions(name) if name in [model.name for model in models.registered()] else []
    for _ in range(2 - len(there)):
        models.register(name, run)
    models.set_rules(name, stages=["Production"], aliases=["champion"])
    with suppress(Conflict):  # it is open, or was applied
        models.request(name, 1, **target)
    monkeypatch.setenv("LAKELINEAGE_USER", "bob")
    for asked in models.requests(name):
        models.approve(asked)


def check(lake: Lake, name: str, target: dict[str, Any]) -> None:
    """All was done once, and is on record once."""
    models = lake.models
    first, second = models.versions(name)
    assert (first.version, second.version) == (1, 2)
    assert (first.stage, first.aliases) == (("Production", ()) if "stage" in target else ("None", ("champion",)))
    assert [r.status for r in models.requests(name, None)] == ["applied"]
    acts = models.activity(name)["action"].to_pylist()
    moved = "set_stage" if "stage" in target else "set_alias"
    assert sorted(acts) == sorted(["register", "register", "set_rules", "request", "approve", moved])
    assert models.verify_activity().ok
    edges = lake.sql(
        "select target from lineage where relation = 'derived_from' and target in (?, ?)", [first.node, second.node]
    )["target"].to_pylist()
    assert sorted(set(edges)) == [first.node, second.node]


@pytest.mark.slow
@pytest.mark.parametrize(("target", "first"), [(TARGETS[0], 1), (TARGETS[1], 2)], ids=["stage", "alias"])
def test_registry_acts_killed_anywhere_are_completed_once(engine, make_run, nursery, monkeypatch, target, first):
    """At the odd steps with a stage, at the even ones with an alias."""
    monkeypatch.setattr(activity, "GRACE", 0)
    run = make_run()
    engine.flush()
    with lakelineage.open(engine.root.uri) as lake:
        for count in range(first, 400, 2):
            killed, _ = nursery.run(ACTS, engine.root.uri, {}, run, f"m{count}", target, fault=f"*:{count}")
            if lake.models.requests(status="approved"):
                assert lake.maintain().completed == 1
            go_on(lake, run, f"m{count}", target, monkeypatch)
            check(lake, f"m{count}", target)
            if not killed:
                break
        assert count > 40
