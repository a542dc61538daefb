"""``python tests/jars.py``: Delta Lake's jars for the tests on Spark, got by Maven once and kept in ``.cache/jars``.

Prints their paths, separated by commas; of ``python tests/jars.py client`` the folder with MLflow's Java client and all
that it needs. Ends with 3 and a reason where there is no Java, or no Maven and no jars yet.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

#: The newest that fits the pyspark of constraints.txt. Bare jars: what they depend on comes with Spark.
ARTIFACTS = ("io.delta:delta-spark_4.2_2.13:4.4.0", "io.delta:delta-storage:4.4.0")
FOLDER = Path(__file__).parents[1] / ".cache" / "jars"
CLIENT = Path(__file__).parent / "mlflow" / "e2e" / "java" / "pom.xml"


def main() -> None:
    if shutil.which("java") is None:
        _impossible("this needs Java, and there is none on the PATH")
    from filelock import FileLock

    FOLDER.mkdir(parents=True, exist_ok=True)
    with FileLock(FOLDER.parent / "jars.lock"):
        if sys.argv[1:] == ["client"]:
            print(_client())
        else:
            print(",".join(str(_jar(artifact)) for artifact in ARTIFACTS))


def _client() -> Path:
    """The folder of MLflow's client; another one when what it is built on changes."""
    folder = FOLDER.parent / f"client-{hashlib.sha256(CLIENT.read_bytes()).hexdigest()[:16]}"
    if not folder.exists():
        if shutil.which("mvn") is None:
            _impossible(f"MLflow's client is not in {folder} yet, and Maven, which gets it, is not on the PATH")
        got = folder.with_suffix(".part")
        shutil.rmtree(got, ignore_errors=True)
        copy = ["mvn", "-B", "-q", "-f", str(CLIENT), "dependency:copy-dependencies", f"-DoutputDirectory={got}"]
        subprocess.run(copy, check=True, stdout=sys.stderr)
        got.rename(folder)
    return folder


def _jar(artifact: str) -> Path:
    _, name, version = artifact.split(":")
    jar = FOLDER / f"{name}-{version}.jar"
    if not jar.exists():
        if shutil.which("mvn") is None:
            _impossible(f"{jar.name} is not in {FOLDER} yet, and Maven, which gets it, is not on the PATH")
        copy = ["mvn", "-B", "-q", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={FOLDER}"]
        subprocess.run(copy, check=True, stdout=sys.stderr)
    return jar


def _impossible(reason: str) -> None:
    print(reason)
    sys.exit(3)


if __name__ == "__main__":
    main()
