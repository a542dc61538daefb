"""The magics ``%lake`` and ``%lakesql``."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from lakelineage.errors import InvalidInput, LakelineageError, MissingExtra
from lakelineage.notebook.parameters import bound

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.lake import Lake

_T = TypeVar("_T")
_FORMS = ("arrow", "polars", "pandas")
#: An option before the SQL: its name, and its value in quotes or without. A SQL comment (``-- …``) is none.
_OPTION = re.compile(r"""\s*(-o|--out|--as|--lake)(?:=|\s+)("[^"]*"|'[^']*'|\S+)""")
_SQL_ADVICE = "write %lakesql [--lake LAKE] [--as arrow|polars|pandas] [-o NAME] SELECT …"


@dataclass(frozen=True, slots=True)
class _Question:
    sql: str
    lake: str | None
    form: str
    out: str | None


class Magics:
    """The magics of one IPython.

    Args:
        shell: the running IPython.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._current: Lake | None = None
        self._opened: dict[str, Lake] = {}

    def lake_function(self) -> "Callable[[str], Lake]":
        """The magic ``%lake``, as a function with its own help."""

        def lake(line: str) -> "Lake":
            """Open a lake, or show the current one; %lakesql asks it.

            %lake PATH or URI       open the lake that is there
            %lake --create PATH     open it, and make it if there is none
            %lake NAME              take a lake that the variable NAME holds
            %lake                   the current lake

            `lake = %lake PATH` keeps it in a variable too.
            """
            return _briefly(lambda: self._choose(line))

        return lake

    def lakesql_function(self) -> Callable[..., Any]:
        """The magic ``%lakesql`` and ``%%lakesql``, as a function with its own help."""

        def lakesql(line: str, cell: str | None = None) -> Any:
            """Answer SQL over the tables of a lake.

            %lakesql SELECT count(*) FROM runs
            rows = %lakesql SELECT * FROM runs WHERE name = $name

            %%lakesql --as polars -o best
            SELECT name, metrics['rmse'] AS rmse FROM runs WHERE metrics['rmse'] < {limit} ORDER BY rmse

            $name and {name} are values of variables; they are bound, never put into the text.

            --lake LAKE    path, URI or variable; default what %lake chose, a variable named lake, LAKELINEAGE_URI
            --as FORM      arrow (default), polars or pandas
            -o NAME        keep the answer in a variable and do not show it
            """
            return _briefly(lambda: self._answer(line, cell))

        return lakesql

    def _choose(self, line: str) -> "Lake":
        text = line.strip()
        create = text.startswith("--create ")
        place = text.removeprefix("--create ").strip().strip("\"'")
        if not place:
            return self._lake(None)
        self._current = self._open(place, create=create)
        return self._current

    def _answer(self, line: str, cell: str | None) -> Any:
        asked = _question(line, cell)
        sql, params = bound(asked.sql, self._variables)
        answer = _as(self._lake(asked.lake).sql(sql, params), asked.form)
        if asked.out is None:
            return answer
        self._shell.push({asked.out: answer})
        return None

    @property
    def _variables(self) -> Mapping[str, Any]:
        names: Mapping[str, Any] = self._shell.user_ns
        return names

    def _lake(self, named: str | None) -> "Lake":
        from lakelineage.lake import Lake

        if named is not None:
            return self._open(named)
        held = self._variables.get("lake")
        if self._current is not None:
            return self._current
        if isinstance(held, Lake):
            return held
        place = os.environ.get("LAKELINEAGE_URI")
        if place:
            self._current = self._open(place)
            return self._current
        raise InvalidInput("no lake was chosen: write %lake PATH, or --lake PATH, or set LAKELINEAGE_URI")

    def _open(self, named: str, create: bool = False) -> "Lake":
        """A lake that a variable holds, or the one at a place; one that is open here is not opened again."""
        from lakelineage.lake import Lake, open_lake

        held = self._variables.get(named)
        if isinstance(held, Lake):
            return held
        place = named if "://" in named else os.path.abspath(os.path.expanduser(named))
        if place not in self._opened:
            self._opened[place] = open_lake(place, create=create)
        return self._opened[place]


def _question(line: str, cell: str | None) -> _Question:
    """Options and SQL.

    Raises:
        InvalidInput: the SQL is missing, or an option is unknown.
    """
    given: dict[str, str] = {}
    rest = line
    while match := _OPTION.match(rest):
        given[{"-o": "out"}.get(match[1], match[1].lstrip("-"))] = match[2].strip("\"'")
        rest = rest[match.end() :]
    rest = rest.strip()
    if cell is not None and rest:
        raise InvalidInput(f"{rest!r}: the SQL goes below the line of %%lakesql, options beside it; {_SQL_ADVICE}")
    if re.match(r"-{1,2}\w", rest):
        raise InvalidInput(f"option {rest.split()[0]!r} is unknown or lacks its value; {_SQL_ADVICE}")
    sql = rest if cell is None else cell
    if not sql.strip():
        raise InvalidInput(f"the SQL is missing; {_SQL_ADVICE}")
    form, out = given.get("as", "arrow"), given.get("out")
    if form not in _FORMS:
        raise InvalidInput(f"--as {form}: choose one of {', '.join(_FORMS)}")
    if out is not None and not out.isidentifier():
        raise InvalidInput(f"-o {out}: that is no name of a variable")
    return _Question(sql, given.get("lake"), form, out)


def _as(rows: "pa.Table", form: str) -> Any:
    if form == "polars":
        import polars as pl

        return pl.from_arrow(rows)
    if form == "pandas":
        try:
            return rows.to_pandas()
        except ImportError as error:
            raise MissingExtra("--as pandas needs pandas: pip install pandas") from error
    return rows


def _briefly(verb: "Callable[[], _T]") -> "_T":
    """Run a verb; its error is told in a line, not with the frames of this package."""
    try:
        return verb()
    except LakelineageError as error:
        told = [f"{type(error).__name__}: {error}"]
        error._render_traceback_ = lambda: told  # type: ignore[attr-defined]
        raise
