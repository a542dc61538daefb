"""``mlflow run`` and ``mlflow models serve`` over a lake, each as a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import mlflow
import pandas as pd
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]


def test_a_project_logs_to_the_lake_that_the_environment_names(uri: str, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "MLproject").write_text(
        "name: rents\nentry_points:\n  main:\n    parameters:\n      alpha: {type: float, default: 0.1}\n"
        f'    command: "{sys.executable} train.py {{alpha}}"\n'
    )
    (project / "train.py").write_text(
        "import sys\nimport mlflow\nwith mlflow.start_run():\n    mlflow.log_metric('loss', float(sys.argv[1]) * 2)\n"
    )
    command = [sys.executable, "-m", "mlflow", "run", str(project), "--env-manager", "local", "-P", "alpha=0.25"]
    command += ["--experiment-name", "by project"]
    ran = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "MLFLOW_TRACKING_URI": uri}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    (run,) = mlflow.search_runs(experiment_names=["by project"], output_format="list")
    assert (run.info.status, run.data.metrics["loss"], run.data.params["alpha"]) == ("FINISHED", 0.5, "0.25")
    assert run.data.tags["mlflow.project.entryPoint"] == "main"
    assert run.data.tags["mlflow.source.type"] == "PROJECT"
    assert not (tmp_path / "mlruns").exists()


def doubled() -> Any:
    """A model that gives twice its input. MLflow warns when it makes the base class: not while tests are collected."""

    class Doubled(mlflow.pyfunc.PythonModel):
        def predict(self, model_input):  # MLflow would read meaning into annotations
            return model_input * 2

    return Doubled()


def test_a_model_is_served_by_its_alias_and_scores_over_http(
    uri: str, tmp_path: Path, start_process: Callable[..., Any], free_port: int
) -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0]})
    with mlflow.start_run():
        mlflow.pyfunc.log_model(
            name="model", python_model=doubled(), input_example=frame, registered_model_name="doubled"
        )
    mlflow.MlflowClient().set_registered_model_alias("doubled", "champion", 1)
    at = f"http://127.0.0.1:{free_port}"
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        "models:/doubled@champion",
        "--port",
        str(free_port),
    ]
    with start_process([*command, "--env-manager", "local"], tmp_path, f"{at}/ping", MLFLOW_TRACKING_URI=uri):
        body = json.dumps({"dataframe_split": frame.to_dict(orient="split")}).encode()
        with urlopen(Request(f"{at}/invocations", body, {"Content-Type": "application/json"}), timeout=60) as answer:
            assert json.load(answer) == {"predictions": [{"x": 2.0}, {"x": 4.0}]}
