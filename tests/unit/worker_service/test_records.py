"""Ids and forms of what a worker writes."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from barecount_contracts import RunLogged, TaskRef
from barecount_worker.records import Order, dead_lettered, entry_id, logged

from tests.support.worker_fakes import CORRELATION, task

pytestmark = pytest.mark.unit
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LETTER = {"error_type": "type", "reason": "no number", "path": "a.csv", "line": 7, "payload": "x" * 10_000}


def order(nonce: str = "nonce-1", tenant: str = "acme", attempt: int = 1) -> Order:
    made = task(nonce)
    return Order(tenant, CORRELATION, made.model_copy(update={"task": TaskRef(**{**made.task.model_dump(), "attempt": attempt})}))


def test_a_retry_names_the_same_dead_letter_by_the_same_id_in_another_record() -> None:
    first, second = dead_lettered(order("a"), LETTER, NOW), dead_lettered(order("b", attempt=2), LETTER, NOW)

    assert first.data["entry_id"] == second.data["entry_id"]
    assert first.id != second.id


@pytest.mark.parametrize(
    ("path", "line", "tenant"), [("b.csv", 7, "acme"), ("a.csv", 8, "acme"), ("a.csv", 7, "other"), ("a.csv", None, "acme")]
)
def test_another_place_or_tenant_is_another_dead_letter(path: str, line: int | None, tenant: str) -> None:
    assert entry_id(order(tenant=tenant), path, line) != entry_id(order(), "a.csv", 7)


def test_a_dead_letters_payload_is_cut_where_the_contract_says() -> None:
    assert len(dead_lettered(order(), LETTER, NOW).data["payload"]) == 4096


def test_an_error_type_stands_in_its_own_field_and_foreign_values_become_text() -> None:
    fields = {"error_type": "io-error", "amount": Decimal("1.10"), "not": float("nan"), "many": list(range(200)), "deep": {"a": (1, 2)}}

    line = logged(order(), 3, "shout", "something", fields, NOW).payload()

    assert isinstance(line, RunLogged)
    assert (line.error_type, line.level, line.sequence) == ("io-error", "info", 3)
    assert line.fields == {"amount": "1.10", "not": "nan", "many": list(range(100)), "deep": {"a": [1, 2]}}


def test_the_same_line_of_an_attempt_is_the_same_record() -> None:
    assert logged(order(), 3, "info", "a", {}, NOW).id == logged(order(), 3, "info", "a", {}, NOW).id
    assert logged(order(), 3, "info", "a", {}, NOW).id != logged(order("other"), 3, "info", "a", {}, NOW).id
