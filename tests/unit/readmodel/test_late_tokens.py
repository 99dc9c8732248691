"""A token that is not reached in time: late, of the future, or of another installation; each only when that is known."""

from __future__ import annotations

from typing import Any, cast

import pytest
from barecount_contracts import Position
from barecount_eventlog import KafkaSettings, TopicMissing
from barecount_readmodel import Database, NotYetProjected, Projector, Token, TokenError, projector


async def late(monkeypatch: pytest.MonkeyPatch, topic: str, ends: dict[int, int] | Exception) -> Exception:
    """What a service says that has projected nothing of the topic; ends: what the broker answers it, the partition's end or an error."""

    async def asked(*_: Any) -> dict[int, int]:
        if isinstance(ends, Exception):
            raise ends
        return ends

    monkeypatch.setattr(projector, "end_offsets", asked)
    rows = Projector(kafka=KafkaSettings("nowhere:1"), database=cast(Database, None), service="execution", views=[])
    with pytest.raises((NotYetProjected, TokenError)) as said:
        await rows.wait(Token.of(Position(topic=topic, partition=0, offset=7)), 0.0)
    return said.value


async def test_an_inbox_that_the_broker_hides_from_this_service_is_not_another_installations(monkeypatch: pytest.MonkeyPatch) -> None:
    # ACLs: to who may not see a topic the broker says that there is none
    assert isinstance(await late(monkeypatch, "pipelines.commands", TopicMissing("pipelines.commands")), NotYetProjected)
    elsewhere = await late(monkeypatch, "staging.commands", TopicMissing("staging.commands"))
    assert (getattr(elsewhere, "code", None), str(elsewhere)) == ("token-foreign", "staging.commands is no topic of this installation")


async def test_a_position_beyond_the_end_is_of_the_future_and_one_before_it_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    assert getattr(await late(monkeypatch, "control.events", {0: 7}), "code", None) == "token-future"
    assert isinstance(await late(monkeypatch, "control.events", {0: 8}), NotYetProjected)
    assert isinstance(await late(monkeypatch, "control.events", TimeoutError()), NotYetProjected), "nothing is known"
