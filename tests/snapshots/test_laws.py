"""Laws over random tables."""

import datetime as dt
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakelineage import snapshots
from lakelineage.engine import Engine

_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
_LEAVES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.int8(): st.integers(-128, 127),
    pa.float64(): st.floats(),
    pa.string(): _TEXT,
    pa.bool_(): st.booleans(),
    pa.binary(): st.binary(max_size=8),
    pa.date32(): st.dates(),
    pa.timestamp("us", "UTC"): st.datetimes(timezones=st.just(dt.UTC)),
    pa.decimal128(9, 3): st.decimals(-999_999, 999_999, places=3, allow_nan=False, allow_infinity=False),
}
_PARTITIONS = (pa.int64(), pa.string(), pa.bool_(), pa.date32())


@st.composite
def columns(draw: st.DrawFn, rows: int) -> pa.Array:
    kind = draw(st.sampled_from(list(_LEAVES)))
    values: st.SearchStrategy[Any] = st.none() | _LEAVES[kind]
    shape = draw(st.sampled_from(["plain", "plain", "list", "struct"]))
    if shape == "list":
        kind, values = pa.list_(pa.field("element", kind)), st.none() | st.lists(values, max_size=3)
    if shape == "struct":
        kind, values = pa.struct([("x", kind)]), st.none() | st.fixed_dictionaries({"x": values})
    return pa.array(draw(st.lists(values, min_size=rows, max_size=rows)), kind)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(0, 12))
    made = {f"c{i}": draw(columns(rows)) for i in range(draw(st.integers(1, 4)))}
    return pa.table({"n": pa.array(range(rows), pa.int64()), **made})


def same(left: Any, right: Any) -> bool:
    """Equality of Python values in which NaN is itself and -0.0 is not 0.0."""
    if isinstance(left, float) and isinstance(right, float):
        if math.isnan(left) or math.isnan(right):
            return math.isnan(left) and math.isnan(right)
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and bool(left == right)


_SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@_SETTINGS
@given(data=tables(), cut=st.integers(1, 5))
def test_any_data_comes_back_as_it_was(data: pa.Table, cut: int) -> None:
    folder = Path(tempfile.mkdtemp())
    engine = Engine(folder / "lake", durability="process")
    try:
        pinned = snapshots.pin(engine, data, name="d")
        again = snapshots.pin(engine, pa.Table.from_batches(data.to_batches(cut), data.schema), name="d")
        assert again.id == pinned.id
        loaded = snapshots.load(engine, pinned.id)
        assert loaded.to_arrow().schema.equals(data.schema)
        assert same(loaded.to_arrow().to_pylist(), data.to_pylist())
        chosen = data.column_names[::-1]
        batched = [row for batch in loaded.to_batches(cut, columns=chosen) for row in batch.to_pylist()]
        assert same(batched, data.select(chosen).to_pylist())
        kept = loaded.to_arrow(where="n >= 3").to_pylist()
        assert same(kept, data.to_pylist()[3:])
    finally:
        engine.close()
        shutil.rmtree(folder)


@_SETTINGS
@given(data=tables(), by=st.sampled_from(_PARTITIONS), draws=st.data())
def test_any_pinned_partition_survives_the_table(data: pa.Table, by: pa.DataType, draws: st.DataObject) -> None:
    values = draws.draw(st.lists(st.none() | _LEAVES[by], min_size=data.num_rows, max_size=data.num_rows))
    table = data.append_column("p", pa.array(values, by))
    folder = Path(tempfile.mkdtemp())
    engine = Engine(folder / "lake", durability="process")
    try:
        uri = str(folder / "t")
        write_deltalake(uri, table, partition_by=["p"])
        expected = DeltaTable(uri).count() if table.num_rows else 0
        pinned = snapshots.pin(engine, uri)
        DeltaTable(uri).delete()
        DeltaTable(uri).vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
        back = snapshots.load(engine, pinned.id).to_arrow()
        assert back.num_rows == expected == table.num_rows
        rows = sorted(back.select(table.column_names).to_pylist(), key=lambda row: row["n"])
        assert same(rows, table.to_pylist())
    finally:
        engine.close()
        shutil.rmtree(folder)
