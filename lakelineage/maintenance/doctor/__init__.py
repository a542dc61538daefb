"""``doctor``: what is wrong with a lake, and what to do. It looks, and changes nothing.

Each check is a small function from a :class:`Place` to findings. A healthy lake that others are writing to at the
same moment gets nothing worse than notes: what looks wrong for a moment only (a record half written, a file not yet
recorded) is looked at again, or left alone until it has settled.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from lakelineage.errors import LakeDamaged, LakelineageError, LakeTooNew, UnsuitableStorage
from lakelineage.maintenance.doctor import files, journal, runs, system, tables
from lakelineage.maintenance.doctor.finding import Finding, Place, Severity
from lakelineage.query.duckdb.reader import DuckDBReader
from lakelineage.settings import load_or_create
from lakelineage.store.cache import HostCache
from lakelineage.store.delta import DeltaStore
from lakelineage.store.root import Root

if TYPE_CHECKING:
    from pathlib import Path

    from lakelineage.engine import Engine

#: In the order of the report: what may explain the rest comes first. The journal before the tables, so that rows on
#: their way from the one to the other are seen in one of them.
_CHECKS: dict[str, Callable[[Place, bool], Iterable[Finding]]] = {
    "libraries": system.libraries,
    "lake.json": system.lake_format,
    "clock": system.clock,
    "journal": journal.journal,
    "tables": tables.tables,
    "publishing": tables.publishing,
    "unneeded files": files.unneeded,
    "artifacts": files.artifacts,
    "archive": files.archive,
    "datasets": files.datasets,
    "temporary files": files.temporary,
    "runs": runs.runs,
}


def examine(engine: "Engine", deep: bool = False) -> list[Finding]:
    """Look at an open lake. See :meth:`lakelineage.Lake.doctor`."""
    return list(_examine(Place.of(engine), deep))


def examine_at(uri: str, storage_options: Mapping[str, str] | None, deep: bool = False) -> list[Finding]:
    """Look at a lake that is not opened for it: nothing is upgraded, committed or journaled.

    Args:
        uri: folder or object-store URI.
        storage_options: as deltalake takes them.
        deep: read all that is stored too.

    Raises:
        InvalidInput: there is no lake.
        StorageFailed: the store cannot be reached.
    """
    from lakelineage.engine import spool_folder

    root = Root(uri, storage_options)
    try:
        settings = load_or_create(root, create=False, protection=None)
    except (LakeDamaged, LakeTooNew) as error:
        return [*system.libraries(), Finding("lake.json", Severity.ERROR, str(error), _told(error))]
    try:
        spool = spool_folder(root, settings)
    except UnsuitableStorage as error:
        return [*system.libraries(), Finding("journal", Severity.ERROR, str(error), _told(error))]
    store, cache = DeltaStore(root, sync=False), HostCache(root, settings.lake_id)
    place = Place(root, settings, store, spool, _reader(store, spool, cache), cache)
    try:
        return list(_examine(place, deep))
    finally:
        place.reader.close()


def _reader(store: DeltaStore, spool: "Path", cache: HostCache) -> DuckDBReader:
    from lakelineage.journal.lanes import hosts

    return DuckDBReader(store, lambda: hosts(spool), cache)


def _told(error: LakelineageError) -> str:
    """The part of a message that says what to do."""
    return str(error).rpartition("; ")[2] if "; " in str(error) else str(error).rpartition(": ")[2]


def _examine(place: Place, deep: bool) -> Iterator[Finding]:
    for name, check in _CHECKS.items():
        try:
            yield from check(place, deep)
        except (LakelineageError, OSError) as error:
            yield Finding(name, Severity.ERROR, f"cannot be checked: {error}", "mend that first, then look again")


__all__ = ["Finding", "Severity", "examine", "examine_at"]
