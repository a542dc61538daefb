"""What may be journaled."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lakelineage.errors import InvalidInput
from lakelineage.journal.lanes import segments
from lakelineage.journal.writer import Journal
from lakelineage.model.changes import Rows
from lakelineage.tables import METRICS, PARAMS, TAGS_HISTORY

GOOD = ("r", "loss", 1, 1_000_000, 0.5, None, None, None)


@pytest.mark.parametrize(
    ("table", "row", "says"),
    [
        (PARAMS, ("r", "p", None), "params.value cannot be None"),
        (PARAMS, ("r", "p", 5), "params.value cannot be 5"),
        (TAGS_HISTORY, (b"r", "t", "x"), "tags_history.run_id"),
        (METRICS, (*GOOD[:2], 2**63, *GOOD[3:]), "metrics.step cannot be 9223372036854775808"),
        (METRICS, (*GOOD[:2], "1", *GOOD[3:]), "metrics.step"),
        (METRICS, (*GOOD[:4], "0.5", *GOOD[5:]), "metrics.value"),
        (METRICS, (*GOOD[:4], None, *GOOD[5:]), "metrics.value"),
    ],
)
def test_what_could_never_be_committed_is_refused_and_nothing_of_the_change_is_kept(
    tmp_path: Path, table: Any, row: Sequence[Any], says: str
) -> None:
    journal = Journal(tmp_path, "process", lambda _: None)
    stamp = journal.append((Rows(METRICS.name, (GOOD,)),))
    kept = [segment.path.stat().st_size for segment in segments(tmp_path)]
    with pytest.raises(InvalidInput, match=says):
        journal.append((Rows(METRICS.name, (GOOD,)), Rows(table.name, (tuple(row),))))
    assert [segment.path.stat().st_size for segment in segments(tmp_path)] == kept
    assert journal.append((Rows(METRICS.name, (GOOD,)),)).seq == stamp.seq + 1
    journal.close()


def test_null_is_taken_where_a_column_may_be_null(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "process", lambda _: None)
    journal.append(
        (Rows(TAGS_HISTORY.name, (("r", "t", None),)), Rows(METRICS.name, (GOOD, (*GOOD[:5], "m", "d", "x"))))
    )
    journal.close()
