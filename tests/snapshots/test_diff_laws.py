"""Laws of diffs over random tables and random histories: what a plain comparison of two full copies would say."""

import math
import shutil
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakelineage import snapshots
from lakelineage.engine import Engine
from lakelineage.snapshots.diff import Diff, diff
from lakelineage.snapshots.diff.columns import match
from lakelineage.snapshots.diff.sources import sources

if TYPE_CHECKING:
    from collections.abc import Iterator

_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
_VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int64(): st.sampled_from([0, 1, -(2**63), 2**63 - 1]),
    pa.float64(): st.sampled_from([0.0, -0.0, 1.5, math.nan, math.inf]),
    pa.string(): _TEXT,
    pa.decimal128(9, 3): st.decimals(-9, 9, places=3, allow_nan=False, allow_infinity=False),
    pa.date32(): st.dates(),
    pa.binary(): st.binary(max_size=3),
    pa.bool_(): st.booleans(),
}
_SETTINGS = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))

Row = tuple[Any, ...]


def plain(value: Any) -> Any:
    """A value that equals what a diff takes for equal, and can be counted."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else value + 0.0
    if isinstance(value, dict):
        return tuple((k, plain(v)) for k, v in value.items())
    return tuple(map(plain, value)) if isinstance(value, list) else value


def rows(table: pa.Table, names: list[str]) -> "Counter[Row]":
    """The rows as a multiset; a column that is not there is null."""
    return Counter(tuple(plain(row.get(name)) for name in names) for row in table.to_pylist())


def said(found: Diff) -> dict[str, Any]:
    """All that a diff says, as multisets."""
    names = found.schema.names
    changed = Counter()
    others = [name for name in names if name not in found.key]
    for row in found.changed().read_all().to_pylist():
        assert row["_changed_columns"] == [n for n in others if plain(row[f"{n}_before"]) != plain(row[f"{n}_after"])]
        sides = [
            tuple(plain(row[n] if n in found.key else row[f"{n}_{side}"]) for n in names)
            for side in ("before", "after")
        ]
        changed[tuple(sides)] += 1
    told = {
        "added": rows(found.added().read_all(), names),
        "removed": rows(found.removed().read_all(), names),
        "changed": changed,
    }
    counts = found.counts
    assert (counts.added, counts.removed, counts.changed) == tuple(s.total() for s in told.values())
    assert found.rows().read_all().num_rows == sum(s.total() for s in told.values())
    return told


def naive(a: "Counter[Row]", b: "Counter[Row]", names: list[str], key: list[str]) -> dict[str, Any]:
    """What a diff must say."""
    removed, added = a - b, b - a
    changed: Counter[tuple[Row, Row]] = Counter()
    if key:
        at = [names.index(name) for name in key]
        by_key = {tuple(row[i] for i in at): row for row in removed}
        assert len(by_key) == removed.total()
        for row in list(added):
            before = by_key.get(tuple(row[i] for i in at))
            if before is not None:
                changed[before, row] += 1
                del removed[before], added[row]
    return {"added": added, "removed": removed, "changed": changed}


def applied(a: "Counter[Row]", told: dict[str, Any]) -> "Counter[Row]":
    """The rows of A with a diff applied."""
    before, after = Counter(), Counter()
    for (old, new), n in told["changed"].items():
        before[old] += n
        after[new] += n
    return a - told["removed"] - before + told["added"] + after


def mirrored(told: dict[str, Any]) -> dict[str, Any]:
    changed = Counter({(new, old): n for (old, new), n in told["changed"].items()})
    return {"added": told["removed"], "removed": told["added"], "changed": changed}


def sources_of(engine: Engine, a: snapshots.Snapshot, b: snapshots.Snapshot) -> list[Any]:
    """The sources that two snapshots have."""
    if a.id == b.id or not (a.files or b.files):
        return []
    there = sources(a, b, match(a, b, None, []), alike=True)
    return [*dict.fromkeys([source.name for source in there if source.name != "nothing"]), "all files"]


def check(engine: Engine, a: snapshots.Snapshot, b: snapshots.Snapshot, keys: list[str], **how: Any) -> Diff:
    """All laws for two snapshots, with and without key, from every source."""
    full = [pin.to_arrow() for pin in (a, b)]
    for key in ([], keys):
        with diff(engine, a, b, key=key or None, **how) as found:
            names = found.schema.names
            left, right = rows(full[0], names), rows(full[1], names)
            told = said(found)
            assert told == naive(left, right, names, key), found.read.source
            assert applied(left, told) == right
            counts = found.counts
            assert (counts.rows_a, counts.rows_b) == (left.total(), right.total())
            assert counts.add_up
            assert found.differs == (left != right or bool(found.schema_changes))
        with diff(engine, b, a, key=key or None, **how) as back:
            assert said(back) == mirrored(told)
    for source in sources_of(engine, a, b):
        with diff(engine, a, b, key=keys, only=source, **how) as forced:
            assert said(forced) == told, source
    return found


@contextmanager
def lake() -> "Iterator[tuple[Engine, Path]]":
    folder = Path(tempfile.mkdtemp())
    engine = Engine(folder / "lake", durability="process")
    try:
        yield engine, folder
    finally:
        engine.close()
        shutil.rmtree(folder)


@st.composite
def kinds(draw: st.DrawFn) -> tuple[pa.DataType, st.SearchStrategy[Any]]:
    kind = draw(st.sampled_from(list(_VALUES)))
    values: st.SearchStrategy[Any] = st.none() | _VALUES[kind]
    shape = draw(st.sampled_from(["plain", "plain", "list", "struct", "map"]))
    if shape == "list":
        return pa.list_(pa.field("element", kind)), st.none() | st.lists(values, max_size=2)
    if shape == "struct":
        return pa.struct([("x", kind)]), st.none() | st.fixed_dictionaries({"x": values})
    if shape == "map":
        return pa.map_(pa.string(), kind), st.none() | st.lists(st.tuples(_TEXT, values), max_size=1)
    return kind, values


@st.composite
def pairs(draw: st.DrawFn) -> tuple[pa.Table, pa.Table]:
    """Two tables with a key ``k`` (null at most once); the second is an edit of the first, or its own."""
    columns = draw(st.lists(kinds(), min_size=1, max_size=3))
    keys = st.none() | st.integers(0, 15)
    tables = []
    for side in range(2):
        ids = draw(st.lists(keys, unique=True, max_size=10))
        data: dict[str, pa.Array] = {"k": pa.array(ids, pa.int64())}
        for i, (kind, values) in enumerate(columns):
            cells = draw(st.lists(values, min_size=len(ids), max_size=len(ids)))
            if side:
                before = dict(zip(tables[0]["k"].to_pylist(), tables[0][f"c{i}"].to_pylist(), strict=True))
                edited = draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
                cells = [c if edit else before.get(k, c) for k, c, edit in zip(ids, cells, edited, strict=True)]
            data[f"c{i}"] = pa.array(cells, kind)
        tables.append(pa.table(data))
    return tables[0], tables[1]


@_SETTINGS
@given(data=pairs())
def test_a_diff_of_any_two_tables_is_that_of_their_rows(data: tuple[pa.Table, pa.Table]) -> None:
    with lake() as (engine, _):
        a, b = (snapshots.pin(engine, table, name=name) for table, name in zip(data, "ab", strict=True))
        check(engine, a, b, ["k"])


@_SETTINGS
@given(data=pairs(), copies=st.lists(st.integers(0, 3), min_size=20, max_size=20))
def test_without_a_key_rows_count_as_often_as_they_are_there(
    data: tuple[pa.Table, pa.Table], copies: list[int]
) -> None:
    with lake() as (engine, _):
        several = [
            pa.concat_tables(
                [table.slice(i, 1) for i, n in enumerate(copies[: table.num_rows]) for _ in range(n)] or [table]
            )
            for table in data
        ]
        a, b = (snapshots.pin(engine, table, name=name) for table, name in zip(several, "ab", strict=True))
        with diff(engine, a, b) as found:
            left, right = (rows(table, found.schema.names) for table in several)
            assert said(found) == naive(left, right, found.schema.names, [])


_ACTS = ("append", "merge", "update", "delete", "overwrite", "compact", "z-order", "restore", "nothing")


def act(uri: str, kind: str, numbers: list[int], made: int) -> None:
    """One act of the owner of a table. Ids are new, or those of ``numbers``."""
    table = DeltaTable(uri)
    some = ", ".join(map(str, numbers))
    if kind == "append":
        write_deltalake(table, people(range(1000 * made, 1000 * made + len(numbers)), made), mode="append")
    elif kind == "merge":
        merge = table.merge(people(numbers, made), "t.id = s.id", source_alias="s", target_alias="t")
        merge.when_matched_update_all().when_not_matched_insert_all().execute()
    elif kind == "update":
        table.update(updates={"score": "score + 1"}, predicate=f"id in ({some})")
    elif kind == "delete":
        table.delete(f"id in ({some})")
    elif kind == "overwrite":
        write_deltalake(table, people(numbers, made), mode="overwrite")
    elif kind == "compact":
        table.optimize.compact()
    elif kind == "z-order":
        table.optimize.z_order(["id"])
    elif kind == "restore":
        table.restore(table.version() // 2)


def people(ids: Any, made: int) -> pa.Table:
    numbers = list(ids)
    return pa.table(
        {
            "id": pa.array(numbers, pa.int64()),
            "part": pa.array([None if n % 5 == 4 else f"p{n % 3}" for n in numbers], pa.string()),
            "score": pa.array([None if n % 7 == 3 else n + made / 8 for n in numbers], pa.float64()),
            "words": pa.array([[str(n), None][: n % 3] for n in numbers], pa.list_(pa.string())),
        }
    )


def made(uri: str, tells: bool, partitioned: bool) -> None:
    write_deltalake(
        uri,
        people(range(10), 0),
        partition_by=["part"] if partitioned else None,
        configuration={"delta.enableChangeDataFeed": "true"} if tells else None,
    )


@pytest.mark.parametrize(("tells", "partitioned"), [(False, False), (True, True)])
@pytest.mark.parametrize("kind", _ACTS)
def test_each_act_of_an_owner_gives_the_same_diff_from_every_source(kind: str, tells: bool, partitioned: bool) -> None:
    with lake() as (engine, folder):
        uri = str(folder / "t")
        made(uri, tells, partitioned)
        for number, earlier in enumerate(("append", "update", "merge"), start=1):
            act(uri, earlier, [1, 2, 8], number)
        before = DeltaTable(uri).version()
        act(uri, kind, [2, 3, 9], 7)
        a, b, first = (snapshots.pin(engine, uri, version=v) for v in (before, DeltaTable(uri).version(), 0))
        check(engine, a, b, ["id"])
        check(engine, first, b, ["id"])
        if kind != "nothing":
            assert "change data" in sources_of(engine, first, b)


@pytest.mark.slow
@settings(_SETTINGS, max_examples=20)
@given(
    history=st.lists(
        st.tuples(st.sampled_from(_ACTS), st.lists(st.integers(0, 9), unique=True, min_size=1, max_size=5)),
        min_size=2,
        max_size=6,
    ),
    tells=st.booleans(),
    partitioned=st.booleans(),
    draws=st.data(),
)
def test_any_history_of_a_table_gives_the_diff_of_its_rows_from_every_source(
    history: list[tuple[str, list[int]]], tells: bool, partitioned: bool, draws: st.DataObject
) -> None:
    with lake() as (engine, folder):
        uri = str(folder / "t")
        made(uri, tells, partitioned)
        for number, (kind, ids) in enumerate(history, start=1):
            act(uri, kind, ids, number)
        newest = DeltaTable(uri).version()
        versions = [draws.draw(st.integers(0, newest)) for _ in range(2)]
        a, b = (snapshots.pin(engine, uri, version=v) for v in versions)
        check(engine, a, b, ["id"])


@pytest.mark.parametrize("where", ["score > 3", "part = 'p1'", "id <> 2 and part is null"])
def test_conditions_choose_the_rows_that_are_compared(where: str) -> None:
    with lake() as (engine, folder):
        uri = str(folder / "t")
        write_deltalake(uri, people(range(10), 0), configuration={"delta.enableChangeDataFeed": "true"})
        for made, kind in enumerate(("append", "update", "merge", "delete"), start=1):
            act(uri, kind, [2, 3, 4, 9], made)
        a, b = (snapshots.pin(engine, uri, version=v, where=where) for v in (0, DeltaTable(uri).version()))
        full = [pin.to_arrow() for pin in (a, b)]
        names = full[0].column_names
        expected = naive(rows(full[0], names), rows(full[1], names), names, ["id"])
        plainly = [snapshots.pin(engine, uri, version=pin.version) for pin in (a, b)]
        for found in (diff(engine, a, b, key="id"), diff(engine, *plainly, key="id", where=where)):
            with found:
                assert said(found) == expected
