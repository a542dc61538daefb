"""Ids. Runs get UUIDv7 (RFC 9562): time-ordered, so that Parquet statistics prune look-ups by run."""

import hashlib
from collections.abc import Iterable


def new_id() -> str:
    """A UUIDv7 as 32 hex digits."""
    import uuid_utils

    return str(uuid_utils.uuid7().hex)


def digest(parts: Iterable[str], length: int = 32) -> str:
    """SHA-256 over length-prefixed parts, so that no two different sequences collide by concatenation.

    Returns:
        The first ``length`` hex digits.
    """
    pieces: list[bytes] = []
    for part in parts:
        data = part.encode()
        pieces += (len(data).to_bytes(8, "little"), data)
    return hashlib.sha256(b"".join(pieces)).hexdigest()[:length]
