"""Every SQL sample of the how-to page runs, and finds something, on a small lake."""

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

import lakelineage

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "sql.md"
SAMPLES = re.findall(r"^## (.*?)$|^```sql\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def titled() -> list[tuple[str, str]]:
    """Each sample with the heading that it stands under."""
    title, found = "", []
    for heading, sql in SAMPLES:
        title = heading or title
        if sql:
            found.append((title, sql))
    return found


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lakelineage.Lake]:
    """A sweep of three children, one of which failed, and a lone run, on a table."""
    folder = tmp_path_factory.mktemp("samples")
    write_deltalake(str(folder / "patients"), pa.table({"x": [1.0]}))
    lake = lakelineage.open(folder / "lake", durability="process")
    with lake.start_run("sweeps", "sweep") as parent:
        for i, alpha in enumerate((0.1, 0.2, 0.1)):
            child = lake.start_run("sweeps", f"child {i}", parent=parent)
            child.use(folder / "patients", version=0)
            child.log_param("alpha", alpha)
            for step in range(3):
                child.log_metric("rmse", 3.0 - step + i, step=step)
            child.log_text("hello", "notes.txt")
            child.end("FAILED" if i == 2 else "FINISHED")
    with lake.start_run("lone", "nan") as run:
        run.log_metric("rmse", float("nan"))
    yield lake
    lake.close()


@pytest.mark.parametrize(("title", "sql"), titled())
def test_every_sample_answers(title: str, sql: str, small: lakelineage.Lake) -> None:
    assert small.sql(sql).num_rows, title


def answer(small: lakelineage.Lake, title: str) -> list[dict[str, object]]:
    return small.sql(dict(reversed(titled()))[title]).to_pylist()


def test_the_samples_answer_what_their_headings_say(small: lakelineage.Lake) -> None:
    assert [row["rmse"] for row in answer(small, "Leaderboard")] == [1.0, 2.0]
    assert [row["name"] for row in answer(small, "Best run per experiment")] == ["child 0"]
    assert [(row["alpha"], row["runs"]) for row in answer(small, "Group by a param")] == [(0.1, 2), (0.2, 1)]
    assert len(answer(small, "Metric curves of a family of runs")) == 9
    assert len(answer(small, "Runs that used a version of a table")) == 3
    assert [row["failed"] for row in answer(small, "Failed runs by host")] == [1]
    assert [row["files"] for row in answer(small, "Storage by run")] == [1, 1, 1, 0, 0]
