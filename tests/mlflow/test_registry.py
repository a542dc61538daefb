"""What MLflow's registry over a lake does besides what MLflow's own store does: lineage, ids, one core."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException

import lakelineage
from lakelineage.mlflow_plugin import lakes
from lakelineage.mlflow_plugin.registry.store import RegistryStore
from lakelineage.registry import activity


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"lakelineage://{tmp_path}/lake"


@pytest.fixture
def lake(uri: str) -> Iterator[lakelineage.Lake]:
    opened = lakes.opened(uri)
    yield opened
    opened.close()


@pytest.fixture
def store(uri: str, lake: lakelineage.Lake) -> RegistryStore:
    return RegistryStore(uri)


@pytest.fixture
def trained(lake: lakelineage.Lake, tmp_path: Path) -> Any:
    """A run on version 0 of a table, with a model."""
    import pyarrow as pa
    from deltalake import write_deltalake

    write_deltalake(str(tmp_path / "data"), pa.table({"x": [1.0, 2.0]}))
    with lake.start_run("e") as run:
        run.use(tmp_path / "data", name="data")
        run.log_model(lambda frame: frame["x"] * 2, "model")
    return run


def _upstream(lake: lakelineage.Lake, node: str) -> set[str]:
    return set(lake.lineage(node).upstream()["kind"].to_pylist())


def test_every_way_to_name_the_files_leads_back_to_the_run_and_its_data(store, lake, trained, uri, tmp_path):
    (model,) = lake.sql("select model_id from logged_models").to_pylist()
    artifacts = tmp_path / "lake" / "artifacts" / trained.id / "model"
    sources = (
        f"runs:/{trained.id}/model",
        f"models:/{model['model_id']}",
        f"{uri}/artifacts/{trained.id}/model",
        str(artifacts),
        artifacts.as_uri(),
    )
    store.create_registered_model("m")
    for source in sources:
        made = store.create_model_version("m", source)
        assert made.source == source
        assert lake.models.get("m", made.version).source == f"artifact:{trained.id}/model"
        assert _upstream(lake, f"model:m@{made.version}") == {"artifact", "run", "dataset"}, source
    found = lake.models.find(trained_on=tmp_path / "data", version=0)
    assert [version.version for version in found] == list(range(1, len(sources) + 1))
    loaded = lake.load_model("models:/m/3", trust="pickle")
    import pandas as pd

    assert list(loaded.predict(pd.DataFrame({"x": [3.0]}))) == [6.0]


def test_files_elsewhere_keep_their_uri_and_come_of_their_run(store, lake, trained):
    store.create_registered_model("m")
    made = store.create_model_version("m", "s3://elsewhere/model", run_id=trained.id)
    assert store.get_model_version_download_uri("m", 1) == made.source == "s3://elsewhere/model"
    assert _upstream(lake, "model:m@1") == {"run", "dataset"}
    store.create_model_version("m", "s3://elsewhere/model", run_id="nobody's")
    assert lake.models.get("m", 2).run_id == "nobody's"


def test_a_copy_comes_of_what_it_was_copied_from(store, lake, trained):
    store.create_registered_model("staging")
    first = store.create_model_version("staging", f"runs:/{trained.id}/model", run_id=trained.id)
    copy = store.copy_model_version(first, "production")
    assert copy.source == "models:/staging/1"
    assert "model:staging@1" in lake.lineage("model:production@1").upstream()["node"].to_pylist()
    assert store.get_model_version_download_uri("production", 1) == store.get_model_version_download_uri("staging", 1)


def test_renaming_and_making_again_keep_models_apart(store, lake, trained):
    store.create_registered_model("m")
    store.create_model_version("m", f"runs:/{trained.id}/model")
    store.set_registered_model_alias("m", "champion", 1)
    before = store.get_model_version("m", 1).last_updated_timestamp
    renamed = store.rename_registered_model("m", "n")
    assert store.get_model_version("n", 1).last_updated_timestamp == renamed.last_updated_timestamp >= before
    store.create_registered_model("m")
    assert store.create_model_version("m", "s3://other/model").version == 1
    assert store.get_model_version_by_alias("n", "champion").source.startswith("runs:/")
    assert (lake.models.get("n", 1).node, lake.models.get("m", 1).node) == ("model:m@1", "model:m~2@1")
    with pytest.raises(MlflowException, match=r"Registered Model \(name=n\) already exists") as error:
        store.rename_registered_model("m", "n")
    assert error.value.error_code == "RESOURCE_ALREADY_EXISTS"


def test_names_that_only_mlflow_gives_are_looked_up_by_native_verbs_too(store, lake, trained):
    name = "té am@x~2 " + "é" * 300
    store.create_registered_model(name, tags=[RegisteredModelTag("k", "v")])
    store.create_model_version(name, f"runs:/{trained.id}/model", tags=[ModelVersionTag("a", "b")])
    store.set_registered_model_alias(name, "champion", 1)
    assert lake.models.resolve(f"models:/{name}/1").tags == {"a": "b"}
    assert lake.models.resolve(f"models:/{name}@champion").version == 1
    assert lake.lineage(lake.models.get(name, 1).node).upstream().num_rows > 0
    assert lake.models.model(name).tags == {"k": "v"}


def test_acts_of_both_sides_are_one_chain(store, lake, trained):
    store.create_registered_model("m", description="made by MLflow")
    store.create_model_version("m", f"runs:/{trained.id}/model")
    lake.models.register("m", trained)
    store.transition_model_version_stage("m", 1, "production", False)
    store.transition_model_version_stage("m", 2, "production", True)
    store.delete_model_version("m", "1")
    acts = lake.sql("select action, object from activity order by ingested_at, writer, seq").to_pylist()
    assert [(act["action"], act["object"]) for act in acts] == [
        ("create_model", "model:m"),
        ("register", "model:m@1"),
        ("register", "model:m@2"),
        ("set_stage", "model:m@1"),
        ("set_stage", "model:m@1"),
        ("set_stage", "model:m@2"),
        ("delete_version", "model:m@1"),
    ]
    assert activity.check(lake.engine).broken == ()
    assert [version.version for version in store.search_model_versions("name = 'm'")] == [2]


def test_native_versions_are_shown_with_a_source_that_mlflow_reads(store, lake, trained, uri):
    lake.models.register("m", trained)
    (found,) = store.search_model_versions(f"source_path = '{uri}/artifacts/{trained.id}/model'")
    assert found.source == store.get_model_version_download_uri("m", 1) == f"{uri}/artifacts/{trained.id}/model"


def test_what_is_not_kept_is_empty_or_refused_by_name(store):
    assert store.search_prompts() == []
    assert store.list_webhooks() == store.list_webhooks_by_event(None) == []
    for refused in (store.create_prompt, store.create_webhook, store.set_prompt_alias):
        with pytest.raises(MlflowException, match=refused.__name__) as error:
            refused("x", "y", 1)
        assert error.value.error_code == "NOT_IMPLEMENTED"
    assert store.get_prompt("x") is None


_REGISTER = """
import sys
from lakelineage.mlflow_plugin.registry.store import RegistryStore

store = RegistryStore(sys.argv[1])
print(*[store.create_model_version("busy", "s3://bucket/model").version for _ in range(3)])
"""


@pytest.mark.slow
def test_two_processes_take_each_number_once(store, lake, uri):
    store.create_registered_model("busy")
    children = [
        subprocess.Popen([sys.executable, "-W", "ignore", "-c", _REGISTER, uri], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    taken = [int(word) for child in children for word in child.communicate(timeout=250)[0].split()]
    assert sorted(taken) == [1, 2, 3, 4, 5, 6]
    assert sorted(version.version for version in store.search_model_versions("name = 'busy'")) == [1, 2, 3, 4, 5, 6]
    assert activity.check(lake.engine).broken == ()


def test_rules_of_a_model_hold_for_mlflow_too(store, lake, trained):
    store.create_registered_model("m")
    for _ in range(2):
        store.create_model_version("m", f"runs:/{trained.id}/model")
    lake.models.set_rules("m", stages=["Production"], aliases=["champion"], requester_may_approve=True)
    for move in (
        lambda: store.transition_model_version_stage("m", 1, "production", False),
        lambda: store.set_registered_model_alias("m", "champion", 1),
    ):
        with pytest.raises(MlflowException, match="lakelineage models request m@1") as refused:
            move()
        assert refused.value.error_code == "PERMISSION_DENIED"
    assert store.get_model_version("m", 1).current_stage == "None"
    lake.models.approve(lake.models.request("m", 1, stage="Production"))
    assert store.get_model_version("m", 1).current_stage == "Production"
    assert store.transition_model_version_stage("m", 1, "Archived", False).current_stage == "Archived"
    store.delete_registered_model_alias("m", "champion")


def test_checks_of_a_model_hold_for_mlflow_too_and_are_its_tags(store, lake, trained):
    store.create_registered_model("m")
    store.create_model_version("m", f"runs:/{trained.id}/model")
    lake.models.set_checks("m", {"documented": {"kind": "documentation"}})
    lake.models.set_rules("m", stages=["Production"], direct=True, checks=["documented"])
    for validated in (False, True):
        with pytest.raises(MlflowException, match="documented is") as refused:
            store.transition_model_version_stage("m", 1, "Production", False)
        assert refused.value.error_code == "INVALID_STATE"
        if not validated:
            assert not lake.models.validate("m", 1).ok
    assert store.get_model_version("m", 1).tags["check.documented"] == "failed"
    store.update_model_version("m", 1, "what it is")
    assert lake.models.validate("m", 1).ok
    assert store.transition_model_version_stage("m", 1, "Production", False).current_stage == "Production"
