"""The diff of two snapshots: choose what to read, cancel what is the same, pair the rest by key."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lakelineage.errors import InvalidInput
from lakelineage.snapshots import folders, records
from lakelineage.snapshots.diff.columns import Column, Matching, match
from lakelineage.snapshots.diff.result import Counts, Diff, Read
from lakelineage.snapshots.diff.sources import Name, Reading, Source, sources, there
from lakelineage.snapshots.snapshot import Snapshot

if TYPE_CHECKING:
    from lakelineage.engine import Reads
    from lakelineage.query.duckdb.diff import Part
    from lakelineage.query.duckdb.workspace import Workspace


def diff(
    engine: "Reads",
    a: Snapshot | str,
    b: Snapshot | str,
    *,
    key: str | Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    where: str | None = None,
    memory_limit: str | None = None,
    only: Name | None = None,
) -> Diff:
    """See :meth:`lakelineage.Lake.diff`.

    Args:
        engine: the lake, where ids are looked up.
        a: before.
        b: after.
        key: columns that identify a row; of folders, the path does.
        columns: instead of those of the pins.
        where: instead of those of the pins.
        memory_limit: of the work.
        only: the one source to read from, for tests.
    """
    before, after = _snapshot(engine, a), _snapshot(engine, b)
    if key is None and before.kind == after.kind == folders.KIND:
        key = folders.KEY
    keys = (key,) if isinstance(key, str) else tuple(key or ())
    if key is not None and not keys:
        raise InvalidInput("key=[] names no column; name those that identify a row, or leave key out")
    matching = match(before, after, columns, keys)
    positions = _key_positions(matching, keys)
    chosen = [pin.where if where is None else where for pin in (before, after)]
    before, after = (replace(pin, where=text) for pin, text in zip((before, after), chosen, strict=True))
    for pin in (before, after):
        records.refuse_erased(engine, pin)
        pin._condition(None)  # a condition that cannot be understood is refused, whatever must be read
    if before.id == after.id and chosen[0] == chosen[1]:
        options = iter([Source("nothing", (), 0, before.bytes, whole=False)])
    else:
        options = sources(before, after, matching, alike=chosen[0] == chosen[1] and only != "all files")
    for source in _usable(options, only):
        found = _computed(before, after, matching, positions, source, memory_limit)
        # Change data is the one source that is told rather than seen: what it tells must add up.
        if found.counts.add_up or source.name != "change data" or only is not None:
            return found
        found.close()
    raise InvalidInput(f"there is no source {only!r} for this diff")


def _snapshot(engine: "Reads", named: Snapshot | str) -> Snapshot:
    if isinstance(named, Snapshot):
        return named
    if not isinstance(named, str):
        raise InvalidInput(
            f"a diff is between snapshots, or ids of them, not {type(named).__name__}; pin it with lake.snapshot(…) "
            "first, or take an input of a run with lake.run(…).inputs[…]"
        )
    return records.loaded(engine, named)


def _key_positions(matching: Matching, keys: Sequence[str]) -> tuple[int, ...]:
    """Where the key is among the columns, which both sides must have in types of one kind."""
    found = []
    for name in keys:
        options = [i for i, c in enumerate(matching.columns) if c.name == name]
        options += [i for i, c in enumerate(matching.columns) if c.a == name]
        column = matching.columns[options[0]]
        if column.a is None or column.b is None:
            side = "a" if column.a is None else "b"
            raise InvalidInput(f"the key {name!r} is no column of {side}; a key must be in both")
        if column.as_text:
            raise InvalidInput(
                f"the key {name!r} has types of different kinds, which cannot be compared exactly "
                f"({'; '.join(str(c) for c in matching.changes if c.column == column.name)}); convert one of them first"
            )
        found.append(options[0])
    return tuple(dict.fromkeys(found))


def _usable(options: Iterator[Source], only: Name | None) -> Iterator[Source]:
    """Sources all of whose files are there; if none is, that of which reading tells what is lost."""
    lists: Source | None = None
    for source in options:
        if only is not None:
            if source.name == only:
                yield source
            continue
        if source.name != "change data":
            lists = source
        if there(source):
            yield source
    if only is None and lists is not None:
        yield lists


def _computed(
    a: Snapshot, b: Snapshot, matching: Matching, keys: tuple[int, ...], source: Source, memory_limit: str | None
) -> Diff:
    from lakelineage.query.duckdb import diff as sql
    from lakelineage.query.duckdb.workspace import MEMORY_LIMIT, Workspace

    work = Workspace(MEMORY_LIMIT if memory_limit is None else memory_limit)
    try:
        types = work.type_names(matching.schema)
        parts = [_part(work, i, reading, matching.columns) for i, reading in enumerate(source.readings)]
        sql.cancel(work, parts, types)
        if keys:
            _check_keys(work, matching, keys)
        sql.pair(work, keys, len(types))
        kinds, differing = sql.tally(work, [i for i in range(len(types)) if i not in keys])
        rows_a, rows_b = _rows(work, a, b, parts, source.whole)
        work.let_go()
    except BaseException:
        work.close()
        raise
    names = {matching.columns[i].name: number for i, number in differing.items()}
    added, removed, changed = (kinds.get(kind, 0) for kind in (sql.Kind.ADDED, sql.Kind.REMOVED, sql.Kind.CHANGED))
    counts = Counts(added, removed, changed, rows_a, rows_b)
    return Diff(a, b, matching, keys, counts, names, Read.of(source), work)


def _part(work: "Workspace", number: int, reading: Reading, columns: Sequence[Column]) -> "Part":
    """Files as a relation of the workspace, with the columns that are compared."""
    from lakelineage.query.duckdb import diff as sql

    named = [column.a if reading.of_a else column.b for column in columns]
    chosen = [name for name in named if name is not None] + (["_change_type"] if reading.change_data else [])
    relation = f"part_{number}"
    reading.files.to_duckdb(work.connection, relation, chosen)
    found = tuple(
        sql.Column(name, column.checked and _is_long(reading.files, name))
        for name, column in zip(named, columns, strict=True)
    )
    return sql.Part(relation, found, reading.sign, reading.change_data)


def _check_keys(work: "Workspace", matching: Matching, keys: tuple[int, ...]) -> None:
    from lakelineage.query.duckdb import diff as sql

    found = sql.repeated_key(work, keys)
    if found is not None:
        sign, times, values = found
        told = ", ".join(f"{matching.columns[i].name} = {value}" for i, value in zip(keys, values, strict=True))
        raise InvalidInput(
            f"the key does not identify a row: {'a' if sign < 0 else 'b'} has {times:,} rows that differ with {told}; "
            "give more columns as the key, or none for a diff without before and after"
        )


def _rows(
    work: "Workspace", a: Snapshot, b: Snapshot, parts: "Sequence[Part]", whole: bool
) -> tuple[int | None, int | None]:
    """How many rows A and B have of those chosen; None where neither the log tells nor all were read."""
    from lakelineage.query.duckdb import diff as sql

    told = [None if pin.where is not None else pin.num_rows for pin in (a, b)]
    if whole and None in told:
        return sql.count(work, parts)
    return told[0], told[1]


def _is_long(snapshot: Snapshot, name: str | None) -> bool:
    import pyarrow as pa

    return name is not None and pa.types.is_int64(snapshot.table_schema.field(name).type)
