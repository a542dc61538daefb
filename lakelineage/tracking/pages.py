"""Page tokens: where the next page of a search begins, and of which search.

A token holds the place of the last row in the order (keyset pagination), not a count of rows: runs that are added or
ended meanwhile neither shift a page nor repeat a row. It is msgpack with a checksum in URL-safe base64. It grants
nothing: a forged one could only ask for another place in the same order.
"""

import base64
import binascii
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput

if TYPE_CHECKING:
    import pyarrow as pa

#: Key of the schema's metadata under which a page carries the token of the next.
METADATA_KEY = b"next_page_token"
_VERSION = 1
_BYTES_OF_QUESTION = 12
_BYTES_OF_CHECKSUM = 6
_BROKEN = "the page token is damaged; pass it whole, as the search before gave it"


def question(*parts: Any) -> bytes:
    """A digest of what was asked: lake, filter, experiments, order, view."""
    return sha256(repr(parts).encode("utf-8", "surrogatepass")).digest()[:_BYTES_OF_QUESTION]


def encode(asked: bytes, place: Sequence[Any]) -> str:
    """A token.

    Args:
        asked: see :func:`question`.
        place: order values of the last row: texts, numbers (NaN and ±inf too), booleans, nulls.
    """
    import ormsgpack

    body = bytes([_VERSION]) + asked + ormsgpack.packb(list(place))
    return base64.urlsafe_b64encode(body + _checksum(body)).rstrip(b"=").decode()


def decode(token: str, asked: bytes) -> list[Any]:
    """The place that a token holds.

    Raises:
        InvalidInput: it is damaged, or belongs to another search.
    """
    import ormsgpack

    if not isinstance(token, str):
        raise InvalidInput(f"a page token is a text, not {type(token).__name__}")
    try:
        raw = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise InvalidInput(_BROKEN) from error
    body, checksum = raw[:-_BYTES_OF_CHECKSUM], raw[-_BYTES_OF_CHECKSUM:]
    if len(body) <= _BYTES_OF_QUESTION + 1 or checksum != _checksum(body):
        raise InvalidInput(_BROKEN)
    if body[0] != _VERSION:
        raise InvalidInput("the page token was made by another version of lakelineage; begin again without one")
    if body[1 : _BYTES_OF_QUESTION + 1] != asked:
        raise InvalidInput(
            "the page token belongs to another search; repeat its filter, experiments, order_by and view, "
            "or begin again without a token"
        )
    try:
        place = ormsgpack.unpackb(body[_BYTES_OF_QUESTION + 1 :])
    except ormsgpack.MsgpackDecodeError as error:
        raise InvalidInput(_BROKEN) from error
    if not isinstance(place, list):
        raise InvalidInput(_BROKEN)
    return place


def _checksum(body: bytes) -> bytes:
    return sha256(body).digest()[:_BYTES_OF_CHECKSUM]


def with_token(page: "pa.Table", token: str | None) -> "pa.Table":
    """The page, carrying the token of the next; without one it is the last."""
    if token is None:
        return page
    return page.replace_schema_metadata({**(page.schema.metadata or {}), METADATA_KEY: token.encode()})


def next_page_token(page: "pa.Table") -> str | None:
    """The token of the page after this one, for ``page_token``; None if this is the last.

    Args:
        page: Arrow table that :meth:`lakelineage.Lake.search_runs` returned for a limit.

    Raises:
        InvalidInput: it is no Arrow table; Polars and pandas frames carry no token.
    """
    schema: Any = getattr(page, "schema", None)
    if not hasattr(schema, "metadata"):
        raise InvalidInput(f"{type(page).__name__} carries no page token; use output_format='arrow' or search_pages")
    found = (schema.metadata or {}).get(METADATA_KEY)
    return None if found is None else found.decode()
