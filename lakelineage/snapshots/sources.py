"""From what users name to a version of a Delta table: finding it, or making a managed one of what is no table."""

import datetime as dt
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lakelineage.errors import InvalidInput, TableNotFound
from lakelineage.snapshots import convert, folders
from lakelineage.snapshots.folders import Contents
from lakelineage.store import source as tables
from lakelineage.store.source import TableVersion, VersionHead
from lakelineage.store.source_write import Origin

if TYPE_CHECKING:
    from lakelineage.engine import Engine

Moment = dt.datetime | dt.date | str


@dataclass(frozen=True)
class Found:
    """A source, found.

    Attributes:
        head: which version of which table.
        describe: lists its files, which takes longer.
        name: what it is called if nothing else is said.
        origin: file or folder that it was made from.
        folder: what the folder holds, if it is one of files.
    """

    head: VersionHead
    describe: Callable[[], TableVersion]
    name: str | None
    origin: str | None = None
    folder: Contents | None = None


def find(
    engine: "Engine",
    source: Any,
    version: int | None,
    as_of: Moment | None,
    name: str | None,
    told: Callable[[int], Any] = lambda _: None,
) -> Found:
    """Find a source; what is no Delta table becomes a version of a managed one.

    Args:
        engine: the lake.
        source: see :func:`lakelineage.snapshots.pin`.
        version: Delta version.
        as_of: the newest version committed by then.
        name: what it is called.
        told: is called with the bytes of files in a folder that are hashed.

    Raises:
        TableNotFound, VersionNotFound: no such table or version.
        InvalidInput: it cannot be pinned, or has no versions to choose from.
    """
    delta = tables.from_object(source)
    if delta is not None:
        uri, options, loaded = delta
        at = loaded if version is None and as_of is None else version
        return _of_table(uri, options, at, as_of, name)
    if isinstance(source, (str, os.PathLike)):
        return _of_path(engine, os.fspath(source), version, as_of, name, told)
    data = convert.of_object(source)
    if data is None:
        raise InvalidInput(
            f"a {type(source).__module__}.{type(source).__name__} cannot be pinned; give a Delta table, a path, or "
            "Arrow, pandas or Polars data"
        )
    refuse_time(version, as_of, f"a {type(source).__name__}")
    if name is None:
        raise InvalidInput(f"a {type(source).__name__} has no name of its own; pass name='…'")
    return made(convert.keep(engine.root, name, data), name)


def made(table: TableVersion, name: str | None, origin: str | None = None, folder: Contents | None = None) -> Found:
    """A version whose files are known already."""
    return Found(table.head, lambda: table, name, origin, folder)


def refuse_time(version: object, as_of: object, what: str) -> None:
    """Refuse a choice of version where there are none.

    Raises:
        InvalidInput: there is one.
    """
    if version is not None or as_of is not None:
        raise InvalidInput(f"version={version!r}, as_of={as_of!r}: {what} has no versions to choose from; omit them")


def _of_table(uri: str, options: tables.Options, version: int | None, as_of: Moment | None, name: str | None) -> Found:
    head = tables.identify(uri, options, version=version, as_of=as_of)
    return Found(head, lambda: tables.describe(head), name or _last_part(head.uri))


def _of_path(
    engine: "Engine", text: Any, version: int | None, as_of: Moment | None, name: str | None, told: Callable[[int], Any]
) -> Found:
    if not isinstance(text, str):
        raise InvalidInput(f"the path {text!r} must be text, not bytes")
    place = tables.absolute(text)
    options = None if tables.is_local(place) else _options(engine)
    if tables.is_local(place) and Path(place).is_dir() and not tables.is_delta(place):
        return _of_folder(engine, place, None, version, as_of, name, told)
    if Path(place).suffix.lower() not in convert.FILE_KINDS or tables.is_delta(place, options):
        if tables.is_local(place) and Path(place).is_file():
            kinds = ", ".join(convert.FILE_KINDS)
            raise TableNotFound(f"{place} is no Delta table, and no file of a kind that can be converted ({kinds})")
        try:
            return _of_table(place, options, version, as_of, name)
        except TableNotFound:
            if tables.is_local(place):
                raise
        return _of_folder(engine, place, options, version, as_of, name, told)
    refuse_time(version, as_of, f"the file {place}")
    if not tables.is_local(place):
        raise InvalidInput(f"{place} is a file on an object store; download it, or give a Delta table")
    used = name or Path(place).stem
    return made(_converted(engine, Path(place), used), used, place)


def _converted(engine: "Engine", path: Path, name: str) -> TableVersion:
    with convert.reading(path):
        return convert.keep(engine.root, name, convert.of_file(path), _origin(engine, str(path)))


def _of_folder(
    engine: "Engine",
    place: str,
    options: tables.Options,
    version: int | None,
    as_of: Moment | None,
    name: str | None,
    told: Callable[[int], Any],
) -> Found:
    """A folder of files becomes a table that lists them."""
    contents, listed = folders.look(engine, place, options, told)
    if not contents.files:
        raise TableNotFound(
            f"{place} is no Delta table (it has no _delta_log), and there are no files in it that could be pinned"
        )
    refuse_time(version, as_of, f"the folder {place}")
    used = name or _last_part(place)
    origin = _origin(engine, place)
    table = convert.keep_content(engine.root, used, listed.content(), listed.schema, listed.batches, origin)
    return made(table, used, place, contents)


def _origin(engine: "Engine", place: str) -> Origin:
    """Where data comes from, and what the lake's tables tell of it."""

    def recorded(uri: str) -> bool:
        sql = "select 1 from snapshots where table_uri = ? and origin = ? limit 1"
        return bool(engine.query(sql, [uri, place]).num_rows)

    return Origin(place, recorded)


def _options(engine: "Engine") -> Mapping[str, str] | None:
    return engine.root.storage_options or None


def _last_part(uri: str) -> str:
    return Path(urlsplit(uri).path if "://" in uri else uri).name
