"""Ids of runs, and the beginnings of ids that people type."""

from contextlib import suppress

from lakelineage.engine import Reads
from lakelineage.errors import InvalidInput, RunNotFound
from lakelineage.model import validate

_DIGITS = frozenset("0123456789abcdef")
#: Digits of a full id, and the fewest that are taken for the beginning of one.
_FULL, _FEWEST = 32, 4
#: Runs that an ambiguous beginning lists.
_CHOICES = 5


def run_id_of(run_id: object) -> str:
    """A run id, checked for its form.

    Raises:
        InvalidInput: it cannot be one.
    """
    text = validate.text(run_id, "run id", 64).strip().lower()
    if len(text) != _FULL or not _DIGITS.issuperset(text):
        raise InvalidInput(f"{run_id!r} is no run id: those are 32 hex digits (`lakelineage runs` lists them)")
    return text


def full_id(engine: Reads, prefix: object) -> str:
    """The id of the one run that begins so, as git takes abbreviated commits. A full id costs no look-up.

    Args:
        engine: the open lake.
        prefix: at least 4 hex digits. Ids begin with the time of the start, so runs of one day share about 5.

    Raises:
        RunNotFound: none does.
        InvalidInput: several do (the message lists them), or it cannot be the beginning of a run id.
    """
    text = validate.text(prefix, "run id", 64).strip().lower()
    if not _FEWEST <= len(text) <= _FULL or not _DIGITS.issuperset(text):
        raise InvalidInput(
            f"{prefix!r} is no run id: those are 32 hex digits, or the first 4 or more of them (`lakelineage runs` "
            "lists them)"
        )
    if len(text) == _FULL:
        return text
    sql = "SELECT run_id, name FROM runs WHERE starts_with(run_id, ?) ORDER BY run_id DESC LIMIT ?"
    found = engine.query(sql, [text, _CHOICES + 1]).to_pylist()
    if not found:
        raise RunNotFound(f"no run has an id that begins with {prefix!r}; `lakelineage runs` lists them")
    if len(found) > 1:
        listed = ", ".join(f"{row['run_id']} ({row['name']})" for row in found[:_CHOICES])
        more = ", …" if len(found) > _CHOICES else ""
        raise InvalidInput(f"several runs have an id that begins with {prefix!r}: {listed}{more}; write more digits")
    return str(found[0]["run_id"])


def completed(engine: Reads, text: str) -> str:
    """The full id, if the text is the beginning of just one; else the text, for the caller to tell what is wrong."""
    with suppress(RunNotFound, InvalidInput):
        return full_id(engine, text)
    return text
