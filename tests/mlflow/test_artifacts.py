"""Artifacts through MLflow: files of the lake, recorded, checked, and never outside it."""

import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakelineage.errors import AlreadyExists, ArtifactNotFound, InvalidInput
from lakelineage.maintenance import doctor
from lakelineage.mlflow_plugin import entry_points, lakes, places
from lakelineage.mlflow_plugin.places import Place
from lakelineage.tracking.artifact import Artifact

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow's own imports
    import mlflow
    import mlflow.pyfunc
    from mlflow.cli import cli
    from mlflow.entities import FileInfo
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    from lakelineage.mlflow_plugin.artifact_repository import LakeArtifactRepository

RUN, MODEL = "a" * 32, "m-" + "b" * 32


@pytest.fixture
def uri(lake_path: Path) -> Iterator[str]:
    """URI of a lake that there is."""
    found = f"lakelineage://{lake_path}"
    opened = lakes.opened(found)
    yield found
    opened.close()


@pytest.fixture
def repository(uri: str) -> LakeArtifactRepository:
    """Artifacts of a run."""
    return LakeArtifactRepository(f"{uri}/artifacts/{RUN}")


@pytest.fixture
def served(uri: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment of a server that hands out the artifacts of the lake."""
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_DESTINATION", uri)
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", "mlflow-artifacts:/")
    return uri


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some files: a.txt, sub/b.bin and sub/deep/c.txt."""
    made = tmp_path / "files"
    for name, content in (("a.txt", b"a"), ("sub/b.bin", bytes(range(256))), ("sub/deep/c.txt", "ü".encode())):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(content)
    return made


def everything(repository: Any, path: str | None = None) -> list[tuple[str, bool, int | None]]:
    found = [(each.path, each.is_dir, each.file_size) for each in repository.list_artifacts(path)]
    return found + [inner for each in found if each[1] for inner in everything(repository, each[0])]


def test_mlflow_finds_the_repository_of_every_kind_of_lake(uri: str, folder: Path) -> None:
    assert isinstance(get_artifact_repository(f"{uri}/artifacts/{RUN}"), LakeArtifactRepository)
    assert isinstance(get_artifact_repository(f"{uri}/artifacts/{RUN}".replace("///", "/")), LakeArtifactRepository)
    assert isinstance(entry_points.artifact_repository(uri), LakeArtifactRepository)


def test_what_is_logged_is_listed_and_comes_back(
    repository: LakeArtifactRepository, folder: Path, tmp_path: Path
) -> None:
    repository.log_artifacts(str(folder))
    repository.log_artifact(str(folder / "a.txt"), "x/y")
    assert repository.list_artifacts() == [
        FileInfo("a.txt", False, 1),
        FileInfo("sub", True, None),
        FileInfo("x", True, None),
    ]
    assert repository.list_artifacts("sub") == [FileInfo("sub/b.bin", False, 256), FileInfo("sub/deep", True, None)]
    assert repository.list_artifacts("a.txt") == repository.list_artifacts("nothing") == []
    (tmp_path / "out").mkdir()
    whole = Path(repository.download_artifacts("", str(tmp_path / "out")))
    for name in ("a.txt", "sub/b.bin", "sub/deep/c.txt"):
        assert (whole / name).read_bytes() == (folder / name).read_bytes()
    assert (whole / "x/y/a.txt").read_bytes() == b"a"
    assert Path(repository.download_artifacts("sub/deep/c.txt")).read_text() == "ü"
    below = LakeArtifactRepository(f"{repository.artifact_uri}/sub")
    assert below.list_artifacts() == [FileInfo("b.bin", False, 256), FileInfo("deep", True, None)]
    assert Path(below.download_artifacts("deep/c.txt")).read_text() == "ü"


def test_files_are_recorded_with_their_digest_and_their_edge(
    repository: LakeArtifactRepository, uri: str, folder: Path
) -> None:
    repository.log_artifacts(str(folder), "in")
    LakeArtifactRepository(f"{uri}/artifacts/{MODEL}").log_artifact(str(folder / "a.txt"))
    lake = lakes.opened(uri)
    rows = lake.sql("SELECT run_id, path, size, sha256, deleted FROM artifacts ORDER BY run_id, path").to_pylist()
    assert [(row["run_id"], row["path"]) for row in rows] == [
        (RUN, "in/a.txt"),
        (RUN, "in/sub/b.bin"),
        (RUN, "in/sub/deep/c.txt"),
        (MODEL, "a.txt"),
    ]
    for row in rows:
        content = lake.engine.root.read(f"artifacts/{row['run_id']}/{row['path']}")
        assert (row["size"], row["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    edges = lake.sql("SELECT source, target FROM lineage ORDER BY target").to_pylist()
    assert [(e["source"], e["target"]) for e in edges] == [
        (f"run:{RUN}", f"artifact:{RUN}/{row['path']}") for row in rows if row["run_id"] == RUN
    ]


def test_the_same_path_again_replaces_what_was_there(repository: LakeArtifactRepository, tmp_path: Path) -> None:
    file = tmp_path / "note.txt"
    for text in ("first", "the second"):
        file.write_text(text)
        repository.log_artifact(str(file))
        assert Path(repository.download_artifacts("note.txt")).read_text() == text
    assert repository.list_artifacts() == [FileInfo("note.txt", False, 10)]


def test_mlflow_may_write_below_a_model_and_native_logging_may_not(
    repository: LakeArtifactRepository, uri: str, tmp_path: Path
) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {}")
    for _ in range(2):
        repository.log_artifact(str(tmp_path / "MLmodel"), "model")
    lake = lakes.opened(uri)
    with lake.start_run() as run:
        LakeArtifactRepository(f"{uri}/artifacts/{run.id}").log_artifact(str(tmp_path / "MLmodel"), "model")
        with pytest.raises(AlreadyExists, match="is a model"):
            run.log_text("no", "model/other.txt")


def test_what_is_deleted_is_gone_and_the_history_tells_of_it(
    repository: LakeArtifactRepository, uri: str, folder: Path
) -> None:
    repository.log_artifacts(str(folder))
    lake = lakes.opened(uri)
    for path, left in (("sub/deep", ["a.txt", "sub", "sub/b.bin"]), ("a.txt", ["sub", "sub/b.bin"]), (None, [])):
        repository.delete_artifacts(path)
        assert [each[0] for each in everything(repository)] == left
        lake.flush()
        assert [each[0] for each in everything(repository)] == left
    repository.delete_artifacts()
    assert lake.engine.root.list("artifacts") == []
    told = lake.sql("SELECT path, deleted FROM artifacts ORDER BY ingested_at, seq").to_pylist()
    assert [row["path"] for row in told if row["deleted"]] == ["sub/deep/c.txt", "a.txt", "sub/b.bin"]
    assert sum(row["deleted"] is None for row in told) == 3
    with pytest.raises(MlflowException, match="No such artifact") as refused:
        repository.download_artifacts("a.txt")
    assert refused.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    with pytest.raises(ArtifactNotFound):
        Artifact(lake.engine, RUN, "a.txt").read_bytes()
    assert all(found.severity == "ok" for found in doctor.examine(lake.engine) if found.check == "artifacts")
    repository.log_artifact(str(folder / "a.txt"))
    assert Path(repository.download_artifacts("a.txt")).read_bytes() == b"a"


def test_a_file_that_was_altered_is_not_handed_out(repository: LakeArtifactRepository, folder: Path) -> None:
    repository.log_artifact(str(folder / "a.txt"))
    local = repository.get_local_path("a.txt")
    assert local is not None
    Path(local).write_text("b")
    with pytest.raises(MlflowException, match="not what was logged"):
        repository.download_artifacts("a.txt")


@pytest.mark.parametrize("path", ["../x", "/../../x", "a/../../x", "..", "a\\..\\x", "a\x00b"])
def test_no_path_leaves_the_artifacts(path: str, repository: LakeArtifactRepository, uri: str, folder: Path) -> None:
    calls = [
        lambda: repository.log_artifact(str(folder / "a.txt"), path),
        lambda: repository.list_artifacts(path),
        lambda: repository.download_artifacts(path),
        lambda: repository.get_local_path(path),
        lambda: repository.delete_artifacts(path),
        lambda: LakeArtifactRepository(uri).log_artifact(str(folder / "a.txt"), f"0/{RUN}/artifacts/{path}"),
        lambda: LakeArtifactRepository(f"{uri}/artifacts/{RUN}/{path}").log_artifact(str(folder / "a.txt")),
    ]
    for call in calls:
        with pytest.raises(MlflowException):
            call()
    assert repository._engine.root.list("artifacts") == []


def test_a_uri_that_lies_in_no_lake_or_names_nobody_is_refused(uri: str, tmp_path: Path) -> None:
    for wrong in (
        f"lakelineage://{tmp_path}/none/artifacts/{RUN}",
        f"{uri}/artifacts/../tables",
        f"{uri}/artifacts/..",
    ):
        with pytest.raises(MlflowException) as refused:
            LakeArtifactRepository(wrong)
        assert refused.value.error_code == "INVALID_PARAMETER_VALUE"
    assert not (tmp_path / "none").exists()


def test_a_lake_below_a_folder_called_artifacts_is_found(tmp_path: Path, folder: Path) -> None:
    uri = f"lakelineage://{tmp_path}/artifacts/a%20lake"
    lake = lakes.opened(uri)
    repository = LakeArtifactRepository(f"{uri}/artifacts/{RUN}/what?/50%25 #1/artifacts/x")
    repository.log_artifact(str(folder / "a.txt"))
    rows = lake.sql("SELECT run_id, path FROM artifacts").to_pylist()
    assert rows == [{"run_id": RUN, "path": "what?/50%25 #1/artifacts/x/a.txt"}]
    assert Path(repository.download_artifacts("a.txt")).read_bytes() == b"a"
    lake.close()


def test_a_server_hands_out_and_takes_in_what_is_in_the_lake(served: str, folder: Path) -> None:
    """Paths as a server makes them: they mean the same files as the URI of a run or logged model."""
    server = LakeArtifactRepository(served)
    for below, own in (
        (f"7/{RUN}/artifacts", RUN),
        (f"7/models/{MODEL}/artifacts", MODEL),
    ):
        server.log_artifact(str(folder / "a.txt"), f"{below}/sub")
        direct = LakeArtifactRepository(f"{served}/artifacts/{own}")
        assert direct.list_artifacts("sub") == [FileInfo("sub/a.txt", False, 1)]
        assert server.list_artifacts(f"{below}/sub") == [FileInfo(f"{below}/sub/a.txt", False, 1)]
        assert Path(str(server.get_local_path(f"{below}/sub/a.txt"))).read_bytes() == b"a"
        assert Path(server.download_artifacts(f"{below}/sub/a.txt")).read_bytes() == b"a"
        server.delete_artifacts(f"{below}/sub/a.txt")
        assert direct.list_artifacts() == []
    for wrong in (None, "", "7", f"7/{RUN}", f"7/{RUN}/traces/x", "7/traces/tr-1/artifacts"):
        assert server.list_artifacts(wrong) == []
        with pytest.raises(MlflowException, match="Invalid artifact path"):
            server.delete_artifacts(wrong)


def test_clients_of_a_server_get_uris_that_it_serves(served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    location = f"artifacts/{RUN}/deep/model"
    assert places.artifact_uri_of(served, "7", location) == f"mlflow-artifacts:/7/{RUN}/artifacts/deep/model"
    assert places.artifact_uri_of(served, "7", f"artifacts/{MODEL}") == f"mlflow-artifacts:/7/models/{MODEL}/artifacts"
    for stored in (location, f"artifacts/{MODEL}", "s3://elsewhere/x", "mlflow-artifacts:/x"):
        assert places.location_of(served, places.artifact_uri_of(served, "7", stored)) == stored
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_DESTINATION", "/somewhere/else")
    assert places.artifact_uri_of(served, "7", location) == f"{served}/{location}"
    assert places.location_of(served, f"{served}/{location}") == location


_PIECES = st.text(st.characters(codec="utf-8", exclude_characters="/\\\x00", exclude_categories=["Cc"]), min_size=1)


@given(st.lists(_PIECES.filter(lambda piece: piece not in (".", "..")), max_size=4), st.sampled_from([RUN, MODEL]))
@settings(max_examples=50)
def test_a_place_is_told_by_its_served_path(pieces: list[str], owner: str) -> None:
    path = "/".join(pieces)
    kind = "models/" if owner == MODEL else ""
    assert places.of_served(f"7/{kind}{owner}/artifacts/{path}") == Place(owner, path)
    assert places.of_location(Place(owner, path).location) == Place(owner, path)


def test_mlflow_logs_and_reads_artifacts_of_runs(uri: str, tmp_path: Path) -> None:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        with mlflow.start_run() as run:
            mlflow.log_text("hello", "notes/hello.txt")
            mlflow.log_dict({"a": [1]}, "a.json")
        assert run.info.artifact_uri == f"{uri}/artifacts/{run.info.run_id}"
        assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/notes/hello.txt") == "hello"
        assert mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/a.json") == {"a": [1]}
        native = lakes.opened(uri).run(run.info.run_id)
        assert native.artifacts.column("path").to_pylist() == ["a.json", "notes/hello.txt"]
        assert native.artifact("notes/hello.txt").read_text() == "hello"
    finally:
        mlflow.set_tracking_uri(before)


def test_gc_takes_the_files_of_what_is_deleted(uri: str, tmp_path: Path) -> None:
    from click.testing import CliRunner

    client = mlflow.MlflowClient(uri)
    run = client.create_run("0")
    model = client.create_logged_model("0", "m", run.info.run_id)
    kept = client.create_run("0")
    for each in (run, kept):
        client.log_text(each.info.run_id, "x", "x.txt")
    LakeArtifactRepository(model.artifact_location).log_artifact(__file__)
    client.delete_run(run.info.run_id)
    client.delete_logged_model(model.model_id)
    done = CliRunner().invoke(cli, ["gc", "--backend-store-uri", uri, "--tracking-uri", uri], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    lake = lakes.opened(uri)
    assert [path for path, _ in lake.engine.root.list("artifacts")] == [f"artifacts/{kept.info.run_id}/x.txt"]
    with pytest.raises(MlflowException, match="not found"):
        client.get_logged_model(model.model_id)


def test_a_lake_on_s3_keeps_and_gives_artifacts(
    s3: tuple[str, dict[str, str]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    monkeypatch.setenv("LAKELINEAGE_STORAGE_OPTIONS", json.dumps(s3[1]))
    uri = f"lakelineage+{s3[0]}/lake"
    with pytest.raises(InvalidInput, match="no lake"):
        places.split(f"{uri}/artifacts/{RUN}")
    lake = lakes.opened(uri)
    repository = get_artifact_repository(f"{uri}/artifacts/{RUN}")
    repository.log_artifacts(str(folder))
    assert [each[0] for each in everything(repository)] == ["a.txt", "sub", "sub/b.bin", "sub/deep", "sub/deep/c.txt"]
    assert Path(repository.download_artifacts("sub/b.bin")).read_bytes() == bytes(range(256))
    assert repository.get_local_path("a.txt") is None
    repository.delete_artifacts("sub")
    assert [path for path, _ in lake.engine.root.list("artifacts")] == [f"artifacts/{RUN}/a.txt"]
    lake.close()
