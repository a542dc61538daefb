"""The site builds without a warning, and loads nothing from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import html5lib
import pytest

ROOT = Path(__file__).parents[2]
#: Attributes by which a page loads something, rather than leads somewhere.
LOADS = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "object": "data"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(built)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return built


def test_every_page_is_in_the_site_and_in_its_navigation(site: Path) -> None:
    home = (site / "index.html").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        place = page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        assert (site / place).exists()
        assert place == "index.html" or f'href="{place}"' in home


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        document = html5lib.parse(page.read_text(), namespaceHTMLElements=False)
        for tag, attribute in LOADS.items():
            for element in document.iter(tag):
                assert not re.match(r"(\w+:)?//", element.get(attribute, "")), (page.name, tag, element.attrib)
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", style.read_text()), style.name


def test_what_python_offers_is_told_in_words_that_markdown_knows(site: Path) -> None:
    api = (site / "api.html").read_text()
    assert 'id="lakelineage.lake.Lake.start_run"' in api
    assert 'id="lakelineage.lake.Lake.search_runs"' in api  # inherited
    assert not re.search(r":(meth|class|func|mod):", api)
