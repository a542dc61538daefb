"""Requests, approvals and rules of registered models, as their users call them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput
from lakelineage.model import validate
from lakelineage.registry import activity, requests, rules, upkeep, write
from lakelineage.registry.checks import CheckResult, Checks
from lakelineage.registry.moves import Move
from lakelineage.registry.names import alias_name
from lakelineage.registry.requests import Request
from lakelineage.registry.rules import Rules
from lakelineage.registry.values import ACTIVE_STAGES, checked_stage

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine
    from lakelineage.registry.activity import Chain
    from lakelineage.registry.upkeep import Retired
    from lakelineage.registry.values import ModelVersion
    from lakelineage.validation import Check, Validation


class Governed(ABC):
    """What is asked, answered, checked and recorded about registered models.

    Args:
        engine: the open lake.
    """

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    @abstractmethod
    def get(self, name: str, version: int | str) -> "ModelVersion":
        """A version, by number or by alias."""

    def rules(self, name: str) -> Rules:
        """The rules of a model; about no stage and no alias if nobody set any.

        Raises:
            ModelNotFound: no model has this name.
        """
        return rules.current(self._engine, write.model_id(self._engine, known_name(name)))

    def set_rules(
        self,
        name: str,
        *,
        stages: Sequence[str] | None = None,
        aliases: Sequence[str] | None = None,
        approvers: Sequence[str] | None = None,
        approvals: int | None = None,
        requester_may_approve: bool | None = None,
        checks: Sequence[str] | None = None,
        direct: bool | None = None,
        comment: str | None = None,
    ) -> Rules:
        """Say how a version of a model may come into use. What is not given stays as it was.

        Rules hold for what comes in: taking an alias off, and archiving or deleting a version, stays free. A request is
        judged by the rules of the moment at which it is approved.

        Args:
            name: registered model.
            stages: stages that the rules are about; with no ``aliases`` either (``[]``), they are about nothing.
            aliases: aliases that the rules are about.
            approvers: who may approve; ``[]``: everybody. At first everybody.
            approvals: how many different people must approve; at first 1.
            requester_may_approve: whether who asks may approve too; at first not.
            checks: named checks that the version must have passed, as ``set_checks`` defines them; of a check that is
                not defined in the lake, the version's tag ``check.<name>`` tells by ``passed``.
            direct: whether a version may also come in without a request, by ``set_stage`` and ``set_alias`` (its
                checks must have passed all the same); at first not.
            comment: why; kept in the activity log.

        Raises:
            ModelNotFound: no model has this name.
            InvalidInput: rules that cannot be, or that nobody could meet.
        """
        given: dict[str, Any] = {
            "stages": stages,
            "aliases": aliases,
            "approvers": approvers,
            "approvals": approvals,
            "requester_may_approve": requester_may_approve,
            "checks": checks,
            "direct": direct,
        }
        return rules.set_rules(self._engine, known_name(name), given, said(comment))

    def request(
        self,
        name: str,
        version: int,
        *,
        stage: str | None = None,
        alias: str | None = None,
        archive_existing: bool = False,
        comment: str | None = None,
    ) -> Request:
        """Ask that a version comes into a stage, or is named by an alias.

        Args:
            name: registered model.
            version: number.
            stage: None, Staging, Production or Archived; or give ``alias``.
            alias: what shall name it.
            archive_existing: with the move, the other versions of the stage go to Archived; for Staging and Production.
            comment: why; kept with the request.

        Raises:
            ModelNotFound: there is no such version.
            AlreadyExists: an equal request is open; the message names it.
            Conflict: the version is there already; or it is archived, and an alias was asked for.
            InvalidInput: neither a stage nor an alias, or both; or one that cannot be.
        """
        if (stage is None) is (alias is None):
            raise InvalidInput("say where the version shall go: either stage='Production', or alias='champion'")
        chosen = None if stage is None else checked_stage(stage)
        if archive_existing and chosen not in ACTIVE_STAGES:
            raise InvalidInput(
                f"archive_existing goes with stage {' or '.join(ACTIVE_STAGES)}, not with {stage or alias}"
            )
        own, number = write.model_id(self._engine, known_name(name)), validate.step(version)
        move = Move(own, number, chosen, None if alias is None else alias_name(alias), archive_existing)
        return requests.ask(self._engine, name, move, said(comment))

    def requests(self, name: str | None = None, status: str | None = "open") -> list[Request]:
        """Requests, oldest first.

        Args:
            name: of this model only.
            status: open, approved, applied, rejected, cancelled or outdated; None: all. An open request whose version
                or alias has moved since it was asked counts as outdated.

        Raises:
            ModelNotFound: no model has this name.
            InvalidInput: no such status.
        """
        own = None if name is None else write.model_id(self._engine, known_name(name))
        return requests.listed(self._engine, own, status)

    def approve(self, request: int | Request, *, comment: str | None = None) -> Request:
        """Approve a request. The last approval that the rules want makes the move.

        Raises:
            RequestNotFound: no request has this number.
            RequestClosed: somebody decided it first; or its version was deleted, archived or moved, or its alias moved,
                since it was asked (then it is outdated from now on).
            NotAllowed: the rules want somebody else: you are no approver, asked yourself, or approved already.
            ChecksNotPassed: the version lacks checks that the rules want.
        """
        return requests.approve(self._engine, _number(request), said(comment))

    def reject(self, request: int | Request, *, comment: str | None = None) -> Request:
        """Reject a request, as one who may approve it.

        Raises:
            RequestNotFound: no request has this number.
            RequestClosed: it is not open any more.
            NotAllowed: the rules name others who decide.
        """
        return requests.reject(self._engine, _number(request), said(comment))

    def cancel(self, request: int | Request, *, comment: str | None = None) -> Request:
        """Take back a request, as the one who asked.

        Raises:
            RequestNotFound: no request has this number.
            RequestClosed: it is not open any more.
            NotAllowed: somebody else asked.
        """
        return requests.cancel(self._engine, _number(request), said(comment))

    def checks(self, name: str) -> "Mapping[str, Check]":
        """The checks that are defined for a model, by name.

        Raises:
            ModelNotFound: no model has this name.
        """
        from lakelineage.validation import run

        return run.defined(self._engine, known_name(name))

    def set_checks(
        self, name: str, checks: "Mapping[str, Check | Mapping[str, Any] | None]", *, comment: str | None = None
    ) -> "Mapping[str, Check]":
        """Say what versions of a model have to pass. Checks that are not named stay as they are.

        Data that a check looks at is pinned by this call. A check that is defined anew has to be passed anew.

        Args:
            name: registered model.
            checks: name → a value of :mod:`lakelineage.validation`, or its fields with its ``kind``; None takes the
                check off.
            comment: why; kept in the activity log.

        Returns:
            All checks that the model has now, by name.

        Raises:
            ModelNotFound: no model has this name.
            TableNotFound, VersionNotFound: there are no such data.
            InvalidInput: a check that cannot be, or one to be taken off that there is not.
        """
        from lakelineage.validation import run

        return run.set_checks(self._engine, known_name(name), checks, said(comment))

    def validate(
        self,
        name: str,
        version: int | str,
        *,
        checks: Sequence[str] | None = None,
        comment: str | None = None,
        trust: bool | str | Iterable[str] | None = None,
    ) -> "Validation":
        """Run checks on a version, and record what they find.

        Each result becomes a row of ``model_check_results``, and a tag ``check.<name>`` of the version. A version that
        fails a check which says so is archived, if the rules let it.

        Args:
            name: registered model.
            version: number or alias.
            checks: names of the checks; all that the model has, if not given.
            comment: why; kept with the results and in the activity log.
            trust: what models may run when they are loaded, as for :meth:`lakelineage.Lake.load_model`.

        Raises:
            ModelNotFound: there is no such version.
            InvalidInput: the model has no such check, or none at all; or no such word of trust.
            NotTrusted: a model would run something else when it is loaded; nothing is recorded.
        """
        from lakelineage.validation import run

        return run.validate(self._engine, self.get(name, version), checks, said(comment), trust)

    def check_results(self, name: str, version: int | None = None) -> "list[CheckResult]":
        """What checks found, oldest first.

        Args:
            name: registered model.
            version: of this version only.

        Raises:
            ModelNotFound: no model has this name.
        """
        found = Checks(self._engine, write.model_id(self._engine, known_name(name)))
        return list(found.results(None if version is None else validate.step(version)))

    def standing(self, name: str, version: int | str) -> Mapping[str, str]:
        """How a version stands to each check, by name.

        Returns:
            "passed", "failed", "error" (it could not be found out), "missing" (it was not run), or "outdated" (the
            check was defined anew since, or the version that it was compared with is not the one any more). Of checks
            that are not defined in the lake, what the tag ``check.<name>`` says.

        Raises:
            ModelNotFound: there is no such version.
        """
        found = self.get(name, version)
        return Checks(self._engine, found.registered_model_id).standing(found.version, found.tags)

    def activity(self, name: str | None = None, version: int | None = None) -> "pa.Table":
        """What was done to a model, or to one of its versions: who, when, from, to, comment; oldest first.

        Args:
            name: registered model; None: the acts of the whole lake.
            version: only acts on this version, and on aliases when they came to it or left it.

        Returns:
            Columns acted_at, actor, action, object (node id), from_state, to_state, comment and hash.

        Raises:
            ModelNotFound: no model has this name.
            InvalidInput: a version of no model.
        """
        if name is None and version is not None:
            raise InvalidInput(f"version={version} is a version of which model? Give its name")
        own = None if name is None else write.model_id(self._engine, known_name(name))
        return activity.acts_on(self._engine, own, None if version is None else validate.step(version))

    def verify_activity(self) -> "Chain":
        """Check the record of acts: that none was altered, removed or put in, and that none is missing.

        What is missing is told by the histories of models, versions, aliases, rules and requests. Whoever can write all
        tables of the lake can make another chain; keep its newest hash elsewhere to notice that.
        """
        return activity.check(self._engine)

    def roll_back(
        self, name: str, alias: str | None = None, *, stage: str | None = None, comment: str | None = None
    ) -> int:
        """Go back to the version that an alias named before, or that was in a stage before.

        Called again, it goes further back. Versions that were deleted since are passed over. The one of a stage
        that is gone back from is archived. Rules of the model hold as for any other move.

        Args:
            name: registered model.
            alias: default "champion", if no stage is given.
            stage: Staging or Production.
            comment: why; kept in the activity log.

        Returns:
            The version that it names, or that is in the stage, now.

        Raises:
            ModelNotFound: there is no such model, or nothing to go back to.
            ApprovalNeeded: the rules want a request; the message tells which.
            ChecksNotPassed: the version lacks checks that the rules want.
            InvalidInput: an alias and a stage, or one that cannot be.
        """
        if alias is not None and stage is not None:
            raise InvalidInput(f"roll back either alias {alias!r} or stage {stage!r}, not both in one call")
        told = said(comment)
        if stage is None:
            return upkeep.roll_back_alias(self._engine, known_name(name), alias_name(alias or "champion"), told)
        chosen = checked_stage(stage)
        if chosen not in ACTIVE_STAGES:
            raise InvalidInput(f"stage {chosen} is not rolled back; choose {' or '.join(ACTIVE_STAGES)}")
        return upkeep.roll_back_stage(self._engine, known_name(name), chosen, told)

    def retire(
        self,
        name: str,
        *,
        keep: int = 3,
        older_than: str = "90d",
        stages: Sequence[str] = ("None", "Staging"),
        dry_run: bool = False,
        comment: str | None = None,
    ) -> "list[Retired]":
        """Archive old versions that nothing points at.

        Args:
            name: registered model.
            keep: the newest so many versions stay.
            older_than: versions registered later than that before now stay: "90d", "6 weeks", "2 years".
            stages: only versions that are in one of these.
            dry_run: tell what would be archived, and change nothing.
            comment: why; kept in the activity log.

        Returns:
            Each version of these stages, by number: whether it was (or would be) archived, and if not, why. A version
            stays that an alias names, or that an open request is about.

        Raises:
            ModelNotFound: no model has this name.
            ApprovalNeeded: the rules let versions come to "Archived" by request only.
            InvalidInput: a number, duration or stage that cannot be.
        """
        chosen = [checked_stage(stage) for stage in stages]
        rule = upkeep.Rule(validate.step(keep), older_than, tuple(chosen))
        return upkeep.retire(self._engine, known_name(name), rule, dry_run, said(comment))


def known_name(name: object) -> str:
    """A name that is looked up: MLflow takes some that we do not give."""
    return validate.text(name, "model name")


def said(text: str | None) -> str | None:
    """Why something was done, if somebody said so."""
    return None if text is None else validate.text(text, "comment")


def _number(request: int | Request) -> int:
    return request.id if isinstance(request, Request) else validate.step(request)
