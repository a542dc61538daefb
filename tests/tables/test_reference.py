from pathlib import Path

from lakelineage.tables import BY_NAME, FACTS
from lakelineage.tables.reference import markdown

DOCS = Path(__file__).parents[2] / "docs"


def test_the_table_reference_is_what_the_declarations_say() -> None:
    assert (DOCS / "tables.md").read_text() == markdown(), "run `make reference`"


def test_every_column_says_what_it_means() -> None:
    for table in BY_NAME.values():
        assert table.doc
        assert all(column.doc for column in table.columns)
        assert set(table.key) <= set(table.names)


def test_what_closes_a_run_is_committed_last() -> None:
    assert FACTS[-1].name == "runs_history"
