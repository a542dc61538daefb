"""Deletion vectors: which rows of a data file a version of its table does not have.

Source: Delta transaction log protocol, "Deletion Vector Format" and "Deletion Vector Descriptor Schema".
"""

import json
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lakelineage.errors import SnapshotLost
from lakelineage.store.log_history import base85, vector_path

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Marks the portable form of a 64-bit Roaring bitmap; the protocol knows no other.
_MAGIC = (1681511377).to_bytes(4, "little")


def file_of(descriptor: str) -> str | None:
    """Path of the file that holds a vector, as a log names files; None for a vector that is in the log itself.

    Args:
        descriptor: JSON, as the log has it.
    """
    vector = json.loads(descriptor)
    if vector["storageType"] in ("i", "p", "u"):
        return vector_path(vector)
    raise SnapshotLost(f"the deletion vector {descriptor} is stored in a way that the Delta protocol does not name")


def positions(descriptor: str, read: "Callable[[str], bytes]") -> "NDArray[np.int64]":
    """Positions, from 0, of the rows that a vector hides; ascending.

    Args:
        descriptor: JSON, as the log has it.
        read: gives the content of the vector's file, by the path of :func:`file_of`.

    Raises:
        SnapshotLost: the vector's file is not what was pinned.
    """
    import numpy as np
    from pyroaring import BitMap64

    vector = json.loads(descriptor)
    path = file_of(descriptor)
    data = base85(vector["pathOrInlineDv"])[: vector["sizeInBytes"]] if path is None else _cut(read(path), vector, path)
    if data[:4] != _MAGIC:
        raise SnapshotLost(f"the deletion vector {descriptor} has an unknown format ({data[:4].hex()})")
    found: NDArray[np.int64] = np.asarray(BitMap64.deserialize(data[4:]).to_array(), dtype=np.int64)
    if len(found) != vector["cardinality"]:
        raise SnapshotLost(f"the deletion vector {descriptor} hides {len(found)} rows, not those that it tells of")
    return found


def _cut(content: bytes, vector: Mapping[str, Any], path: str) -> bytes:
    """A vector from its file: size, vector and checksum, the numbers in big-endian order."""
    start = vector.get("offset") or 0
    size = vector["sizeInBytes"]
    data = content[start + 4 : start + 4 + size]
    told = int.from_bytes(content[start : start + 4], "big")
    checksum = int.from_bytes(content[start + 4 + size : start + 8 + size], "big")
    if told != size or len(data) < size or zlib.crc32(data) != checksum:
        raise SnapshotLost(f"the file {path} does not hold the deletion vector that was pinned", (path,))
    return data
