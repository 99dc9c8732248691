"""What every deciding service may answer: refusals, duplicates, rejected records; and the owner's tick."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from .envelope import Position
from .message import Message, message


@message(subject=("command", "command_id"), facts=("command_type", "code"), outcome="refused")
class CommandRefused(Message):
    """A command that was understood and not admitted."""

    command_id: UUID = Field(description="The refused command")
    command_type: str = Field(description="Its type")
    code: str = Field(description="A row of problems.yaml")
    detail: str = Field(description="What happened, to which thing, and what to do now")
    extra: dict[str, Any] = Field(default_factory=dict, description="What a program may want to know, such as what exists instead")


@message(subject=("command", "command_id"), facts=("reason",))
class CommandDuplicated(Message):
    """Nothing happens: the same command arrived again and the first one's outcome stands, or what it asks for is so already."""

    command_id: UUID = Field(description="The repeated command")
    reason: Literal["same-command", "below-high-water", "same-content"] = Field(
        description="`same-content`: another command, whose document is registered to the byte already"
    )
    first: Position | None = Field(default=None, description="The inbox record that was decided first")


@message(facts=("code", "digest"), outcome="refused")
class RecordRejected(Message):
    """An inbox record that cannot be a command: malformed, oversized, unsigned, of an unknown type or in a wrong partition."""

    code: str = Field(description="A row of problems.yaml")
    detail: str = Field(description="What happened, to which thing, and what to do now")
    size: int = Field(description="Bytes of the record's value")
    digest: str = Field(description="sha256 of the record's value")


@message()
class Tick(Message):
    """The owner of a partition says that time has passed; the record's broker timestamp is the time."""

    partition: int = Field(description="Of the inbox")


@message()
class TickRecorded(Message):
    """Time passed and nothing was due."""
