"""What differs between runs: params, metrics, inputs, code and environment, side by side."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from lakelineage.engine import Reads
from lakelineage.errors import InvalidInput, RunNotFound
from lakelineage.tables import RUNS
from lakelineage.tracking.ids import full_id

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

#: Parts of a comparison, in the order in which they are told.
SECTIONS = ("params", "metrics", "inputs", "code", "environment")
_CODE = ("git_commit", "git_branch", "git_dirty", "source", "source_type", "source_hash")
_INPUT = ("table_uri", "version", "snapshot_id", "context", "columns", "where")
#: Pinning again may add rows of the same snapshot; the first use of a name is the run's input of that name.
_INPUTS_SQL = """
SELECT i.run_id, i.name, i.context, i.columns, i.predicate AS "where", i.snapshot_id, s.table_uri, s.version
FROM inputs i
LEFT JOIN (SELECT DISTINCT ON (snapshot_id) * FROM snapshots ORDER BY ingested_at, writer, seq) s
  ON s.snapshot_id = i.snapshot_id
WHERE list_contains(?, i.run_id)
ORDER BY i.ingested_at, i.writer, i.seq
"""


@dataclass(frozen=True)
class Row:
    """One thing that runs have or lack.

    Attributes:
        section: one of :data:`SECTIONS`.
        key: param, metric, ``<input>.<field>``, column of ``runs``, or ``packages.<distribution>``.
        values: one for each run, as typed in the lake; None where a run lacks it.
    """

    section: str
    key: str
    values: tuple[Any, ...]

    @property
    def differs(self) -> bool:
        """Whether not all runs have the same; NaN is the same as NaN."""
        return len(set(map(_text, self.values))) > 1


@dataclass(frozen=True, repr=False)
class Comparison:
    """Runs side by side.

    Attributes:
        run_ids: the runs, as asked for.
        names: their names.
        rows: what differs or, if all was asked for, everything.
    """

    run_ids: tuple[str, ...]
    names: tuple[str | None, ...]
    rows: tuple[Row, ...]

    @property
    def differs(self) -> bool:
        """Whether anything does."""
        return any(row.differs for row in self.rows)

    def section(self, name: str) -> Mapping[str, tuple[Any, ...]]:
        """Key → values, one for each run, of one of params, metrics, inputs, code, environment.

        Raises:
            InvalidInput: there is no such section.
        """
        if name not in SECTIONS:
            raise InvalidInput(f"section {name!r} is unknown; choose one of {', '.join(SECTIONS)}")
        return {row.key: row.values for row in self.rows if row.section == name}

    def to_arrow(self) -> "pa.Table":
        """A row for each thing: section, key, and a column of texts for each run, named by its id."""
        import pyarrow as pa

        columns: list[Iterable[str | None]] = [
            [row.section for row in self.rows],
            [row.key for row in self.rows],
            *([_text(row.values[i]) for row in self.rows] for i in range(len(self.run_ids))),
        ]
        names = ["section", "key", *self.run_ids]
        return pa.table([pa.array(column, pa.string()) for column in columns], names=names)

    def to_polars(self) -> "pl.DataFrame":
        """The same as a Polars frame."""
        import polars as pl

        frame = pl.from_arrow(self.to_arrow())
        assert isinstance(frame, pl.DataFrame)
        return frame

    def __repr__(self) -> str:
        return f"<Comparison of {len(self.run_ids)} runs, {len(self.rows)} rows>"

    def _repr_html_(self) -> str:
        from lakelineage.display import things

        return things.comparison(self)

    def __str__(self) -> str:
        """A table for people: sections, keys, a column for each run."""
        lines = [("", *(name or run_id for name, run_id in zip(self.names, self.run_ids, strict=True)))]
        lines.append(("", *(run_id[:16] for run_id in self.run_ids)))
        for section, rows in groupby(self.rows, lambda row: row.section):
            lines.append((section,))
            lines += [(f"  {row.key}", *(_text(value) or "-" for value in row.values)) for row in rows]
        if not self.rows:
            lines.append(("nothing differs",))
        full = [line for line in lines if len(line) > 1]
        widths = [max(len(line[i]) for line in full) for i in range(len(self.run_ids) + 1)]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=False)).rstrip() for line in lines)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else repr(value)


def compare(engine: Reads, run_ids: Sequence[str], *, everything: bool = False) -> Comparison:
    """See :meth:`lakelineage.Lake.compare`."""
    ids = [full_id(engine, run_id) for run_id in run_ids]
    if len(ids) < 2:
        raise InvalidInput("a comparison needs two runs or more")
    twice = next((run_id for run_id in ids if ids.count(run_id) > 1), None)
    if twice is not None:
        raise InvalidInput(f"run {twice} is named twice; name different runs")
    runs = _runs(engine, ids)
    inputs = _inputs(engine, ids)
    environments = _environments(engine, [run["environment_id"] for run in runs])
    told: dict[str, list[Mapping[str, Any]]] = {
        "params": [dict(run["params"]) for run in runs],
        "metrics": [dict(run["metrics"]) for run in runs],
        "inputs": [inputs.get(run_id, {}) for run_id in ids],
        "code": [{name: run[name] for name in _CODE if name in RUNS.names} for run in runs],
        "environment": [environments.get(run["environment_id"], {}) for run in runs],
    }
    rows = (row for section in SECTIONS for row in _rows(section, told[section]))
    names = tuple(run["name"] for run in runs)
    return Comparison(tuple(ids), names, tuple(row for row in rows if everything or row.differs))


def _rows(section: str, told: Sequence[Mapping[str, Any]]) -> Iterable[Row]:
    keys: Iterable[str] = dict.fromkeys(key for one in told for key in one)
    if section in ("params", "metrics"):
        keys = sorted(keys)
    return (Row(section, key, tuple(one.get(key) for one in told)) for key in keys)


def _runs(engine: Reads, ids: list[str]) -> list[dict[str, Any]]:
    marks = ", ".join("?" * len(ids))
    rows = engine.query(f"SELECT * FROM runs WHERE run_id IN ({marks})", ids).to_pylist()
    found = {row["run_id"]: row for row in rows}
    for run_id in ids:
        if run_id not in found:
            raise RunNotFound(
                f"no run has the id {run_id}; `lakelineage runs` lists those of the lake {engine.root.uri}"
            )
    return [found[run_id] for run_id in ids]


def _inputs(engine: Reads, ids: list[str]) -> dict[str, dict[str, Any]]:
    """Run → ``<input>.<field>`` → value."""
    seen: set[tuple[str, str]] = set()
    told: dict[str, dict[str, Any]] = {}
    for row in engine.query(_INPUTS_SQL, [ids]).to_pylist():
        if (row["run_id"], row["name"]) not in seen:
            seen.add((row["run_id"], row["name"]))
            fields = {f"{row['name']}.{field}": row[field] for field in _INPUT}
            told.setdefault(row["run_id"], {}).update(fields)
    return told


def _environments(engine: Reads, ids: Sequence[str | None]) -> dict[str, dict[str, Any]]:
    """Environment → python, platform, ``packages.<distribution>`` → value."""
    known = sorted({i for i in ids if i is not None})
    rows = engine.query("SELECT * FROM environments WHERE list_contains(?, environment_id)", [known]).to_pylist()
    return {
        row["environment_id"]: {
            "python": row["python"],
            "platform": row["platform"],
            **{f"packages.{name}": version for name, version in sorted(dict(row["packages"]).items())},
        }
        for row in rows
    }
