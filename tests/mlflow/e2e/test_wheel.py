"""A wheel that is installed is all that MLflow needs to find a lake."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
_ROOT = Path(__file__).parents[3]
_SCHEMES = ["lakelineage", "lakelineage+s3", "lakelineage+gs", "lakelineage+az"]
_ASK = """
import json, sys, warnings
warnings.simplefilter("ignore")
import lakelineage, mlflow
from importlib.metadata import entry_points, requires
from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry as artifacts
from mlflow.tracking._model_registry.utils import _get_store_registry
from mlflow.tracking._tracking_service.utils import _tracking_store_registry as tracking

mlflow.set_tracking_uri(sys.argv[1])
with mlflow.start_run() as run:
    mlflow.log_metric("loss", 0.5)
    mlflow.log_text("text", "note.txt")
    mlflow.MlflowClient().create_registered_model("rents")
registries = {"tracking": tracking, "registry": _get_store_registry(), "artifacts": artifacts}
ours = lambda names: sorted((n for n in names if n.startswith("lakelineage")), key=lambda n: (len(n), n))
print(json.dumps({
    "file": lakelineage.__file__,
    "requires": [r for r in requires("lakelineage") if "extra == 'mlflow'" in r],
    "loss": mlflow.get_run(run.info.run_id).data.metrics["loss"],
    "sources": [e.name for e in entry_points(group="mlflow.dataset_source") if e.name == "lakelineage"],
    **{name: ours(found._registry) for name, found in registries.items()},
}))
"""


def test_a_wheel_in_a_fresh_environment_registers_all_that_mlflow_looks_for(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="the wheel is built with hatchling: install the extra dev")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=_ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    fresh = tmp_path / "fresh"
    venv.create(fresh, with_pip=True)
    python = str(fresh / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True)
    # What the wheel depends on is taken from here; what it brings itself comes first.
    (packages,) = (fresh / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))

    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}
    ask = [python, "-c", _ASK, f"lakelineage://{tmp_path}/lake"]
    ran = subprocess.run(ask, cwd=tmp_path, env={**os.environ, **quiet}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    told = json.loads(ran.stdout.splitlines()[-1])
    assert Path(told["file"]).is_relative_to(packages)
    assert any(needed.startswith("mlflow") for needed in told["requires"])
    assert told["tracking"] == told["registry"] == told["artifacts"] == sorted(_SCHEMES, key=lambda n: (len(n), n))
    assert (told["sources"], told["loss"]) == (["lakelineage"], 0.5)
