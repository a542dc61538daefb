import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from lakelineage.errors import InvalidInput
from lakelineage.inference.scoring import score
from lakelineage.snapshots import pin
from tests.inference.scored import scores


def test_the_answer_to_a_query_is_scored_and_its_tables_are_pinned(engine, double, source, output, tmp_path):
    ages = str(tmp_path / "ages")
    write_deltalake(ages, pa.table({"id": pa.array(range(50), pa.int64()), "age": range(50)}))
    old = pin(engine, source)
    DeltaTable(source).delete()
    sql = "with old as (select * from a where age >= 40) select p.*, age from p join old using (id);  -- all"
    done = score(engine, double, sql, output, tables={"p": old, "a": ages}, batch_size=3)
    assert (done.rows, done.input_version, done.kind) == (10, None, "full")
    assert scores(output) == {i: i / 10 * 2 for i in range(40, 50)}
    target = f"dataset:{DeltaTable(output).metadata().id}@0"
    found = engine.query("select source from lineage where target = ? and relation = 'derived_from'", (target,))
    tables = (source, ages)
    assert sorted(found["source"].to_pylist()) == sorted(f"dataset:{DeltaTable(t).metadata().id}@0" for t in tables)
    more = {"tables": {"a": ages}, "mode": "merge", "key": "id"}
    for rows in (20, 20):
        sql = f"select id, age / 2.0::double as bmi, age from a where age < {rows}"
        assert score(engine, double, sql, output, **more).rows == rows
    assert scores(output) == {i: float(i) for i in range(20)} | {i: i / 10 * 2 for i in range(40, 50)}


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("select * from read_parquet('x.parquet')", "read_parquet"),
        ("select * from p where id in (select id from 'x.parquet')", "x.parquet"),
        ("select * from runs", "runs"),
        ("delete from p", "SELECT"),
        ("select 1 as bmi; select 2 as bmi", "2 statements"),
        ("selec", "syntax"),
        ("select nothing from p", "nothing"),
        ("select bmi from p where false", "no rows"),
    ],
)
def test_a_query_reads_nothing_but_its_tables(engine, double, source, output, sql, named):
    with pytest.raises(InvalidInput, match=named):
        score(engine, double, sql, output, tables={"p": source})
    assert not DeltaTable.is_deltatable(output)


def test_of_a_query_nobody_knows_what_is_new(engine, double, source, output):
    with pytest.raises(InvalidInput, match="what is new"):
        score(engine, double, "select * from p", output, tables={"p": source}, incremental=True)
    with pytest.raises(InvalidInput, match="names no table"):
        score(engine, double, "select * from p", output, tables={})
