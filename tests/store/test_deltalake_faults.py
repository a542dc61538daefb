"""What correctness rests on in the Delta engine that is installed. Each of these failed in some version of it."""

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

CONFLICT = (CommitFailedError,)


def data(*numbers: int) -> pa.Table:
    return pa.table({"n": pa.array(numbers, pa.int64())})


def append(table: DeltaTable | str, rows: pa.Table, **transactions: int) -> None:
    properties = CommitProperties(app_transactions=[Transaction(a, v) for a, v in transactions.items()])
    write_deltalake(table, rows, mode="append", commit_properties=properties)


def numbers(path: str) -> list[int]:
    return sorted(DeltaTable(path).to_pyarrow_table().column("n").to_pylist())


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A table of twenty small files with the numbers 0 to 99."""
    where = str(tmp_path / "t")
    for part in range(20):
        append(where, data(*range(part * 5, part * 5 + 5)))
    return where


def test_of_two_stale_compactions_one_is_refused(path: str) -> None:
    """deltalake 1.6.6 lets both commit, and every row is there twice."""
    first, second = DeltaTable(path), DeltaTable(path)
    first.optimize.compact()
    with pytest.raises(CONFLICT):
        second.optimize.compact()
    assert numbers(path) == list(range(100))


def test_a_stale_overwrite_after_a_compaction_is_refused(path: str) -> None:
    """deltalake 1.6.6 accepts it, and the old rows survive."""
    first, second = DeltaTable(path), DeltaTable(path)
    first.optimize.compact()
    with pytest.raises(CONFLICT):
        write_deltalake(second, data(1000), mode="overwrite")
    assert numbers(path) == list(range(100))


def test_a_stale_merge_after_a_compaction_is_refused(path: str) -> None:
    """Publishing merges while maintenance, of another host say, compacts."""
    first, second = DeltaTable(path), DeltaTable(path)
    first.optimize.compact()
    merge = second.merge(data(5, 500), "t.n = s.n", source_alias="s", target_alias="t")
    with pytest.raises(CONFLICT):
        merge.when_matched_update_all().when_not_matched_insert_all().execute()
    assert numbers(path) == list(range(100))


def test_of_two_stale_merges_one_is_refused(path: str) -> None:
    stale = [DeltaTable(path), DeltaTable(path)]
    merges = [
        t.merge(data(500), "t.n = s.n", source_alias="s", target_alias="t").when_not_matched_insert_all() for t in stale
    ]
    merges[0].execute()
    with pytest.raises(CONFLICT):
        merges[1].execute()
    assert numbers(path) == [*range(100), 500]


def test_a_stale_append_goes_through_beside_a_compaction_and_beside_an_append(path: str) -> None:
    first, second, third = DeltaTable(path), DeltaTable(path), DeltaTable(path)
    append(first, data(100), a=1)
    first.optimize.compact()
    append(second, data(101), b=1)
    append(third, data(102), c=1)
    assert numbers(path) == list(range(103))


def test_a_stale_compaction_goes_through_beside_an_append(path: str) -> None:
    first, second = DeltaTable(path), DeltaTable(path)
    append(first, data(100), a=1)
    second.optimize.compact()
    assert numbers(path) == list(range(101))
    assert DeltaTable(path).transaction_version("a") == 1


def test_of_two_stale_appends_with_one_application_id_one_is_refused(path: str) -> None:
    first, second = DeltaTable(path), DeltaTable(path)
    append(first, data(100), lane=7)
    with pytest.raises(CONFLICT):
        append(second, data(100), lane=7)
    assert numbers(path) == list(range(101))


def test_one_common_application_id_among_others_is_enough_to_be_refused(path: str) -> None:
    first, second = DeltaTable(path), DeltaTable(path)
    append(first, data(100), a=1, common=1)
    with pytest.raises(CONFLICT):
        append(second, data(101), b=1, common=2)


def test_application_transactions_survive_compaction_checkpoint_and_log_cleanup(path: str) -> None:
    table = DeltaTable(path)
    append(table, data(100), lane=7)
    table.alter.set_table_properties({"delta.logRetentionDuration": "interval 0 seconds"})
    table.optimize.compact()
    table.create_checkpoint()
    table.cleanup_metadata()
    append(DeltaTable(path), data(101), other=1)
    again = DeltaTable(path)
    assert (again.transaction_version("lane"), again.transaction_version("other")) == (7, 1)
    assert numbers(path) == list(range(102))


def test_a_vacuum_takes_no_file_of_the_newest_version(path: str) -> None:
    table = DeltaTable(path)
    table.optimize.compact()
    table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    assert numbers(path) == list(range(100))
