"""What a check says, and what checks look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakelineage.journal.lanes import hosts
from lakelineage.query.duckdb.reader import DuckDBReader
from lakelineage.settings import Settings
from lakelineage.store.cache import HostCache
from lakelineage.store.delta import DeltaStore
from lakelineage.store.root import Root

if TYPE_CHECKING:
    from lakelineage.engine import Engine

#: What is younger than this (seconds) may belong to a writer that is at it.
SETTLED = 3600.0


class Severity(StrEnum):
    """How bad it is; each is worse than the one before."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """Greater is worse."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer of a check.

    Attributes:
        check: what was looked at, such as ``journal`` or ``tables.metrics``; stable, for programs.
        severity: ``ok``; ``note``: worth knowing; ``warning``: act soon; ``error``: something is lost or wrong.
        message: what is so.
        advice: what to do; empty if there is nothing to do.
    """

    check: str
    severity: Severity
    message: str
    advice: str = ""


@dataclass(frozen=True)
class Place:
    """A lake, to be looked at and not changed.

    Attributes:
        root: where it is.
        settings: what ``lake.json`` says.
        store: its tables.
        spool: folder of the journals on this host.
        reader: answers SQL.
        cache: what this host keeps of it.
    """

    root: Root
    settings: Settings
    store: DeltaStore
    spool: Path
    reader: DuckDBReader
    cache: HostCache

    @classmethod
    def of(cls, engine: "Engine") -> "Place":
        """That of an open lake."""
        return cls(engine.root, engine.settings, engine.store, engine.spool, engine.reader, engine.cache)

    @property
    def folders(self) -> list[Path]:
        """Journal folders of the hosts whose journals are here."""
        return hosts(self.spool)

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Rows that answer a query, fresh to the last row of this host."""
        return list(self.reader.query(sql, params).to_pylist())


def of_bytes(size: float) -> str:
    """A size for people."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"


def of_seconds(seconds: float) -> str:
    """A time span for people."""
    for unit, length in (("s", 120), ("min", 120), ("h", 48)):
        if seconds < length:
            return f"{seconds:.0f} {unit}"
        seconds /= 24 if unit == "h" else 60
    return f"{seconds:.0f} days"


def some(names: Sequence[str], shown: int = 3) -> str:
    """The first few names."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown:,} more" if len(names) > shown else "")
