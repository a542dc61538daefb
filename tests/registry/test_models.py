import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from lakelineage.errors import ArtifactNotFound, InvalidInput, ModelNotFound, RunNotFound


def test_versions_count_from_one_for_each_model(models, make_run):
    run = make_run()
    numbers = [models.register(name, run).version for name in ("a", "a", "b", "a")]
    assert numbers == [1, 2, 1, 3]
    assert [v.version for v in models.versions("a")] == [1, 2, 3]
    assert [(v.name, v.version) for v in models.list()] == [("a", 3), ("b", 1)]


_REGISTER = """
import sys
from lakelineage.engine import Engine
from lakelineage.registry import Models

engine = Engine(sys.argv[1], durability="process")
print(*[Models(engine).register("busy", sys.argv[2]).version for _ in range(2)])
engine.close()
"""


def test_eight_processes_registering_at_once_take_each_number_once(engine, models, make_run):
    run = make_run()
    command = [sys.executable, "-c", _REGISTER, engine.root.uri, run]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    taken = [int(word) for child in children for word in child.communicate(timeout=120)[0].split()]
    assert [child.returncode for child in children] == [0] * 8
    assert sorted(taken) == list(range(1, 17))
    assert [v.version for v in models.versions("busy")] == list(range(1, 17))
    names = engine.query("select count(*) as n from registered_models_history where name = 'busy'").to_pylist()
    assert names == [{"n": 1}]
    acts = engine.query("select object from activity where action = 'register' order by object").to_pylist()
    assert sorted(row["object"] for row in acts) == sorted(v.node for v in models.versions("busy"))
    edges = engine.query("select target from lineage where relation = 'derived_from'").to_pylist()
    assert sorted(row["target"] for row in edges) == sorted(v.node for v in models.versions("busy"))


def test_a_version_knows_what_it_was_made_of(models, make_run):
    run = make_run(path="deep/er")
    made = models.register("m", run, path="deep/er", description="first", tags={"team": "x"})
    assert made == models.get("m", 1)
    assert (made.run_id, made.path, made.stage, made.description) == (run, "deep/er", "None", "first")
    assert made.tags == {"team": "x"}
    assert (made.uri, made.node, made.source) == ("models:/m/1", "model:m@1", f"artifact:{run}/deep/er")


@dataclass
class _Run:
    id: str


@dataclass
class _Logged:
    uri: str


def test_a_run_its_id_a_logged_model_and_a_uri_name_the_same_files(models, make_run):
    run = make_run()
    sources = (_Run(run), run, _Logged(f"runs:/{run}/model"), f"runs:/{run}/model")
    assert {models.register("m", source).source for source in sources} == {f"artifact:{run}/model"}


def test_registering_puts_the_version_into_the_graph_behind_its_files(engine, models, make_run):
    run = make_run()
    models.register("m", run)
    found = engine.query("select source, target, relation, run_id from lineage").to_pylist()
    assert found == [
        {"source": f"artifact:{run}/model", "target": "model:m@1", "relation": "derived_from", "run_id": run}
    ]


def test_what_was_not_logged_is_not_registered(engine, models, make_run):
    run = make_run()
    with pytest.raises(RunNotFound, match="feed"):
        models.register("m", "feed")
    with pytest.raises(ArtifactNotFound, match="other"):
        models.register("m", run, path="other")
    with pytest.raises(ArtifactNotFound):
        models.register("m", run, path="mod")  # a prefix of the name is not the folder
    with pytest.raises(InvalidInput, match="registered already"):
        models.register("m", "models:/m/1")
    assert engine.query("select count(*) as n from registered_models_history").to_pylist() == [{"n": 0}]


@pytest.mark.parametrize("name", ["", " ", "a/b", "a:b", "a@b", ".", "..", "x" * 251, 7])
def test_a_name_that_a_uri_cannot_hold_is_refused(models, make_run, name):
    with pytest.raises(InvalidInput):
        models.register(name, make_run())
    assert models.list() == []


def test_an_alias_names_one_version_and_moves(models, make_run):
    run = make_run()
    for _ in range(3):
        models.register("m", run)
    assert models.set_alias("m", "champion", 1).aliases == ("champion",)
    models.set_alias("m", "champion", 3)
    models.set_alias("m", "Best-of_all", 3)
    assert models.get("m", "champion").version == 3
    assert [v.aliases for v in models.versions("m")] == [(), (), ("Best-of_all", "champion")]
    models.delete_alias("m", "champion")
    with pytest.raises(ModelNotFound, match="champion"):
        models.get("m", "champion")
    with pytest.raises(ModelNotFound, match="champion"):
        models.delete_alias("m", "champion")


@pytest.mark.parametrize("alias", ["", "latest", "Latest", "3", "v3", "V12", "a b", "a/b", "é@", None])
def test_an_alias_that_reads_like_a_version_or_breaks_a_uri_is_refused(models, make_run, alias):
    models.register("m", make_run())
    with pytest.raises(InvalidInput):
        models.set_alias("m", alias, 1)
    assert models.get("m", 1).aliases == ()


def test_an_alias_needs_a_version_that_is_there(models, make_run):
    models.register("m", make_run())
    with pytest.raises(ModelNotFound, match="version 2"):
        models.set_alias("m", "champion", 2)
    with pytest.raises(ModelNotFound, match="nobody"):
        models.set_alias("nobody", "champion", 1)


def test_uris_name_versions_as_in_mlflow(models, make_run):
    run = make_run()
    for _ in range(12):
        models.register("my model", run)
    models.set_alias("my model", "champion", 9)
    assert models.resolve("models:/my model/2").version == 2
    assert models.resolve("models:/my model/latest").version == 12  # the greatest number, not the last text
    assert models.resolve("models:/my model@champion").version == 9
    for wrong in ("models:/my model", "models:/my model/Somewhere", "models:/", "my model", f"runs:/{run}/model"):
        with pytest.raises(InvalidInput):
            models.resolve(wrong)
    for nothing in ("models:/my model/13", "models:/my model/Production"):
        with pytest.raises(ModelNotFound):
            models.resolve(nothing)
    for version in (3, 10, 7):
        models.set_stage("my model", version, "Production")
    assert models.resolve("models:/my model/production").version == 10  # the newest in the stage, as in MLflow


def test_versions_are_found_by_what_their_run_was_trained_on(models, make_run, tmp_path):
    table = str(tmp_path / "data")
    old, new = make_run(trained_on=(table, "T", 11)), make_run(trained_on=(table, "T", 12))
    elsewhere, only_tested = make_run(trained_on=("/x", "U", 12)), make_run(trained_on=(table, "T", 12), context="test")
    for run in (old, new, elsewhere, only_tested, make_run()):
        models.register("m", run)
    for spelling in (table, Path(table), f"file://{table}", "T", "dataset:T"):
        assert [v.version for v in models.find(trained_on=spelling)] == [1, 2], spelling
    assert [v.version for v in models.find(trained_on="dataset:T@12")] == [2]
    assert [v.version for v in models.find(trained_on="snapshot-T-11")] == [1]
    for comparison, expected in ((12, [2]), (">= 12", [2]), ("< 12", [1]), (">10 and <12", [1]), ("!= 13", [1, 2])):
        assert [v.version for v in models.find(trained_on=table, version=comparison)] == expected, comparison
    assert [v.version for v in models.find(version=12)] == [2, 3]
    with pytest.raises(InvalidInput, match="newest"):
        models.find(trained_on=table, version="newest")
    with pytest.raises(InvalidInput):
        models.find(trained_on=7)


def test_versions_without_a_number_to_order_by_come_last_either_way(models, make_run):
    values = [{"rmse": 3.0}, {"rmse": float("nan")}, {}, {"rmse": 1.0}, {"rmse": float("inf")}, {"rmse": 1.0}]
    for metrics in values:
        models.register("m", make_run(metrics=metrics))
    assert [v.version for v in models.find(order_by="metrics.rmse")] == [4, 6, 1, 5, 2, 3]
    assert [v.version for v in models.find(order_by="metrics.`rmse` DESC")] == [5, 1, 4, 6, 2, 3]
    assert [v.version for v in models.find(order_by="metrics.rmse", limit=2)] == [4, 6]
    assert models.find(limit=0) == []


def test_versions_are_ordered_by_params_and_attributes(models, make_run):
    for alpha in ("b", "a"):
        models.register("m", make_run(params={"alpha": alpha}))
    assert [v.version for v in models.find(order_by="params.alpha")] == [2, 1]
    assert [v.version for v in models.find(order_by="version desc")] == [2, 1]
    assert [v.version for v in models.find(order_by="attributes.run_id desc")] == [2, 1]
    for wrong in ("attributes.nothing", "metrics.a; drop table x", "color", ""):
        with pytest.raises(InvalidInput):
            models.find(order_by=wrong)


def test_versions_are_found_by_filter_and_alias(models, make_run):
    for rmse in (50.0, 70.0, 55.0):
        models.register("m", make_run(metrics={"rmse": rmse}))
    models.set_alias("m", "champion", 3)
    assert [v.version for v in models.find(where="metrics.rmse < 60")] == [1, 3]
    assert [v.version for v in models.find(where="metrics.rmse < 60", alias="champion")] == [3]
    with pytest.raises(InvalidInput):
        models.find(where="metrics.rmse <")
