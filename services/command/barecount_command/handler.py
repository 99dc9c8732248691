"""The inbox of commands: one fenced writer a partition, the domain in between."""

from __future__ import annotations

from barecount_chassis import Keyring, PrivateTargets, TargetError
from barecount_contracts import SIGNATURE_HEADER, Heading
from barecount_eventlog import Asking, Gate, Handler, KafkaSettings, Prover, Refusal, SnapshotStore

from .domain import CommandDecider, State, admit_signed

INBOX, EVENTS = "pipelines.commands", "control.events"


def command_handler(
    kafka: KafkaSettings,
    keyring: Keyring,
    snapshots: SnapshotStore,
    targets: PrivateTargets | None = None,
    prover: Prover | None = None,
) -> Handler[State]:
    """Owns every partition of `pipelines.commands` and is the only writer of `control.events`.

    targets: where webhooks may go beside public addresses. prover: knows this keyring's keys.
    """
    allowed = targets or PrivateTargets()

    def why_not(url: str) -> str | None:
        try:
            allowed.check(url)
        except TargetError as error:
            return str(error)
        return None

    return Handler(
        kafka=kafka,
        service="command",
        inbox=INBOX,
        events=EVENTS,
        decider=CommandDecider(webhook_url=why_not),
        gate=gate(keyring),
        snapshots=snapshots,
        prover=prover,
    )


def gate(keyring: Keyring) -> Gate[State]:
    """Services assert who asks; publishers sign for themselves. A record is judged by the one or the other, never by both."""
    asserted = keyring.gate(Refusal)

    def check(command: Heading, asking: Asking[State]) -> Refusal | None:
        return admit_signed(command, asking) if SIGNATURE_HEADER in asking.record.headers else asserted(command, asking)

    return check
