"""What ``lake.json`` says of a lake."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from lakelineage.errors import ConcurrentWrite, InvalidInput, LakeDamaged, LakeTooNew
from lakelineage.model.ids import new_id
from lakelineage.model.values import Protection
from lakelineage.store.root import Root

#: Format of the lakes that this version writes.
FORMAT = 5
_FILE = "lake.json"
_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a lake.

    Attributes:
        format: version of the layout and of the tables.
        lake_id: tells this lake from any other, wherever it is moved.
        created_at: ISO 8601, UTC.
        protection: default level of protection of pins; None takes the best that is free.
    """

    format: int
    lake_id: str
    created_at: str
    protection: str | None = None


def load_or_create(root: Root, create: bool, protection: str | None) -> Settings:
    """Read a lake's settings, or make a new lake.

    Args:
        root: where the lake is.
        create: make it if there is none.
        protection: default protection of a new lake.

    Raises:
        InvalidInput: there is no lake and none is to be made, or the place holds something else.
        LakeTooNew: the lake was written by a newer version.
        LakeDamaged: ``lake.json`` cannot be read.
    """
    if not root.exists(_FILE):
        _create(root, create, protection)
    return _parse(root, root.read(_FILE))


def _create(root: Root, create: bool, protection: str | None) -> None:
    if not create:
        raise InvalidInput(f"there is no lake at {root.uri}; make one with `lakelineage init {root.uri}`")
    if root.local is not None and root.local.exists():
        if not root.local.is_dir():
            raise InvalidInput(f"{root.uri} is a file; a lake is a folder")
        if (root.local / "_delta_log").exists():
            raise InvalidInput(f"{root.uri} is a Delta table; choose an empty or new folder for the lake")
    if protection is not None and protection not in set(Protection):
        raise InvalidInput(f"protection {protection!r} is unknown; choose one of {', '.join(Protection)}")
    settings = Settings(FORMAT, new_id(), datetime.now(UTC).isoformat(timespec="seconds"), protection)
    root.write_new(_FILE, _encode(asdict(settings)))


def _encode(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, indent=2).encode() + b"\n"


def mark(root: Root, number: int) -> Settings:
    """Say in ``lake.json`` that the lake has a newer format now. What else it says stays, also what we do not know.

    Args:
        root: where the lake is; of a local one the caller holds the lease of upgrades.
        number: the format; that of a lake never goes back.

    Raises:
        ConcurrentWrite: others kept changing the file.
        StorageFailed: it cannot be written.
    """
    for _ in range(_ATTEMPTS):
        data, tag = root.read_tagged(_FILE)
        if _parse(root, data).format >= number:
            return _parse(root, data)
        newer = _encode({**json.loads(data), "format": number})
        if root.replace(_FILE, newer, tag):
            return _parse(root, newer)
    raise ConcurrentWrite(f"others kept changing {root.child(_FILE)}; try again")


def _parse(root: Root, data: bytes) -> Settings:
    try:
        values = json.loads(data)
        version, lake_id = values["format"], values["lake_id"]
        if type(version) is not int or version < 1 or not isinstance(lake_id, str) or not lake_id:
            raise ValueError(f"format {version!r}, lake_id {lake_id!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise LakeDamaged(
            f"{root.child(_FILE)} is not a lake's settings ({error}); restore it from a backup"
        ) from error
    if version > FORMAT:
        raise LakeTooNew(
            f"the lake {root.uri} has format {version}; this lakelineage reads up to {FORMAT}: "
            "install a newer one with `pip install --upgrade lakelineage`"
        )
    return Settings(version, lake_id, str(values.get("created_at", "")), values.get("protection"))
