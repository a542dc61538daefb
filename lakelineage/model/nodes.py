"""Node ids of the lineage graph: ``kind:…``, percent-encoded (RFC 3986), built and parsed here only."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote

from lakelineage.errors import InvalidInput

Kind = Literal["dataset", "run", "model", "artifact", "column"]
_KINDS: tuple[Kind, ...] = ("dataset", "run", "model", "artifact", "column")
_SEPARATOR: dict[Kind, str] = {"dataset": "@", "model": "@", "artifact": "/", "column": "#", "run": ""}


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the lineage graph.

    Attributes:
        kind: what it is.
        name: table id, run id, model name, or (artifact) id of a run or logged model, or (column) dataset.
        part: version (dataset, model), path (artifact) or column name; None for a run, a logged model, or any version.
    """

    kind: Kind
    name: str
    part: str | None = None

    def __str__(self) -> str:
        head = f"{self.kind}:{quote(self.name, safe='')}"
        if self.part is None:
            return head
        return f"{head}{_SEPARATOR[self.kind]}{quote(self.part, safe='/' if self.kind == 'artifact' else '')}"


def dataset(table_id: str, version: int | None = None) -> Node:
    """A Delta table at one version (or, without it, at any)."""
    return Node("dataset", table_id, None if version is None else str(version))


def run(run_id: str) -> Node:
    """A run."""
    return Node("run", run_id)


def model(name: str, version: int | None = None) -> Node:
    """A version of a registered model (or, without it, all of them)."""
    return Node("model", name, None if version is None else str(version))


def artifact(owner: str, path: str = "") -> Node:
    """A file or folder of a run or logged model (or, without a path, all files of a logged model: itself)."""
    return Node("artifact", owner, path or None)


def parse(text: str) -> Node:
    """Read a node id.

    Raises:
        InvalidInput: the text is no node id.
    """
    kind, colon, rest = text.partition(":")
    if not colon or kind not in _KINDS or not rest:
        raise InvalidInput(
            f"{text!r} is no lineage node; write dataset:<table>[@version], run:<id>, model:<name>[@version] "
            "or artifact:<run or logged model>[/<path>]"
        )
    known: Kind = next(k for k in _KINDS if k == kind)
    separator = _SEPARATOR[known]
    if not separator:
        return Node(known, unquote(rest))
    if separator == "/":
        name, _, part = rest.partition(separator)
        found = part
    else:
        name, found, part = rest.rpartition(separator)
        if not found:
            name, part = part, ""
    return Node(known, unquote(name), unquote(part) if found else None)
