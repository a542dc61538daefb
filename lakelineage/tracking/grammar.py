"""The grammar of filters and orders: text in, a tree with places out; what the names mean is decided elsewhere.

Words and prefixes may be in capitals or not. A key is bare (letters, digits and ``_ . - / :``) or quoted with backticks
or double quotes; a text is in single or double quotes. A quotation mark inside is written twice. ``<>`` is ``!=``.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from lakelineage.tracking.mistakes import Place, Source, place_of, refuse_characters, refuse_token, unquoted

if TYPE_CHECKING:
    from lark import Lark, Token, UnexpectedInput

#: Characters of a filter or an order.
LONGEST = 10_000
#: Parentheses and NOTs inside each other. Python and DuckDB both go down by recursion.
DEEPEST = 50

# For Lark. A name with a prefix is one token: no space around its dot, and its key may be a word of the language.
_GRAMMAR = r"""
?filter: any_of
?any_of: all_of (OR all_of)*
?all_of: _one (AND _one)*
_one: negated | group | comparison
negated: NOT _one
!group: "(" any_of ")"
comparison: _name (SIGN | NOT? (LIKE | ILIKE)) _value
    | _name NOT? IN "(" _value ("," _value)* ")"
    | _name IS NOT? NULL
order: _name (ASC | DESC)?
_name: WORD | DOTTED | BACKTICKS | DOUBLE
_value: TEXT | DOUBLE | NUMBER | BOOL

DOTTED.2: (WORD | BACKTICKS | DOUBLE) "." (KEY | BACKTICKS | DOUBLE)
KEY: /\w(?:[\w.\/:-]*\w)?/
AND.1: /and\b/i
OR.1: /or\b/i
NOT.1: /not\b/i
LIKE.1: /like\b/i
ILIKE.1: /ilike\b/i
IN.1: /in\b/i
IS.1: /is\b/i
NULL.1: /null\b/i
ASC.1: /asc\b/i
DESC.1: /desc\b/i
BOOL.1: /(true|false)\b/i
WORD: /[^\W\d]\w*/
BACKTICKS: /`(?:[^`]|``)*`/
DOUBLE: /"(?:[^"]|"")*"/
TEXT: /'(?:[^']|'')*'/
NUMBER: /[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?(?![\w.])/i
SIGN: /<=|>=|!=|<>|<|>|=(?![=~])/
%ignore /\s+/
"""
_PREFIX = re.compile(r"""(`(?:[^`]|``)*`|"(?:[^"]|"")*"|\w+)\.""")
_VALUES: dict[str, Literal["text", "number", "bool"]] = {
    "TEXT": "text",
    "DOUBLE": "text",
    "NUMBER": "number",
    "BOOL": "bool",
}


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
    """A literal. Texts are without their quotation marks; numbers and ``true``/``false`` are as they were written."""

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


def parse_filter(source: Source) -> Condition:
    """The tree of a filter that is not blank.

    Raises:
        InvalidFilter: it cannot be understood; the message shows where.
    """
    return _condition(source, _parse(source), 0)


def parse_order(source: Source) -> tuple[Name, bool]:
    """The name of an order, and whether it descends.

    Raises:
        InvalidFilter: it cannot be understood; the message shows where.
    """
    name, *direction = _parse(source).children
    return _name(name), any(word.type == "DESC" for word in direction)


@lru_cache(1)
def _parser() -> "Lark":
    from lark import Lark

    return Lark(_GRAMMAR, parser="lalr", lexer="basic", start=["filter", "order"])


def _parse(source: Source) -> Any:
    """Lark's tree; it is as deep as the text wants, and made without recursion."""
    from lark import UnexpectedInput

    if len(source.text) > LONGEST:
        source.refuse(f"{len(source.text):,} characters; {LONGEST:,} are the most", Place(LONGEST, LONGEST))
    for odd in re.finditer("[\0\ud800-\udfff]", source.text):
        source.refuse(f"the character U+{ord(odd[0]):04X} cannot be kept in any value", Place(*odd.span()))
    try:
        return _parser().parse(source.text, start=source.label)
    except UnexpectedInput as error:
        found = error
    return _refuse(source, found)  # outside of `except`: the user's traceback says nothing of Lark


def _refuse(source: Source, error: "UnexpectedInput") -> NoReturn:
    from lark import Token, UnexpectedCharacters, UnexpectedToken

    read = error.interactive_parser.parser_state.value_stack
    opened = [part for part in read if isinstance(part, Token) and part.type in ("NOT", "LPAR")]
    if len(opened) > DEEPEST:
        _too_deep(source, opened[DEEPEST])
    if isinstance(error, UnexpectedToken):
        refuse_token(source, error)
    if isinstance(error, UnexpectedCharacters):
        refuse_characters(source, error)
    raise error


def _too_deep(source: Source, token: "Token") -> NoReturn:
    source.refuse(f"more than {DEEPEST} parentheses and NOTs inside each other", place_of(token))


def _condition(source: Source, tree: Any, depth: int) -> Condition:
    if tree.data == "comparison":
        return _comparison(*tree.children)
    if tree.data in ("any_of", "all_of"):
        inner = tuple(_condition(source, child, depth) for child in tree.children[::2])
        return Several("OR" if tree.data == "any_of" else "AND", inner)
    opening, inside, *_ = tree.children
    if depth == DEEPEST:
        _too_deep(source, opening)
    condition = _condition(source, inside, depth + 1)
    return Not(condition) if tree.data == "negated" else condition


def _comparison(name: "Token", *others: "Token") -> Comparison:
    values = tuple(Value(_VALUES[part.type], unquoted(part), place_of(part)) for part in others if part.type in _VALUES)
    words = [part for part in others if part.type not in _VALUES]
    sign = next(word for word in words if word.type != "NOT")
    meant = {"SIGN": sign.replace("<>", "!="), "IS": "IS NULL"}.get(sign.type, sign.type)
    return Comparison(_name(name), meant, any(word.type == "NOT" for word in words), values, place_of(words[0]))


def _name(token: "Token") -> Name:
    prefix = _PREFIX.match(token) if token.type == "DOTTED" else None
    if prefix is None:
        return Name("", unquoted(token), place_of(token))
    return Name(unquoted(prefix[1]).lower(), unquoted(token[prefix.end() :]), place_of(token))
