"""From the HTTP call of a replay to its commit, parent by parent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from barecount_contracts import EvidenceRecord, Position, Subject
from barecount_evidence.domain.story import links

AT = datetime(2025, 10, 5, 6, 0, tzinfo=UTC)
COMMAND = UUID("00000000-0000-5000-8000-000000000002")


def at(topic: str, offset: int) -> Position:
    return Position(topic=topic, partition=0, offset=offset)


def record(kind: str, source: Position, subject: tuple[str, str] | None = None, **more: Any) -> EvidenceRecord:
    return EvidenceRecord(
        type=kind, version=1, tenant="acme", at=AT, outcome="ok", digest="sha256:0", source=source, correlation=COMMAND,
        subject=None if subject is None else Subject(kind=subject[0], id=subject[1]), **more,
    )  # fmt: skip


REPLAY, RUN = ("replay", "q1"), ("run", "run-2")
CHAIN = [
    (10, record("ReplayRequested", at("control.events", 0), REPLAY, cause=at("pipelines.commands", 4), command_id=COMMAND)),
    (12, record("ReplayValidated", at("control.events", 1), REPLAY, cause=at("pipelines.commands", 5), facts={"facts.leaf_index": 3})),
    (13, record("ReplayApproved", at("control.events", 2), REPLAY, cause=at("pipelines.commands", 5))),
    (14, record("ApiCalled", at("api.calls", 0), ("call", "r1"), command_id=COMMAND)),
    (16, record("RunQueued", at("runs.events", 0), RUN, cause=at("runs.commands", 1), origin=at("control.events", 2),
                command_id=uuid5(COMMAND, "p"))),
    (17, record("RunStarted", at("runs.events", 1), RUN, cause=at("runs.commands", 1))),
    (18, record("DataPartitionPublished", at("runs.events", 2), RUN, cause=at("runs.commands", 2))),
    (19, record("RunSucceeded", at("runs.events", 3), RUN, cause=at("runs.commands", 2))),
    (21, record("LineageEmitted", at("lineage.events", 0), RUN, cause=at("runs.events", 3))),
]  # fmt: skip


def test_the_way_leads_from_the_commit_back_to_the_call() -> None:
    parents = {link.index: link.parent for link in links(CHAIN)}
    way = [21]
    while (parent := parents[way[-1]]) is not None:
        way.append(parent)
    assert way == [21, 19, 18, 17, 16, 13, 12, 10, 14]


def test_a_validation_names_the_leaf_it_relied_on() -> None:
    assert {link.index: link.relies_on for link in links(CHAIN) if link.relies_on} == {12: (3,)}


def test_a_record_whose_parent_is_not_shown_begins_its_chain() -> None:
    (link,) = links([CHAIN[4]])
    assert (link.parent, link.why) == (None, "the first of its chain")


def test_nothing_is_its_own_parent() -> None:
    assert all(link.parent != link.index for link in links(CHAIN))


def test_what_a_worker_says_of_an_attempt_follows_from_its_dispatch_not_from_what_came_between() -> None:
    task = {"task.stage": "read", "task.data_partition": "2025-10-04", "task.attempt": 1}
    chain = [
        (1, record("TaskDispatched", at("runs.events", 0), RUN, cause=at("runs.commands", 1), facts=task)),
        (2, record("LineageEmitted", at("lineage.events", 0), RUN, cause=at("runs.events", 0))),
        (
            3,
            record(
                "TaskDispatched",
                at("runs.events", 1),
                RUN,
                cause=at("runs.commands", 2),
                facts=task | {"task.data_partition": "2025-10-05"},
            ),
        ),
        (4, record("TaskStarted", at("runs.events", 2), RUN, cause=at("runs.commands", 3), facts=task)),
    ]
    assert links(chain)[-1].parent == 1
