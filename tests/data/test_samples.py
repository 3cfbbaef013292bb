"""Fixed samples of large snapshots, and what is estimated from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from sigap.catalog.bitcoin_price import BITCOIN_PRICE
from sigap.catalog.education import EDUCATION
from sigap.catalog.loan_approval import LOAN_APPROVAL
from sigap.data import large_profile
from sigap.data.large_profile import Distinct, gathered, repeated
from sigap.data.parts import BATCH_ROWS, COMMON, batches, described, part_name, parts, read
from sigap.data.samples import Smallest, hashes, keyed_samples, sample, write_sample

ROWS = 30_000


def _folder(folder: Path, table: pa.Table, rows: int) -> Path:
    folder.mkdir()
    for number, start in enumerate(range(0, table.num_rows, rows)):
        pq.write_table(table.slice(start, rows), folder / part_name(number), row_group_size=1_000)
    pq.write_metadata(table.schema.with_metadata({"sigap.rejected": "3"}), folder / COMMON)
    return folder


def _loans(rows: int = ROWS, seed: int = 0) -> pa.Table:
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "loan_id": [f"L{number:07d}" for number in range(rows)],
            "amount": pa.array(random.normal(100, 10, rows), mask=random.random(rows) < 0.1),
            "kind": random.choice(["a", "b", None], rows),
        }
    )


def test_a_sample_is_the_same_however_the_rows_lie_on_the_disk(tmp_path: Path) -> None:
    table = _loans()
    one = tmp_path / "one.parquet"
    pq.write_table(table, one)
    many = _folder(tmp_path / "many", table, 7_000)
    assert [each.name for each in parts(many)] == [part_name(number) for number in range(5)]
    assert (described(many).rows, described(many).facts) == (ROWS, {"sigap.rejected": "3"})
    assert read(many).equals(table)
    assert read(many, ["kind", "loan_id"]).column_names == ["kind", "loan_id"]
    assert max(batch.num_rows for batch in batches(many)) <= BATCH_ROWS

    drawn = sample(LOAN_APPROVAL, many, 5_000)
    assert drawn.num_rows == 5_000
    assert drawn.equals(sample(LOAN_APPROVAL, one, 5_000))
    assert drawn["loan_id"].to_pylist() == sorted(drawn["loan_id"].to_pylist())
    # Drawn evenly: a mean of 5,000 of them, and the share of each tenth of the table.
    assert pc.mean(drawn["amount"]).as_py() == pytest.approx(100, abs=0.6)
    places = np.array([int(each[1:]) for each in drawn["loan_id"].to_pylist()])
    assert np.histogram(places, bins=10, range=(0, ROWS))[0] == pytest.approx([500] * 10, rel=0.15)
    assert sample(LOAN_APPROVAL, many, ROWS).equals(table)


def test_samples_of_two_versions_hold_the_same_keys(tmp_path: Path) -> None:
    table = _loans()
    before = _folder(tmp_path / "before", table.slice(0, 20_000), 6_000)
    changed = table.set_column(1, "amount", pc.add(table["amount"], 1.0)).slice(19_000)
    now = _folder(tmp_path / "now", pa.concat_tables([table.slice(2_000, 17_000), changed]), 6_000)
    (ours, theirs), share = keyed_samples(LOAN_APPROVAL, [now, before], 4_000)
    assert 0 < share < 1
    assert max(ours.num_rows, theirs.num_rows) == 4_000
    kept = set(ours["loan_id"].to_pylist()) & set(theirs["loan_id"].to_pylist())
    added = set(ours["loan_id"].to_pylist()) - kept
    assert all(int(each[1:]) >= 20_000 for each in added)
    assert len(added) / share == pytest.approx(10_000, rel=0.1)
    assert (theirs.num_rows - len(kept)) / share == pytest.approx(2_000, rel=0.2)

    # The same of files, as drift compares them: a smaller table keeps to the reference's keys.
    reference, small = tmp_path / "reference.parquet", tmp_path / "small.parquet"
    write_sample(LOAN_APPROVAL, now, reference, 1_000)
    write_sample(LOAN_APPROVAL, before, small, 50_000, reference)
    known = set(read(reference)["loan_id"].to_pylist())
    again = [each for each in read(small)["loan_id"].to_pylist() if int(each[1:]) >= 2_000]
    assert known.issuperset(again)
    assert len(again) == len([each for each in known if int(each[1:]) < 20_000])


def test_entities_stay_whole_and_of_a_series_the_newest_stay(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    entities = np.repeat([f"P{number:04d}" for number in range(1_000)], 6)
    pq.write_table(pa.table({"provinsi_id": entities, "tahun": np.tile(np.arange(2019, 2025), 1_000)}), path)
    drawn = sample(EDUCATION, path, 1_000)
    counts = pc.value_counts(drawn["provinsi_id"]).field("counts").to_pylist()
    assert set(counts) == {6}
    assert 990 <= drawn.num_rows <= 1_000

    times = pa.array((np.arange(5_000) - 2_500) * 86_400_000_000, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({"opened_at": times, "close": np.arange(5_000.0)}), path)
    assert sample(BITCOIN_PRICE, path, 1_500)["close"].to_pylist() == list(np.arange(3_500.0, 5_000.0))


def test_the_smallest_of_many_are_found_in_bounded_memory() -> None:
    numbers = np.random.default_rng(1).integers(0, 2**63, 20_000).astype(np.uint64)
    smallest = Smallest(100)
    for start in range(0, len(numbers), 77):
        smallest.add(numbers[start : start + 77])
        assert len(smallest._held) < 2 * 101
    assert smallest.bound() == np.sort(numbers)[100]
    few = Smallest(100)
    few.add(numbers[:100])
    assert few.bound() is None


def test_hashes_tell_values_apart_and_nothing_else() -> None:
    batch = pa.RecordBatch.from_pydict({"a": [0.0, -0.0, 1.0, None, None], "b": ["x", "x", "x", None, ""]})
    found = hashes(batch, ("a", "b"))
    assert found[0] == found[1]
    assert len({int(each) for each in found}) == 4
    # A machine elsewhere has to draw the same rows.
    assert [int(each) % 10_000 for each in hashes(batch, ("a", "b"))[[0, 2]]] == [861, 5257]


def test_repeats_are_counted_and_different_values_estimated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_profile, "_HELD", 4_000)
    twice = pa.concat_tables([_loans(20_000), _loans(10_000)]).drop_columns("loan_id")
    path = _folder(tmp_path / "twice", twice, 9_000)
    exact = twice.num_rows - twice.group_by(twice.column_names).aggregate([]).num_rows
    assert repeated(path, ("amount", "kind")) == exact
    same = pa.table({"kind": ["a"] * 20_000})
    assert repeated(_folder(tmp_path / "same", same, 9_000), ("kind",)) == 19_999

    words = tuple(word for word in (*LOAN_APPROVAL.columns,) if word.name == "loan_id")
    column = gathered(_folder(tmp_path / "loans", _loans(), 9_000), words, 20)[0]
    assert column.distinct.count() == pytest.approx(ROWS, rel=0.06)
    assert column.counts is None
    few = Distinct()
    few.add(np.array([3, 1, 3], dtype=np.uint64))
    assert few.count() == 2
