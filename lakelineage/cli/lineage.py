"""The command lineage."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakelineage.cli.output import Output, records
from lakelineage.cli.session import AsOfOption, Session, UsageError

if TYPE_CHECKING:
    from lakelineage.lineage import Lineage
    from lakelineage.view import LakeView


def lineage(
    session: Session,
    node: Annotated[
        str,
        typer.Argument(
            help="Table (path, URI or dataset:<id>, each with @version or without), run:<id>, model:<name>@<version or "
            "alias> or artifact:<run>/<path>."
        ),
    ],
    upstream: Annotated[bool, typer.Option("--upstream", help="Only what it came of.")] = False,
    downstream: Annotated[bool, typer.Option("--downstream", help="Only what came of it: the blast radius.")] = False,
    path_to: Annotated[str | None, typer.Option(metavar="NODE", help="The shortest path to another node.")] = None,
    depth: Annotated[int | None, typer.Option(min=1, help="At most so many edges away.", show_default="all")] = None,
    as_of: AsOfOption = None,
) -> None:
    """Show what came of what: tables, runs, models and files.

    Examples:
      lakelineage lineage model:diabetes@champion --upstream
      lakelineage lineage data/diabetes@3 --downstream
      lakelineage lineage run:0199c0ffee12 --path-to data/predictions
    """
    if path_to is not None and (upstream or downstream or depth is not None):
        raise UsageError("--path-to goes without --upstream, --downstream and --depth")
    directions = [d for d, wanted in (("upstream", upstream), ("downstream", downstream)) if wanted]
    with session.look(as_of) as lake:
        asked = lake.lineage(_full(lake, node))
        if path_to is not None:
            _print_path(session.out, asked, _full(lake, path_to))
        elif session.as_json:
            session.out.json(_as_json(asked, directions or list(_HEADINGS), depth))
        else:
            _print_trees(session.out, asked, directions or list(_HEADINGS), depth)


_HEADINGS = {"upstream": "upstream of", "downstream": "downstream of"}


def _full(lake: "LakeView", node: str) -> str:
    """The node, with a run's abbreviated id in full."""
    prefix, _, run_id = node.partition("run:")
    return f"run:{lake.run_id(run_id)}" if not prefix and run_id else node


def _as_json(asked: "Lineage", directions: list[str], depth: int | None) -> dict[str, Any]:
    return {"node": asked.node, **{d: records(getattr(asked, d)(depth)) for d in directions}}


def _print_trees(out: Output, asked: "Lineage", directions: list[str], depth: int | None) -> None:
    for direction in directions:
        out.say(_HEADINGS[direction])
        root = asked.tree(direction, depth)  # type: ignore[arg-type]
        for lines, tree in root.lines():
            out.say(lines + tree.caption)
        if direction == "downstream" and depth is None:
            impact = asked.impact()
            out.say(str(impact).replace(impact.node, root.label, 1))


def _print_path(out: Output, asked: "Lineage", to: str) -> None:
    edges = asked.path(to)
    if out.as_json:
        out.json({"node": asked.node, "to": to, "path": records(edges)})
    elif edges.num_rows == 0:
        out.say(f"nothing connects {asked.node} and {to}")
    else:
        for edge in records(edges):
            out.say(f"{edge['step']}. {edge['source_label']} ─{edge['relation']}→ {edge['target_label']}")
