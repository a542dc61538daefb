"""Everything behind a version of a model, for an auditor."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput
from lakelineage.registry import activity, requests
from lakelineage.registry.activity import Chain
from lakelineage.registry.checks import Checks
from lakelineage.registry.models import Models
from lakelineage.registry.requests import Request
from lakelineage.registry.values import ModelVersion

if TYPE_CHECKING:
    from lakelineage.engine import Engine

Row = Mapping[str, Any]
_RUN = ("run_id", "name", "experiment_id", "status", "start_time", "end_time", "user_id", "host", "params", "metrics")
_CODE = ("source", "source_type", "source_hash", "git_commit", "git_branch", "git_dirty")
_DATA = """
SELECT i.name, i.context, s.table_uri, s.table_id, s.version, s.snapshot_id, s.committed_at, s.num_rows, i.columns,
    i.predicate
FROM inputs i LEFT JOIN snapshots s ON s.snapshot_id = i.snapshot_id
WHERE i.run_id = ? ORDER BY i.context, i.name, s.version
"""
_ENVIRONMENT = "SELECT python, platform, packages FROM environments WHERE environment_id = ? LIMIT 1"
_ACTS = ("acted_at", "actor", "action", "from_state", "to_state", "comment")
_RESULT = ("kind", "detail", "snapshot_id", "compared_with", "checked_at", "user_id", "definition")
_REQUESTS = ("id", "target", "status", "requested_by", "requested_at", "comment", "approved_by", "updated_by", "answer")


@dataclass(frozen=True, slots=True)
class Audit:
    """What is on record behind a version of a registered model.

    Attributes:
        version: the version.
        run: the run that made it: who, when, params and metrics; None if that is not known, or is not in the lake.
        code: what it ran: file, revision, and ``diff``, the patch of what was not committed; None without a run.
        environment: Python, platform and packages; None if they were not captured.
        data: each use of a table by the run: name, context, table, version, snapshot, rows.
        checks: each check: how the version stands to it (as ``lake.models.standing``), and its last result.
        requests: all that were made about it, with who approved.
        acts: what was done to it, and to aliases that came to it or left it, oldest first.
        predictions: tables that it wrote: node and label.
        record: the record of acts, checked.
    """

    version: ModelVersion
    run: Row | None
    code: Row | None
    environment: Row | None
    data: tuple[Row, ...]
    checks: tuple[Row, ...]
    requests: tuple[Request, ...]
    acts: tuple[Row, ...]
    predictions: tuple[Row, ...]
    record: Chain

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values; times are datetimes in UTC."""
        told = {name: getattr(self, name) for name in self.__slots__}
        own = {"version": asdict(self.version) | {"uri": self.version.uri}}
        late = {
            "requests": [_asked(each) for each in self.requests],
            "record": asdict(self.record) | {"ok": self.record.ok},
        }
        return {name: list(value) if isinstance(value, tuple) else value for name, value in (told | own | late).items()}

    @property
    def verdict(self) -> str:
        """One sentence on the record of acts."""
        record = self.record
        if record.ok:
            return f"intact: {record.acts:,} acts, none altered and none missing; newest hash {record.head}"
        return f"BROKEN: {len(record.broken)} acts altered or moved, {len(record.missing)} missing, of {record.acts:,}"

    def sections(self) -> Iterator[tuple[str, list[Row]]]:
        """Headings, each with its rows."""
        version = asdict(self.version)
        yield "Version", [{key: version[key] for key in version if version[key] not in (None, {}, ())}]
        yield "Run", [self.run] if self.run else []
        yield "Code", [{key: value for key, value in (self.code or {}).items() if key != "diff"}] if self.code else []
        yield "Environment", [self.environment] if self.environment else []
        yield "Data", [*self.data]
        yield "Checks", [*self.checks]
        yield "Requests and approvals", [{key: _asked(each)[key] for key in _REQUESTS} for each in self.requests]
        yield "Predictions", [*self.predictions]
        yield "Activity", [{key: act[key] for key in _ACTS} for act in self.acts]

    def __str__(self) -> str:
        lines = [f"audit of {self.version.uri}", f"record of acts: {self.verdict}"]
        for heading, rows in self.sections():
            lines += ["", heading]
            for row in rows or [{"": "nothing on record"}]:
                lines += [f"  {'; '.join(f'{key} {_cell(value)}'.strip() for key, value in row.items())}"]
        return "\n".join([*lines, *(["", "Changes that were not committed", self._diff] if self._diff else [])])

    def to_markdown(self) -> str:
        """A page of Markdown: a table under each heading."""
        lines = [f"# Audit of `{self.version.uri}`", "", f"Record of acts: {self.verdict}", ""]
        for heading, rows in self.sections():
            lines += [f"## {heading}", "", *(_table(rows) if rows else ["Nothing on record."]), ""]
        if self._diff:
            fence = "`" * max(3, *(1 + len(ticks) for ticks in re.findall("`+", self._diff)), 0)
            lines += ["## Changes that were not committed", "", f"{fence}diff", self._diff.rstrip("\n"), fence, ""]
        return "\n".join(lines)

    @property
    def _diff(self) -> str | None:
        return self.code.get("diff") if self.code else None


def _asked(request: Request) -> dict[str, Any]:
    return asdict(request) | {"target": request.target}


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        value = [f"{key}={each}" for key, each in value.items()]
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else " ".join(str(value).split())


def _table(rows: list[Row]) -> list[str]:
    """A Markdown table; one row stands upright."""
    if len(rows) == 1:
        return _lines(["", ""], [[key, value] for key, value in rows[0].items()])
    return _lines([*rows[0]], [[*row.values()] for row in rows])


def _lines(head: list[str], cells: list[list[Any]]) -> list[str]:
    def line(values: list[Any]) -> str:
        return "| " + " | ".join(_cell(value).replace("\\", "\\\\").replace("|", "\\|") for value in values) + " |"

    return [line(head), "|" + "---|" * len(head), *map(line, cells)]


def audit(engine: "Engine", model: str) -> Audit:
    """Gather what is on record behind a version.

    Args:
        engine: the open lake.
        model: ``model:<name>@<version or alias>``, or ``models:/…``.

    Raises:
        InvalidInput: it names no version.
        ModelNotFound: there is no such version.
    """
    from lakelineage.lineage import Lineage
    from lakelineage.tracking import source_view

    version = _version(Models(engine), model)
    own = version.registered_model_id
    row = None if version.run_id is None else engine.find_run(version.run_id)
    code = None if row is None else {key: row[key] for key in _CODE} | {"diff": source_view.diff(engine, row["run_id"])}
    found = engine.query(_ENVIRONMENT, [row["environment_id"]]).to_pylist() if row and row["environment_id"] else []
    written = Lineage(engine, version.node).downstream().to_pylist()
    return Audit(
        version=version,
        run=None if row is None else {key: _plain(row[key]) for key in _RUN},
        code=code,
        environment={key: _plain(value) for key, value in found[0].items()} if found else None,
        data=tuple(engine.query(_DATA, [version.run_id]).to_pylist()) if row else (),
        checks=tuple(_checks(Checks(engine, own), version)),
        requests=tuple(each for each in requests.listed(engine, own, None) if each.version == version.version),
        acts=tuple(activity.acts_on(engine, own, version.version).to_pylist()),
        predictions=tuple(
            {key: each[key] for key in ("node", "label")} for each in written if each["kind"] == "dataset"
        ),
        record=activity.check(engine),
    )


def _checks(known: Checks, version: ModelVersion) -> Iterator[Row]:
    newest = known.newest(version.version)
    for check, stands in known.standing(version.version, version.tags).items():
        last = newest.get(check)
        yield {"check": check, "standing": stands} | {key: last and getattr(last, key) for key in _RESULT}


def _plain(value: Any) -> Any:
    """A map of Arrow (pairs) as a dictionary."""
    return dict(value) if isinstance(value, list) else value


def _version(models: Models, text: str) -> ModelVersion:
    if text.startswith("models:"):
        return models.resolve(text)
    name, at, which = text.removeprefix("model:").rpartition("@")
    if not at or not name or not which:
        raise InvalidInput(
            f"{text!r} names no version of a model; write model:NAME@3, model:NAME@champion or models:/NAME/3"
        )
    return models.get(name, int(which) if which.isdecimal() else which)
