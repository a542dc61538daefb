"""What there is to score since an output was scored last."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from lakelineage.errors import InvalidInput, SnapshotLost
from lakelineage.inference import marks
from lakelineage.inference.marks import Mark
from lakelineage.inference.source import Source, of_snapshot
from lakelineage.snapshots import Snapshot, places, records
from lakelineage.snapshots.diff.compute import diff
from lakelineage.snapshots.diff.result import Diff
from lakelineage.snapshots.places import PinnedFile
from lakelineage.store.output import Target
from lakelineage.store.source_changes import changes_between

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine

#: What was scored: all rows; those that came or changed; none, since none did.
Kind = Literal["full", "incremental", "nothing"]
#: What to do when another model scored the output last.
OnNewModel = Literal["rescore", "continue"]


@dataclass(frozen=True)
class Increment:
    """What there is to score.

    Attributes:
        kind: all rows, those that differ, or none.
        reason: why, in words.
        source: rows to score.
        removed: number of rows whose predictions are to be deleted.
        removed_keys: their keys.
        fresh: keys of rows that the input did not have before; None: those of all.
        merged: whether rows take the place of those with the same key; if not, they are all new.
        close: lets go of what the rows are kept in.
    """

    kind: Kind
    reason: str
    source: Source
    removed: int = 0
    removed_keys: "Callable[[], Iterator[pa.RecordBatch]]" = lambda: iter(())
    fresh: "Callable[[], Iterator[pa.RecordBatch]] | None" = None
    merged: bool = False
    close: Callable[[], None] = lambda: None


def plan(
    engine: "Engine", now: Snapshot, target: Target, wanted: Mark, key: Sequence[str], on_new_model: OnNewModel
) -> Increment:
    """Find out what is new in an input.

    Args:
        engine: the lake.
        now: the input.
        target: the output.
        wanted: the mark that the output is to have.
        key: columns that identify a row; empty: none do.
        on_new_model: what to do when another model scored the output last.

    Raises:
        InvalidInput: the output has rows of something else, or is further already; or the key is of several rows.
    """
    if target.existing is None or target.existing.is_empty:
        return _full(now, "the output was empty")
    mark = _mark(engine, now, target, wanted)
    if mark.table != wanted.table:
        return _full(now, "the input was dropped and made again since")
    if mark.model != wanted.model and on_new_model == "rescore":
        return _full(now, "another model scored the output before")
    if mark.shape != wanted.shape:
        return _full(now, "the input's schema, or what is chosen of it, changed since")
    if mark.version == wanted.version:
        return Increment("nothing", f"version {now.version} of the input was scored already", of_snapshot(now))
    if mark.version > wanted.version:
        raise InvalidInput(
            f"{target.uri} has the input's version {mark.version} already, which is newer than version "
            f"{wanted.version}; leave version= out, or score the old one into another output"
        )
    before = records.newest_of(engine, now.table_uri, mark.version, now.table_id)
    if before is None:
        return _full(now, f"this lake does not know version {mark.version} of the input, which was scored last")
    return _between(engine, replace(before, columns=now.columns, where=now.where, _options=now._options), now, key)


def _mark(engine: "Engine", now: Snapshot, target: Target, wanted: Mark) -> Mark:
    mark = marks.read(target, now.table_id)
    if mark is None:
        raise InvalidInput(
            f"{target.uri} has rows that were not scored incrementally, or were appended to since; choose another "
            "output, or score all anew by mode='overwrite' first"
        )
    if mark.table != wanted.table and mark.table not in map(marks.number, _earlier_tables(engine, now.table_uri)):
        raise InvalidInput(
            f"{target.uri} has the rows of another input than {now.table_uri}; an incremental output has those of one. "
            "Choose another output, or score all anew by mode='overwrite' first"
        )
    return mark


def _earlier_tables(engine: "Engine", uri: str) -> list[str]:
    found = engine.query("select distinct table_id from snapshots where table_uri = ?", (uri,))
    return [row["table_id"] for row in found.to_pylist()]


def _full(now: Snapshot, reason: str) -> Increment:
    return Increment("full", reason, of_snapshot(now))


def _between(engine: "Engine", before: Snapshot, now: Snapshot, key: Sequence[str]) -> Increment:
    try:
        appended = _appended(before, now)
        if appended is not None:
            return _of_appended(now, appended)
        found = diff(engine, before, now, key=list(key) or None)
    except SnapshotLost as error:
        return _full(now, f"files of version {before.version} or of what changed since are gone ({error.code})")
    return _of_diff(found, now, key)


def _appended(before: Snapshot, now: Snapshot) -> list[PinnedFile] | None:
    """Files all of whose rows are new, if nothing else happened between two versions; None if that is not known."""
    old = {_identity(pin) for pin in before.files}
    new = [pin for pin in now.files if _identity(pin) not in old]
    if len(old) + len(new) == len(now.files):
        return new
    if before.column_mapping or now.column_mapping:
        return None
    told = changes_between(
        now.table_uri, now._options, now.table_id, before.version, now.version, now.schema_json, float("inf")
    )
    if told is None or told.removed or told.change_data:
        return None
    files = [PinnedFile(file) for file in told.added]  # a compaction may have put their rows into other files
    there = places.look(now.lake.root, now.pinned(files))
    return None if None in there else files


def _identity(pin: PinnedFile) -> tuple[object, ...]:
    return pin.file.path, pin.file.size, pin.file.partition_values, pin.file.deletion_vector


def _of_appended(now: Snapshot, files: Sequence[PinnedFile]) -> Increment:
    rows = [pin.file.num_rows for pin in files]
    known = sum(count or 0 for count in rows) if None not in rows and now.where is None else None
    part = replace(now, id=f"{now.id}/new", num_rows=known, _files=tuple(files))
    if not files:
        return Increment("nothing", "no rows came, went or changed", of_snapshot(part))
    return Increment("incremental", f"{len(files)} files were appended", of_snapshot(part))


def _of_diff(found: Diff, now: Snapshot, key: Sequence[str]) -> Increment:
    counts = found.counts
    altered = counts.removed or counts.changed
    if altered and not key:
        found.close()
        return _full(now, "rows were updated or deleted, and no key= tells which")
    source = replace(of_snapshot(now), total=counts.added + counts.changed, batches=partial(_came, found, now))
    if not altered and not counts.added:
        found.close()
        return Increment("nothing", "no rows came, went or changed", source)
    told = (
        f"{counts.added:,} rows came, {counts.changed:,} changed and {counts.removed:,} went (by {found.read.source})"
    )
    return Increment(
        "incremental",
        told,
        source,
        counts.removed,
        lambda: (batch.select(list(key)) for batch in found.removed()),
        lambda: (batch.select(list(key)) for batch in found.added()),
        bool(altered),
        found.close,
    )


def _came(found: Diff, now: Snapshot, size: int, columns: Sequence[str] | None = None) -> "Iterator[pa.RecordBatch]":
    """Rows as they are now that were not so before, in batches of at most so many."""
    import pyarrow as pa

    key = set(found.key)
    chosen = now.schema.names if columns is None else columns
    names = {name: name if name in key else f"{name}_after" for name in chosen}
    schema = pa.schema([now.schema.field(name) for name in chosen])
    streams = [(found.added(), {name: name for name in names})]
    streams += [(found.changed(), names)] if found.counts.changed else []
    for stream, named in streams:
        for batch in stream:
            arrays = [batch.column(there).cast(schema.field(name).type) for name, there in named.items()]
            whole = pa.RecordBatch.from_arrays(arrays, schema=schema)
            yield from (whole.slice(start, size) for start in range(0, whole.num_rows, size))
