"""Commands about who may change models: models rules, request, approve, reject, cancel, requests, activity."""

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakelineage.cli.model_edit import CommentOption, NameArgument, NumberedArgument, numbered
from lakelineage.cli.output import Output
from lakelineage.cli.session import Session, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lakelineage import Lake
    from lakelineage.registry import Chain, Request

RequestArgument = Annotated[int, typer.Argument(metavar="REQUEST", help="Number of the request.", min=1)]
_COLUMNS = ("id", "name", "version", "target", "status", "requested_by", "requested_at", "approved_by", "comment")


def _many(metavar: str, help_: str) -> Any:
    return typer.Option(metavar=metavar, help=help_ + "; may repeat.", show_default="as it was")


def rules(
    session: Session,
    name: NameArgument,
    stage: Annotated[list[str] | None, _many("STAGE", "Stage that the rules are about")] = None,
    alias: Annotated[list[str] | None, _many("ALIAS", "Alias that the rules are about")] = None,
    approver: Annotated[list[str] | None, _many("USER", "Who may approve")] = None,
    check: Annotated[list[str] | None, _many("CHECK", "Check that must have passed")] = None,
    approvals: Annotated[
        int | None, typer.Option(min=1, help="How many people must approve.", show_default="as it was")
    ] = None,
    requester_may_approve: Annotated[
        bool | None,
        typer.Option(
            "--requester-may-approve/--requester-may-not", help="Whether who asks may.", show_default="as it was"
        ),
    ] = None,
    direct: Annotated[
        bool | None,
        typer.Option("--direct/--no-direct", help="Whether it goes without a request too.", show_default="as it was"),
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="Take the rules off: about no stage and no alias.")] = False,
    comment: CommentOption = None,
) -> None:
    """Show or set the rules by which a version comes into use.

    Rules are about what comes in: archiving, deleting, and taking an alias off stay free.

    Examples:
      lakelineage models rules diabetes
      lakelineage models rules diabetes --stage Production --alias champion --approver ada --approver grace
      lakelineage models rules diabetes --approvals 2 --check load-and-predict --comment "since the audit"
    """
    given: dict[str, Any] = {
        "stages": stage,
        "aliases": alias,
        "approvers": approver,
        "checks": check,
        "approvals": approvals,
        "requester_may_approve": requester_may_approve,
        "direct": direct,
    }
    wanted = {key: value for key, value in given.items() if value not in (None, [])}
    if none and wanted:
        raise UsageError("--none goes with no other rule")
    if none:
        wanted = {"stages": [], "aliases": []}
    if comment is not None and not wanted:
        raise UsageError("--comment goes with a change of the rules")
    with session.open() as lake:
        held = lake.models.set_rules(name, **wanted, comment=comment) if wanted else lake.models.rules(name)
    if session.as_json:
        session.out.json({"name": name, **asdict(held)})
    else:
        session.out.fields(f"rules of {name}", asdict(held).items())


def request(
    session: Session,
    model: NumberedArgument,
    stage: Annotated[str | None, typer.Option(help="Stage that it shall come into.", show_default=False)] = None,
    alias: Annotated[str | None, typer.Option(help="Alias that shall name it.", show_default=False)] = None,
    archive_existing: Annotated[
        bool, typer.Option("--archive-existing", help="Move the other versions of the stage to Archived.")
    ] = False,
    comment: CommentOption = None,
) -> None:
    """Ask that a version comes into a stage, or gets an alias.

    Examples:
      lakelineage models request diabetes@3 --stage Production --archive-existing --comment "10 % better"
      lakelineage models request diabetes@3 --alias champion
    """
    name, version = numbered(model)
    if version is None:
        raise UsageError(f"{model!r} names no version; write {model}@3")
    if (stage is None) is (alias is None):
        raise UsageError("say where it shall go: --stage STAGE or --alias ALIAS")
    with session.open() as lake:
        made = lake.models.request(
            name, version, stage=stage, alias=alias, archive_existing=archive_existing, comment=comment
        )
    _tell(session.out, made)


def _answer(session: Session, verb: str, number: int, comment: str | None) -> None:
    with session.open() as lake:
        _tell(session.out, getattr(lake.models, verb)(number, comment=comment))


def approve(session: Session, request: RequestArgument, comment: CommentOption = None) -> None:
    """Approve a request; the last approval makes the move.

    Example:
      lakelineage models approve 12 --comment "checked on March's data"
    """
    _answer(session, "approve", request, comment)


def reject(session: Session, request: RequestArgument, comment: CommentOption = None) -> None:
    """Reject a request, as one who may approve it.

    Example:
      lakelineage models reject 12 --comment "worse on young patients"
    """
    _answer(session, "reject", request, comment)


def cancel(session: Session, request: RequestArgument, comment: CommentOption = None) -> None:
    """Take back a request, as the one who asked.

    Example:
      lakelineage models cancel 12
    """
    _answer(session, "cancel", request, comment)


def requests(
    session: Session,
    name: Annotated[str | None, typer.Argument(help="Of this model only.", show_default=False)] = None,
    status: Annotated[
        str, typer.Option(help="open, approved, applied, rejected, cancelled, outdated or all.")
    ] = "open",
) -> None:
    """List requests.

    Examples:
      lakelineage models requests
      lakelineage models requests diabetes --status all
    """
    with session.open() as lake:
        found = lake.models.requests(name, None if status == "all" else status)
    told = [_told(each) for each in found]
    if session.as_json:
        session.out.json(told)
    else:
        session.out.columns([(key, [row[key] for row in told]) for key in _COLUMNS])


def activity(
    session: Session,
    model: Annotated[
        str | None,
        typer.Argument(metavar="[NAME[@VERSION]]", help="A model, or one version.", show_default="the whole lake"),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the whole record; exit code 1 if it is broken.")
    ] = False,
) -> None:
    """Show what was done to models: who, when, from, to, comment.

    The record is a chain of hashes: --verify shows whether an act was altered, removed or put in.

    Examples:
      lakelineage models activity diabetes@3
      lakelineage models activity --verify
    """
    with session.open() as lake:
        if verify:
            _verify(session, lake, model)
        else:
            session.out.table(lake.models.activity(*(numbered(model) if model else ())))


def _verify(session: Session, lake: "Lake", model: str | None) -> None:
    if model is not None:
        raise UsageError("--verify checks the acts of all models: they are one chain; leave the name away")
    found = lake.models.verify_activity()
    if session.as_json:
        session.out.json({"ok": found.ok, **asdict(found)})
    else:
        _show(session.out, found)
    if not found.ok:
        raise typer.Exit(1)


def _show(out: Output, found: "Chain") -> None:
    out.say(f"{found.acts:,} acts, {'none altered, none missing' if found.ok else 'BROKEN'}; newest hash {found.head}")
    for each in found.broken:
        out.say(f"act {each.position}: {each.reason}")
    for act in found.missing:
        out.say(f"not recorded: {act.action} of {act.object}, from {act.from_state} to {act.to_state}")


def _told(request: "Request") -> dict[str, Any]:
    return {**asdict(request), "target": request.target}


def _tell(out: Output, request: "Request") -> None:
    if out.as_json:
        out.json(_told(request))
        return
    by: Sequence[str] = request.approved_by
    approved = f", approved by {', '.join(by)}" if by else ""
    out.say(
        f"request {request.id} ({request.name}@{request.version} to {request.target}) is {request.status}{approved}"
    )


def roll_back(
    session: Session,
    name: NameArgument,
    alias: Annotated[str | None, typer.Option(help="Alias that goes back.", show_default="champion")] = None,
    stage: Annotated[str | None, typer.Option(help="Or: Staging or Production.", show_default=False)] = None,
    comment: CommentOption = None,
) -> None:
    """Go back to the version before.

    Examples:
      lakelineage models roll-back diabetes --comment "drift since Monday"
      lakelineage models roll-back diabetes --stage Production
    """
    if alias is not None and stage is not None:
        raise UsageError("roll back either --alias or --stage")
    with session.open() as lake:
        version = lake.models.roll_back(name, alias, stage=stage, comment=comment)
    what = f"alias {alias or 'champion'}" if stage is None else f"stage {stage}"
    if session.as_json:
        session.out.json(
            {"name": name, "version": version, "alias": alias if stage else alias or "champion", "stage": stage}
        )
    session.out.say(f"{what} of {name} is back at version {version}")


def retire(
    session: Session,
    name: NameArgument,
    keep: Annotated[int, typer.Option(min=0, help="The newest so many stay.")] = 3,
    older_than: Annotated[str, typer.Option(metavar="DURATION", help="Younger ones stay: 90d, 6 weeks.")] = "90d",
    stage: Annotated[
        list[str] | None, typer.Option(help="Only of this stage; may repeat.", show_default="None, Staging")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell which.")] = False,
    comment: CommentOption = None,
) -> None:
    """Archive old versions that no alias names.

    Examples:
      lakelineage models retire diabetes --dry-run
      lakelineage models retire diabetes --keep 5 --older-than 180d --comment "yearly cleaning"
    """
    with session.open() as lake:
        found = lake.models.retire(
            name,
            keep=keep,
            older_than=older_than,
            stages=stage or ("None", "Staging"),
            dry_run=dry_run,
            comment=comment,
        )
    told = [asdict(each) for each in found]
    if session.as_json:
        session.out.json(told)
        return
    if told:
        session.out.columns([(key, [row[key] for row in told]) for key in told[0]])
    count = sum(each.archived for each in found)
    session.out.say(f"{count} of {len(found)} versions {'would be' if dry_run else 'were'} archived")


COMMANDS: dict[str, Callable[..., None]] = {
    "rules": rules,
    "request": request,
    "approve": approve,
    "reject": reject,
    "cancel": cancel,
    "requests": requests,
    "activity": activity,
    "roll-back": roll_back,
    "retire": retire,
}
