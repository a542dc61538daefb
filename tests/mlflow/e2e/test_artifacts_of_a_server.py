"""Artifacts that clients of a server send through it: they lie in the lake."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import lakelineage as ll

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]


def test_artifacts_sent_over_http_are_in_the_lake_and_come_back(server: Any, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(server.uri)
    experiment = client.create_experiment(f"artifacts {uuid4().hex}")
    run = client.create_run(experiment).info
    assert run.artifact_uri.startswith("mlflow-artifacts:")
    note, blob = tmp_path / "grüße.txt", tmp_path / "blob"
    note.write_text("grüße")
    blob.write_bytes(bytes(range(256)) * 4096)
    client.log_artifact(run.run_id, str(note), "notes/deep")
    client.log_artifact(run.run_id, str(blob))
    client.log_text(run.run_id, "text", "notes/text.txt")

    listed = {(file.path, file.is_dir, file.file_size) for file in client.list_artifacts(run.run_id)}
    assert listed == {("notes", True, None), ("blob", False, 1 << 20)}
    back = Path(client.download_artifacts(run.run_id, "", str(tmp_path)))
    assert (back / "notes" / "deep" / "grüße.txt").read_text() == "grüße"
    assert (back / "blob").read_bytes() == blob.read_bytes()

    with ll.open(server.folder / "lake") as lake:
        native = lake.run(run.run_id)
        assert native.artifact("notes/text.txt").read_text() == "text"
        paths = {row["path"] for row in native.artifacts.to_pylist()}
        assert paths == {"notes/deep/grüße.txt", "notes/text.txt", "blob"}


def test_paths_that_leave_the_run_are_refused(server: Any) -> None:
    import subprocess

    for path in ("../secret", "%2e%2e/secret", "..%2fsecret", "/etc/passwd"):
        url = f"{server.uri}/api/2.0/mlflow-artifacts/artifacts/0/{'0' * 32}/artifacts/{path}"
        command = ["curl", "-sS", "--path-as-is", "-o", "/dev/null", "-w", "%{http_code}", url]
        assert int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) >= 400
