"""What `./run import` says of what it did."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigap.cli.importing import show
from sigap.data.importing import Imported


def test_the_commonest_reasons_and_what_a_missing_column_means_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rejects = tmp_path / "cars-broken.csv"
    rejects.write_text(
        "row,key,field,found,expected\n"
        "5,4,price,-1,a number of at least 100\n"
        '9,8,horsepower,"strong, very",a whole number\n'
        "11,10,horsepower,weak,a whole number\n"
        "12,,,3 cells,as many cells as headings\n"
    )
    show(
        Imported(
            table="cars",
            model="car_price",
            file="broken.csv",
            kind="CSV",
            rows=9,
            inserted=5,
            changed=0,
            unchanged=0,
            doubles=0,
            rejected=4,
            rejects_path=rejects,
            mock_removed=0,
            headings={"price": "Price"},
            missing=("enginesize",),
            unused=(),
            notes=(),
            dry_run=True,
            mock_said=2,
        )
    )
    said = capsys.readouterr().out.splitlines()
    assert "broken.csv (CSV) → cars" in said
    assert "Not in the file: enginesize. Rows that stand keep their values; new rows have none." in said
    first = said.index("  2 × horsepower: expected a whole number; found strong, very in row 9")
    assert said[first + 1 : first + 3] == [
        "  1 × price: expected a number of at least 100; found -1 in row 5",
        "  1 × row: expected as many cells as headings; found 3 cells in row 12",
    ]
    assert str(rejects) in said[first + 3]
    assert "2 rows say that they are mock (column origin)." in " ".join(said)
