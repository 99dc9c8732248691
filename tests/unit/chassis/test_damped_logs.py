"""What a broker's outage does to the logs: one line of a kind in five seconds, and how many were left out."""

from __future__ import annotations

import logging

from barecount_chassis.telemetry import Damped


def record(name: str, template: str) -> logging.LogRecord:
    return logging.LogRecord(name, logging.WARNING, "", 0, template, ("x",), None)


def test_a_line_that_repeats_itself_is_shown_once_and_then_counted() -> None:
    now = [0.0]
    damped = Damped("aiokafka", seconds=5.0, clock=lambda: now[0])
    assert damped.filter(record("aiokafka.conn", "no route to %s"))
    assert [damped.filter(record("aiokafka.conn", "no route to %s")) for _ in range(69)] == [False] * 69
    assert damped.filter(record("aiokafka.conn", "another kind: %s")), "another message is news"
    now[0] = 5.0
    again = record("aiokafka.conn", "no route to %s")
    assert damped.filter(again)
    assert again.__dict__["left_out"] == 69


def test_the_products_own_lines_are_never_left_out() -> None:
    damped = Damped("aiokafka", clock=lambda: 0.0)
    assert all(damped.filter(record("barecount.command", "refused %s")) for _ in range(10))
