"""Comparing totals: exact decimals, never floats."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from barecount_contracts import Reconciliation


def compare(name: str, expected: Decimal, actual: Decimal | None, tolerance: Decimal) -> Reconciliation:
    """The control total against ours. No total of ours (NULL: no rows) counts as zero, so that the difference is a number."""
    found = actual if actual is not None else Decimal(0)
    difference = found - expected
    return Reconciliation(
        name=name, expected=text(expected), actual=text(found), difference=text(difference), holds=abs(difference) <= tolerance
    )


def exact(value: Any) -> Decimal:
    """A number of a control file or a query as Decimal. Raises ValueError for floats and for what is no finite number."""
    if isinstance(value, bool | float) or not isinstance(value, int | str | Decimal):
        raise ValueError(f"{value!r} is a {type(value).__name__}; totals are whole numbers or decimals")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{value!r} is not a number") from None
    if not number.is_finite():
        raise ValueError(f"{value!r} is not a finite number")
    return number


def text(value: Decimal) -> str:
    """Plain digits, as they are written: 10928.00, never 1.0928E+4."""
    return format(value, "f")
