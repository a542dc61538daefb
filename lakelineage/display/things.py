"""Cards of the things that users hold."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lakelineage.display.pages import SHOWN_ROWS, Part, card

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Reads
    from lakelineage.snapshots import Snapshot
    from lakelineage.snapshots.diff import Diff
    from lakelineage.tracking.compare import Comparison
    from lakelineage.tracking.recorded import RecordedRun

_FACTS = ("start_time", "end_time", "user_id", "host", "source", "git_commit", "git_branch", "git_dirty")


def run(found: "RecordedRun", engine: "Reads") -> str:
    """A run: facts, params, metrics, tags, inputs and artifacts."""
    told = found.attributes
    names = engine.query("SELECT name FROM experiments WHERE experiment_id = ?", [told["experiment_id"]])
    inputs = engine.query(
        "SELECT DISTINCT i.name, s.table_uri, s.version, i.context, s.num_rows FROM inputs i "
        "JOIN snapshots s USING (snapshot_id) WHERE i.run_id = ? ORDER BY ALL",
        [found.id],
    )
    lasted = (found.end_time or datetime.now(UTC)) - found.start_time
    facts = [("id", found.id), ("experiment", next(iter(names.column("name").to_pylist()), None))]
    facts += [(name.removesuffix("_id").replace("_", " "), told.get(name)) for name in _FACTS]
    parts = [
        Part.of("params", (), sorted(found.params.items())),
        Part.of("metrics", (), sorted(found.metrics.items())),
        Part.of("tags", (), sorted(found.tags.items())),
        _part("inputs", inputs),
        _part("artifacts", found.artifacts),
    ]
    seconds = ("seconds", round(lasted.total_seconds(), 3))
    return card("run", found.name or found.id, status=found.status, facts=[*facts, seconds], parts=parts)


def lake(engine: "Reads") -> str:
    """A lake: how much is in it, and its newest runs."""
    counts = engine.query(
        "SELECT (SELECT count(*) FROM runs WHERE lifecycle_stage = 'active') AS runs, "
        "(SELECT count(*) FROM experiments WHERE lifecycle_stage = 'active') AS experiments, "
        "(SELECT count(DISTINCT name) FROM model_versions WHERE lifecycle_stage = 'active') AS models, "
        "(SELECT count(DISTINCT snapshot_id) FROM snapshots) AS snapshots"
    ).to_pylist()[0]
    newest = engine.query(
        "SELECT r.name, e.name AS experiment, r.status, r.start_time AS started, r.metrics, r.params, r.run_id "
        "FROM runs r LEFT JOIN experiments e USING (experiment_id) "
        "WHERE r.lifecycle_stage = 'active' ORDER BY r.start_time DESC LIMIT 10"
    )
    facts: list[tuple[str, Any]] = [("id", engine.settings.lake_id), *counts.items()]
    return card("lake", engine.root.uri, facts=facts, parts=[_part("newest runs", newest, counts["runs"])])


def snapshot(pin: "Snapshot") -> str:
    """A pinned version of a table, with its columns."""
    when = None if pin.committed_at is None else datetime.fromtimestamp(pin.committed_at / 1e6, UTC)
    facts: list[tuple[str, Any]] = [
        ("table", pin.table_uri),
        ("version", pin.version),
        ("committed", when),
        ("rows", pin.num_rows),
        ("files", pin.num_files),
        ("bytes", pin.bytes),
        ("protection", pin.protection),
        ("context", pin.context),
        ("where", pin.where),
        ("made from", pin.origin),
        ("id", pin.id),
    ]
    columns = [(field.name, str(field.type)) for field in pin.schema]
    return card(
        "snapshot", pin.name or pin.table_uri, facts=facts, parts=[Part.of("columns", ("name", "type"), columns)]
    )


def comparison(found: "Comparison") -> str:
    """What differs between runs, section by section."""
    names = ["", *(name or run_id[:16] for name, run_id in zip(found.names, found.run_ids, strict=True))]
    sections = {row.section: found.section(row.section) for row in found.rows}
    parts = [Part.of(name, names, [(key, *values) for key, values in told.items()]) for name, told in sections.items()]
    runs = [(f"run {number}", run_id) for number, run_id in enumerate(found.run_ids, start=1)]
    return card("comparison of", f"{len(found.run_ids)} runs", facts=runs, parts=parts)


def diff(found: "Diff") -> str:
    """What differs between two snapshots: counts, columns, schema, and the first changes."""
    counts = {name: number for name, number in found.counts.to_dict().items() if number is not None}
    facts = [("a", repr(found.a)), ("b", repr(found.b)), ("key", ", ".join(found.key) or None), *counts.items()]
    facts += [("read", f"{found.read.source}, {found.read.bytes:,} bytes"), ("bytes not read", found.read.skipped)]
    schema = [(c.what, c.column, c.before, c.after) for c in found.schema_changes]
    total = found.counts.added + found.counts.removed + found.counts.changed
    first = found.rows(SHOWN_ROWS).read_all()
    parts = [
        Part.of("schema", ("change", "column", "before", "after"), schema),
        Part.of("rows changed by column", (), found.changed_columns.items()),
        _part("rows that differ", first, total),
    ]
    return card("diff", found.headline, facts=facts, parts=parts)


def experiments(rows: "pa.Table", engine: "Reads") -> str:
    """The experiments of a lake."""
    return card("experiments of", engine.root.uri, parts=[_part("experiments", rows)])


def _part(title: str, rows: "pa.Table", total: int | None = None) -> Part:
    shown = zip(*(column.to_pylist() for column in rows.slice(0, SHOWN_ROWS).columns), strict=True)
    return Part.of(title, rows.schema.names, shown, rows.num_rows if total is None else total)
