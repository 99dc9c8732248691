"""The inbox of commands: one fenced writer a partition, the domain in between."""

from __future__ import annotations

from barecount_chassis import Keyring
from barecount_eventlog import Handler, KafkaSettings, Refusal, SnapshotStore

from .domain import CommandDecider, State

INBOX, EVENTS = "pipelines.commands", "control.events"


def command_handler(kafka: KafkaSettings, keyring: Keyring, snapshots: SnapshotStore) -> Handler[State]:
    """Owns every partition of `pipelines.commands` and is the only writer of `control.events`."""
    return Handler(
        kafka=kafka,
        service="command",
        inbox=INBOX,
        events=EVENTS,
        decider=CommandDecider(),
        gate=keyring.gate(Refusal),
        snapshots=snapshots,
    )
