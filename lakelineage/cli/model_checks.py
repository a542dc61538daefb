"""Commands about what versions of models have to pass: models checks, validate."""

import tomllib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakelineage.cli import complete
from lakelineage.cli.model_edit import CommentOption, NameArgument
from lakelineage.cli.scoring import TrustOption
from lakelineage.cli.session import Session, UsageError

if TYPE_CHECKING:
    from lakelineage.validation import Check, Validation

_RESULT = ("check", "result", "detail", "seconds")


def checks(
    session: Session,
    name: NameArgument,
    from_: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="TOML file of checks to set.", show_default=False)
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option(metavar="CHECK", help="A check to take off; may repeat.", show_default=False)
    ] = None,
    comment: CommentOption = None,
) -> None:
    """Show or set the checks that versions have to pass.

    Each table of the file is a check, and names its kind: metric, evaluation, input_schema, signature, documentation
    or load_and_predict.

    Examples:
      lakelineage models checks diabetes
      lakelineage models checks diabetes --from checks.toml --comment "as agreed in March"
      lakelineage models checks diabetes --remove slow-one
    """
    wanted: dict[str, Any] = {} if from_ is None else _read(from_)
    twice = sorted(wanted.keys() & set(remove or ()))
    if twice:
        raise UsageError(f"{twice[0]!r} is in {from_} and in --remove; choose one")
    wanted |= dict.fromkeys(remove or ())
    if comment is not None and not wanted:
        raise UsageError("--comment goes with a change of the checks: --from FILE or --remove CHECK")
    with session.open() as lake:
        held = lake.models.set_checks(name, wanted, comment=comment) if wanted else lake.models.checks(name)
    if session.as_json:
        session.out.json({check: each.to_dict() for check, each in held.items()})
    elif held:
        told = [(check, each.kind(), _fields(each)) for check, each in held.items()]
        session.out.columns([*zip(("check", "kind", "what"), map(list, zip(*told, strict=True)), strict=True)])
    else:
        session.out.say(f"{name} has no checks; `lakelineage models checks {name} --from FILE` sets some")


def _fields(check: "Check") -> str:
    return ", ".join(f"{key} {value}" for key, value in check.to_dict().items() if key != "kind")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no TOML file: {error}") from error


def validate(
    session: Session,
    model: Annotated[
        str,
        typer.Argument(metavar="NAME@VERSION", help="A version, by number or alias.", autocompletion=complete.models),
    ],
    check: Annotated[
        list[str] | None, typer.Option(help="Only this one; may repeat.", show_default="all of the model")
    ] = None,
    comment: CommentOption = None,
    trust: TrustOption = None,
) -> None:
    """Run the checks of a version; exit code 1 if it does not pass.

    Examples:
      lakelineage models validate diabetes@3
      lakelineage models validate diabetes@3 --check beats-champion --comment "champion has changed"
    """
    name, at, which = model.rpartition("@")
    if not at or not name or not which:
        raise UsageError(f"{model!r} names no version; write {model.rstrip('@')}@3 or {model.rstrip('@')}@champion")
    version = int(which) if which.isdecimal() else which
    with session.open() as lake:
        done = lake.models.validate(name, version, checks=check, comment=comment, trust=trust or None)
    if session.as_json:
        session.out.json({"ok": done.ok, **asdict(done)})
    else:
        _tell(session, done)
    if not done.ok:
        raise typer.Exit(1)


def _tell(session: Session, done: "Validation") -> None:
    told = [asdict(each) | {"seconds": round(each.seconds, 2)} for each in done.results]
    session.out.columns([(key, [row[key] for row in told]) for key in _RESULT])
    passed = sum(each.result == "passed" for each in done.results)
    session.out.say(f"{done.name}@{done.version} passed {passed} of {len(done.results)} checks")
    if done.archived:
        session.out.say(f"{done.name}@{done.version} is archived")
    if done.remark:
        session.out.say(done.remark)


COMMANDS: dict[str, Callable[..., None]] = {"checks": checks, "validate": validate}
