"""Diffs of tables that real Spark wrote: its change data, deletion vectors and column mapping."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lakelineage import snapshots
from lakelineage.engine import Engine
from lakelineage.snapshots.diff import diff

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow
_VECTORS = "'delta.enableDeletionVectors' = 'true'"
_TELLS = "'delta.enableChangeDataFeed' = 'true'"
_MAPPED = "'delta.columnMapping.mode' = 'name'"
#: Acts after the table was made; {t} is the table.
_ACTS = (
    "insert into {t} select id + 100, 'new', id * 1.0 from range(3)",
    "update {t} set x = x + 1 where id % 4 = 1",
    "delete from {t} where id in (2, 3)",
    """
    merge into {t} t using (select id + 5 as id, 'merged' as word, 0.5 as x from range(10)) s on t.id = s.id
    when matched and s.id > 7 then update set * when matched then delete when not matched then insert *
    """,
    "optimize {t}",
    "update {t} set word = null where id > 9",
)


def rows(spark: "SparkSession", uri: str, version: int) -> "Counter[tuple[Any, ...]]":
    found = spark.read.format("delta").option("versionAsOf", version).load(uri).collect()
    return Counter(tuple(row) for row in found)


@pytest.mark.parametrize("properties", [_TELLS, _VECTORS, f"{_TELLS}, {_VECTORS}", f"{_VECTORS}, {_MAPPED}"])
def test_what_spark_did_is_what_a_diff_tells(
    spark: "SparkSession", engine: Engine, tmp_path: Path, properties: str
) -> None:
    uri = str(tmp_path / "t")
    spark.sql(f"create table delta.`{uri}` (id bigint, word string, x double) using delta tblproperties ({properties})")
    spark.sql(f"insert into delta.`{uri}` select /*+ repartition(3) */ id, 'w' || id, id / 2 from range(20)")
    for act in _ACTS:
        spark.sql(act.format(t=f"delta.`{uri}`"))
    newest = spark.sql(f"describe history delta.`{uri}`").agg({"version": "max"}).collect()[0][0]
    full = {version: rows(spark, uri, version) for version in range(1, newest + 1)}
    pins = {version: snapshots.pin(engine, uri, version=version) for version in full}
    read = set()
    for a, b in {(a, b) for v in full for a, b in ((1, v), (v, 1), (v, newest), (v, v + 1)) if b in full}:
        left, right = full[a], full[b]
        with diff(engine, pins[a], pins[b], key="id") as keyed, diff(engine, pins[a], pins[b]) as bag:
            read.add(keyed.read.source)
            sides = [side.read_all().to_pylist() for side in (bag.added(), bag.removed())]
            added, removed = (Counter(tuple(row.values()) for row in side) for side in sides)
            assert (added, removed) == (right - left, left - right)
            assert keyed.counts.changed == len({row[0] for row in added} & {row[0] for row in removed})
            assert keyed.counts.add_up
            assert keyed.counts.rows_a == left.total()
    assert ("change data" in read) is ("columnMapping" not in properties)
    assert "file lists" in read


def test_columns_that_were_renamed_or_dropped_under_column_mapping(
    spark: "SparkSession", engine: Engine, tmp_path: Path
) -> None:
    uri = str(tmp_path / "t")
    spark.sql(f"create table delta.`{uri}` (id bigint, old string, gone int) using delta tblproperties ({_MAPPED})")
    spark.sql(f"insert into delta.`{uri}` select id, 'w' || id, if(id = 3, 1, null) from range(5)")
    a = snapshots.pin(engine, uri)
    spark.sql(f"alter table delta.`{uri}` rename column old to new")
    spark.sql(f"insert into delta.`{uri}` values (9, 'added', null)")
    b = snapshots.pin(engine, uri)
    spark.sql(f"alter table delta.`{uri}` drop column gone")
    c = snapshots.pin(engine, uri)
    with diff(engine, a, b, key="id") as found:
        assert [str(change) for change in found.schema_changes] == ["renamed new: old -> new"]
        assert (found.counts.added, found.counts.changed, found.read.source) == (1, 0, "file lists")
    with diff(engine, b, c, key="id") as found:
        assert [str(change) for change in found.schema_changes] == ["removed gone (int32)"]
        assert found.changed().read_all()["id"].to_pylist() == [3]
        assert (found.counts.changed, found.read.source) == (1, "all files")
