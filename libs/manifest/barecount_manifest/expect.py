"""The comparison operators of quality rules, in ODCS's words (mustBe, mustBeLessThan, …) spelled with underscores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

_OPERATORS: dict[str, Callable[[Decimal, Any], bool]] = {
    "must_be": lambda actual, expected: actual == expected,
    "must_not_be": lambda actual, expected: actual != expected,
    "must_be_greater_than": lambda actual, expected: actual > expected,
    "must_be_greater_or_equal_to": lambda actual, expected: actual >= expected,
    "must_be_less_than": lambda actual, expected: actual < expected,
    "must_be_less_or_equal_to": lambda actual, expected: actual <= expected,
    "must_be_between": lambda actual, expected: expected[0] <= actual <= expected[1],
    "must_not_be_between": lambda actual, expected: not expected[0] <= actual <= expected[1],
}


def holds(expected: Mapping[str, Any], actual: Decimal | None) -> bool:
    """Whether `actual` meets every condition. A query that gives no number (NULL) meets none: nothing proven is not a pass.

    Raises KeyError for an unknown operator.
    """
    return actual is not None and all(_OPERATORS[name](actual, value) for name, value in expected.items())
