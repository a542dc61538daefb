"""A condition that is written out is read as it was, whatever stands around it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakelineage.errors import InvalidFilter
from lakelineage.tracking.grammar import Comparison, Condition, Not, Several, parse_filter, parse_order
from lakelineage.tracking.mistakes import Source

# What a tree means, without places: (prefix, key, sign, negated, values), ("NOT", inner), ("AND" or "OR", *inner).
Meaning = tuple[object, ...]


def meaning(node: Condition) -> Meaning:
    if isinstance(node, Comparison):
        values = tuple((value.kind, value.text) for value in node.values)
        return node.name.prefix, node.name.key, node.sign, node.negated, values
    if isinstance(node, Not):
        return "NOT", meaning(node.inner)
    return node.word, *map(meaning, node.inner)


def read(text: str) -> Meaning:
    return meaning(parse_filter(Source(text, "filter", "")))


def quoted(text: str, mark: str) -> str:
    return mark + text.replace(mark, mark * 2) + mark


_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
_bare = st.sampled_from(["a", "val/loss", "x.y-z", "and", "in", "9", "日本", "s3://b/k", "_"])
_spaces = st.sampled_from([" ", "\n", "  \t"])
_signs = st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE"])


@st.composite
def names(draw: st.DrawFn) -> tuple[str, tuple[str, str]]:
    prefix = draw(st.sampled_from(["", "metrics", "tags", "datasets"]))
    if prefix and draw(st.booleans()):
        key = draw(_bare)
        return f"{prefix.upper()}.{key}", (prefix, key)
    key = draw(_texts)
    written = quoted(key, draw(st.sampled_from('`"')))
    return f"{prefix}.{written}" if prefix else written, (prefix, key)


@st.composite
def values(draw: st.DrawFn) -> tuple[str, tuple[str, str]]:
    if draw(st.booleans()):
        text = draw(_texts)
        return quoted(text, draw(st.sampled_from("'\""))), ("text", text)
    written = draw(st.sampled_from(["1", "-2.5", "+.5", "1.", "1e9", "3E-7", "true", "False"]))
    return written, ("bool" if written[0] in "tF" else "number", written)


@st.composite
def comparisons(draw: st.DrawFn) -> tuple[str, Meaning]:
    written, name = draw(names())
    space, form = draw(_spaces), draw(st.sampled_from(["sign", "in", "null"]))
    negated = draw(st.booleans())
    no = f"not{space}" if negated else ""
    if form == "null":
        return f"{written} IS{space}{no}Null", (*name, "IS NULL", negated, ())
    if form == "in":
        many = draw(st.lists(values(), min_size=1, max_size=3))
        listed = f",{space}".join(value for value, _ in many)
        return f"{written}{space}{no}iN({listed})", (*name, "IN", negated, tuple(meant for _, meant in many))
    sign = draw(_signs)
    value, meant = draw(values())
    word = sign.removeprefix("NOT ")
    return f"{written}{space}{sign.lower()}{space}{value}", (*name, word, word != sign, (meant,))


def _joined(parts: st.SearchStrategy[tuple[str, Meaning]]) -> st.SearchStrategy[tuple[str, Meaning]]:
    several = st.builds(
        lambda word, inner: (
            f" {word.lower()} ".join(f"({text})" for text, _ in inner),
            (word, *(m for _, m in inner)),
        ),
        st.sampled_from(["AND", "OR"]),
        st.lists(parts, min_size=2, max_size=3),
    )
    return several | parts.map(lambda part: (f"NOT({part[0]})", ("NOT", part[1])))


@given(st.recursive(comparisons(), _joined, max_leaves=6))
def test_a_condition_that_is_written_out_is_read_as_it_was(condition: tuple[str, Meaning]) -> None:
    text, meant = condition
    assert read(text) == meant
    assert read(f"\n ({text} ) ") == meant


@given(st.tuples(comparisons(), comparisons(), comparisons()))
def test_not_binds_closer_than_and_and_and_closer_than_or(three: tuple[tuple[str, Meaning], ...]) -> None:
    (a, first), (b, second), (c, third) = three
    assert read(f"{a} or {b} and {c}") == ("OR", first, ("AND", second, third))
    assert read(f"{a} and {b} or {c}") == ("OR", ("AND", first, second), third)
    assert read(f"not {a} and not not {b}") == ("AND", ("NOT", first), ("NOT", ("NOT", second)))


@given(names(), st.sampled_from(["", " ASC", "\tdesc"]))
def test_an_order_is_a_name_and_a_direction(named: tuple[str, tuple[str, str]], direction: str) -> None:
    name, descending = parse_order(Source(named[0] + direction, "order", ""))
    assert ((name.prefix, name.key), descending) == (named[1], direction == "\tdesc")


def test_the_traceback_of_a_refused_filter_is_about_the_filter() -> None:
    for text in ("metrics.a = ", "metrics.a == 1", "(" * 60):
        with pytest.raises(InvalidFilter) as caught:
            read(text)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None


def test_several_of_one_kind_are_one_node() -> None:
    node = parse_filter(Source("a = 1 and b = 1 and c = 1", "filter", ""))
    assert isinstance(node, Several)
    assert len(node.inner) == 3
