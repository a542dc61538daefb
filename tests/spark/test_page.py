"""The page about Spark does what it says; its session is the one of the tests, with the jars that the page names."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.docs.samples import blocks
from tests.jars import ARTIFACTS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "spark.md"

pytestmark = pytest.mark.slow


def test_the_page_runs_from_top_to_bottom(
    spark: "SparkSession", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    session, *samples = [block for block in blocks(PAGE) if block.language == "python"]
    assert all(artifact in session.code for artifact in ARTIFACTS if "delta-spark" in artifact)
    namespace: dict[str, Any] = {"spark": spark}
    assert len(samples) == 2
    for block in samples:
        exec(compile("\n" * (block.line - 1) + block.code, str(PAGE), "exec"), namespace)
    namespace["lake"].close()
    assert os.listdir(tmp_path) == ["lake"]
