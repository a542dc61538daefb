"""Runs the samples of one page in order, as a reader would who copies them from top to bottom: ``samples.py PAGE``.

All Python blocks of a page share one namespace, each bash block is a shell of its own (``set -eu``), a SQL block is
asked of the lake that the page calls ``lake``, and an ipython block is a cell of a notebook over the same namespace.
Prints, for each SQL block, a line of JSON: the heading that it stands under, and its rows.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

_PART = re.compile(r"^#+ (?P<heading>.*?)$|^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)
#: Blocks of another language (text, say) are there to be looked at.
RUN = ("python", "bash", "sql", "ipython")


class Block(NamedTuple):
    """A block of code, the heading that it stands under, and the line of the page where its code begins."""

    language: str
    code: str
    heading: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page."""
    text, heading = page.read_text(), ""
    for part in _PART.finditer(text):
        heading = part["heading"] or heading
        if part["language"]:
            yield Block(part["language"], part["code"], heading, text[: part.start("code")].count("\n") + 1)


def run(page: Path) -> None:
    """Run a page in the working directory; whatever goes wrong is raised."""
    namespace: dict[str, Any] = {"__name__": "__main__"}

    def python(block: Block) -> None:
        # A traceback names the page and the line in it.
        exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), namespace)

    def bash(block: Block) -> None:
        subprocess.run(["bash", "-euc", block.code], check=True)

    def sql(block: Block) -> None:
        rows = namespace["lake"].sql(block.code).to_pylist()
        print(json.dumps({"heading": block.heading, "rows": rows}, default=str))

    def ipython(block: Block) -> None:
        from IPython.core.interactiveshell import InteractiveShell

        shell = InteractiveShell.instance(user_ns=namespace)
        shell.run_cell(block.code).raise_error()

    runners: dict[str, Callable[[Block], None]] = {"python": python, "bash": bash, "sql": sql, "ipython": ipython}
    for block in blocks(page):
        if block.language in RUN:
            print(f"{page.name}:{block.line} {block.language}", file=sys.stderr, flush=True)
            runners[block.language](block)
            sys.stdout.flush()


if __name__ == "__main__":
    run(Path(sys.argv[1]))
