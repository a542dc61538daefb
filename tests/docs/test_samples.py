"""Every page's samples run as they stand, one after another, in an empty folder."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_RUN = re.compile(r"^```(python|bash|sql|ipython)$", re.MULTILINE)
SQL = DOCS / "how-to" / "sql.md"
#: Run with the session of the tests: tests/spark/test_page.py.
SPARK = DOCS / "how-to" / "spark.md"
#: What a page's samples tell, among other things.
TOLD = {"README.md": "ridge-0.1"}
PAGES = [ROOT / "README.md", *(page for page in sorted(DOCS.rglob("*.md")) if _RUN.search(page.read_text()))]


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if page not in (SQL, SPARK)], ids=_name)
def test_the_samples_of_every_page_run_word_for_word(page: Path, run_page: Callable[[Path], str]) -> None:
    assert TOLD.get(_name(page), "") in run_page(page)


def test_the_readme_has_a_tour_in_python_and_in_the_shell() -> None:
    found = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert any(language == "python" and "ll.open(" in code for language, code in found)
    assert any(language == "bash" and "lakelineage --lake" in code for language, code in found)


def test_no_page_has_a_block_that_is_neither_run_nor_marked_as_text() -> None:
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        fences = [line.strip() for line in page.read_text().splitlines() if line.lstrip().startswith(("```", "~~~"))]
        opened = {fence.strip("`~") for fence in fences[::2]}
        assert opened <= {"python", "bash", "sql", "ipython", "text"}, _name(page)
        assert set(fences[1::2]) <= {"```"}, _name(page)


def test_how_to_pages_have_samples() -> None:
    assert {page.stem for page in DOCS.glob("how-to/*.md")} <= {page.stem for page in PAGES}


def test_every_file_that_the_readme_links_to_is_there() -> None:
    # mkdocs looks after the links of the pages.
    links = re.findall(r"\]\(([^)#:]+)[^)]*\)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.slow
def test_the_sql_samples_answer_what_their_headings_say(run_page: Callable[[Path], str]) -> None:
    told = [json.loads(line) for line in run_page(SQL).splitlines() if line.startswith("{")]
    first: dict[str, list[dict[str, object]]] = {}
    for answer in told:
        assert answer["rows"], answer["heading"]
        first.setdefault(answer["heading"], answer["rows"])
    assert [row["rmse"] for row in first["Leaderboard"]] == [1.0, 2.0]
    assert [row["name"] for row in first["Best run per experiment"]] == ["child 0"]
    assert [(row["alpha"], row["runs"]) for row in first["Group by a param"]] == [(0.1, 2), (0.2, 1)]
    assert len(first["Metric curves of a family of runs"]) == 9
    assert len(first["Runs that used a version of a table"]) == 3
    assert [row["failed"] for row in first["Failed runs by host"]] == [1]
    assert [row["files"] for row in first["Storage by run"]] == [1, 1, 1, 0, 0]
