"""Restore: a snapshot and the tail give byte for byte what a full replay gives."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from barecount_contracts import Position
from barecount_eventlog import CodeFault, Handler, LogReplaced, Mark, Snapshot

from tests.integration.eventlog.counter import Counter, add, tick
from tests.integration.eventlog.kit import Topics, drained, eventually, handler_of


class MemorySnapshots:
    """A store of this test only; the product's is PostgresSnapshots."""

    def __init__(self) -> None:
        self.kept: list[Snapshot] = []

    async def load(self, service: str, partition: int, schema: str) -> Snapshot | None:
        return next((s for s in reversed(self.kept) if s.schema == schema), None)

    async def save(self, service: str, partition: int, snapshot: Snapshot) -> None:
        self.kept.append(snapshot)


def image(handler: Handler[Any]) -> tuple[bytes, bytes]:
    state = handler._owners[0].state
    return state.books.dump(), Counter().dump(state.domain)


async def some_of_everything(topics: Topics, dice: random.Random, count: int) -> None:
    """Commands, duplicates, refusals, policies' commands and rubbish."""
    for n in range(count):
        match dice.randrange(6):
            case 0:
                await topics.appender.append_bytes(topics.inbox, b"acme", b"rubbish")
            case 1:
                await topics.appender.append(topics.inbox, "acme", add(dice.randrange(3), key=f"k{dice.randrange(5)}"))
            case 2:
                source = Position(topic="other", partition=dice.randrange(2), offset=dice.randrange(40))
                await topics.appender.append(topics.inbox, "acme", add(1, key=f"{source}", source=source))
            case _:
                await topics.appender.append(topics.inbox, f"t{n % 3}", add(n, tenant=f"t{n % 3}", emits=1 + n % 2))


async def test_snapshot_and_tail_equal_a_full_replay_and_the_living_state(topics: Topics) -> None:
    dice, store = random.Random(11), MemorySnapshots()
    handler = handler_of(topics, snapshots=store, snapshot_every=40, max_batch=7, tick=tick)
    await handler.start()
    await topics.appender.append(topics.inbox, "acme", add(1, alarm_in_ms=1))
    await some_of_everything(topics, dice, 150)
    await drained(handler, topics)
    await eventually(lambda: handler.state(0).alarm is None)
    await handler.stop()
    assert len(store.kept) >= 3
    living = image(handler)
    replayed = handler_of(topics)
    await replayed.start()
    await replayed.stop()
    assert image(replayed) == living
    for snapshot in store.kept:
        only = MemorySnapshots()
        only.kept = [snapshot]
        restored = handler_of(topics, snapshots=only)
        await restored.start()
        await restored.stop()
        assert image(restored) == living, f"from the snapshot at {snapshot.events_next}"


async def test_a_snapshot_of_another_form_is_ignored_and_one_of_another_log_is_refused(topics: Topics) -> None:
    store = MemorySnapshots()
    handler = handler_of(topics, snapshots=store, snapshot_every=1)
    await handler.start()
    await topics.appender.append(topics.inbox, "acme", add(5))
    await drained(handler, topics)
    await handler.stop()
    good = store.kept[-1]
    store.kept = [Snapshot("another", good.events_next, good.inbox_next, b"unreadable")]
    other = handler_of(topics, snapshots=store)
    await other.start()
    await other.stop()
    assert image(other) == image(handler)
    assert good.mark is not None
    assert good.cluster is not None
    altered = Mark(good.mark.offset, bytes(16))
    for snapshot, words in (
        (replace(good, events_next=10_000), f"{topics.events}/0: it stands at 10000, the log ends at 2"),
        (replace(good, mark=altered), f"{topics.events}/0: at offset 0 stands another record"),
        (replace(good, cluster="another"), "it was made from Kafka cluster another"),
    ):
        store.kept = [snapshot]
        refused = handler_of(topics, snapshots=store)
        with pytest.raises(LogReplaced, match=words) as caught:
            await refused.start()
        assert "barecount rebuild test --accept-loss" in str(caught.value)
        assert not refused.ready
    store.kept = [replace(good, cluster=None, mark=None)]
    earlier = handler_of(topics, snapshots=store)
    await earlier.start()
    await earlier.stop()
    assert image(earlier) == image(handler), "one of an earlier release, which kept neither"


async def test_rubbish_among_the_own_events_stops_the_restore_visibly(topics: Topics) -> None:
    at = await topics.appender.append_bytes(topics.events, b"k", b"rubbish")
    handler = handler_of(topics)
    await handler.start()
    assert isinstance(handler.failed, CodeFault)
    assert (handler.failed.step, handler.failed.position) == ("restore", at)
    await handler.stop()


async def test_an_event_that_evolve_cannot_read_stops_the_restore_visibly(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = handler_of(topics)
    await handler.start()
    await topics.appender.append(topics.inbox, "acme", add(5))
    await drained(handler, topics)
    await handler.stop()

    def broken(self: Counter, state: Any, event: Any) -> Any:
        raise KeyError("a field of a later release")

    monkeypatch.setattr(Counter, "evolve", broken)
    again = handler_of(topics)
    await again.start()
    assert isinstance(again.failed, CodeFault)
    assert (again.failed.step, again.failed.position.offset) == ("evolve", 0)
    assert not again.ready
    await again.stop()
