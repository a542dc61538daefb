"""The grammar of filters and orders: text in, a tree with places out; what the names mean is decided elsewhere.

    filter     := any
    any        := all (OR all)*
    all        := one (AND one)*
    one        := NOT one | "(" any ")" | comparison
    comparison := name (= | != | < | <= | > | >= | [NOT] LIKE | [NOT] ILIKE) value
                | name [NOT] IN "(" value ("," value)* ")"
                | name IS [NOT] NULL
    name       := [prefix "."] key
    order      := name [ASC | DESC]

Words and prefixes may be in capitals or not. A key is bare (letters, digits and ``_ . - / :``) or quoted with backticks
or double quotes; a text is in single or double quotes. A quotation mark inside is written twice. ``<>`` is ``!=``.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal, NoReturn

from lakelineage.errors import InvalidFilter

#: Characters of a filter or an order.
LONGEST = 10_000
#: Parentheses and NOTs inside each other. Python and DuckDB both go down by recursion.
DEEPEST = 50
#: Characters of the text that a message shows on each side of the place.
_SHOWN = 60

Kind = Literal["word", "quoted", "text", "number", "sign", "end"]

_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.]))
    | (?P<word>[^\W\d]\w*)
    | (?P<text>'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`)
    | (?P<sign><=|>=|!=|<>|==|&&|\|\||=~|[=<>(),.!;])
    """,
    re.VERBOSE,
)
_KEY = re.compile(r"\w(?:[\w./:-]*\w)?")
_COMPARED = {"=": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_KEYWORDS = ("AND", "OR", "NOT", "IN", "IS", "NULL", "LIKE", "ILIKE", "ASC", "DESC", "BETWEEN")
_SLIPS = {
    "==": "write a single =",
    "&&": "write AND",
    "||": "write OR",
    "!": "write NOT, or != for unequal",
    "=~": "there are no regular expressions; write LIKE with % and _",
    ";": "a filter is one condition, without ;",
}
_CURLY = "“”‘’„«»´"


@dataclass(frozen=True, slots=True)
class Place:
    """A part of the text: from ``start`` to before ``end``, counted in characters."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Token:
    kind: Kind
    text: str
    place: Place

    @property
    def word(self) -> str:
        """The keyword that it is, if it is one."""
        upper = self.text.upper()
        return upper if self.kind == "word" and upper in _KEYWORDS else ""


@dataclass(frozen=True, slots=True)
class Name:
    """What a condition is about.

    Attributes:
        prefix: as written, in small letters; empty if there is none.
        key: without its quotation marks.
        place: of the whole.
    """

    prefix: str
    key: str
    place: Place


@dataclass(frozen=True, slots=True)
class Value:
    """A literal: text, number (as it was written) or ``true``/``false``."""

    kind: Literal["text", "number", "bool"]
    text: str
    place: Place


@dataclass(frozen=True, slots=True)
class Comparison:
    """A name compared with values. ``sign`` is =, !=, <, <=, >, >=, LIKE, ILIKE, IN or IS NULL."""

    name: Name
    sign: str
    negated: bool
    values: tuple[Value, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Not:
    """What does not hold."""

    inner: "Condition"


@dataclass(frozen=True, slots=True)
class Several:
    """Conditions joined by AND, or by OR."""

    word: Literal["AND", "OR"]
    inner: "tuple[Condition, ...]"


Condition = Comparison | Not | Several


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


def parse_filter(source: Source) -> Condition:
    """The tree of a filter that is not blank.

    Raises:
        InvalidFilter: it cannot be understood; the message shows where.
    """
    parser = _Parser(source)
    condition = parser.any_of(0)
    if parser.next.text == ")":
        source.refuse("this ) closes nothing", parser.next.place)
    if parser.next.kind != "end":
        parser.unexpected("AND, OR or the end")
    return condition


def parse_order(source: Source) -> tuple[Name, bool]:
    """The name of an order, and whether it descends.

    Raises:
        InvalidFilter: it cannot be understood; the message shows where.
    """
    parser = _Parser(source)
    name = parser.name()
    descending = parser.take_word("DESC")
    if not descending:
        parser.take_word("ASC")
    if parser.next.kind != "end":
        parser.unexpected("ASC, DESC or the end")
    return name, descending


class _Parser:
    """Goes through the text once, a token at a time: keys after a dot follow other rules than words."""

    def __init__(self, source: Source) -> None:
        self._source = source
        text = source.text
        if len(text) > LONGEST:
            source.refuse(f"{len(text):,} characters; {LONGEST:,} are the most", Place(LONGEST, LONGEST))
        for odd in re.finditer("[\0\ud800-\udfff]", text):
            source.refuse(f"the character U+{ord(odd[0]):04X} cannot be kept in any value", Place(*odd.span()))
        self.next = self._scan(0)

    def _scan(self, start: int) -> _Token:
        text = self._source.text
        match = _TOKEN.match(text, start)
        if match is not None and match.lastgroup == "space":
            start = match.end()
            match = _TOKEN.match(text, start)
        if match is not None:
            return _Token(match.lastgroup, match[0], Place(*match.span()))  # type: ignore[arg-type]
        if start >= len(text):
            return _Token("end", "", Place(start, start))
        return self._no_token(start)

    def _no_token(self, start: int) -> NoReturn:
        character = self._source.text[start]
        place = Place(start, start + 1)
        if character in "'\"`":
            self._source.refuse(f"the quotation mark {character} is not closed", place, "close it, or write it twice")
        if character in _CURLY:
            self._source.refuse(f"{character} is no quotation mark here", place, "write ' on both sides")
        if character in "+-.0123456789":
            word = re.match(r"\S+", self._source.text[start:])
            end = start + (word.end() if word else 1)
            self._source.refuse("this is no number", Place(start, end), "text goes in single quotes")
        self._source.refuse(f"{character!r} means nothing here", place, _SLIPS.get(character, ""))

    def _take(self) -> _Token:
        token = self.next
        self.next = self._scan(token.place.end)
        return token

    def take_word(self, word: str) -> bool:
        """Go past a keyword, if it is next."""
        found = self.next.word == word
        if found:
            self._take()
        return found

    def _take_sign(self, sign: str) -> bool:
        found = self.next.kind == "sign" and self.next.text == sign
        if found:
            self._take()
        return found

    def unexpected(self, wanted: str, hint: str = "") -> NoReturn:
        """Refuse what is next."""
        token = self.next
        found = "the end" if token.kind == "end" else f"{token.text[:40]!r}"
        hint = hint or (_SLIPS.get(token.text, "") if token.kind == "sign" else "")
        self._source.refuse(f"{found} where {wanted} was expected", token.place, hint)

    def any_of(self, depth: int) -> Condition:
        """Conditions joined by OR."""
        found = [self._all_of(depth)]
        while self.take_word("OR"):
            found.append(self._all_of(depth))
        return found[0] if len(found) == 1 else Several("OR", tuple(found))

    def _all_of(self, depth: int) -> Condition:
        found = [self._one(depth)]
        while self.take_word("AND"):
            found.append(self._one(depth))
        return found[0] if len(found) == 1 else Several("AND", tuple(found))

    def _one(self, depth: int) -> Condition:
        opened = self.next
        if depth > DEEPEST:
            self._source.refuse(f"more than {DEEPEST} parentheses and NOTs inside each other", opened.place)
        if self.take_word("NOT"):
            return Not(self._one(depth + 1))
        if self._take_sign("("):
            inner = self.any_of(depth + 1)
            if not self._take_sign(")"):
                self.unexpected("AND, OR or )")
            return inner
        return self._comparison()

    def name(self) -> Name:
        """A key with or without prefix."""
        if self.next.kind not in ("word", "quoted") or self.next.word in ("AND", "OR", "NOT", "IN", "IS", "NULL"):
            self.unexpected("metrics.…, params.…, tags.…, datasets.… or an attribute")
        first = self.next
        end = first.place.end
        text = self._source.text
        if text[end : end + 1] != ".":
            self._take()
            return Name("", _unquoted(first), first.place)
        key = self._key(end + 1)
        place = Place(first.place.start, key.place.end)
        self.next = self._scan(key.place.end)
        return Name(_unquoted(first).lower(), _unquoted(key), place)

    def _key(self, start: int) -> _Token:
        text = self._source.text
        bare = _KEY.match(text, start)
        if bare is not None:
            return _Token("word", bare[0], Place(*bare.span()))
        if text[start : start + 1] not in ("`", '"'):
            self._source.refuse(
                "a key was expected after the dot",
                Place(start, start + 1),
                "quote a key with other characters than letters, digits and _ . - / : with backticks",
            )
        return self._scan(start)

    def _comparison(self) -> Comparison:
        name = self.name()
        if self.take_word("IS"):
            negated = self.take_word("NOT")
            if not self.take_word("NULL"):
                self.unexpected("NULL")
            return Comparison(name, "IS NULL", negated, (), name.place)
        sign = self.next
        if sign.kind == "sign" and sign.text in _COMPARED:
            self._take()
            return Comparison(name, _COMPARED[sign.text], False, (self._value(),), sign.place)
        negated = self.take_word("NOT")
        word = self.next.word
        if word not in ("IN", "LIKE", "ILIKE"):
            self._no_sign(negated)
        self._take()
        return Comparison(name, word, negated, self._listed() if word == "IN" else (self._value(),), sign.place)

    def _no_sign(self, negated: bool) -> NoReturn:
        if negated:
            self.unexpected("IN, LIKE or ILIKE")
        between = "write x >= 1 AND x <= 2" if self.next.word == "BETWEEN" else ""
        spaced = "quote a key with spaces with backticks" if self.next.kind in ("word", "quoted") else ""
        self.unexpected("a comparison (=, !=, <, <=, >, >=, LIKE, ILIKE, IN, IS NULL)", between or spaced)

    def _listed(self) -> tuple[Value, ...]:
        if not self._take_sign("("):
            self.unexpected("(", "write IN ('a', 'b')")
        found = [self._value()]
        while self._take_sign(","):
            found.append(self._value())
        if not self._take_sign(")"):
            self.unexpected(", or )")
        return tuple(found)

    def _value(self) -> Value:
        token = self.next
        if token.kind == "word" and token.text.lower() in ("true", "false"):
            self._take()
            return Value("bool", token.text.lower(), token.place)
        if token.kind == "number":
            self._take()
            return Value("number", token.text, token.place)
        if token.kind == "text" or (token.kind == "quoted" and token.text[0] == '"'):
            self._take()
            return Value("text", _unquoted(token), token.place)
        return self._no_value(token)

    def _no_value(self, token: _Token) -> NoReturn:
        if token.word == "NULL":
            self.unexpected("a value", "write IS NULL or IS NOT NULL")
        if token.kind in ("word", "quoted"):
            text = _unquoted(token).replace("'", "''")
            self.unexpected("a value", f"text goes in quotes: '{text[:40]}'")
        self.unexpected("a value")


def _unquoted(token: _Token) -> str:
    mark = token.text[0]
    if mark not in "'\"`":
        return token.text
    return token.text[1:-1].replace(mark * 2, mark)
