"""Filters and orders that cannot be understood: the place in the text, what is wrong there, and what to write."""

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from lakelineage.errors import InvalidFilter

if TYPE_CHECKING:
    from lark import Token, UnexpectedCharacters, UnexpectedToken

#: Characters of the text that a message shows on each side of the place.
_SHOWN = 60
#: What the grammar expects, in words: the first of these tokens that may stand at a place tells.
_EXPECTED = {
    "WORD": "metrics.…, params.…, tags.…, datasets.… or an attribute",
    "NUMBER": "a value",
    "SIGN": "a comparison (=, !=, <, <=, >, >=, LIKE, ILIKE, IN, IS NULL)",
}
#: Where none of those may stand: all that may.
_WORDS = {
    "COMMA": ",",
    **{word: word for word in ("AND", "OR", "IN", "LIKE", "ILIKE", "NOT", "NULL", "ASC", "DESC")},
    "LPAR": "(",
    "RPAR": ")",
    "$END": "the end",
}
#: What is written there, what was expected, and what to write instead.
_ADVICE = (
    (r"null$", "a value", "write IS NULL or IS NOT NULL"),
    (r"(nan|inf|infinity)$", "a value", "no number equals NaN; in SQL write isnan(metrics['rmse']) or isinf(…)"),
    (r"(now|today|current_\w+)$", "a value", "write ms since 1970, or a time such as '2026-11-21T13:00:00+01:00'"),
    (r"(metric|param|parameter|tag|attribute|dataset)s?\.", "a value", "a filter compares with values; SQL with all"),
    (r"[^\W\d]|`", "a value", "text goes in quotes: '{}'"),
    (r"between$", "a comparison", "write x >= 1 AND x <= 2"),
    (r"[^\W\d]|[`\"]", "a comparison", "quote a key with spaces with backticks"),
    (r"", "(", "write IN ('a', 'b')"),
)
#: What begins no token, what is wrong with it, and what to write instead. A group is what the caret shows.
_ODD = (
    (r"(?:(?<=[\w`\"])\.)?([`\"])|'", "the quotation mark {} is not closed", "close it, or write it twice"),
    (
        r"(?<=[\w`\"])\.(.?)",
        "a key was expected after the dot",
        "quote a key with other characters than letters, digits and _ . - / : with backticks",
    ),
    (r"[“”‘’„«»´]", "{} is no quotation mark here", "write ' on both sides"),
    (r"([-+*/%])(?![0-9.])", "{} means nothing here", "filters and orders do not calculate, SQL does; write … DESC"),
    (r"(?:[-+0-9]|\.[0-9])\S*", "this is no number", "text goes in single quotes"),
    (r"==", "{} means nothing here", "write a single ="),
    (r"=~", "{} means nothing here", "there are no regular expressions; write LIKE with % and _"),
    (r"&&", "{} means nothing here", "write AND"),
    (r"\|\|", "{} means nothing here", "write OR"),
    (r"!", "{} means nothing here", "write NOT, or != for unequal"),
    (r";", "{} means nothing here", "a filter is one condition, without ;"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """A part of the text: from ``start`` to before ``end``, counted in characters."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Source:
    """A text that is being understood, and what it is called in messages.

    Attributes:
        text: what the user wrote.
        label: ``filter`` or ``order``.
        advice: how such a text is written.
    """

    text: str
    label: str
    advice: str

    def refuse(self, what: str, place: Place, hint: str = "") -> NoReturn:
        """Raise InvalidFilter with the text and a caret under the place.

        Args:
            what: what is wrong there.
            place: where.
            hint: what to write instead; default the advice.
        """
        line, mark = _excerpt(self.text, place)
        raise InvalidFilter(f"{self.label}: {what}\n  {line}\n  {mark}\n{hint or self.advice}")


def _excerpt(text: str, place: Place) -> tuple[str, str]:
    """The line of the place, cut to what fits a terminal, and a line with carets under the place."""
    start = min(place.start, len(text))
    first = max(text.rfind("\n", 0, start) + 1, start - _SHOWN)
    newline = text.find("\n", start)
    last = min(len(text) if newline < 0 else newline, start + _SHOWN)
    before, after = ("…" if first > 0 else ""), ("…" if last < len(text) else "")
    line = before + "".join(c if c.isprintable() else " " for c in text[first:last]) + after
    column = sum(_width(c) for c in line[: len(before) + start - first])
    marked = text[start : max(min(place.end, last), start)]
    return line, " " * column + "^" * max(1, sum(_width(c) for c in marked))


def _width(character: str) -> int:
    """Columns that a terminal gives to a character."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def refuse_characters(source: Source, error: "UnexpectedCharacters") -> NoReturn:
    """Raise InvalidFilter for characters that begin no token."""
    start = error.pos_in_stream or 0
    for pattern, what, hint in _ODD:
        odd = re.compile(pattern).match(source.text, start)
        if odd is not None:
            group = odd.lastindex or 0
            source.refuse(what.format(odd[group]), Place(*odd.span(group)), hint)
    source.refuse(f"{source.text[start]!r} means nothing here", Place(start, start + 1))


def refuse_token(source: Source, error: "UnexpectedToken") -> NoReturn:
    """Raise InvalidFilter for a token that may not stand where it does."""
    token, accepted = error.token, set(error.accepts)
    if "RPAR" in accepted and "COMMA" not in accepted:
        accepted |= {"AND", "OR"}  # the end, as a look-ahead, has already closed the condition in the parentheses
    if token.type == "$END":
        found, place = "the end", Place(len(source.text), len(source.text))
    else:
        found, place = repr(str(token[:40])), place_of(token)
    if token.type == "RPAR" and "$END" in accepted:
        source.refuse("this ) closes nothing", place)
    expected = _expected(accepted)
    source.refuse(f"{found} where {expected} was expected", place, _advice(token, expected))


def _expected(accepted: set[str]) -> str:
    for kind, told in _EXPECTED.items():
        if kind in accepted:
            return told
    *words, last = (word for kind, word in _WORDS.items() if kind in accepted)
    return f"{', '.join(words)} or {last}" if words else last


def _advice(token: "Token", expected: str) -> str:
    for pattern, there, hint in _ADVICE:
        if expected.startswith(there) and re.match(pattern, token, re.IGNORECASE):
            return hint.format(unquoted(token).replace("'", "''")[:40])
    return ""


def place_of(token: "Token") -> Place:
    """Where a token stands."""
    return Place(token.start_pos or 0, token.end_pos or 0)


def unquoted(written: str) -> str:
    """What is written, without its quotation marks if it has some."""
    mark = written[:1]
    return written[1:-1].replace(mark * 2, mark) if mark in ("'", '"', "`") else str(written)
