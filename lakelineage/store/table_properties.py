"""Properties of users' tables that say how long engines keep files and log, and changing them.

Source: Delta transaction log protocol, "Table Features" and "Vacuum Protocol Check"; Delta Lake documentation, "Delta
table properties reference". Defaults are those of Delta Lake on Spark and of delta-rs.
"""

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass

from lakelineage.errors import ConcurrentWrite, NotProtectable
from lakelineage.store import forks
from lakelineage.store.source import Options, _open, _plain

#: How long files stay that no version needs any more, counted from the commit that removed them.
FILES = "delta.deletedFileRetentionDuration"
#: How long the entries of the log stay.
LOG = "delta.logRetentionDuration"
DEFAULTS = {FILES: "interval 1 week", LOG: "interval 30 days"}

_UNITS = {
    "microsecond": dt.timedelta(microseconds=1),
    "millisecond": dt.timedelta(milliseconds=1),
    "second": dt.timedelta(seconds=1),
    "minute": dt.timedelta(minutes=1),
    "hour": dt.timedelta(hours=1),
    "day": dt.timedelta(days=1),
    "week": dt.timedelta(weeks=1),
}
_INTERVAL = re.compile(rf"(?:interval)?((?:\s*\d+\s*(?:{'|'.join(_UNITS)})s?)+)\s*", re.IGNORECASE)
_PART = re.compile(rf"(\d+)\s*({'|'.join(_UNITS)})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Properties:
    """The properties of a table now.

    Attributes:
        uri: of the table, absolute.
        table_id: its id.
        version: newest version.
        values: property → value.
    """

    uri: str
    table_id: str
    version: int
    values: Mapping[str, str]

    def interval(self, name: str) -> dt.timedelta | None:
        """The length of an interval, by default that of Delta; None if it cannot be understood."""
        return parse(self.values.get(name) or DEFAULTS[name])


def parse(text: str) -> dt.timedelta | None:
    """The length of an interval such as ``interval 2 weeks``; None if it cannot be understood (months have none)."""
    found = _INTERVAL.fullmatch(text.strip())
    if found is None:
        return None
    try:
        return sum((int(n) * _UNITS[unit.lower()] for n, unit in _PART.findall(found[1])), dt.timedelta())
    except OverflowError:
        return dt.timedelta.max


def read(uri: str, options: Options) -> Properties:
    """The properties of the table that is at a place now.

    Raises:
        TableNotFound: there is none.
        StorageFailed: the store cannot be reached.
    """
    table = _open(uri, options, without_files=True)
    metadata = table.metadata()
    values = {name: value for name, value in metadata.configuration.items() if value is not None}
    return Properties(uri, str(metadata.id), table.version(), values)


def change(before: Properties, options: Options, values: Mapping[str, str]) -> int:
    """Set properties in one commit. Commits of other writers that are in flight fail.

    Args:
        before: the properties that the change was decided on.
        options: storage options.
        values: property → value.

    Returns:
        The version committed.

    Raises:
        ConcurrentWrite: somebody else changed the table's metadata at the same time, or made another table there.
        NotProtectable: the Delta engine cannot write this table, or the store cannot be written to.
    """
    forks.guard()
    from deltalake import CommitProperties, DeltaTable
    from deltalake.exceptions import CommitFailedError, DeltaError

    try:
        table = DeltaTable(before.uri, version=before.version, storage_options=_plain(options), without_files=True)
        if str(table.metadata().id) != before.table_id:
            raise ConcurrentWrite(f"{before.uri} was dropped and made again at this moment; look at it, and try again")
        once = CommitProperties(max_commit_retries=0)
        table.alter.set_table_properties(dict(values), raise_if_not_exists=False, commit_properties=once)
        return table.version()
    except (DeltaError, OSError) as error:
        # The engine has one error for lost races and for tables that it cannot write.
        if isinstance(error, CommitFailedError) and read(before.uri, options).version > before.version:
            raise ConcurrentWrite(f"{before.uri} was written to at the same time; try again ({error})") from error
        raise NotProtectable(
            f"the properties of {before.uri} cannot be changed: {error}. Keep the files themselves instead: "
            "`lakelineage snapshot archive SNAPSHOT`"
        ) from error
