"""Moves without a request, where the rules of the model allow them."""

from typing import TYPE_CHECKING

from lakelineage.model.clock import wall_clock
from lakelineage.registry import moves, requests, rules, write
from lakelineage.registry.moves import Move

if TYPE_CHECKING:
    from lakelineage.engine import Engine


def set_stage(
    engine: "Engine", name: str, version: int, stage: str, archive: bool, at: int, comment: str | None = None
) -> None:
    """Move a version to a stage, in one commit with the versions that are archived for it.

    Args:
        engine: the open lake.
        name: of the model.
        version: number.
        stage: one of ``STAGES``.
        archive: move the others of this stage to "Archived".
        at: when, µs since 1970 UTC.
        comment: why.

    Raises:
        ModelNotFound: there is no such model or version.
        ApprovalNeeded: the rules want a request.
        ChecksNotPassed: the version lacks checks that the rules want.
    """
    _move(engine, name, Move(write.model_id(engine, name), version, stage=stage, archive=archive), at, comment)


def set_alias(engine: "Engine", name: str, alias: str, version: int, comment: str | None = None) -> None:
    """Let an alias name a version.

    Raises:
        ModelNotFound: there is no such model or version.
        ApprovalNeeded: the rules want a request.
        ChecksNotPassed: the version lacks checks that the rules want.
    """
    _move(engine, name, Move(write.model_id(engine, name), version, alias=alias), wall_clock(), comment)


def _move(engine: "Engine", name: str, move: Move, at: int, comment: str | None) -> None:
    requests.complete(engine)  # what was approved before comes first
    moves.perform(engine, move, at, comment, guard=rules.guard(engine, name, move))


def delete_alias(engine: "Engine", name: str, alias: str, comment: str | None = None) -> bool:
    """Take an alias off.

    Returns:
        Whether it named a version.

    Raises:
        ModelNotFound: there is no such model.
    """
    requests.complete(engine)
    return moves.delete_alias(engine, write.model_id(engine, name), name, alias, comment)
