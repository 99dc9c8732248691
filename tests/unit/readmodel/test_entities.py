"""The index by which the past is read must name every record that changes a row of an answer: else the past would lack it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import barecount_command.views as command
import barecount_execution.views as execution
import pytest
from barecount_contracts import catalogue
from barecount_eventlog import Recorded
from barecount_execution.views.entities import _standing
from barecount_readmodel import View

EXAMPLES = Path(__file__).resolve().parents[3] / "contracts" / "examples"


class Statements:
    """A connection that only notes whether a view said anything to it."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []

    async def execute(self, query: str, *arguments: Any) -> str:
        self.said.append((query, *arguments))
        return ""

    async def executemany(self, query: str, rows: Sequence[Sequence[Any]]) -> None:
        self.said += [(query, *row) for row in rows]


def examples(*topics: str) -> Iterator[Recorded]:
    for topic in topics:
        for payload in catalogue().topics[topic].payloads:
            value = (EXAMPLES / f"{payload}.json").read_bytes()
            yield Recorded(topic, 0, 7, datetime.now(UTC), "acme", {}, value)


async def statements(views: Sequence[View], record: Recorded) -> list[tuple[Any, ...]]:
    conn = Statements()
    for view in views:
        if record.topic in view.TOPICS:
            await view.apply(conn, [record])  # type: ignore[arg-type]
    return conn.said


CASES = [
    ("command", command.entities(), [command.PipelinesView(), command.ApprovalsView()], ("control.events",), 8),
    (
        "execution",
        execution.entities(),
        [execution.RunsView(), execution.TasksView(), execution.DriftView()],
        ("control.events", "runs.events"),
        15,
    ),
]


@pytest.mark.parametrize(("entities", "views", "topics", "least"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
async def test_every_record_that_changes_an_answer_is_in_the_index(
    entities: Any, views: list[View], topics: Sequence[str], least: int
) -> None:
    changing = [record for record in examples(*topics) if await statements(views, record)]
    assert len(changing) >= least
    for record in changing:
        (named,) = await statements([entities], record)
        thing = dict(zip(("tenant", "kind", "id", "topic", "partition", "offset", "at"), named[1:], strict=True))
        event = record.envelope
        assert (thing["tenant"], thing["offset"], thing["at"]) == (event.tenant, record.offset, event.time)
        ids = [record.whole().data.get(name) for name in ("name", "request_id", "run_id", "new_run_id")]
        assert thing["id"] in ids, f"{event.type} is indexed under {thing['id']}"


async def test_a_run_is_indexed_under_its_own_id_and_not_under_the_one_that_it_replays() -> None:
    approved = next(record for record in examples("control.events") if record.envelope.type == "ReplayApproved")
    (named,) = await statements([execution.entities()], approved)
    assert named[2:4] == ("run", approved.whole().data["new_run_id"])


async def test_every_record_that_changes_slots_or_workers_stands_beside_runs() -> None:
    changing = [record for record in examples("runs.events") if await statements([execution.WorkersView()], record)]
    assert len(changing) >= 5
    for record in changing:
        assert any(_standing(record)), f"{record.envelope.type} is not in standing"
