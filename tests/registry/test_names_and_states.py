"""Names, versions, stages, tags and aliases, against a plain dictionary; and what is exact under concurrency."""

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lakelineage.errors import AlreadyExists, InvalidInput, ModelNotFound, NotFound
from lakelineage.registry import activity
from lakelineage.registry.models import Models

NAMES = st.sampled_from(["a", "b", "a~2", "ü x"])
NUMBERS = st.integers(1, 3)
STAGES = st.sampled_from(["None", "Staging", "Production", "Archived"])
ALIASES = st.sampled_from(["champion", "next"])


class Registry(RuleBasedStateMachine):
    """The registry as a dictionary: name → id, versions (number → stage, tags; None once deleted), aliases, tags."""

    engine: Any

    def __init__(self) -> None:
        super().__init__()
        self.models = Models(self.engine)
        for known in self.models.registered():
            self.models.delete(known.name)
        self.run: str = self.make_run()
        self.known: dict[str, dict[str, Any]] = {}

    def missing(self, name: str, version: int | None = None) -> bool:
        return name not in self.known or (version is not None and self.known[name]["versions"].get(version) is None)

    @rule(name=NAMES)
    def create(self, name: str) -> None:
        if name in self.known:
            with pytest.raises(AlreadyExists):
                self.models.create(name)
        else:
            made = self.models.create(name, tags={"by": "create"})
            self.known[name] = {
                "id": made.registered_model_id,
                "versions": {},
                "aliases": {},
                "tags": {"by": "create"},
            }

    @rule(name=NAMES)
    def register(self, name: str) -> None:
        made = self.models.register(name, self.run)
        own = self.known.setdefault(name, {"id": made.registered_model_id, "versions": {}, "aliases": {}, "tags": {}})
        assert made.version == len(own["versions"]) + 1
        own["versions"][made.version] = {"stage": "None", "tags": {}}

    @rule(name=NAMES, new_name=NAMES)
    def rename(self, name: str, new_name: str) -> None:
        if name not in self.known:
            with pytest.raises(ModelNotFound):
                self.models.rename(name, new_name)
        elif new_name in self.known and new_name != name:
            with pytest.raises(AlreadyExists):
                self.models.rename(name, new_name)
        else:
            self.models.rename(name, new_name)
            self.known[new_name] = self.known.pop(name)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        if self.missing(name):
            with pytest.raises(ModelNotFound):
                self.models.delete(name)
        else:
            self.models.delete(name)
            del self.known[name]

    @rule(name=NAMES, version=NUMBERS)
    def delete_version(self, name: str, version: int) -> None:
        if self.missing(name, version):
            with pytest.raises(ModelNotFound):
                self.models.delete_version(name, version)
        else:
            self.models.delete_version(name, version)
            own = self.known[name]
            own["versions"][version] = None
            own["aliases"] = {alias: of for alias, of in own["aliases"].items() if of != version}

    @rule(name=NAMES, version=NUMBERS, stage=STAGES, archive=st.booleans())
    def set_stage(self, name: str, version: int, stage: str, archive: bool) -> None:
        if archive and stage in ("None", "Archived"):
            with pytest.raises(InvalidInput):
                self.models.set_stage(name, version, stage, archive_existing=True)
        elif self.missing(name, version):
            with pytest.raises(ModelNotFound):
                self.models.set_stage(name, version, stage, archive_existing=archive)
        else:
            self.models.set_stage(name, version, stage.lower(), archive_existing=archive)
            versions = self.known[name]["versions"]
            for other in versions.values():
                if archive and other is not None and other["stage"] == stage:
                    other["stage"] = "Archived"
            versions[version]["stage"] = stage

    @rule(name=NAMES, version=st.none() | NUMBERS, value=st.none() | st.sampled_from(["x", "y"]))
    def tag(self, name: str, version: int | None, value: str | None) -> None:
        if value is None:
            change, arguments = self.models.delete_tag, (name, "key", version)
        else:
            change, arguments = self.models.set_tags, (name, {"key": value}, version)  # type: ignore[assignment]
        if self.missing(name, version):
            with pytest.raises(ModelNotFound):
                change(*arguments)
            return
        change(*arguments)
        own = self.known[name] if version is None else self.known[name]["versions"][version]
        own["tags"].pop("key", None)
        own["tags"] |= {} if value is None else {"key": value}

    @rule(name=NAMES, alias=ALIASES, version=st.none() | NUMBERS)
    def alias(self, name: str, alias: str, version: int | None) -> None:
        aliases = self.known.get(name, {}).get("aliases", {})
        if self.missing(name, version) or (version is None and alias not in aliases):
            with pytest.raises(ModelNotFound):
                self.models.delete_alias(name, alias) if version is None else self.models.set_alias(
                    name, alias, version
                )
        elif version is None:
            self.models.delete_alias(name, alias)
            del aliases[alias]
        else:
            self.models.set_alias(name, alias, version)
            aliases[alias] = version

    @invariant()
    def the_lake_says_what_the_dictionary_says(self) -> None:
        found = self.models.registered()
        assert {m.name: (m.registered_model_id, dict(m.tags), dict(m.aliases)) for m in found} == {
            name: (own["id"], own["tags"], own["aliases"]) for name, own in self.known.items()
        }
        for name, own in self.known.items():
            versions = {v.version: {"stage": v.stage, "tags": dict(v.tags)} for v in self.models.versions(name)}
            assert versions == {number: state for number, state in own["versions"].items() if state is not None}

    def teardown(self) -> None:
        assert activity.check(self.engine).broken == ()
        registered = "select 'model:' || url_encode(registered_model_id) || '@' || version as node from model_versions"
        acts = "select object as node from activity where action = 'register'"
        assert self.nodes(registered) == self.nodes(acts)

    def nodes(self, sql: str) -> list[str]:
        return sorted(row["node"] for row in self.engine.query(sql).to_pylist())


@pytest.mark.slow
def test_the_registry_does_what_a_dictionary_does(engine, make_run):
    machine = type("Machine", (Registry,), {"engine": engine, "make_run": staticmethod(make_run)})
    machine.TestCase.settings = settings(max_examples=6, stateful_step_count=15)
    machine.TestCase().runTest()


def test_a_name_that_is_free_again_gets_another_id_and_counts_from_one(engine, models, make_run):
    run = make_run()
    first = models.register("m", run)
    models.delete("m")
    with pytest.raises(ModelNotFound):
        models.get("m", 1)
    second = models.register("m", run)
    assert (first.node, second.node, second.version) == ("model:m@1", "model:m~2@1", 1)
    models.rename("m", "n")
    third = models.create("m")
    assert (third.registered_model_id, models.get("n", 1).node) == ("m~3", "model:m~2@1")


def test_nodes_are_named_by_ids_and_found_by_names(engine, models, make_run):
    from lakelineage.lineage import Lineage
    from lakelineage.model import nodes

    run, other = make_run(), make_run()
    models.register("old", run)
    models.rename("old", "new")
    models.register("old", other)
    models.set_alias("new", "champion", 1)
    assert Lineage(engine, "model:new@champion").node == "model:old@1"
    assert Lineage(engine, "model:new@1").upstream()["node"].to_pylist() == [f"artifact:{run}/model"]
    assert Lineage(engine, "model:old@1").upstream()["node"].to_pylist() == [f"artifact:{other}/model"]
    assert Lineage(engine, nodes.parse("model:old@1")).node == "model:old@1"  # as the graph tells it
    assert Lineage(engine, "model:old~2@1").node == "model:old~2@1"
    found = Lineage(engine, f"artifact:{run}/model").downstream().to_pylist()
    assert [(row["node"], row["label"]) for row in found] == [("model:old@1", "new@1")]
    with pytest.raises(NotFound, match="new"):
        Lineage(engine, "model:nwe@1")


def test_with_a_deleted_version_its_aliases_go_and_its_number_is_not_given_again(models, make_run):
    run = make_run()
    models.register("m", run)
    models.register("m", run)
    models.set_alias("m", "champion", 2)
    models.delete_version("m", 2)
    assert models.model("m").aliases == {}
    with pytest.raises(ModelNotFound, match="champion"):
        models.delete_alias("m", "champion")
    assert models.register("m", run).version == 3
    assert models.set_alias("m", "champion", 3).aliases == ("champion",)


def test_what_is_outside_the_lake_is_remembered_with_its_run(engine, models, make_run, tmp_path):
    run = make_run()
    made = models.register("m", tmp_path / "model", run_id=run)
    assert (made.source, made.run_id, made.files) == (str(tmp_path / "model"), run, None)
    assert models.register("m", "s3://bucket/model").source == "s3://bucket/model"
    inside = engine.root.local / "artifacts" / run / "model"
    assert models.register("m", f"file://{inside}").source == f"artifact:{run}/model"
    edges = engine.query("select source, target from lineage where target = 'model:m@1'").to_pylist()
    assert edges == [{"source": f"run:{run}", "target": "model:m@1"}]
    with pytest.raises(InvalidInput, match="contradicts"):
        models.register("m", f"runs:/{run}/model", run_id="f" * 32)


def test_acts_of_the_dead_are_recorded_once_by_whoever_comes_next(engine, models, make_run, monkeypatch):
    run = make_run()
    models.register("m", run)
    with monkeypatch.context() as dying:
        dying.setattr(activity, "record", lambda *_: None)
        models.set_stage("m", 1, "Production")
        models.set_tags("m", {"team": "x"}, comment="never told")
        models.rename("m", "n")
    monkeypatch.setattr(activity, "GRACE", 0)
    models.describe("n", "a model", comment="mine")
    told = engine.query("select action, from_state, to_state, comment, actor from activity order by seq").to_pylist()
    acts = [(a["action"], a["from_state"], a["to_state"]) for a in told]
    assert acts == [
        ("register", None, "1"),
        ("set_stage", "None", "Production"),
        ("set_tag", "team", "team = x"),
        ("rename_model", "m", "n"),
        ("describe", None, "a model"),
    ]
    assert [("after the fact" in (a["comment"] or ""), a["actor"] == "unknown") for a in told[1:4]] == [
        (True, True)
    ] * 3
    assert told[4]["comment"] == "mine"
    models.set_tags("n", {"team": "x"})  # is so already
    assert engine.query("select count(*) as n from activity").to_pylist() == [{"n": 5}]
    assert activity.check(engine).broken == ()


_TAKE = """
import sys
from lakelineage.engine import Engine
from lakelineage.errors import AlreadyExists, ModelNotFound
from lakelineage.registry import Models

engine = Engine(sys.argv[1], durability="process")
models, mine = Models(engine), sys.argv[2]
won = 0
for name in ("x", "y"):
    try:
        models.rename(models.create(f"{mine}-{name}").name, name)
        won += 1
    except AlreadyExists:
        pass
print(won)
engine.close()
"""


@pytest.mark.slow
def test_a_name_is_given_once_whoever_asks_at_the_same_time(engine, models):
    command = [sys.executable, "-c", _TAKE, engine.root.uri]
    children = [subprocess.Popen([*command, str(i)], stdout=subprocess.PIPE, text=True) for i in range(4)]
    won = [int(child.communicate(timeout=250)[0]) for child in children]
    assert sum(won) == 2
    names = [model.name for model in models.registered()]
    assert len(names) == len(set(names)) == 8
    assert {"x", "y"} <= set(names)
