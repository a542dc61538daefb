"""How the demo speaks: scenes, lines of code as they are run, small tables."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

if TYPE_CHECKING:
    from lakelineage.lineage import LineageTree

#: Columns that are comfortable to read.
_WIDTH = 104
_INDENT = (0, 0, 0, 2)


class Teller:
    """Tells the story on standard output.

    Attributes:
        console: Rich's.
    """

    def __init__(self) -> None:
        probe = Console(file=sys.stdout)
        width = min(probe.width, _WIDTH) if probe.is_terminal else _WIDTH
        self.console = Console(file=sys.stdout, width=width, highlight=False)
        self._scene = 0

    def title(self, text: str, below: str) -> None:
        """Open the story."""
        self.console.print(Panel(f"[bold]{text}[/bold]\n{below}", border_style="cyan", expand=False, padding=(0, 2)))

    def scene(self, text: str) -> None:
        """Begin a scene."""
        self._scene += 1
        self.console.print()
        self.console.print(Rule(f"[bold cyan]{self._scene} · {text}[/bold cyan]", align="left", style="cyan"))

    def say(self, text: str) -> None:
        """Tell; Rich's markup is understood."""
        self.console.print(Padding(Text.from_markup(text), _INDENT, expand=False))

    def code(self, text: str) -> None:
        """Show code that runs now."""
        highlighted = Syntax(text, "python", theme="ansi_dark").highlight(text)
        highlighted.rstrip()
        lines = highlighted.split("\n")
        for i, line in enumerate(lines):
            mark = "  >>> " if i == 0 else "  ... "
            self.console.print(Text.assemble((mark, "dim"), line), soft_wrap=True, no_wrap=True)

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Tell what takes a while; on a terminal it moves, and goes when done."""
        with self.console.status(f"[dim]{text}[/dim]"):
            yield

    def result(self, text: str, style: str = "green") -> None:
        """Show what came of it, literally."""
        self.console.print(Padding(Text(text, style=style), (0, 0, 0, 6), expand=False))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], mark_first: bool = False) -> None:
        """Show a small table; numbers to the right."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for name, values in zip(columns, zip(*rows, strict=True), strict=True):
            numeric = all(isinstance(value, (int, float)) for value in values)
            table.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
        for i, row in enumerate(rows):
            table.add_row(*(Text(str(v)) for v in row), style="green" if mark_first and i == 0 else None)
        self.console.print(Padding(table, (0, 0, 0, 6), expand=False))

    def tree(self, root: "LineageTree", shown: Callable[[str], str]) -> None:
        """Show a lineage tree.

        Args:
            root: what was asked about.
            shown: a label → what to show for it.
        """
        self.console.print(Padding(_drawn(root, shown), (0, 0, 0, 6), expand=False))

    def close(self, text: str, commands: Sequence[str]) -> None:
        """End the story with commands to try, each on a line of its own, to be copied whole."""
        self.console.print()
        self.console.print(Rule("[bold cyan]Now you: three commands to try[/bold cyan]", align="left", style="cyan"))
        for command in commands:
            self.console.print(Text(f"  $ {command}", style="bold"), soft_wrap=True)
        self.console.print()
        self.console.print(Text(f"  {text}", style="dim"), soft_wrap=True)


_COLOURS = {"dataset": "blue", "run": "yellow", "model": "magenta", "artifact": "white"}


def _drawn(root: "LineageTree", shown: Callable[[str], str]) -> Tree:
    drawn = Tree(_caption(root, shown), guide_style="dim")
    stack = [(root, drawn)]
    while stack:
        node, place = stack.pop()
        stack.extend((child, place.add(_caption(child, shown))) for child in node.children)
    return drawn


def _caption(node: "LineageTree", shown: Callable[[str], str]) -> Text:
    relation = Text(f"{node.relation} ", style="dim") if node.relation else Text()
    seen = Text(" (shown elsewhere)", style="dim") if node.seen else Text()
    return (
        relation
        + Text(f"{node.kind} ", style=_COLOURS.get(node.kind, ""))
        + Text(shown(node.label), style="bold")
        + seen
    )
