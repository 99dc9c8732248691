"""What everyone may rely on: topics, messages, permissions, problems. No logic, no IO beyond reading the files beside it."""

from .catalogue import Catalogue, Topic, catalogue, murmur2, partition_of
from .envelope import (
    PLATFORM,
    Assertion,
    Cause,
    Envelope,
    EnvelopeError,
    Position,
    Role,
    bytes_digest,
    command_digest,
    command_id,
    event_id,
    parse,
)
from .message import REGISTRY, Message, Outcome, Part, message, payload_class

__all__ = [
    "PLATFORM",
    "REGISTRY",
    "Assertion",
    "Catalogue",
    "Cause",
    "Envelope",
    "EnvelopeError",
    "Message",
    "Outcome",
    "Part",
    "Position",
    "Role",
    "Topic",
    "bytes_digest",
    "catalogue",
    "command_digest",
    "command_id",
    "event_id",
    "message",
    "murmur2",
    "parse",
    "partition_of",
    "payload_class",
]
