"""The command source."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakelineage.cli.artifacts import write_bytes
from lakelineage.cli.session import RunArgument, Session
from lakelineage.errors import ArtifactNotFound
from lakelineage.store.root import storage_errors

if TYPE_CHECKING:
    from lakelineage import PastRun

#: What ``runs`` tells of the code.
_TOLD = ("source", "source_type", "source_hash", "git_commit", "git_branch", "git_dirty")
_DIFF = "source/uncommitted.diff"


def source(
    session: Session,
    run_id: RunArgument,
    diff: Annotated[bool, typer.Option("--diff", help="What was not committed, as a patch for `git apply`.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to a file instead of printing it.")
    ] = None,
) -> None:
    """Show the code of a run.

    Where it was, which commit, and the file itself (of a notebook, its cells).

    Examples:
      lakelineage source 0199c0ffee12
      lakelineage source 0199c0ffee12 --diff > changes.patch
      lakelineage source 0199c0ffee12 --output train.py
    """
    with session.open() as lake:
        run = lake.run(lake.run_id(run_id))
        told: dict[str, Any] = {"run_id": run.id, **{key: run.attributes[key] for key in _TOLD}}
        told["files"] = list(run.source_files)
        content = _content(run, diff)
    if output is not None:
        with storage_errors(f"writing {output}"):
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_bytes(content)
    if session.as_json:
        shown = {"diff" if diff else "code": content.decode(errors="replace")}
        session.out.json(told | (shown if output is None else {"written": str(output)}))
    elif output is not None:
        session.out.say(f"wrote {output}")
    else:
        if session.out.for_people:
            session.out.fields(f"run {run.id}", ((k, v) for k, v in told.items() if v not in (None, [])))
        write_bytes(content, "the code")


def _content(run: "PastRun", diff: bool) -> bytes:
    if diff:
        if _DIFF in run.source_files:
            return run.artifact(_DIFF).read_bytes()
        remark = run.tags.get("lakelineage.source.diff")
        why = remark or "its work tree had nothing uncommitted, was in no repository, or capture was off"
        raise ArtifactNotFound(f"run {run.id} has no diff: {why}")
    code = run.code()
    if code is None:
        commit = run.attributes["git_commit"]
        where = f"commit {commit} has {run.attributes['source']}" if commit else "it came from no file that was kept"
        raise ArtifactNotFound(f"the code of run {run.id} is not to be had here: {where}")
    return code.encode()
