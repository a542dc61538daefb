"""Setting checks of a model, and running them on a version."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakelineage.errors import (
    ApprovalNeeded,
    ChecksNotPassed,
    InvalidInput,
    LakeError,
    MissingExtra,
    NotFound,
    NotTrusted,
)
from lakelineage.inference.trust import Trust, allowed
from lakelineage.model import validate as values
from lakelineage.model.clock import wall_clock
from lakelineage.registry import checks, direct, write
from lakelineage.registry.checks import ERROR, FAILED, PASSED, CheckResult, Checks, Verdict
from lakelineage.registry.models import with_tags
from lakelineage.registry.states import State, VersionStates
from lakelineage.registry.values import ARCHIVED, ModelVersion
from lakelineage.tables import MODEL_CHECK_RESULTS, MODEL_CHECKS_HISTORY, MODEL_VERSIONS_HISTORY
from lakelineage.tracking.capture import current_user
from lakelineage.validation.kinds import Check, Finding, Unknowable, parsed
from lakelineage.validation.subject import Subject

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine

#: What keeps a check from finding out, and is no fault of the model's.
_NOT_THE_MODELS = (Unknowable, LakeError, NotFound, MissingExtra)
_LONGEST = 2_000


@dataclass(frozen=True, slots=True)
class Validation:
    """What the checks of a version found.

    Attributes:
        name: registered model.
        version: number.
        results: of each check that was run, by name.
        archived: whether the version was archived since a check failed that says so.
        remark: why it was not archived, although such a check failed.
    """

    name: str
    version: int
    results: tuple[CheckResult, ...]
    archived: bool = False
    remark: str | None = None

    @property
    def ok(self) -> bool:
        """Whether all of them passed."""
        return all(each.result == PASSED for each in self.results)


def set_checks(
    engine: "Engine", name: str, wanted: Mapping[str, Check | Mapping[str, Any] | None], comment: str | None
) -> Mapping[str, Check]:
    """Define checks of a model, or (None) take them off; the others stay. Their data is pinned.

    Returns:
        All checks that the model has now.

    Raises:
        ModelNotFound: no model has this name.
        TableNotFound, VersionNotFound: there are no such data.
        InvalidInput: a check that cannot be, or one to be taken off that there is not.
    """
    own = write.model_id(engine, name)
    asked = {
        values.key(check, "check"): each if each is None or isinstance(each, Check) else parsed(each)
        for check, each in values.mapping(wanted, "checks").items()
    }
    known = checks.defined(engine.rows(MODEL_CHECKS_HISTORY), own)
    strangers = [check for check, each in asked.items() if each is None and check not in known]
    if strangers:
        raise InvalidInput(f"model {name!r} has no check {strangers[0]!r}; it has {', '.join(known) or 'none'}")
    told = {check: None if each is None else each.pinned(engine).to_json() for check, each in asked.items()}
    count = [0]

    def decide(rows: "pa.Table") -> list[tuple[Any, ...]]:
        now = checks.defined(rows, own)
        who = {"registered_model_id": own, "name": name, "user_id": current_user(), "comment": comment}
        made = [
            MODEL_CHECKS_HISTORY.row(**who, check_name=check, definition=definition)
            for check, definition in told.items()
            if now.get(check) != definition
        ]
        count[:] = [len(made)]
        return made

    stamp = engine.exclusive(MODEL_CHECKS_HISTORY, decide)
    write.record(engine, [(stamp, count[0])], comment)
    return defined(engine, name)


def defined(engine: "Engine", name: str) -> Mapping[str, Check]:
    """The checks of a model, by name.

    Raises:
        ModelNotFound: no model has this name.
    """
    own = write.model_id(engine, name)
    return {check: parsed(json.loads(text)) for check, text in Checks(engine, own).definitions.items()}


def validate(
    engine: "Engine", version: ModelVersion, names: Sequence[str] | None, comment: str | None, trust: Trust = None
) -> Validation:
    """Run checks of a version, and record what they find: a row of each, and a tag ``check.<name>`` of the version.

    Args:
        engine: the open lake.
        version: to be checked.
        names: of the checks; all that the model has, if not given.
        comment: why.
        trust: what models may run when they are loaded.

    Raises:
        InvalidInput: the model has no such check, or none at all; or no such word of trust.
        NotTrusted: a model would run something else; nothing is recorded.
        ModelNotFound: the version was deleted meanwhile.
    """
    own = version.registered_model_id
    wanted = _chosen(defined(engine, version.name), version.name, names)
    subject = Subject(engine, version, Checks(engine, own), allowed(trust))
    rows = [_run(check, name, subject, comment) for name, check in wanted.items()]

    def decide(_: "pa.Table") -> list[tuple[Any, ...]]:
        _require_there(engine, version)
        return [MODEL_CHECK_RESULTS.row(**row) for row in rows]

    stamp = engine.exclusive(MODEL_CHECK_RESULTS, decide)
    write.record(engine, [(stamp, len(rows))], comment)
    found = {f"{checks.TAG}{row['check_name']}": row["result"] for row in rows}
    write.change_version(engine, version.name, version.version, with_tags(found), comment)
    results = tuple(Checks(engine, own).newest(version.version)[name] for name in wanted)
    failed = [name for name, row in zip(wanted, rows, strict=True) if row["result"] == FAILED and wanted[name].archive]
    archived, remark = _archived(engine, version, failed)
    return Validation(version.name, version.version, results, archived, remark)


def _chosen(known: Mapping[str, Check], name: str, names: Sequence[str] | None) -> dict[str, Check]:
    if not known:
        raise InvalidInput(f"model {name!r} has no checks; lake.models.set_checks({name!r}, …) defines some")
    if isinstance(names, str):
        raise InvalidInput(f"checks are a list, such as [{names!r}], not a string")
    strangers = sorted(set(names or ()) - known.keys())
    if strangers:
        raise InvalidInput(f"model {name!r} has no check {strangers[0]!r}; it has {', '.join(known)}")
    return {check: each for check, each in known.items() if not names or check in names}


def _run(check: Check, name: str, subject: Subject, comment: str | None) -> State:
    at, started = wall_clock(), time.monotonic()
    result, finding = _judged(check, subject)
    return {
        "registered_model_id": subject.version.registered_model_id,
        "name": subject.version.name,
        "version": subject.version.version,
        "check_name": name,
        "kind": check.kind(),
        "definition": check.to_json(),
        "result": result,
        "value": finding.value,
        "detail": finding.detail[:_LONGEST],
        "snapshot_id": check.snapshot_id,
        "compared_with": finding.compared_with,
        "checked_at": at,
        "seconds": time.monotonic() - started,
        "user_id": current_user(),
        "comment": comment,
    }


def _judged(check: Check, subject: Subject) -> tuple[Verdict, Finding]:
    try:
        finding = check.judge(subject)
    except NotTrusted:  # says nothing about the model: whoever runs the checks has to decide
        raise
    except _NOT_THE_MODELS as error:
        return ERROR, Finding(False, str(error))
    except InvalidInput as error:
        return FAILED, Finding(False, str(error))
    except Exception as error:  # noqa: BLE001  the model is its maker's code: anything may come out of it
        return FAILED, Finding(False, f"{type(error).__name__}: {error}")
    return (PASSED if finding.passed else FAILED), finding


def _require_there(engine: "Engine", version: ModelVersion) -> None:
    states = VersionStates(engine.rows(MODEL_VERSIONS_HISTORY), version.registered_model_id)
    write.required_version(states, version.name, version.version)


def _archived(engine: "Engine", version: ModelVersion, failed: Sequence[str]) -> tuple[bool, str | None]:
    """Archive a version that failed; says whether that was done, and if the rules did not let it, why."""
    if not failed or version.stage == ARCHIVED:
        return False, None
    why = f"failed {', '.join(failed)}"
    try:
        direct.set_stage(engine, version.name, version.version, ARCHIVED, False, wall_clock(), why)
    except (ApprovalNeeded, ChecksNotPassed) as refused:
        return False, f"not archived: {refused}"
    return True, None
