"""Reading a landed CSV file (RFC 4180, UTF-8, header) row by row, typed by a contract, with the position of what cannot be read.

Types are judged by the text, not by a cast that rounds: DECIMAL(12,2) takes 4.99 and refuses 4.999 and 1e3. Rows are parsed by Python's
csv, which knows their lines, and judged and converted a column at a time by Arrow: about a million rows in a few seconds.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from barecount_manifest import Field

BATCH_ROWS = 16_384
PAYLOAD_CHARACTERS = 4_096
_TIME_FORMATS = {"yyyy-MM-dd HH:mm:ss": ("%Y-%m-%d %H:%M:%S", " "), "yyyy-MM-dd'T'HH:mm:ss": ("%Y-%m-%dT%H:%M:%S", "T")}
_DATE = r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"


class HeaderDiffers(Exception):
    """The file lacks columns of the contract, or names one twice; the message names the difference."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A record that cannot be read: `line` of its first line, counted from 1 with the header; `offset` in bytes."""

    error_type: str
    reason: str
    line: int
    offset: int
    payload: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Good rows, typed, and the bad ones between them."""

    good: pa.RecordBatch
    bad: tuple[BadRow, ...]


def arrow_schema(fields: Sequence[Field]) -> pa.Schema:
    """The Arrow form of a contract's columns."""
    return pa.schema([pa.field(field.name, _arrow_type(field)) for field in fields])


class LandedCsv:
    """One pass over a file. `digest` and `size` are of the bytes that were parsed, complete when `batches` is exhausted.

    Columns that the contract does not have are read over; `columns` tells them from the first batch on, or with HeaderDiffers.
    """

    def __init__(self, path: Path, fields: Sequence[Field]) -> None:
        self._path = path
        self._fields = tuple(fields)
        self._schema = arrow_schema(fields)
        self._hash = hashlib.sha256()
        self._lines: list[tuple[int, str]] = []  # of the record being parsed: offset and text
        self._sound = True  # were they UTF-8 text
        self._width = len(fields)
        self.size = 0
        self.missing: tuple[str, ...] = ()
        self.additional: tuple[str, ...] = ()
        self.twice: tuple[str, ...] = ()

    @property
    def columns(self) -> str:
        """How the file's columns differ from the contract's; empty when they do not."""
        found = (("missing", self.missing), ("additional", self.additional), ("named twice", self.twice))
        return "; ".join(f"{word}: {_listed(names)}" for word, names in found if names)

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()

    def batches(self) -> Iterator[Batch]:
        """Raises FileNotFoundError, OSError, and HeaderDiffers before the first batch."""
        with self._path.open("rb") as file:
            reader = csv.reader(self._text(file), strict=True)
            try:
                header = next(reader, [])
            except csv.Error as error:
                self.missing = tuple(field.name for field in self._fields)
                raise HeaderDiffers(f"the header cannot be read: {error}") from error
            order = self._order([name.strip().removeprefix("\ufeff") for name in header])
            rows: list[list[str]] = []
            places: list[tuple[int, int]] = []
            bad: list[BadRow] = []
            line = reader.line_num
            while True:
                self._lines.clear()
                self._sound = True
                try:
                    row = next(reader)
                    problem = self._structure(row)
                except StopIteration:
                    break
                except csv.Error as error:
                    row, problem = [], ("malformed-csv", str(error))
                first, line = line + 1, reader.line_num
                if problem is not None and (row or self._raw().strip()):
                    bad.append(BadRow(*problem, first, self._lines[0][0], self._raw()[:PAYLOAD_CHARACTERS]))
                elif row:
                    rows.append(row)
                    places.append((first, self._lines[0][0]))
                if len(rows) + len(bad) >= BATCH_ROWS:
                    yield self._judge(rows, places, bad, order)
                    rows, places, bad = [], [], []
            if rows or bad:
                yield self._judge(rows, places, bad, order)

    def _text(self, file: Iterator[bytes]) -> Iterator[str]:
        for raw in file:
            self._hash.update(raw)
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError:
                text, self._sound = raw.decode("utf-8", "replace"), False
            if "\0" in text:
                self._sound = False
            self._lines.append((self.size, text))
            self.size += len(raw)
            yield text

    def _raw(self) -> str:
        return "".join(text for _, text in self._lines).rstrip("\r\n")

    def _structure(self, row: list[str]) -> tuple[str, str] | None:
        if row and not self._sound:
            return "encoding", "is not UTF-8 text"
        if row and len(row) != self._width:
            return "column-count", f"has {len(row)} columns, the header has {self._width}"
        return None

    def _order(self, header: list[str]) -> list[int]:
        names = [field.name for field in self._fields]
        self._width = len(header)
        self.missing = tuple(name for name in names if name not in header)
        self.additional = tuple(dict.fromkeys(name for name in header if name not in names))
        self.twice = tuple(name for name, count in Counter(header).items() if count > 1)
        if self.missing or self.twice:
            raise HeaderDiffers(self.columns)
        return [header.index(name) for name in names]

    def _judge(self, rows: list[list[str]], places: list[tuple[int, int]], bad: list[BadRow], order: list[int]) -> Batch:
        cells = list(zip(*rows, strict=True)) if rows else [()] * self._width
        columns: list[pa.Array] = []
        wrong: dict[int, str] = {}  # row -> the first column that cannot be read
        for field, index in zip(self._fields, order, strict=True):
            text = pa.array(cells[index], pa.string())
            column, readable = _convert(text, field, self._schema.field(field.name).type)
            columns.append(column)
            if readable.true_count != len(readable):
                for row in pc.indices_nonzero(pc.invert(readable)).to_pylist():
                    wrong.setdefault(row, f"{field.name}: '{text[row].as_py()[:80]}' is not {_expected(field)}")
        good = pa.RecordBatch.from_arrays(columns, schema=self._schema)
        if wrong:
            good = good.filter(pa.array([row not in wrong for row in range(len(rows))]))
            bad = bad + [BadRow("type", reason, *places[row], _joined(rows[row])) for row, reason in wrong.items()]
        return Batch(good, tuple(sorted(bad, key=lambda row: row.offset)))


def _convert(text: pa.Array, field: Field, kind: pa.DataType) -> tuple[pa.Array, pa.BooleanArray]:
    """The column and which cells could be read; an empty cell is NULL, which the contract's `required` judges later."""
    empty = pc.equal(text, "")
    if field.logical_type == "string":
        return pc.if_else(empty, pa.scalar(None, pa.string()), text), pc.is_valid(text)
    fits = pc.match_substring_regex(text, _pattern(field))
    taken = pc.if_else(fits, text, pa.scalar(None, pa.string()))
    if field.logical_type in {"date", "timestamp"}:
        column = _moments(taken, field, kind)
        fits = pc.and_(fits, pc.is_valid(column))
    else:
        column = taken.cast(kind)
    return column, pc.or_(fits, empty)


def _moments(text: pa.Array, field: Field, kind: pa.DataType) -> pa.Array:
    """Dates and local timestamps; NULL for days that no calendar has (30 February), which strptime alone would carry over."""
    style = "%Y-%m-%d" if field.logical_type == "date" else _time_format(field)[0]
    parsed = pc.strptime(text, format=style, unit="s", error_is_null=True)
    same = pc.equal(pc.strftime(parsed, format=style), text)
    return pc.if_else(same, parsed, pa.scalar(None, parsed.type)).cast(kind)


def _pattern(field: Field) -> str:
    match field.logical_type:
        case "integer":
            digits = {"SMALLINT": 4, "INTEGER": 9}.get(field.type, 18)
            return rf"^-?\d{{1,{digits}}}$"
        case "number" if field.decimal is not None:
            precision, scale = field.decimal
            whole = rf"\d{{1,{precision - scale}}}" if precision > scale else "0"
            return rf"^-?{whole}(\.\d{{1,{scale}}})?$" if scale else rf"^-?{whole}$"
        case "number":
            return r"^-?\d+(\.\d+)?([eE][+-]?\d{1,3})?$"
        case "date":
            return rf"^{_DATE}$"
        case "timestamp":
            return rf"^{_DATE}{_time_format(field)[1]}([01]\d|2[0-3]):[0-5]\d:[0-5]\d$"
        case _:
            return r"^(true|false)$"


def _time_format(field: Field) -> tuple[str, str]:
    return _TIME_FORMATS[str(field.options.get("format", "yyyy-MM-dd HH:mm:ss"))]


def _expected(field: Field) -> str:
    return f"{field.type} as {field.options['format']}" if "format" in field.options else field.type


def _arrow_type(field: Field) -> pa.DataType:
    if field.decimal is not None:
        return pa.decimal128(*field.decimal)
    return {
        "VARCHAR": pa.string(),
        "BIGINT": pa.int64(),
        "INTEGER": pa.int32(),
        "SMALLINT": pa.int16(),
        "DOUBLE": pa.float64(),
        "DATE": pa.date32(),
        "TIMESTAMP": pa.timestamp("us"),
        "BOOLEAN": pa.bool_(),
    }[field.type]


def _listed(names: Sequence[str]) -> str:
    """Names as a person reads them, cut: a file that is no CSV can have a header of any length."""
    shown = ", ".join(name[:60] for name in names[:20])
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"


def _joined(row: list[str]) -> str:
    return ",".join(row)[:PAYLOAD_CHARACTERS]
