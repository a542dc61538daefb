"""What Delta allows: tables that real Spark made, read back as Spark itself reads them."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from lakelineage import snapshots
from lakelineage.engine import Engine
from lakelineage.errors import InvalidInput, SnapshotLost
from lakelineage.snapshots import Snapshot

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # pyspark's own imports
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # pyspark on pandas 3
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # sockets that pyspark leaves to its end
]
Make = Callable[..., str]


@pytest.fixture
def make(spark: "SparkSession", tmp_path: Path) -> Make:
    """Runs SQL in which TT is a Delta table, and tells where that is."""

    def run(*statements: str, name: str = "t") -> str:
        for statement in statements:
            spark.sql(statement.replace("TT", f"delta.`{tmp_path}/{name}`"))
        return str(tmp_path / name)

    return run


def frozen(value: Any) -> Any:
    """A value that can be counted, NaN like itself; maps as sets of pairs."""
    if isinstance(value, dict):
        return tuple((key, frozen(inner)) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return tuple(frozen(inner) for inner in value)
    if isinstance(value, float):
        return ("float", repr(value))
    if isinstance(value, Decimal):
        return ("decimal", str(value))
    return value


def multiset(rows: Iterable[dict[str, Any]]) -> Counter[Any]:
    return Counter(map(frozen, rows))


def spark_reads(spark: "SparkSession", uri: str, version: int) -> pa.Table:
    table: pa.Table = spark.sql(f"select * from delta.`{uri}` version as of {version}").toArrow()
    return table


def assert_reads_as(pinned: Snapshot, expected: pa.Table, spark: "SparkSession") -> None:
    """Every form has the rows and the types that Spark gave."""
    found = pinned.to_arrow()
    rows = multiset(expected.to_pylist())
    has_maps = any(pa.types.is_map(kind) for kind in expected.schema.types)
    assert [(f.name, same_kind(f.type)) for f in found.schema] == [(f.name, same_kind(f.type)) for f in expected.schema]
    assert multiset(found.to_pylist()) == rows, "to_arrow"
    batches = pa.Table.from_batches(pinned.to_batches(3), found.schema)
    assert batches.equals(found), "to_batches"
    if not has_maps:
        assert pinned.to_polars().equals(pl.from_arrow(found)), "to_polars"  # type: ignore[arg-type]
        assert pinned.scan().collect().equals(pl.from_arrow(found)), "scan"  # type: ignore[arg-type]
    con = duckdb.connect()
    con.execute("set timezone = 'UTC'")
    from_duckdb = pinned.to_duckdb(con, "v").to_arrow_table()
    assert multiset(from_duckdb.to_pylist()) == rows, "to_duckdb"
    assert from_duckdb.schema.names == found.schema.names
    from_spark = pinned.to_spark(spark).toArrow()
    assert from_spark.schema.equals(expected.schema), "to_spark"
    assert multiset(from_spark.to_pylist()) == rows, "to_spark"


def same_kind(kind: pa.DataType) -> str:
    return str(kind).replace(" not null", "")


STORIES = {
    "odd partitions": [
        "create table TT (a int, p string, q date) using delta partitioned by (p, q)",
        (
            "insert into TT values (1, 'a/b=c d', date'2020-01-01'), (2, '', null), (3, 'ünï {x}*[1]', date'1500-01-01'), "
            "(4, null, date'2020-01-01'), (5, 'x%y+z', null), (6, '7', null)"
        ),
        "delete from TT where a = 5",
    ],
    "types, Spark's old timestamps": [
        (
            "create table TT (a int, b timestamp, c timestamp_ntz, d date, e decimal(20,4), f binary, g float, h tinyint, "
            "i smallint, x double, y boolean) using delta"
        ),
        (
            "insert into TT values (1, timestamp'2020-01-01 01:02:03.123456', timestamp_ntz'1500-01-01 01:02:03', "
            "date'1500-02-03', 1.2345, X'00ff', float('nan'), 1Y, 2S, -0.0D, true), "
            "(2, timestamp'9999-12-31 23:59:59.999999', null, date'9999-12-31', -99.9999, X'', float('-inf'), -128Y, 7S, "
            "double('nan'), false), (3, null, null, null, null, null, null, null, null, null, null)"
        ),
    ],
    "nested": [
        (
            "create table TT (a int, l array<int>, m map<string,int>, s struct<x:int,y:array<struct<z:string>>>, "
            "n map<int,struct<x:int,y:array<string>>>) using delta"
        ),
        (
            "insert into TT values (1, array(1,null), map('a',1,'b',null), struct(1, array(struct('q'), null)), "
            "map(1, struct(1, array('x', null)))), (2, array(), map(), struct(null, array()), map(2, null)), "
            "(3, null, null, null, null)"
        ),
    ],
    "nested without maps": [
        (
            "create table TT (a int, l array<array<int>>, s struct<x:int,y:array<struct<z:string,t:timestamp>>>) "
            "using delta tblproperties('delta.columnMapping.mode'='name')"
        ),
        (
            "insert into TT values (1, array(array(1),null), struct(1, array(struct('q', timestamp'2020-01-01'), null))), "
            "(2, array(), struct(null, array())), (3, null, null)"
        ),
        "alter table TT add column s.w bigint",
        "alter table TT rename column s.x to xx",
        "insert into TT values (4, null, struct(7, null, 9L))",
        "alter table TT drop column s.xx",
    ],
    "columns mapped by name": [
        "create table TT (a int, b string, p string) using delta partitioned by (p)",
        "insert into TT values (1, 'x', ''), (2, null, null), (3, 'z', 'k')",
        (
            "alter table TT set tblproperties('delta.columnMapping.mode'='name', 'delta.minReaderVersion'='2', "
            "'delta.minWriterVersion'='5')"
        ),
        "alter table TT rename column a to b2",
        "alter table TT rename column p to q",
        "alter table TT drop column b",
        "alter table TT add column b double",
        "insert into TT values (4, '', 1.5)",
        "alter table TT rename column b to a",
    ],
    "columns mapped by id": [
        (
            "create table TT (a int, p string, st struct<x:int,y:string>) using delta partitioned by (p) "
            "tblproperties('delta.columnMapping.mode'='id')"
        ),
        "insert into TT values (1, '', struct(1,'q')), (2, null, struct(2,null)), (3, 'k', null)",
        "alter table TT rename column a to b",
        "alter table TT rename column st.x to z",
        "alter table TT add column a string",
        "insert into TT values (4, 'k', struct(4,'w'), 'new')",
    ],
    "deletion vectors": [
        "create table TT (a int, s string) using delta tblproperties('delta.enableDeletionVectors'='true')",
        "insert into TT select id, concat('n', id) from range(1000)",
        "delete from TT where a % 7 = 3",
        "insert into TT select id, 'more' from range(2000, 2010)",
        "update TT set s = 'changed' where a between 500 and 520",
        "delete from TT where a % 5 = 1",
    ],
    "deletion vectors of odd partitions": [
        (
            "create table TT (a int, p string) using delta partitioned by (p) "
            "tblproperties('delta.enableDeletionVectors'='true')"
        ),
        (
            "insert into TT select id, case id % 4 when 0 then 'a/b+c d%20' when 1 then null when 2 then '' else 'ü*[x]?' "
            "end from range(400)"
        ),
        "delete from TT where a % 7 = 3",
    ],
    "types widened": [
        (
            "create table TT (a int, f float, d date, e decimal(5,2), st struct<x:short>, b byte, l array<byte>, p int) "
            "using delta partitioned by (p) tblproperties('delta.enableTypeWidening'='true', "
            "'delta.feature.timestampNtz'='supported')"
        ),
        (
            "insert into TT values (1, 1.1, date'2020-01-01', 1.25, struct(3S), 1Y, array(1Y, null), 5), "
            "(null, null, null, null, null, null, null, null)"
        ),
        "alter table TT change column a type bigint",
        "alter table TT change column f type double",
        "alter table TT change column d type timestamp_ntz",
        "alter table TT change column e type decimal(10,4)",
        "alter table TT change column st.x type int",
        "alter table TT change column b type decimal(12,1)",
        "alter table TT change column l.element type int",
        "alter table TT change column p type bigint",
        (
            "insert into TT values (5000000000, 1.1D, timestamp_ntz'2020-01-01 01:00:00', 99.1234, struct(70000), 12.5, "
            "array(70000), 6000000000)"
        ),
    ],
    "computed columns": [
        (
            "create table TT (a int, b int generated always as (a + 1), i bigint generated always as identity, "
            "d string default 'x') using delta tblproperties('delta.feature.allowColumnDefaults'='supported')"
        ),
        "insert into TT (a) values (1), (2)",
    ],
    "checkpoints of version 2": [
        (
            "create table TT (a int, p string) using delta partitioned by (p) tblproperties("
            "'delta.checkpointPolicy'='v2', 'delta.checkpointInterval'='2', 'delta.enableDeletionVectors'='true')"
        ),
        "insert into TT select id, '' from range(100)",
        "insert into TT select id, null from range(100)",
        "delete from TT where a % 3 = 1",
        "insert into TT values (3, 'x')",
    ],
    "row tracking and clustering": [
        (
            "create table TT (a int, b string) using delta cluster by (a) tblproperties("
            "'delta.enableRowTracking'='true', 'delta.enableInCommitTimestamps'='true')"
        ),
        "insert into TT select id, 'x' from range(10)",
        "update TT set b = 'y' where a = 3",
    ],
}


@pytest.mark.parametrize("story", STORIES)
def test_every_version_that_spark_made_reads_as_spark_reads_it(
    engine: Engine, spark: "SparkSession", make: Make, story: str
) -> None:
    uri = make(*STORIES[story])
    for version in range(len(STORIES[story])):
        pinned = snapshots.pin(engine, uri, version=version)
        assert snapshots.pin(engine, uri, version=version).id == pinned.id
        assert_reads_as(snapshots.load(engine, pinned.id), spark_reads(spark, uri, version), spark)


def test_checkpoints_in_parts_are_read(engine: Engine, spark: "SparkSession", make: Make) -> None:
    spark.conf.set("spark.databricks.delta.checkpoint.partSize", "2")
    try:
        uri = make(
            "create table TT (a int, p string) using delta partitioned by (p) tblproperties("
            "'delta.checkpointInterval'='3')",
            *(f"insert into TT values ({n}, ''), ({n}, null), ({n}, 'k')" for n in range(4)),
        )
    finally:
        spark.conf.unset("spark.databricks.delta.checkpoint.partSize")
    parts = list(Path(uri, "_delta_log").glob("*.checkpoint.*.*.parquet"))
    assert len(parts) > 1
    pinned = snapshots.pin(engine, uri)
    assert_reads_as(pinned, spark_reads(spark, uri, 4), spark)
    assert pinned.num_rows == 12


def test_a_shallow_clone_reads_files_and_vectors_of_its_source(
    engine: Engine, spark: "SparkSession", make: Make, tmp_path: Path
) -> None:
    make(
        "create table TT (a int) using delta tblproperties('delta.enableDeletionVectors'='true')",
        "insert into TT select id from range(100)",
        "delete from TT where a % 10 = 3",
        name="source table",
    )
    source = f"delta.`{tmp_path}/source table`"
    uri = make(f"create table TT shallow clone {source}", "delete from TT where a % 10 = 4", name="clone")
    for version, rows in ((0, 90), (1, 80)):
        pinned = snapshots.pin(engine, uri, version=version)
        assert pinned.num_rows == rows
        assert_reads_as(pinned, spark_reads(spark, uri, version), spark)


def test_what_older_writers_wrote_reads_as_spark_reads_it(engine: Engine, spark: "SparkSession", make: Make) -> None:
    settings = {"spark.sql.parquet.writeLegacyFormat": "true", "spark.sql.parquet.outputTimestampType": "INT96"}
    for key, value in settings.items():
        spark.conf.set(key, value)
    try:
        uri = make(
            "create table TT (a timestamp, l array<int>, st array<struct<x:int>>, dd decimal(5,2)) using delta",
            "insert into TT values (timestamp'0001-01-01 00:00:00', array(1,null,3), array(struct(1)), 1.25), "
            "(timestamp'1900-01-01 01:01:01.000001', null, array(null), null)",
        )
    finally:
        for key in settings:
            spark.conf.unset(key)
    assert_reads_as(snapshots.pin(engine, uri), spark_reads(spark, uri, 1), spark)


def test_days_of_the_julian_calendar_are_refused_and_never_shifted(
    engine: Engine, spark: "SparkSession", make: Make
) -> None:
    spark.conf.set("spark.sql.parquet.datetimeRebaseModeInWrite", "LEGACY")
    try:
        uri = make("create table TT (a int, d date) using delta", "insert into TT values (1, date'1500-01-01')")
        make("create table TT (a int, d date) using delta", "insert into TT values (1, date'2020-01-01')", name="new")
    finally:
        spark.conf.unset("spark.sql.parquet.datetimeRebaseModeInWrite")
    pinned = snapshots.pin(engine, uri)
    for read in (pinned.to_arrow, pinned.to_polars, lambda: list(pinned.to_batches())):
        with pytest.raises(InvalidInput, match="Julian"):
            read()
    assert pinned.to_arrow(columns=["a"]).to_pylist() == [{"a": 1}]
    assert pinned.to_spark(spark).toArrow().equals(spark_reads(spark, uri, 1))
    newer = snapshots.pin(engine, str(Path(uri).parent / "new"))
    assert_reads_as(newer, spark_reads(spark, str(Path(uri).parent / "new"), 1), spark)


def test_variants_are_pinned_and_refused_by_name(engine: Engine, make: Make) -> None:
    uri = make("create table TT (a int, v variant) using delta", """insert into TT select 1, parse_json('{"x":1}')""")
    pinned = snapshots.pin(engine, uri)
    with pytest.raises(InvalidInput, match="variantType"):
        pinned.to_arrow()


def test_a_vector_that_is_gone_or_altered_is_never_ignored(engine: Engine, make: Make) -> None:
    uri = make(
        "create table TT (a int) using delta tblproperties('delta.enableDeletionVectors'='true')",
        "insert into TT select id from range(100)",
        "delete from TT where a % 10 = 3",
    )
    pinned = snapshots.pin(engine, uri)
    (vector,) = Path(uri).glob("deletion_vector_*.bin")
    content = vector.read_bytes()
    vector.write_bytes(content[:-6] + bytes([content[-6] ^ 1]) + content[-5:])
    with pytest.raises(SnapshotLost, match="deletion vector"):
        pinned.to_arrow()
    vector.unlink()
    with pytest.raises(SnapshotLost, match="deletion vector") as lost:
        pinned.to_polars()
    assert lost.value.missing == (vector.name,)
    assert json.loads(pinned.files[0].file.deletion_vector or "")["storageType"] == "u"
