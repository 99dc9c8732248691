"""The ledger's policy at the process's stop."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaConnectionError
from barecount_chassis import CommandBus
from barecount_command.policies import LedgerPolicy
from barecount_eventlog import KafkaSettings

pytestmark = pytest.mark.unit


class Unclosable:
    """A client whose broker died: its close ends with what its own tasks ended with."""

    def __init__(self, raised: type[BaseException]) -> None:
        self._raised = raised
        self.asked = False

    async def stop(self) -> None:
        self.asked = True
        raise self._raised


@pytest.mark.parametrize("raised", [asyncio.CancelledError, KafkaConnectionError])
async def test_a_client_that_cannot_be_closed_holds_up_nothing_else_that_is_to_be_stopped(raised: type[BaseException]) -> None:
    policy = LedgerPolicy(KafkaSettings("127.0.0.1:1"), cast("CommandBus", None), judged=lambda *_: False)
    positions, looker = Unclosable(raised), Unclosable(raised)
    policy._positions, policy._follower._looker = cast("Any", positions), cast("Any", looker)
    await policy.stop()
    assert positions.asked
    assert looker.asked
