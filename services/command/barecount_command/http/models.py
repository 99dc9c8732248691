"""The shapes of answers, for /openapi.json."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from barecount_chassis import TOLD
from barecount_contracts import Environment, PlanSummary
from pydantic import BaseModel, Field

ETAG: dict[str, Any] = {**TOLD, "ETag": {"description": "Names these bytes, for If-Match and If-None-Match", "schema": {"type": "string"}}}


SEEN = {"X-As-Of": TOLD["X-As-Of"]}


class Happened(BaseModel):
    type: str = Field(description="An event type of contracts/topics.yaml")
    data: dict[str, Any] = Field(description="The event's data; documents are left out, they stand by digest")


class Written(BaseModel):
    """A command. `accepted`: it stands in the log. `admitted`: it was decided. `waiting`: a person must decide."""

    command_id: UUID
    status: Literal["accepted", "admitted", "waiting"]
    event: Happened | None = Field(default=None, description="With `Prefer: wait=N`: what was decided")
    links: dict[str, str]
    consistency_token: str = Field(description="Send it as X-Consistency-Token to read what this wrote")


class PipelineItem(BaseModel):
    name: str
    owner: str
    description: str
    pool: str
    version: int = Field(description="The newest manifest version")
    environments: dict[Environment, int] = Field(description="What each environment runs")
    deleted: bool
    created_at: datetime
    updated_at: datetime


class PipelineShown(PipelineItem):
    shown_version: int = Field(description="The version of the manifest below")
    digest: str
    manifest: dict[str, Any]


class HistoryItem(BaseModel):
    time: datetime
    type: str
    version: int
    digest: str | None
    environment: Environment | None
    from_environment: Environment | None
    principal: str | None
    command_id: UUID | None


class ContractItem(BaseModel):
    name: str
    version: str
    digest: str
    subjects: dict[str, str] = Field(description="Object name to registry subject")
    registered_at: datetime
    principal: str | None


class ContractShown(ContractItem):
    document: dict[str, Any]


class RequestItem(BaseModel):
    """A replay request. `pending`: the ledger has not spoken; `waiting`: a person must decide."""

    request_id: str
    state: Literal["pending", "validated", "refused", "waiting", "approved", "rejected"]
    run_id: str
    contract_version: str
    data_partition: str
    manifest_version: str
    requested_by: str | None
    requested_at: datetime
    rule: str | None
    reason: str | None
    plan: PlanSummary | None
    plan_digest: str | None = Field(description="A decision names it")
    code: str | None
    detail: str | None
    extra: dict[str, Any] | None = Field(description="Of a refusal: what a program may want, as `difference` {field: {was, is}}")
    decided_by: str | None
    decided_at: datetime | None
    new_run_id: str | None


class CommandEvent(Happened):
    time: datetime
    principal: str | None = None


class CommandShown(BaseModel):
    """A command with its admission and what came of it."""

    command_id: UUID
    type: str | None
    status: Literal["admitted", "refused", "waiting", "pending"]
    principal: str | None
    admission: CommandEvent
    result: CommandEvent | None = Field(description="The newest event of the chain that tells how it went on")
    events: list[CommandEvent]
    links: dict[str, str]


class Page(BaseModel):
    next_cursor: str | None


class Pipelines(Page):
    items: list[PipelineItem]


class History(Page):
    items: list[HistoryItem]


class Contracts(Page):
    items: list[ContractItem]


class Requests(Page):
    items: list[RequestItem]
