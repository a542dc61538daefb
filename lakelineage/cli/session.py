"""What the options that every command shares say: which lake, and for whom the output is."""

import inspect
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakelineage.cli import complete
from lakelineage.cli.output import Output

if TYPE_CHECKING:
    from lakelineage import Lake
    from lakelineage.view import LakeAt

#: Storage options as a JSON object: credentials and endpoint, as deltalake takes them.
STORAGE_OPTIONS = "LAKELINEAGE_STORAGE_OPTIONS"
_NO_LAKE = (
    "no lake was named: pass --lake PATH (or a URI), or set LAKELINEAGE_URI; `lakelineage init PATH` makes a new lake"
)

#: What Typer raises for a command that was typed wrongly; it has no public name.
UsageError: Any = typer.BadParameter.__bases__[0]

LakeOption = Annotated[
    str | None,
    typer.Option(
        "--lake", metavar="PATH|URI", help="The lake; default is the variable LAKELINEAGE_URI.", show_default=False
    ),
]
AsOfOption = Annotated[
    str | None,
    typer.Option(
        "--as-of", metavar="TIME", help="As the lake was then: ISO 8601, UTC without a zone.", show_default="now"
    ),
]
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="Run id, or a unique beginning of it.", autocompletion=complete.run_ids)
]
RunsArgument = Annotated[
    list[str],
    typer.Argument(metavar="RUN...", help="Run ids, or unique beginnings of them.", autocompletion=complete.run_ids),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@dataclass(frozen=True, slots=True)
class Session:
    """One call of the command line.

    Attributes:
        lake_uri: what ``--lake`` said; None if it was not given.
        as_json: whether ``--json`` was given.
    """

    lake_uri: str | None = None
    as_json: bool = False

    @property
    def out(self) -> Output:
        """Where results go."""
        return Output(self.as_json)

    @property
    def place(self) -> str:
        """Path or URI of the lake.

        Raises:
            UsageError: none was named.
        """
        place = self.lake_uri or os.environ.get("LAKELINEAGE_URI")
        if not place:
            raise UsageError(_NO_LAKE)
        return place

    def open(self, *, create: bool = False, protection: str | None = None) -> "Lake":
        """Open the lake.

        Args:
            create: make it if there is none.
            protection: default protection of pins in a new lake.
        """
        import lakelineage

        return lakelineage.open(self.place, storage_options=storage_options(), create=create, protection=protection)

    @contextmanager
    def look(self, as_of: str | None) -> "Iterator[Lake | LakeAt]":
        """Open the lake to read it as it is, or as it was at a moment."""
        with self.open() as lake:
            if as_of is None:
                yield lake
            else:
                with lake.at(as_of) as past:
                    yield past

    def exists(self) -> bool:
        """Whether there is a lake."""
        from lakelineage.store.root import Root

        return Root(self.place, storage_options()).exists("lake.json")

    def refuse_json(self, why: str) -> None:
        """Refuse ``--json``, rather than ignore it, where a command has none.

        Raises:
            UsageError: it was given.
        """
        if self.as_json:
            raise UsageError(f"--json does not go with this: {why}")

    def with_options(self, lake_uri: str | None, as_json: bool) -> "Session":
        """With what was typed after the command; that holds, where both were typed."""
        return replace(self, lake_uri=lake_uri or self.lake_uri, as_json=as_json or self.as_json)


def storage_options() -> dict[str, str] | None:
    """What the variable ``LAKELINEAGE_STORAGE_OPTIONS`` says; None if it is not set.

    Raises:
        UsageError: it is no JSON object of texts.
    """
    text = os.environ.get(STORAGE_OPTIONS)
    if not text:
        return None
    try:
        options = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{STORAGE_OPTIONS} is no JSON ({error}); " + _EXAMPLE) from error
    if not isinstance(options, dict) or not all(isinstance(value, str) for value in options.values()):
        raise UsageError(f"{STORAGE_OPTIONS} must be a JSON object whose values are texts; " + _EXAMPLE)
    return options


_EXAMPLE = """write for example {"aws_region": "us-east-1"}"""


def shared_options(function: Callable[..., None]) -> Callable[..., None]:
    """The function with ``--lake`` and ``--json`` in place of the session that it takes first."""

    @wraps(function)
    def run(ctx: typer.Context, lake_uri: str | None, as_json: bool, **given: Any) -> None:
        session = (ctx.obj or Session()).with_options(lake_uri, as_json)
        ctx.obj = session
        function(session, **given)

    own = list(inspect.signature(function).parameters.values())[1:]
    added = _parameters({"ctx": (typer.Context, inspect.Parameter.empty)})
    shared = _parameters({"lake_uri": (LakeOption, None), "as_json": (JsonOption, False)})
    parameters = [*added, *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in [*own, *shared])]
    # Click wraps paragraphs, but not after this mark.
    run.__doc__ = re.sub(r"^( *)(Examples?:)$", "\\1\b\n\\1\\2", function.__doc__ or "", flags=re.MULTILINE)
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def _parameters(named: Mapping[str, tuple[Any, Any]]) -> list[inspect.Parameter]:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [inspect.Parameter(n, kind, annotation=a, default=d) for n, (a, d) in named.items()]
