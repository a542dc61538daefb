"""Small closed vocabularies of the field."""

from enum import StrEnum
from typing import Literal

from lakelineage.errors import InvalidInput

#: What a returned call promises: it survives loss of power, or a crash of the process only.
Durability = Literal["power", "process"]


class RunStatus(StrEnum):
    """State of a run; the names are MLflow's."""

    SCHEDULED = "SCHEDULED"
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"

    @property
    def ended(self) -> bool:
        """Whether nothing may be logged any more."""
        return self not in (RunStatus.SCHEDULED, RunStatus.RUNNING)


class ModelStatus(StrEnum):
    """State of a logged model; the names are MLflow's."""

    PENDING = "PENDING"
    READY = "READY"
    FAILED = "FAILED"


class Lifecycle(StrEnum):
    """Deleting is a tombstone: the history stays. What is purged cannot be restored, and no verb shows it."""

    ACTIVE = "active"
    DELETED = "deleted"
    PURGED = "purged"


class Relation(StrEnum):
    """Relations of the lineage graph, in W3C PROV's terms (PROV-DM, 2013).

    An edge goes from what came first to what came of it: ``dataset -used-> run -generated-> artifact``.
    """

    USED = "used"
    GENERATED = "generated"
    DERIVED_FROM = "derived_from"


class Protection(StrEnum):
    """How far a pin survives what happens to its source."""

    REFERENCE = "reference"
    PROTECTED = "protected"
    ARCHIVED = "archived"


def checked_protection(level: str) -> Protection:
    """A level by its name.

    Raises:
        InvalidInput: there is none of this name.
    """
    if level not in set(Protection):
        raise InvalidInput(f"protection {level!r} is unknown; choose one of {', '.join(Protection)}")
    return Protection(level)
