"""The journal's format, and what is made of segments that were cut short or altered."""

import logging
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakelineage.engine import Engine
from lakelineage.journal import lanes
from lakelineage.journal.lanes import Segment, boot_id, segments
from lakelineage.journal.segment import MAGIC, Record, by_table, decode, encode, to_arrow
from lakelineage.model.changes import Batch, Change, Rows
from lakelineage.tables import LINEAGE, METRICS, TAGS_HISTORY

RUN = "0" * 31 + "a"


def metric(number: int) -> tuple[Any, ...]:
    return (RUN, f"k{number}", number, number * 1_000, number / 3, None, None, None)


def rows(*numbers: int) -> Rows:
    return Rows(METRICS.name, tuple(metric(n) for n in numbers))


def batch(*numbers: int) -> Batch:
    columns = list(zip(*map(metric, numbers), strict=True))
    arrays = [pa.array(c, f.type) for c, f in zip(columns, METRICS.own_schema, strict=True)]
    return Batch(METRICS.name, pa.record_batch(arrays, schema=METRICS.own_schema))


def tag(value: str) -> Rows:
    return Rows(TAGS_HISTORY.name, ((RUN, "t", value),))


#: Small and large records, of one table and of two, as plain values and as Arrow.
CHANGES: list[Change] = [(rows(1),), (rows(2, 3), tag("a")), (batch(4, 5, 6),), (tag("b"), rows(7))]
#: The same without Arrow, short enough to give a lane to every offset.
SHORT: list[Change] = [(rows(1),), (rows(2, 3), tag("a")), (rows(4, 5, 6),), (tag("b"), rows(7))]


def segment_bytes(changes: list[Change]) -> tuple[bytes, list[int]]:
    """A segment of changes, and where each of its records ends."""
    data, ends, seq = MAGIC, [], 1
    for at, change in enumerate(changes):
        data += encode(change, seq, 1_000_000 + at)
        seq += sum(map(len, change))
        ends.append(len(data))
    return data, ends


SEGMENT, ENDS = segment_bytes(CHANGES)
SHORT_SEGMENT, SHORT_ENDS = segment_bytes(SHORT)
RECORDS = list(decode(SEGMENT[len(MAGIC) :], len(MAGIC)))


def read(data: bytes, folder: Path) -> list[Record]:
    path = folder / f"{boot_id()}-0000000000.{1:020d}.seg"
    path.write_bytes(data)
    return list(Segment("w", 1, path).records())


def write_lane(folder: Path, writer: str, data: bytes, seq: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{writer}.{seq:020d}.seg"
    path.write_bytes(data)
    return path


def values(engine: Engine, writer: str) -> list[tuple[int, str, int]]:
    found = engine.query("SELECT seq, key, step FROM metrics WHERE writer = ? ORDER BY seq", [writer])
    return [(r["seq"], r["key"], r["step"]) for r in found.to_pylist()]


def expected(whole: int) -> list[tuple[int, str, int]]:
    """Rows of metrics in the first records."""
    places = [(1, 1), (2, 2), (3, 3), (5, 4), (6, 5), (7, 6), (9, 7)]
    last = 0 if whole == 0 else RECORDS[whole - 1].last_seq
    return [(seq, f"k{n}", n) for seq, n in places if seq <= last]


_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
_row = st.tuples(
    st.just(RUN),
    _text,
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**50),
    st.floats(),
    st.none() | _text,
    st.none(),
    st.none() | _text,
)
_rows = st.lists(_row, min_size=1, max_size=5)


@st.composite
def _parts(draw: st.DrawFn) -> Rows | Batch:
    data = draw(_rows)
    if draw(st.booleans()):
        return Rows(METRICS.name, tuple(data))
    columns = list(zip(*data, strict=True))
    arrays = [pa.array(c, f.type) for c, f in zip(columns, METRICS.own_schema, strict=True)]
    return Batch(METRICS.name, pa.record_batch(arrays, schema=METRICS.own_schema))


def _plain(change: Change) -> list[tuple[Any, ...]]:
    plain: list[tuple[Any, ...]] = []
    for part in change:
        if isinstance(part, Rows):
            plain += part.rows
        else:
            columns = [c.cast(pa.int64()) if pa.types.is_timestamp(c.type) else c for c in part.data.columns]
            plain += list(zip(*(c.to_pylist() for c in columns), strict=True))
    return plain


def _key(row: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(map(repr, row))  # NaN equals itself only by its name


@given(st.lists(st.lists(_parts(), min_size=1, max_size=3), min_size=1, max_size=4))
def test_what_is_encoded_is_decoded_with_its_place_in_the_order(changes: list[list[Rows | Batch]]) -> None:
    data, seq = b"", 5
    for at, change in enumerate(changes):
        data += encode(tuple(change), seq, at)
        seq += sum(map(len, change))
    records = list(decode(data, 100))
    assert records[-1].end == 100 + len(data)
    table = to_arrow(METRICS, by_table(("w", r) for r in records)[METRICS.name])
    assert table.schema == METRICS.schema
    own = [table.column(f.name) for f in METRICS.own_schema]
    own = [c.cast(pa.int64()) if pa.types.is_timestamp(c.type) else c for c in own]
    found = list(zip(*(c.to_pylist() for c in own), strict=True))
    assert sorted(map(_key, found)) == sorted(_key(r) for c in changes for r in _plain(tuple(c)))
    assert sorted(table.column("seq").to_pylist()) == list(range(5, seq))


def test_maps_survive_the_journal() -> None:
    from lakelineage.tables import ENVIRONMENTS

    row = ENVIRONMENTS.row(environment_id="e", python="3", platform="p", packages=[("a", "1"), ("b", "2")])
    (record,) = decode(encode((Rows(ENVIRONMENTS.name, (row,)),), 1, 1), 0)
    table = to_arrow(ENVIRONMENTS, by_table(iter([("w", record)]))[ENVIRONMENTS.name])
    assert table.column("packages").to_pylist() == [[("a", "1"), ("b", "2")]]


def test_a_segment_cut_anywhere_yields_exactly_its_whole_records(tmp_path: Path) -> None:
    for cut in range(len(SEGMENT) + 1):
        assert read(SEGMENT[:cut], tmp_path) == RECORDS[: sum(end <= cut for end in ENDS)]


def test_a_flipped_bit_anywhere_never_yields_a_false_record(tmp_path: Path) -> None:
    for at in range(len(MAGIC), len(SEGMENT)):
        for bit in (at % 8,):
            altered = bytearray(SEGMENT)
            altered[at] ^= 1 << bit
            intact = sum(end <= at for end in ENDS)
            assert read(bytes(altered), tmp_path) == RECORDS[:intact]


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 8, b"\0" * 4096, b"\xff" * 64])
def test_what_a_power_loss_leaves_behind_the_last_record_is_no_record(tail: bytes, tmp_path: Path) -> None:
    # File systems may extend a file before its data is there: the tail is then zeros.
    assert read(SEGMENT + tail, tmp_path) == RECORDS


@pytest.mark.slow
def test_of_segments_cut_anywhere_the_lake_holds_the_whole_records_and_reports_the_rest(
    lake_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with_cut = {f"{boot_id()}-{cut:010x}": cut for cut in range(len(SHORT_SEGMENT) + 1)}
    engine = Engine(lake_path, durability="process")
    for writer, cut in with_cut.items():
        write_lane(engine.host_folder, writer, SHORT_SEGMENT[:cut])
    whole = {writer: sum(end <= cut for end in SHORT_ENDS) for writer, cut in with_cut.items()}
    before = engine.query("SELECT writer, seq, key, step FROM metrics ORDER BY writer, seq")
    with caplog.at_level(logging.WARNING):
        engine.flush()
    after = engine.query("SELECT writer, seq, key, step FROM metrics ORDER BY writer, seq")
    assert before.equals(after)
    assert [tuple(r.values()) for r in after.to_pylist()] == [
        (writer, *place) for writer, n in sorted(whole.items()) for place in expected(n)
    ]
    torn = {w for w, cut in with_cut.items() if cut > len(MAGIC) and cut not in SHORT_ENDS}
    damaged = {p.name.partition(".")[0]: p for p in engine.host_folder.glob("*.damaged")}
    assert damaged.keys() == torn
    assert all(p.read_bytes() == SHORT_SEGMENT[: with_cut[w]] for w, p in damaged.items())
    assert all(any(w in r.getMessage() for r in caplog.records) for w in torn)
    engine.close()


@pytest.mark.slow
def test_no_number_that_a_table_holds_is_given_again_even_if_the_segment_was_damaged_since(lake_path: Path) -> None:
    """A whole segment is in the table, then its file loses some records: rows that come next must not be dropped."""
    engine = Engine(lake_path, durability="process")
    folder = engine.host_folder
    lengths = {f"{boot_id()}-{cut:010x}": cut for cut in range(len(MAGIC), len(SHORT_SEGMENT))}
    for writer in lengths:
        write_lane(folder, writer, SHORT_SEGMENT)
    engine.flush()
    for path in folder.glob("*.seg"):
        path.unlink()  # what the committer left to go on with
    for writer, cut in lengths.items():
        write_lane(folder, writer, SHORT_SEGMENT[:cut] + bytes([SHORT_SEGMENT[cut] ^ 1]) + SHORT_SEGMENT[cut + 1 :])
    for writer in lengths:
        lane = lanes._take_over(folder, writer)  # as the next process would
        if lane is not None:
            lane.lease.release()
            assert lane.next_seq > RECORDS[-1].last_seq
    engine.close()


def test_a_lane_is_used_again_after_a_damaged_segment_and_loses_nothing(lake_path: Path) -> None:
    first = Engine(lake_path, durability="process")
    first.append((rows(1),))
    first.append((rows(2),))
    writer = first.append((rows(3),)).writer
    first.flush()
    first._closed = True  # as if it had died: nothing more is committed
    first.journal.close()
    (segment,) = segments(first.host_folder)
    os.truncate(segment.path, segment.path.stat().st_size - 3)
    second = Engine(lake_path, durability="process")
    for number in (4, 5, 6):
        second.append((rows(number),))
    for _ in range(2):
        keys = second.query("SELECT key FROM metrics ORDER BY key").column("key").to_pylist()
        assert keys == ["k1", "k2", "k3", "k4", "k5", "k6"], writer
        second.flush()
    second.close()


def test_a_change_lands_as_a_whole_or_not_at_all(lake_path: Path) -> None:
    change = (rows(1, 2), Rows(LINEAGE.name, (("a", "b", "used", None),)))
    frame = encode(change, 1, 1)
    engine = Engine(lake_path, durability="process")
    for cut in range(len(frame)):
        write_lane(engine.host_folder, f"{boot_id()}-{cut:010x}", MAGIC + frame[:cut])
    for _ in range(2):
        assert engine.query("SELECT * FROM metrics").num_rows == 0
        assert engine.query("SELECT * FROM lineage").num_rows == 0
        engine.flush()
    engine.close()
