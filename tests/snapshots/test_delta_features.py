"""What Delta allows: tables that real Spark made, read back as Spark itself reads them."""

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakelineage import snapshots
from lakelineage.engine import Engine
from lakelineage.errors import InvalidInput, SnapshotLost
from lakelineage.snapshots import Snapshot

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow
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


def assert_reads_as(pinned: Snapshot, expected: pa.Table, spark: "SparkSession | None") -> None:
    """Every form has the rows and the types that Spark gave; Spark's own only where a session is given."""
    found = pinned.to_arrow()
    rows = multiset(expected.to_pylist())
    has_maps = any(pa.types.is_map(kind) for kind in expected.schema.types)
    assert [(f.name, same_kind(f.type)) for f in found.schema] == [(f.name, same_kind(f.type)) for f in expected.schema]
    assert multiset(found.to_pylist()) == rows, "to_arrow"
    batches = pa.Table.from_batches(pinned.to_batches(3), found.schema)
    assert list(map(frozen, batches.to_pylist())) == list(map(frozen, found.to_pylist())), "to_batches"
    if not has_maps:
        assert pinned.to_polars().equals(pl.from_arrow(found)), "to_polars"  # type: ignore[arg-type]
        assert pinned.scan().collect().equals(pl.from_arrow(found)), "scan"  # type: ignore[arg-type]
    con = duckdb.connect()
    con.execute("set timezone = 'UTC'")
    from_duckdb = pinned.to_duckdb(con, "v").to_arrow_table()
    assert multiset(from_duckdb.to_pylist()) == rows, "to_duckdb"
    assert from_duckdb.schema.names == found.schema.names
    if spark is None:
        return
    from_spark = pinned.to_spark(spark).toArrow()
    assert from_spark.schema.equals(expected.schema), "to_spark"
    assert multiset(from_spark.to_pylist()) == rows, "to_spark"


def same_kind(kind: pa.DataType) -> str:
    return str(kind).replace(" not null", "")


STORIES = {
    name: [statement.strip() for statement in body.split(";") if statement.strip()]
    for name, body in (
        story.split("\n", 1) for story in Path(__file__).with_name("delta_stories.sql").read_text().split("--- ")[1:]
    )
}


@pytest.mark.parametrize("story", STORIES)
def test_every_version_that_spark_made_reads_as_spark_reads_it(
    engine: Engine, spark: "SparkSession", make: Make, story: str
) -> None:
    uri = make(*STORIES[story])
    last = len(STORIES[story]) - 1
    for version in range(1, last + 1):
        pinned = snapshots.load(engine, snapshots.pin(engine, uri, version=version).id)
        assert_reads_as(pinned, spark_reads(spark, uri, version), spark if version == last else None)


_OPERATIONS = {
    "insert": "insert into TT select id + {n}, concat('p', id % 3), id / {n}, struct(id, 'q') from range({n})",
    "delete": "delete from TT where {id} % {n} = 1",
    "update": "update TT set {id} = {id} + 1 where {id} % {n} = 0",
    "merge": (
        "merge into TT t using (select id as k from range({n})) s on t.{id} = s.k when matched and s.k % 2 = 0 then "
        "delete when matched then update set {id} = -{n} when not matched then insert ({id}, p) values (s.k, null)"
    ),
    "rename": "alter table TT rename column {id} to {new_id}",
    "add": "alter table TT add column added_{n} string",
    "drop": "alter table TT drop column {dropped}",
    "optimize": "optimize TT",
    "z-order": "optimize TT zorder by ({id})",
}


@pytest.mark.timeout(1_200)
@settings(max_examples=3)
@given(
    story=st.lists(st.tuples(st.sampled_from(list(_OPERATIONS)), st.integers(2, 60)), min_size=4, max_size=7),
    partitioned=st.booleans(),
)
def test_any_life_of_a_table_is_read_back_at_every_version_whatever_became_of_it(
    spark: "SparkSession", story: list[tuple[str, int]], partitioned: bool
) -> None:
    folder = Path(tempfile.mkdtemp())
    engine = Engine(folder / "lake", durability="process")
    try:
        uri = str(folder / "table")
        table = f"delta.`{uri}`"
        spark.sql(
            f"create table {table} (id int, p string, x double, s struct<a:int,b:string>) using delta "
            f"{'partitioned by (p)' if partitioned else ''} tblproperties('delta.columnMapping.mode'='name', "
            "'delta.enableDeletionVectors'='true', 'delta.checkpointInterval'='3')"
        )
        names, optional = {"id": "id"}, ["x", "s"]
        pins: list[tuple[Snapshot, pa.Table]] = []
        for act, n in [("insert", 50), *story]:
            if (act == "drop" and not optional) or (act == "insert" and len(optional) != 2):
                continue
            words = {"n": n, "id": names["id"], "new_id": f"id{n}", "dropped": optional[-1:][0] if optional else ""}
            if act == "add" and f"added_{n}" in spark.table(table).columns:
                continue
            if act == "rename" and words["new_id"] == names["id"]:
                continue
            if act == "insert":
                columns = f"({names['id']}, p, x, s)"
                spark.sql(_OPERATIONS[act].format(**words).replace("into TT", f"into {table} {columns}"))
            else:
                spark.sql(_OPERATIONS[act].format(**words).replace("TT", table))
            names["id"] = words["new_id"] if act == "rename" else names["id"]
            optional = optional[:-1] if act == "drop" else optional
            pinned = snapshots.pin(engine, uri)
            pins.append((pinned, spark_reads(spark, uri, pinned.version)))
            assert_reads_as(pinned, pins[-1][1], None)
        spark.sql(f"delete from {table}")
        spark.sql(f"vacuum {table} retain 0 hours")
        for entry in sorted(Path(uri, "_delta_log").glob("*.json"))[:-1]:
            entry.unlink()
        for pinned, expected in pins:
            again = snapshots.load(engine, pinned.id)
            if all(pin.vector_kept_as or not pin.file.deletion_vector for pin in again.files):
                assert_reads_as(again, expected, None)
            else:
                with pytest.raises(SnapshotLost, match="deletion vector"):
                    again.to_arrow()
    finally:
        engine.close()
        shutil.rmtree(folder)


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
