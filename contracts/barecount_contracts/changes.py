"""state.changes: what outsiders may know of the product's life, as CloudEvents 1.0. Streams, webhooks and subscribers see the same.

A record's value is the event's data (StateChanged as JSON), its attributes are Kafka headers `ce_<name>` (the Kafka protocol binding's
binary mode), its key is the tenant. `ce_id` is stable: derived from the log record that says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, Self
from uuid import UUID

from pydantic import Field, ValidationError

from .envelope import EnvelopeError, Position
from .message import Message, Part, message
from .pipelines import ContractRef, Environment
from .runs import RunTotals

# public type -> (the payload type that it tells of, what it means). Names are stable: receivers filter by them.
CHANGES: Final[dict[str, tuple[str, str]]] = {
    "schema.registered": ("SchemaRegistered", "A subject has a new schema version"),
    "contract.registered": ("ContractRegistered", "A version of a data contract exists"),
    "pipeline.created": ("PipelineCreated", "A pipeline exists"),
    "pipeline.updated": ("PipelineUpdated", "A pipeline has a new manifest version"),
    "pipeline.deleted": ("PipelineDeleted", "A pipeline is retired"),
    "pipeline.promoted": ("PipelinePromoted", "An environment runs another manifest version"),
    "run.requested": ("RunRequested", "A run is admitted"),
    "run.cancel-requested": ("RunCancelRequested", "Somebody wants a run to end"),
    "run.queued": ("RunQueued", "A run waits for a slot"),
    "run.started": ("RunStarted", "A run's first task was dispatched"),
    "run.cancelling": ("RunCancelling", "A run is being ended"),
    "run.succeeded": ("RunSucceeded", "Success: everything was published and reconciled"),
    "run.failed": ("RunFailed", "Failure: a stage failed for good"),
    "run.cancelled": ("RunCancelled", "A run was ended"),
    "run.refused": ("RunRefused", "Execution cannot take what was asked"),
    "task.dispatched": ("TaskDispatched", "A free slot got an attempt of a stage"),
    "task.started": ("TaskStarted", "A worker has begun with a stage"),
    "task.succeeded": ("TaskSucceeded", "A stage is done"),
    "task.failed": ("TaskFailed", "An attempt of a stage has failed"),
    "task.retry-scheduled": ("TaskRetryScheduled", "A stage will be tried again"),
    "task.lease-expired": ("TaskLeaseExpired", "A worker was not heard of in time"),
    "data-partition.published": ("DataPartitionPublished", "A data partition's new content is in its table"),
    "drift.detected": ("DriftDetected", "Drift: data is not what it used to be, or what its contract says"),
    "replay.requested": ("ReplayRequested", "A replay is asked for"),
    "replay.validated": ("ReplayValidated", "The ledger proves what the request says"),
    "replay.refused": ("ReplayRefused", "The ledger does not prove what the request says"),
    "replay.approved": ("ReplayApproved", "A replay may run"),
    "approval.requested": ("ApprovalRequested", "A person must decide"),
    "approval.rejected": ("ApprovalRejected", "A person said no"),
    "command.refused": ("CommandRefused", "A command was understood and not admitted"),
    "publisher.registered": ("PublisherRegistered", "A system may publish commands"),
    "publisher.revoked": ("PublisherRevoked", "A system may no longer publish"),
    "webhook.created": ("WebhookCreated", "An endpoint gets events"),
    "webhook.updated": ("WebhookUpdated", "An endpoint has changed"),
    "webhook.deleted": ("WebhookDeleted", "An endpoint is gone"),
    "webhook.secret-rotated": ("WebhookSecretRotated", "Deliveries are signed with another secret"),
    "webhook.disabled": ("WebhookDisabled", "The relay sends nothing more to an endpoint"),
}

Kind = Literal["schema", "contract", "pipeline", "run", "replay", "command", "publisher", "webhook"]
# which action of permissions.yaml a reader of changes needs, by the kind of thing they are about
READ_ACTIONS: Final[dict[str, str]] = {
    "schema": "contracts:read",
    "contract": "contracts:read",
    "pipeline": "pipelines:read",
    "run": "runs:read",
    "replay": "decisions:read",
    "command": "commands:read",
    "publisher": "publishers:read",
    "webhook": "webhooks:read",
}


class Failure(Part):
    """Why something failed or was refused."""

    error_type: str = Field(description="A name to filter by, or a row of problems.yaml")
    message: str = Field(description="For people")
    stage: str | None = Field(default=None, description="Of the run")


class Waits(Part):
    """What a request for a decision shows, or what was decided."""

    request_id: str = Field(description="The request")
    plan_digest: str | None = Field(default=None, description="What a decision binds to")
    rule: str | None = Field(default=None, description="The manifest's rule that decides or asks for a person")
    reason: str | None = Field(default=None, description="Why, in the words of whoever decided or of the policy")
    requested_by: str | None = Field(default=None, description="Pseudonym of who may not decide")
    new_run_id: str | None = Field(default=None, description="The run that an approval starts")


class Drift(Part):
    """What is not as it was."""

    kind: Literal["schema", "volume"] = Field(description="Columns, or the number of records")
    dataset: str = Field(description="Of which source or sink")
    expected: str = Field(description="What it used to be, or what the contract says")
    actual: str = Field(description="What came")


@message(subject=("state-change", "id"))
class StateChanged(Message):
    """One change of one thing: the data of a CloudEvent whose type is `<kind or part>.<what happened>`."""

    tenant: str = Field(description="Whose thing it is")
    kind: Kind = Field(description="What kind of thing; tasks, data partitions and drift are changes of a run, approvals of a replay")
    id: str = Field(description="The thing, unique within its tenant and kind")
    summary: str = Field(description="One line for people")
    pipeline: str | None = Field(default=None, description="The pipeline that it belongs to")
    environment: Environment | None = Field(default=None, description="Where it runs")
    manifest_version: int | None = Field(default=None, description="Which runs, or was made")
    contract: ContractRef | None = Field(default=None, description="The output contract, or the one registered")
    data_partitions: tuple[str, ...] = Field(default=(), description="Of the run, as 2025-10-04")
    run_id: str | None = Field(default=None, description="The run that it is about")
    rerun_of: str | None = Field(default=None, description="The run that this one replays")
    status: str | None = Field(default=None, description="Of the run or request after the change")
    stage: str | None = Field(default=None, description="Of the run")
    attempt: int | None = Field(default=None, description="Of the stage")
    worker_id: str | None = Field(default=None, description="Who works on it")
    totals: RunTotals | None = Field(default=None, description="The run's figures at its end")
    failure: Failure | None = Field(default=None, description="Why it failed or was refused")
    waits: Waits | None = Field(default=None, description="Of replay and approval changes")
    drift: Drift | None = Field(default=None, description="Of drift.detected")
    principal: str | None = Field(default=None, description="Pseudonym of who asked")
    command_id: UUID | None = Field(default=None, description="The command that it answers")
    correlation: UUID = Field(description="The id of the command with which the chain began")
    source: Position = Field(description="The log record that says so")


class CloudEvent(Part):
    """A CloudEvent 1.0 with the attributes used here. `tenant` is an extension attribute; `partitionkey` is the record's key."""

    specversion: Literal["1.0"] = "1.0"
    id: str = Field(min_length=1, description="Stable: UUIDv5 of the log record that it tells of")
    source: str = Field(min_length=1, description="/tenants/<tenant>/<kind>s")
    type: str = Field(min_length=1, description="A key of CHANGES")
    subject: str | None = Field(default=None, description="The thing's id")
    time: datetime = Field(description="Broker time of the cause")
    datacontenttype: Literal["application/json"] = "application/json"
    dataschema: str | None = Field(default=None, description="The schema of `data`")
    tenant: str = Field(description="Whose it is")
    traceparent: str | None = Field(default=None, description="W3C trace context (Distributed Tracing extension)")
    data: dict[str, Any] = Field(description="StateChanged as JSON")

    def headers(self) -> list[tuple[str, bytes]]:
        """The attributes as Kafka headers (binary mode); absent ones are left out."""
        attributes = self.model_dump(mode="json", exclude={"data", "datacontenttype"}, exclude_none=True)
        found = [(f"ce_{name}", str(value).encode()) for name, value in attributes.items()]
        # traceparent also under the name by which every reader of a topic continues the trace
        traced = [("traceparent", self.traceparent.encode())] if self.traceparent else []
        return [("content-type", b"application/json"), *found, *traced]

    def value(self) -> bytes:
        """The record's value in binary mode: the data."""
        return json.dumps(self.data, separators=(",", ":"), ensure_ascii=False).encode()

    def structured(self) -> dict[str, Any]:
        """The JSON event format (application/cloudevents+json)."""
        return self.model_dump(mode="json", exclude_none=True)

    @classmethod
    def of_record(cls, headers: Mapping[str, bytes], value: bytes) -> Self:
        """Reads a binary-mode record.

        Raises: EnvelopeError with code `malformed-record`.
        """
        try:
            attributes = {name.removeprefix("ce_"): said.decode() for name, said in headers.items() if name.startswith("ce_")}
            return cls.model_validate({**attributes, "data": json.loads(value)})
        except (ValidationError, ValueError, RecursionError) as error:
            # RecursionError: brackets in brackets, which only Python's own reader of JSON follows so deep
            raise EnvelopeError("malformed-record", f"the record is not a CloudEvent in binary mode: {error}") from error

    def change(self) -> StateChanged:
        """The typed data. Raises: EnvelopeError with code `invalid-payload`."""
        try:
            return StateChanged.model_validate(self.data)
        except ValidationError as error:
            raise EnvelopeError("invalid-payload", f"the data of {self.type} {self.id} is no StateChanged: {error}") from error


def matches(patterns: tuple[str, ...], event_type: str) -> bool:
    """Whether one of the patterns (exact, `<kind>.*`, `*`) takes this type."""
    kind = event_type.partition(".")[0]
    return any(pattern in ("*", event_type, f"{kind}.*") for pattern in patterns)


def unknown_patterns(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Those that no type of CHANGES can ever match: most are misspelled."""
    return tuple(pattern for pattern in patterns if not any(matches((pattern,), name) for name in CHANGES))
