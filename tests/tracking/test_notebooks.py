"""Runs logged from notebooks: real kernels execute real notebooks."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

import lakelineage as ll
from lakelineage.tracking import notebooks

ROOT = Path(__file__).parents[2]
#: Executes a notebook as Jupyter does; a process of its own, since a kernel's client has threads and loops.
DRIVER = """
import asyncio, os, sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=120, resources={"metadata": {"path": os.path.dirname(sys.argv[1])}}).execute()
print("".join(o["text"] for c in notebook.cells for o in c.get("outputs", []) if o.output_type == "stream"))
"""
#: Starts a kernel that a server is said to have started, and runs one cell in it.
BARE_KERNEL = """
import sys
from jupyter_client import KernelManager
manager = KernelManager(connection_file=sys.argv[1], kernel_name="python3")
manager.start_kernel()
client = manager.client()
client.start_channels()
client.wait_for_ready(timeout=120)
told = []
client.execute_interactive(sys.argv[2], timeout=120, output_hook=lambda m: told.append(m["content"].get("text", "")))
print("".join(told))
client.stop_channels()
manager.shutdown_kernel(now=True)
"""
LOG = "import lakelineage as ll\nrun = ll.open({lake!r}).start_run()\n"


def written(path: Path, *cells: str) -> Path:
    """A notebook file with a Markdown cell and these code cells."""
    import nbformat.v4 as nb

    path.parent.mkdir(parents=True, exist_ok=True)
    content = [nb.new_markdown_cell("# Title\ntext"), *map(nb.new_code_cell, cells)]
    path.write_text(json.dumps(nb.new_notebook(cells=content)))
    return path


def executed(code: str, *arguments: object, **env: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LAKELINEAGE_CAPTURE_SOURCE": "1", **env}
    environment["JUPYTER_PLATFORM_DIRS"] = "1"
    environment.pop("JPY_SESSION_NAME", None) if "JPY_SESSION_NAME" not in env else None
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.slow
def test_a_notebook_is_kept_with_its_hash_and_the_cells_that_were_executed(tmp_path: Path, lake_path: Path) -> None:
    book = written(
        tmp_path / "my work" / "explore ü.ipynb",
        "x = 1",
        "%env NOTHING=1\n" + LOG.format(lake=str(lake_path)),
        "y = 2\nrun.end()\nprint(run.id)",
    )
    on_disk = book.read_bytes()
    run_id = executed(DRIVER, book, JPY_SESSION_NAME=str(book))
    with ll.open(lake_path, create=False) as lake:
        run = lake.run(run_id)
        book.unlink()
        assert (run.attributes["source"], run.attributes["source_type"]) == (str(book), "notebook")
        assert run.attributes["source_hash"] == hashlib.sha256(on_disk).hexdigest()
        assert run.artifact(f"source/{book.name}").read_bytes() == on_disk
        cells = run.artifact("source/executed.py").read_text()
        assert cells.startswith("# %% [1]\nx = 1\n\n# %% [2]\n")
        assert cells.endswith("# %% [3]\ny = 2\nrun.end()\nprint(run.id)\n\n")
        compile(cells, "executed.py", "exec")
        code = run.code()
        assert code is not None
        assert code.startswith("# %% [markdown]\n# # Title\n# text\n\n# %%\nx = 1\n\n# %%\n%env NOTHING=1\n")


@pytest.mark.slow
def test_each_run_keeps_the_revision_of_its_own_time(tmp_path: Path, lake_path: Path) -> None:
    book = tmp_path / "a.ipynb"
    written(
        book,
        LOG.format(lake=str(lake_path)) + "run.end()",
        f"from pathlib import Path\nbook = Path({str(book)!r})\n"
        "_ = book.write_text(book.read_text().replace('# Title', '# Later'))",
        LOG.format(lake=str(lake_path)) + "first = run.id\nrun.end()",
    )
    executed(DRIVER + "\nprint('done')", book, JPY_SESSION_NAME=book.name)
    with ll.open(lake_path, create=False) as lake:
        ids = lake.sql("select run_id from runs order by start_time").column("run_id").to_pylist()
        titles = [str(lake.run(i).code()).split("\n")[1] for i in ids]
        assert titles == ["# # Title", "# # Later"]
        kept = [lake.run(i).artifact("source/a.ipynb").sha256 for i in ids]
        assert kept == [lake.run(i).attributes["source_hash"] for i in ids]


@pytest.mark.slow
def test_a_notebook_of_vs_code_is_told_by_its_variable(tmp_path: Path, lake_path: Path) -> None:
    book = written(
        tmp_path / "code.ipynb",
        f"__vsc_ipynb_file__ = {str(tmp_path / 'code.ipynb')!r}",
        LOG.format(lake=str(lake_path)) + "run.end()\nprint(run.id)",
    )
    run_id = executed(DRIVER, book)
    with ll.open(lake_path, create=False) as lake:
        assert lake.run(run_id).attributes["source"] == str(book)


def test_a_kernel_without_a_notebook_keeps_its_cells(tmp_path: Path, lake_path: Path) -> None:
    book = written(tmp_path / "a.ipynb", LOG.format(lake=str(lake_path)) + "run.end()\nprint(run.id)")
    run_id = executed(DRIVER, book, JUPYTER_RUNTIME_DIR=str(tmp_path / "none"))
    with ll.open(lake_path, create=False) as lake:
        run = lake.run(run_id)
        assert (run.attributes["source"], run.attributes["source_type"]) == (None, "notebook")
        assert run.source_files == ("source/executed.py",)
        assert "run.end()" in (run.code() or "")


def test_in_a_notebook_too_nothing_is_kept_that_must_not_be(tmp_path: Path, lake_path: Path) -> None:
    book = written(tmp_path / "a.ipynb", LOG.format(lake=str(lake_path)) + "run.end()\nprint(run.id)")
    run_id = executed(DRIVER, book, JPY_SESSION_NAME=str(book), LAKELINEAGE_CAPTURE_SOURCE="0")
    with ll.open(lake_path, create=False) as lake:
        assert lake.run(run_id).source_files == ()


class _Sessions(BaseHTTPRequestHandler):
    """What a Jupyter server answers at /api/sessions."""

    answer: ClassVar[list[Any]] = []
    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Authorization"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(self.answer).encode())

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Sessions) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        _Sessions.asked.clear()
        yield f"http://127.0.0.1:{http.server_address[1]}/"
        http.shutdown()
        thread.join()


def test_an_older_server_is_asked_which_notebook_the_kernel_has(tmp_path: Path, lake_path: Path, server: str) -> None:
    book = written(tmp_path / "root" / "deep" / "old.ipynb", "x")
    kernel = "1234-abcd"
    _Sessions.answer = [
        {"path": "other.ipynb", "kernel": {"id": "another"}},
        {"path": "deep/old.ipynb", "kernel": {"id": kernel}},
    ]
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    (runtime / "jpserver-1.json").write_text("no JSON")
    (runtime / "jpserver-2.json").write_text(json.dumps({"url": "http://127.0.0.1:9/", "root_dir": "/", "token": ""}))
    told = {"url": server, "root_dir": str(tmp_path / "root"), "token": "secret"}
    (runtime / "jpserver-3.json").write_text(json.dumps(told))
    code = LOG.format(lake=str(lake_path)) + "run.end()\nprint(run.id)"
    environment = {"JUPYTER_RUNTIME_DIR": str(runtime), "HTTP_PROXY": "http://127.0.0.1:9"}
    run_id = executed(BARE_KERNEL + "\n", runtime / f"kernel-{kernel}.json", code, **environment)
    assert _Sessions.asked == [("/api/sessions", "token secret")]
    with ll.open(lake_path, create=False) as lake:
        assert lake.run(run_id).attributes["source"] == str(book)


def test_what_is_no_notebook_is_said_so() -> None:
    for content in (b"", b"{}", b"[]", b'{"cells": [{}]}', b'{"worksheets": []}', b"null"):
        with pytest.raises(ValueError):
            notebooks.as_percent(content)
