"""Reading a landed file: what cannot be read is set aside with its place, and money is never rounded."""

from __future__ import annotations

import datetime as dt
import hashlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from barecount_manifest import fields_of
from barecount_worker.adapters import landing_csv
from barecount_worker.adapters.landing_csv import BadRow, HeaderDiffers, LandedCsv

CONTRACT: dict[str, Any] = {
    "name": "c",
    "version": "v1.0",
    "schema": [
        {
            "name": "t",
            "properties": [
                {"name": "id", "logicalType": "integer", "physicalType": "BIGINT"},
                {"name": "amount", "logicalType": "number", "physicalType": "DECIMAL(6,2)"},
                {"name": "note", "logicalType": "string"},
                {"name": "day", "logicalType": "date"},
                {"name": "at", "logicalType": "timestamp"},
            ],
        }
    ],
}
HEADER = "id,amount,note,day,at"
GOOD = "1,4.99,a,2025-10-04,2025-10-04 00:03:16"


def read(tmp_path: Path, content: str | bytes) -> tuple[list[dict[str, Any]], list[BadRow]]:
    path = tmp_path / "f.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    landed = LandedCsv(path, fields_of(CONTRACT))
    good: list[dict[str, Any]] = []
    bad: list[BadRow] = []
    for batch in landed.batches():
        good += batch.good.to_pylist()
        bad += batch.bad
    assert landed.size == path.stat().st_size
    assert landed.digest == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    for row in bad:  # the place is where a person finds it
        text = path.read_bytes()
        assert text[: row.offset].count(b"\n") + 1 == row.line
    return good, bad


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", "1.0"),
        ("id", "x"),
        ("id", " 1"),
        ("id", "9" * 19),
        ("amount", "4.999"),
        ("amount", "1e3"),
        ("amount", "12345.00"),
        ("amount", "4,99"),
        ("amount", "NaN"),
        ("amount", "+1"),
        ("day", "2025-02-30"),
        ("day", "04.10.2025"),
        ("at", "2025-10-04"),
        ("at", "2025-10-04 24:00:00"),
        ("at", "2025-02-29 01:00:00"),
        ("at", "2025-10-04 00:03"),
        ("at", "2025-10-04 00:03:16Z"),
    ],
)
def test_a_value_that_is_not_of_its_type_is_set_aside(tmp_path: Path, column: str, value: str) -> None:
    cells = dict(zip(HEADER.split(","), GOOD.split(","), strict=True)) | {column: f'"{value}"'}
    good, bad = read(tmp_path, "\n".join([HEADER, GOOD, ",".join(cells.values()), GOOD]))
    assert len(good) == 2
    assert [(row.error_type, row.line) for row in bad] == [("type", 3)]
    assert column in bad[0].reason


@pytest.mark.parametrize(
    ("record", "error"),
    [
        ("1,2", "column-count"),
        (GOOD + ",more", "column-count"),
        ('1,2,"a"x,2025-10-04,2025-10-04 00:00:00', "malformed-csv"),
        (b"1,2.00,\xff\xfe,2025-10-04,2025-10-04 00:00:00", "encoding"),
        (b"1,2.00,a\0b,2025-10-04,2025-10-04 00:00:00", "encoding"),
    ],
)
def test_a_record_of_another_shape_is_set_aside_and_the_next_is_read(tmp_path: Path, record: str | bytes, error: str) -> None:
    raw = record if isinstance(record, bytes) else record.encode()
    good, bad = read(tmp_path, b"\n".join([HEADER.encode(), GOOD.encode(), raw, GOOD.encode(), b""]))
    assert len(good) == 2
    assert [(row.error_type, row.line) for row in bad] == [(error, 3)]


def test_a_quote_that_never_closes_is_one_bad_record(tmp_path: Path) -> None:
    good, bad = read(tmp_path, "\n".join([HEADER, GOOD, '1,2.00,"open,2025-10-04,2025-10-04 00:00:00', GOOD]))
    assert len(good) == 1
    assert [(row.error_type, row.line) for row in bad] == [("malformed-csv", 3)]


def test_a_quoted_line_break_moves_the_lines_of_what_follows(tmp_path: Path) -> None:
    good, bad = read(tmp_path, "\r\n".join([HEADER, '1,2.00,"two\r\nlines",2025-10-04,2025-10-04 00:00:00', "x" + GOOD, ""]))
    assert good[0]["note"] == "two\r\nlines"
    assert [(row.line, row.payload) for row in bad] == [(4, "x" + GOOD)]


@pytest.mark.parametrize("header", ["", "id,amount,note,day", HEADER.replace("note", "id"), "id,amount,note,day,at,x,x", '"'])
def test_another_header_is_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(HeaderDiffers):
        read(tmp_path, header + "\n" + GOOD)


def test_a_column_that_the_contract_does_not_have_is_read_over_and_named(tmp_path: Path) -> None:
    content = f"x,{HEADER},y\n?,{GOOD},\n{GOOD}\n"
    good, bad = read(tmp_path, content)
    assert (good[0]["id"], good[0]["note"], sorted(good[0])) == (1, "a", sorted(HEADER.split(",")))
    # a row is as wide as its own header
    assert [(row.error_type, row.line) for row in bad] == [("column-count", 3)]
    landed = LandedCsv(tmp_path / "f.csv", fields_of(CONTRACT))
    list(landed.batches())
    assert landed.columns == "additional: x, y"


def test_what_is_missing_is_named_beside_what_is_additional(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("id,amount,note,day,time\n")
    landed = LandedCsv(path, fields_of(CONTRACT))
    with pytest.raises(HeaderDiffers, match="missing: at; additional: time"):
        list(landed.batches())
    assert landed.columns == "missing: at; additional: time"


def test_a_header_of_any_length_is_named_in_few_words(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text(",".join(f"column{number:04}" * 20 for number in range(500)) + "\n")
    landed = LandedCsv(path, fields_of(CONTRACT))
    with pytest.raises(HeaderDiffers):
        list(landed.batches())
    assert len(landed.columns) < 2000


def test_columns_may_come_in_another_order_and_with_a_byte_order_mark(tmp_path: Path) -> None:
    good, bad = read(tmp_path, "\ufeffamount,id,note,day,at\n4.50,7,,2025-10-04,2025-10-04 00:03:16\n")
    assert bad == []
    at = dt.datetime(2025, 10, 4, 0, 3, 16)
    assert good == [{"id": 7, "amount": Decimal("4.50"), "note": None, "day": at.date(), "at": at}]


def test_an_empty_cell_is_null_and_an_empty_line_is_nothing(tmp_path: Path) -> None:
    good, bad = read(tmp_path, HEADER + "\n,,,,\n\n" + GOOD + "\n")
    assert (list(good[0].values()), len(good), bad) == ([None] * 5, 2, [])


def test_a_payload_is_cut(tmp_path: Path) -> None:
    _, bad = read(tmp_path, HEADER + "\n" + "x" * 9000)
    assert [len(row.payload) for row in bad] == [4096]


def test_places_hold_across_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landing_csv, "BATCH_ROWS", 3)
    lines = [HEADER, *(GOOD if number % 4 else f"bad{number}" for number in range(20))]
    good, bad = read(tmp_path, "\n".join(lines))
    assert len(good) == 15
    assert [row.line for row in bad] == [2, 6, 10, 14, 18]
    assert [row.payload for row in bad] == ["bad0", "bad4", "bad8", "bad12", "bad16"]
