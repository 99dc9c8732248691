"""The owner of runs: runs.commands in, runs.events and runs.tasks out, in one transaction."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from barecount_chassis import Keyring
from barecount_contracts import PLATFORM, Envelope, Tick
from barecount_eventlog import Handler, KafkaSettings, Refusal, SnapshotStore, TickOf

from .domain import ExecutionDecider, State
from .settings import SERVICE

INBOX = "runs.commands"
EVENTS = "runs.events"


def handler(kafka: KafkaSettings, keyring: Keyring, snapshots: SnapshotStore, *, lease_seconds: int, snapshot_every: int) -> Handler[State]:
    """lease_seconds: see ExecutionDecider."""
    return Handler(
        kafka=kafka,
        service=SERVICE,
        inbox=INBOX,
        events=EVENTS,
        decider=ExecutionDecider(lease_seconds),
        gate=keyring.gate(Refusal),
        snapshots=snapshots,
        snapshot_every=snapshot_every,
        tick=tick(keyring),
        # a beat that comes twice extends a lease twice: nothing to remember for a week
        forgets=("ReportTaskAlive",),
    )


def tick(keyring: Keyring) -> TickOf:
    """Makes the signed command that says that time has passed in a partition."""

    def make(partition: int) -> Envelope:
        identity = uuid4()
        command = Envelope(
            id=identity,
            type=Tick.TYPE,
            tenant=PLATFORM,
            time=datetime.now(UTC),
            correlation=identity,
            data=Tick(partition=partition).to_data(),
        )
        return keyring.service_assertion(command)

    return make
