"""What differs between two bags of rows: rows are cancelled as multisets, what is left is paired by key.

Columns go by position here (``c0``, ``c1``, …), so that no name can be in the way: DuckDB's ignore letter case.
Equality is DuckDB's ``IS NOT DISTINCT FROM``: null equals null, NaN equals NaN and 0.0 equals -0.0, nested too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from lakelineage.query.duckdb.session import text
from lakelineage.query.duckdb.workspace import Workspace, listed, quoted, refusal

#: The greatest whole number up to which every one is a double.
_LAST_EXACT = 2**53
#: Rows of each side by which it is judged whether they stand at the same places.
_SAMPLE = 20_000


class Kind(IntEnum):
    """What became of a row, as the table ``changes`` has it."""

    REMOVED = 0
    ADDED = 1
    CHANGED = 2


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a relation, on its way to a common type.

    Attributes:
        name: in the relation; None if it has none: null.
        checked: whether whole numbers must be looked at before they become doubles.
    """

    name: str | None
    checked: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one side, or change data of both.

    Attributes:
        relation: name on the workspace's connection.
        columns: one for each common column.
        sign: 1 for rows of B, -1 for those of A.
        change_data: whether the rows tell by ``_change_type`` what they are; then ``sign`` is that of an insert.
    """

    relation: str
    columns: tuple[Column, ...]
    sign: int
    change_data: bool = False

    def select(self, types: Sequence[str], wanted: Sequence[int] | None = None) -> str:
        """Rows with the sign ``s``, and columns (default all) in their common type."""
        chosen = range(len(types)) if wanted is None else wanted
        cells = [f"{_cast(self.columns[i], types[i])} AS c{i}" for i in chosen]
        sign = f"{self.sign}"
        if self.change_data:
            sign = f"CASE WHEN _change_type IN ('insert', 'update_postimage') THEN {self.sign} ELSE {-self.sign} END"
        return f"SELECT {listed([*cells, f'{sign} AS s'])} FROM {self.relation}"


def _cast(column: Column, kind: str) -> str:
    if column.name is None:
        return f"CAST(NULL AS {kind})"
    value = quoted(column.name)
    cast = f"CAST({value} AS {kind})"
    if not column.checked:
        return cast
    why = f"column {column.name!r} is whole on one side and floating on the other, and has whole numbers beyond 2^53"
    fails = refusal(f"{why}, which no double holds exactly; leave it out with columns=")
    return f"CASE WHEN {value} NOT BETWEEN -{_LAST_EXACT} AND {_LAST_EXACT} THEN {fails} ELSE {cast} END"


def cancel(work: Workspace, parts: Sequence[Part], types: Sequence[str]) -> None:
    """Make the table ``net``: rows of which one side has more, and ``n``, how many more B has (negative: A).

    Args:
        work: where.
        parts: all rows that were not cancelled before.
        types: of the common columns.
    """
    columns = [f"c{i}" for i in range(len(types))]
    empty = f"SELECT {listed([f'CAST(NULL AS {t}) AS c{i}' for i, t in enumerate(types)])}, 0 AS s WHERE false"
    rows = _all(parts, types) or empty
    rest = _unlike_in_place(work, parts, types)
    work.execute(
        f"CREATE TABLE net AS SELECT {listed(columns)}, count(*) FILTER (s > 0) - count(*) FILTER (s < 0) AS n "
        f"FROM ({rest or rows}) GROUP BY {listed(columns)} HAVING n <> 0"
    )
    work.execute("DROP TABLE IF EXISTS rest")


def _all(parts: Sequence[Part], types: Sequence[str]) -> str:
    return " UNION ALL ".join(part.select(types) for part in parts)


def _unlike_in_place(work: Workspace, parts: Sequence[Part], types: Sequence[str]) -> str | None:
    """Cancel equal rows that stand at the same place of both sides, which takes a fifth of the time of grouping.

    A file that was rewritten for an update has its rows where they were. Which of equal rows cancel does not matter,
    so this needs no promise about the order; a sample tells whether it is worth it.

    Returns:
        SQL of what is left; None if it is not worth it.
    """
    sides = [[part for part in parts if part.sign == sign] for sign in (-1, 1)]
    if any(part.change_data for part in parts) or not all(sides):
        return None
    a, b = (f"SELECT *, true AS there FROM ({_all(side, types)})" for side in sides)
    # ``there`` is null beyond the end of the shorter side, where every column is null, too.
    unlike = " OR ".join(f"a.{c} IS DISTINCT FROM b.{c}" for c in [*(f"c{i}" for i in range(len(types))), "there"])
    sample = f"({a} LIMIT {_SAMPLE}) AS a POSITIONAL JOIN ({b} LIMIT {_SAMPLE}) AS b"
    [(number, differing)] = work.rows(f"SELECT count(*), count(*) FILTER ({unlike}) FROM {sample}")
    if differing * 2 > number:
        return None
    told = [f"{side}.c{i} AS {side}{i}" for side in "ab" for i in range(len(types))]
    flags = "a.there AS in_a, b.there AS in_b"
    paired = f"({a}) AS a POSITIONAL JOIN ({b}) AS b"
    work.execute(f"CREATE TABLE rest AS SELECT {listed([*told, flags])} FROM {paired} WHERE {unlike}")
    back = [
        f"SELECT {listed([f'{side}{i} AS c{i}' for i in range(len(types))])}, {sign} AS s FROM rest WHERE in_{side}"
        for side, sign in (("a", -1), ("b", 1))
    ]
    return " UNION ALL ".join(back)


def count(work: Workspace, parts: Sequence[Part]) -> tuple[int, int]:
    """How many rows of A and of B the parts have."""
    rows = " UNION ALL ".join(part.select([]) for part in parts)
    if not rows:
        return 0, 0
    [(a, b)] = work.rows(f"SELECT count(*) FILTER (s < 0), count(*) FILTER (s > 0) FROM ({rows})")
    return a, b


def repeated_key(work: Workspace, keys: Sequence[int]) -> tuple[int, int, tuple[object, ...]] | None:
    """A key that several rows of one side have in ``net``.

    Returns:
        (sign of the side, how many rows, the key as texts), of the least such key; None if each has one.
    """
    names = listed([f"c{i}" for i in keys])
    found = work.rows(
        f"SELECT sign(n), sum(abs(n)) AS times, {listed([f'CAST(c{i} AS VARCHAR)' for i in keys])} FROM net "
        f"GROUP BY {names}, sign(n) HAVING times > 1 ORDER BY {names} LIMIT 1"
    )
    return (int(found[0][0]), int(found[0][1]), found[0][2:]) if found else None


def pair(work: Workspace, keys: Sequence[int], width: int) -> None:
    """Turn ``net`` into the table ``changes``: ``kind``, columns ``a0`` … as A has them, ``b0`` … as B has them.

    Without keys nothing is paired, and a row that is there several times is there several times.
    """
    a, b = [f"c{i} AS a{i}" for i in range(width)], [f"c{i} AS b{i}" for i in range(width)]
    if keys:
        on = " AND ".join(f"a{i} IS NOT DISTINCT FROM b{i}" for i in keys)
        kind = f"CASE WHEN m IS NULL THEN {Kind.ADDED} WHEN n IS NULL THEN {Kind.REMOVED} ELSE {Kind.CHANGED} END"
        rows = (
            f"SELECT CAST({kind} AS TINYINT) AS kind, * EXCLUDE (m, n) "
            f"FROM (SELECT n AS m, {listed(a)} FROM net WHERE n < 0) "
            f"FULL JOIN (SELECT n, {listed(b)} FROM net WHERE n > 0) ON {on}"
        )
    else:
        both = listed([*a, *b])
        kind = f"CAST(CASE WHEN n < 0 THEN {Kind.REMOVED} ELSE {Kind.ADDED} END AS TINYINT)"
        copies = f"SELECT {kind} AS kind, {both}, unnest(range(abs(n))) AS copy FROM net"
        rows = f"SELECT * EXCLUDE (copy) FROM ({copies})"
    work.execute(f"CREATE TABLE changes AS {rows}")
    work.execute("DROP TABLE net")


def tally(work: Workspace, others: Sequence[int]) -> tuple[dict[Kind, int], dict[int, int]]:
    """How many changes there are of each kind, and how many changed rows differ in each column that is no key."""
    kinds = {Kind(kind): number for kind, number in work.rows("SELECT kind, count(*) FROM changes GROUP BY kind")}
    differing = listed([f"count(*) FILTER (a{i} IS DISTINCT FROM b{i})" for i in others])
    if not others or not kinds.get(Kind.CHANGED):
        return kinds, {}
    [numbers] = work.rows(f"SELECT {differing} FROM changes WHERE kind = {Kind.CHANGED}")
    return kinds, {i: number for i, number in zip(others, numbers, strict=True) if number}


def one_side(kind: Kind, width: int, keys: Sequence[int]) -> str:
    """Added or removed rows, by key, without keys by all columns."""
    side = "b" if kind is Kind.ADDED else "a"
    order = listed([f"{side}{i}" for i in keys or range(width)])
    return f"SELECT {listed([f'{side}{i}' for i in range(width)])} FROM changes WHERE kind = {kind} ORDER BY {order}"


def both_sides(kinds: Sequence[Kind], names: Sequence[str], keys: Sequence[int], flat: bool, named: bool) -> str:
    """Changes of some kinds, by key: key, then the other columns, as a form that one table can have.

    Args:
        kinds: which.
        names: of the columns, for the list of those that differ.
        keys: which columns are the key.
        flat: each other column twice, before and after, and the list; else once.
        named: begin with what became of the row.
    """
    cells = [_named(kinds)] if named else []
    order = []
    for i in range(len(names)):
        either = f"CASE kind WHEN {Kind.REMOVED} THEN a{i} ELSE b{i} END"
        cells += [f"a{i}", f"b{i}"] if flat and i not in keys else [either]
        order += [either] if i in keys or not keys else []
    if flat:
        tests = [
            f"CASE WHEN a{i} IS DISTINCT FROM b{i} THEN {text(names[i])} END"
            for i in range(len(names))
            if i not in keys
        ]
        differing = f"list_filter(CAST([{listed(tests)}] AS VARCHAR[]), lambda v: v IS NOT NULL)"
        cells.append(f"CASE WHEN kind = {Kind.CHANGED} THEN {differing} END")
    # Without names of their own, equal expressions would share one.
    told = listed([f"{cell} AS r{i}" for i, cell in enumerate(cells)])
    ordered = listed([*order, "kind"])
    return f"SELECT {told} FROM changes WHERE kind IN ({listed([str(int(k)) for k in kinds])}) ORDER BY {ordered}"


def _named(kinds: Sequence[Kind]) -> str:
    return "CASE kind " + " ".join(f"WHEN {k} THEN {text(k.name.lower())}" for k in kinds) + " END"
