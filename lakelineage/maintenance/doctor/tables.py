"""The lake's own tables: that they open, are whole, and hold what was logged once."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from lakelineage.errors import StorageFailed
from lakelineage.maintenance.doctor.finding import Finding, Place, Severity, of_seconds, some
from lakelineage.store.health import Health, changed_properties, inspect
from lakelineage.tables import BY_NAME, FACTS, Table

#: Far more files, commits behind a checkpoint, and log entries than upkeep leaves: it acts at 50 files, and a log
#: holds an hour of commits.
_CROWDED = 200
_UNCHECKED = 1_000
_LONG_LOG = 10_000
#: Newest commits that are looked at; all that the log has with ``deep``.
_COMMITS, _ALL = 20, 100_000
#: What lakelineage itself does to a table.
_OURS = ("WRITE APPEND", "CREATE TABLE", "OPTIMIZE", "VACUUM", "ADD COLUMN")
#: Current tables are published: rows are merged by key, or all of them replaced.
_PUBLISHING = (*_OURS, "MERGE", "WRITE OVERWRITE")
_TYPES = {
    "string": '"string"',
    "int64": '"long"',
    "double": '"double"',
    "bool": '"boolean"',
    "timestamp": '"timestamp"',
}
#: Seconds that publishing may lag before it is worth a word.
_LAG = 3600.0


def tables(place: Place, deep: bool) -> Iterator[Finding]:
    """Every table that exists."""
    good = 0
    for table in BY_NAME.values():
        found = list(_table(place, table, deep))
        good += not found and place.store.snapshot(table).version >= 0
        yield from found
    if good:
        looked = "and every row was counted" if deep else "and every file is there"
        yield Finding("tables", Severity.OK, f"{good} tables are as they should be, {looked}")


def _table(place: Place, table: Table, deep: bool) -> Iterator[Finding]:
    name, folder = f"tables.{table.name}", f"tables/{table.name}"
    try:
        health = inspect(place.root, folder, _ALL if deep else _COMMITS)
    except StorageFailed as error:
        yield Finding(name, Severity.ERROR, f"cannot be opened: {error}", _restore(place, table))
        return
    if health is None:
        return
    lost = list(_files(place, table, health))
    yield from lost
    yield from _shape(name, table, health)
    yield from _strangers(name, table, health)
    yield from _size(name, health)
    if deep and table.is_fact and not table.unique and not lost:
        yield from _rows(place, table)


def _restore(place: Place, table: Table) -> str:
    path = place.root.child("tables", table.name)
    if table.is_fact:
        return f"restore {path} from a backup; rows still in the journals are committed again by themselves"
    return f"delete {path}: it is derived, and `lakelineage maintain` publishes it anew"


def _files(place: Place, table: Table, health: Health) -> Iterator[Finding]:
    there = dict(place.root.list(f"tables/{table.name}"))
    gone = [path for path in health.files if f"tables/{table.name}/{path}" not in there]
    other = [p for p, n in health.files.items() if there.get(f"tables/{table.name}/{p}", n) != n]
    if gone or other:
        what = [f"{len(gone)} files are gone ({some(gone)})"] if gone else []
        what += [f"{len(other)} have another size than the log says ({some(other)})"] if other else []
        advice = _restore(place, table)
        yield Finding(f"tables.{table.name}", Severity.ERROR, f"{'; '.join(what)}, of {len(health.files)}", advice)


def _shape(name: str, table: Table, health: Health) -> Iterator[Finding]:
    declared = {column.name: _TYPES.get(column.type) for column in table.all_columns}
    lacking = [column for column in declared if column not in health.schema]
    extra = [column for column in health.schema if column not in declared]
    other = [c for c, kind in declared.items() if kind is not None and health.schema.get(c, kind) != kind]
    if lacking:
        advice = "nothing: whoever opens the lake next to write adds them"
        yield Finding(name, Severity.NOTE, f"lacks the columns {some(lacking)} of the present format", advice)
    if extra:
        message = f"has columns that this lakelineage does not know: {some(extra)}"
        yield Finding(name, Severity.WARNING, message, "upgrade lakelineage, or ask who added them by hand")
    if other:
        message = f"has columns of another type than was declared: {some(other)}"
        yield Finding(name, Severity.ERROR, message, "restore the table from a backup of before the change")


def _strangers(name: str, table: Table, health: Health) -> Iterator[Finding]:
    """What others did to a table that only lakelineage writes."""
    allowed = _OURS if table.is_fact else _PUBLISHING
    foreign = [
        f"{operation} by {who} (version {version})"
        for version, operation, who in health.operations
        if not operation.startswith(allowed) or not who.startswith("delta-rs")
    ]
    changed = changed_properties(health.properties)
    if foreign:
        yield Finding(
            name,
            Severity.WARNING,
            f"somebody else wrote to it: {some(foreign)}",
            "write with lakelineage only; compare `lakelineage sql` with a backup if rows may have changed",
        )
    if changed:
        told = some([f"{key} = {value}" for key, value in sorted(changed.items())])
        advice = "set them back: upkeep counts on the ones that lakelineage made the table with"
        yield Finding(name, Severity.WARNING, f"somebody changed its properties: {told}", advice)
    if health.features or health.deleted_rows:
        yield Finding(
            name,
            Severity.ERROR,
            f"has features that lakelineage does not read ({some(health.features) or 'deletion vectors'}): its answers "
            "may have rows that were deleted",
            "restore the table from a backup, or rewrite it without them (in Spark: REORG TABLE … APPLY (PURGE))",
        )


def _size(name: str, health: Health) -> Iterator[Finding]:
    behind = health.version - (-1 if health.checkpoint is None else health.checkpoint)
    if len(health.files) >= _CROWDED or health.log_entries >= _LONG_LOG or behind >= _UNCHECKED:
        yield Finding(
            name,
            Severity.WARNING,
            f"{len(health.files):,} files, {health.log_entries:,} log entries, {behind:,} commits since the last "
            "checkpoint: reading and committing get slow",
            "`lakelineage maintain`; if that does not help, see what it says",
        )


def _rows(place: Place, table: Table) -> Iterator[Finding]:
    """That each row is there once, and that the table's own book of what it holds is right."""
    import polars as pl

    files = place.store.snapshot(table).files
    if not files:
        return
    scan = pl.scan_parquet(
        [place.cache.local_path(file) for file in files], missing_columns="insert", extra_columns="ignore"
    )
    counted = scan.group_by("writer").agg(
        pl.len().alias("rows"), pl.col("seq").n_unique().alias("distinct"), pl.col("seq").max().alias("greatest")
    )
    writers = {row["writer"]: row for row in counted.collect(engine="streaming").to_dicts()}
    doubled = sum(row["rows"] - row["distinct"] for row in writers.values())
    if doubled:
        yield Finding(
            f"tables.{table.name}",
            Severity.ERROR,
            f"{doubled:,} rows are there twice (the same writer and seq)",
            "check that no host has deltalake 1.6.4 to 1.6.6, then restore the table from a backup of before",
        )
    covered = place.store.snapshot(table, writers).covered  # taken later: it may only be greater
    wrong = [w for w, row in writers.items() if covered.get(w, 0) < row["greatest"]]
    if wrong:
        yield Finding(
            f"tables.{table.name}",
            Severity.ERROR,
            f"holds rows of {some(wrong)} beyond what its transactions say; they may be committed again",
            "somebody else appended to it: restore the table from a backup of before",
        )


def publishing(place: Place, deep: bool) -> Iterator[Finding]:  # noqa: ARG001 - checks are alike
    """How far what other engines read is behind; lakelineage itself always answers from the newest rows."""
    changed = place.reader.unpublished_runs()
    rows, more = changed.rows, "" if changed.more_after is None else "more than "
    behind = _ahead(place)
    if behind:
        yield Finding(
            "publishing",
            Severity.ERROR,
            f"`runs` was published from rows that are no longer in {some(behind)}: a table was deleted or set back",
            "restore these tables from the newest backup",
        )
    if not rows.num_rows:
        yield Finding("publishing", Severity.OK, "what other engines read is up to date")
        return
    oldest: datetime = min(t for t in rows.column("updated_at").to_pylist())
    lag = max(0.0, time.time() - oldest.astimezone(UTC).timestamp())
    message = f"{more}{rows.num_rows:,} runs changed since `runs` was published, the first {of_seconds(lag)} ago"
    if lag < _LAG:
        yield Finding("publishing", Severity.OK, message)
    else:
        advice = "`lakelineage maintain`, before other engines read"
        yield Finding("publishing", Severity.NOTE, message, advice)


def _ahead(place: Place) -> list[str]:
    """Facts that held more of some writer when ``runs`` was published than they hold now."""
    from lakelineage.query.duckdb.pending import watermark_id
    from lakelineage.query.duckdb.views import SOURCES
    from lakelineage.tables import RUNS

    writers = {w for table in FACTS for f in place.store.snapshot(table).files for w in f.writers or ()}
    found = []
    for source in SOURCES[RUNS.name]:
        ids = {watermark_id(source, writer): writer for writer in writers}
        marks = place.store.snapshot(RUNS, ids).covered
        held = place.store.snapshot(BY_NAME[source], writers).covered  # later than the marks
        if any(held.get(ids[key], 0) < mark for key, mark in marks.items()):
            found.append(source)
    return found
