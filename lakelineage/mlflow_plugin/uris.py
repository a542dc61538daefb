"""URIs by which MLflow names a lake: ``lakelineage:///absolute/path`` and ``lakelineage+s3://bucket/path``."""

from functools import lru_cache
from urllib.parse import quote, unquote, urlsplit

from lakelineage.errors import InvalidInput

SCHEME = "lakelineage"
#: Schemes of object stores that a lake can be on. One entry point of MLflow is needed for each.
REMOTE = ("s3", "gs", "az")
_ADVICE = f"write {SCHEME}:///absolute/path, or {SCHEME}+s3://bucket/path"


def is_lake(uri: object) -> bool:
    """Whether a URI is one of a lake."""
    return isinstance(uri, str) and uri.partition(":")[0] in (SCHEME, *(f"{SCHEME}+{store}" for store in REMOTE))


def place(uri: str) -> str:
    """The folder or object-store URI that a URI of MLflow's means.

    Args:
        uri: also with a path inside a lake.

    Raises:
        InvalidInput: it is no URI of a lake.
    """
    parts = urlsplit(uri)
    scheme, _, store = parts.scheme.partition("+")
    if scheme != SCHEME or (store and store not in REMOTE):
        raise InvalidInput(f"{uri!r} names no lake; {_ADVICE}")
    if parts.query or parts.fragment:
        raise InvalidInput(f"{uri!r} has a query or a fragment; {_ADVICE}, and options in LAKELINEAGE_STORAGE_OPTIONS")
    if store:
        if not parts.netloc:
            raise InvalidInput(f"{uri!r} names no bucket; {_ADVICE}")
        return f"{store}://{parts.netloc}{parts.path}".rstrip("/")
    if parts.netloc or not parts.path.startswith("/") or parts.path == "/":
        raise InvalidInput(f"{uri!r} is no absolute path; {_ADVICE}")
    return unquote(parts.path).rstrip("/")


@lru_cache(maxsize=64)
def plain(uri: str) -> str:
    """The URI of a lake as it is written in the URIs of its artifacts."""
    return of_place(place(uri))


def of_place(uri: str) -> str:
    """The URI of MLflow's for a folder or object-store URI: the other way round."""
    if "://" in uri:
        return f"{SCHEME}+{uri}"
    return f"{SCHEME}://{quote(uri)}"
