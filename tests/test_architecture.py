"""What the package promises as a whole: a light import, a held public surface, one tree of errors, a complete wheel."""

import importlib
import inspect
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import lakelineage
from lakelineage import errors

ROOT = Path(__file__).parents[1]
#: What users may rely on. A change here is a change of the contract: it belongs in the changelog.
PUBLIC = [
    *("Lake", "PastRun", "Run", "Snapshot"),
    *("active_run", "autolog", "errors", "next_page_token", "open", "read_delta"),
]
HEAVY = [
    "pyarrow",
    "deltalake",
    "obstore",
    "duckdb",
    "polars",
    "pandas",
    "numpy",
    "mlflow",
    "sklearn",
    "typer",
    "rich",
    "pyspark",
    "jinja2",
    "tqdm",
    "altair",
    "IPython",
]
#: Extras and tools: a bare install has none of these.
EXTRAS = [
    *("mlflow", "pyspark", "sklearn", "pandas", "altair", "scipy", "contourpy", "vl_convert", "IPython"),
    *("pytest", "hypothesis", "moto", "boto3"),
]

# Makes the extras impossible to import, then imports every module of the package.
BARE_IMPORT = """
import importlib, pkgutil, sys
extras = set(sys.argv[1].split(","))

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in extras:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import lakelineage
for module in pkgutil.walk_packages(lakelineage.__path__, "lakelineage."):
    plugin = module.name.startswith("lakelineage.mlflow_plugin.") and not module.name.endswith("entry_points")
    if not module.name.endswith("__main__") and not plugin:  # MLflow loads the plugin, by its entry points
        importlib.import_module(module.name)
        print(module.name)
"""


def run(*args: str) -> str:
    done = subprocess.run([sys.executable, *args], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_lakelineage_loads_no_heavy_library() -> None:
    loaded = run("-c", f"import sys, lakelineage; print(*[name for name in {HEAVY} if name in sys.modules])")
    assert loaded.split() == []


def test_the_public_surface_is_held() -> None:
    assert sorted(lakelineage.__all__) == PUBLIC
    for name in PUBLIC:
        assert inspect.getdoc(getattr(lakelineage, name)), name


def test_a_bare_install_imports_every_module() -> None:
    imported = run("-c", BARE_IMPORT, ",".join(EXTRAS)).split()
    assert {"lakelineage.lake", "lakelineage.inference.mlflow_models", "lakelineage.lineage.graph"} <= set(imported)


def error_classes() -> list[type[errors.LakelineageError]]:
    found = [value for value in vars(errors).values() if inspect.isclass(value)]
    return [value for value in found if issubclass(value, errors.LakelineageError)]


def test_every_error_has_a_code_of_its_own_and_a_place_in_the_tree() -> None:
    classes = error_classes()
    codes = [cls.code for cls in classes]
    assert len(set(codes)) == len(codes)
    for cls in classes:
        assert "code" in vars(cls), f"{cls.__name__} inherits its code"
        assert inspect.getdoc(cls)
        assert cls.__name__ in (errors.__doc__ or ""), f"{cls.__name__} is missing from the tree in the docstring"


def test_the_version_is_that_of_the_package() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert lakelineage.__version__ == project["version"]


@pytest.mark.slow
def test_the_wheel_holds_the_sample_data_and_the_types_marker(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="the wheel is built with hatchling: install the extra dev")
    run("-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path))
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        data = archive.read("lakelineage/sample_data/diabetes.csv")
    assert data == (ROOT / "sample_data" / "diabetes.csv").read_bytes()
    assert {"lakelineage/py.typed", "lakelineage/__init__.py", "lakelineage/lake.py"} <= names
    assert not any(name.startswith("tests/") for name in names)


def test_the_command_is_there() -> None:
    entry = importlib.import_module("lakelineage.cli")
    assert callable(entry.main)
