"""A real kernel runs a real notebook."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import html5lib
import nbformat
import pytest
from nbclient import NotebookClient

import lakelineage

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore:.*:DeprecationWarning")


def run(folder: Path, *cells: str) -> list[Any]:
    """Outputs of the cells of a notebook, each a list."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    client = NotebookClient(notebook, timeout=120, allow_errors=True, resources={"metadata": {"path": str(folder)}})
    asyncio.run(client.async_execute())
    return [cell.outputs for cell in notebook.cells]


def html(outputs: Any) -> str:
    told: str = next(output.data["text/html"] for output in outputs if "data" in output)
    html5lib.HTMLParser(strict=True).parseFragment(told)
    return told


def error(outputs: Any) -> tuple[str, list[str]]:
    (found,) = [output for output in outputs if output.output_type == "error"]
    return found.ename, found.traceback


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("notebook")
    with lakelineage.open(folder / "lake") as lake:
        for i in range(3):
            with lake.start_run(name=f"run {i}") as run_:
                run_.log_params({"alpha": i})
                run_.log_metric("rmse", i / 2)
    cells = {
        "load": "%load_ext lakelineage",
        "none": "%lakesql select 1",
        "lake": "%lake lake",
        "lost": "%lake nowhere",
        "table": "%lakesql select name, metrics['rmse'] as rmse from runs order by name",
        "bound": "evil = \"run 1' or '1'='1\"\nwanted = 'run 1'",
        "evil": "%lakesql select count(*) as n from runs where name = {evil} -- {evil}",
        "cell": "%%lakesql --as polars -o found\nselect name from runs\nwhere name = $wanted or name = {wanted}",
        "found": "type(found).__module__.split('.')[0], found.rows()",
        "pandas": "frame = %lakesql --as pandas select count(*) as n from runs\nprint(frame.n[0])",
        "variable": "import lakelineage as ll\nother = ll.open('other')\n",
        "other": "%lakesql --lake other select count(*) as n from runs",
        "wrong": "%lakesql selct 1",
        "form": "%lakesql --as excel select 1",
        "unknown": "%lakesql --format x select 1",
        "empty": "%%lakesql -o x\n ",
        "misplaced": "%%lakesql select 1\nselect 2",
        "missing": "%lakesql select $nothing_here",
        "comment": "%lakesql -- what a line\nselect 1",
        "frame": "lake = %lake\nlake.search_runs('metrics.rmse < 0.9')",
        "plot": "lake.plot.scatter('params.alpha', 'metrics.rmse')",
        "run": "lake.run(lake.search_runs().column('run_id')[0].as_py())",
        "live": "run = lake.start_run(name='live')\nrun",
        "bar": "from lakelineage.display.progress import reporting\nwith reporting(True, 'work', 2, 'rows') as t: t(2)",
        "unload": "%unload_ext lakelineage",
        "gone": "%lakesql select 1",
        "plain": "import pyarrow as pa\npa.table({'a': [1]})",
        "close": "lake.close(); other.close()",
    }
    return dict(zip(cells, run(folder, *cells.values()), strict=True))


def test_loading_says_nothing(outputs: dict[str, Any]) -> None:
    assert outputs["load"] == []


def test_a_lake_is_opened_and_shown_but_never_made_by_mistake(outputs: dict[str, Any]) -> None:
    assert "newest runs (3)" in html(outputs["lake"])
    assert error(outputs["lost"])[0] == "InvalidInput"


def test_answers_are_html_tables(outputs: dict[str, Any]) -> None:
    told = html(outputs["table"])
    assert "run 2" in told
    assert "3 rows" in told
    assert "2 rows" in html(outputs["frame"])


def test_values_are_bound_and_never_text(outputs: dict[str, Any]) -> None:
    assert ">0</td>" in html(outputs["evil"])
    (found,) = outputs["found"]
    assert found.data["text/plain"] == "('polars', [('run 1',)])"
    assert outputs["cell"] == []


def test_an_answer_may_be_pandas_or_of_another_lake(outputs: dict[str, Any]) -> None:
    assert outputs["pandas"][0].text == "3\n"
    assert ">0</td>" in html(outputs["other"])


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("none", "InvalidInput", "no lake was chosen"),
        ("wrong", "InvalidQuery", "selct"),
        ("form", "InvalidInput", "choose one of arrow, polars, pandas"),
        ("unknown", "InvalidInput", "option '--format' is unknown"),
        ("empty", "InvalidInput", "the SQL is missing"),
        ("misplaced", "InvalidInput", "below the line of %%lakesql"),
        ("missing", "InvalidInput", "no variable 'nothing_here'"),
    ],
)
def test_errors_are_short(outputs: dict[str, Any], name: str, kind: str, told: str) -> None:
    ename, traceback = error(outputs[name])
    assert ename == kind
    assert told in "\n".join(traceback)
    assert len("\n".join(traceback).splitlines()) <= 5


def test_runs_and_plots_are_shown(outputs: dict[str, Any]) -> None:
    assert "rmse" in html(outputs["run"])
    assert "RUNNING" in html(outputs["live"])
    assert "vega" in next(o.data["text/html"] for o in outputs["plot"] if "data" in o)


def test_a_bar_is_drawn(outputs: dict[str, Any]) -> None:
    assert "work" in str(outputs["bar"])
    assert "Warning" not in str(outputs["bar"])


def test_unloading_takes_all_away(outputs: dict[str, Any]) -> None:
    assert outputs["unload"] == []
    assert "not found" in str(outputs["gone"])
    assert "text/html" not in outputs["plain"][0].data


def test_the_extension_loads_nothing_heavy() -> None:
    import subprocess

    code = (
        "import sys, lakelineage\nfrom IPython.testing.globalipapp import start_ipython\n"
        "shell = start_ipython()\nbefore = set(sys.modules)\nlakelineage.load_ipython_extension(shell)\n"
        "print(sorted({'pyarrow', 'duckdb', 'polars', 'jinja2', 'altair'} & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
