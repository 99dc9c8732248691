"""The whole domain of `pipelines.commands`, as the handler runs it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from barecount_contracts import (
    CancelRun,
    CreatePipeline,
    CreateWebhook,
    DecideRequest,
    DeletePipeline,
    DeleteWebhook,
    Heading,
    PromotePipeline,
    RedeliverWebhook,
    RegisterContract,
    RegisterPublisher,
    RegisterSchema,
    ReplayRun,
    ReportLedgerFacts,
    RevokePublisher,
    RotateWebhookSecret,
    StartRun,
    UpdatePipeline,
    UpdateWebhook,
)
from barecount_eventlog import Emit, Inbound

from . import codec
from .answers import refuse
from .contracts import register_contract, register_schema
from .decisions import decide_request
from .evolve import evolve, evolve_all
from .pipelines import create_pipeline, delete_pipeline, promote_pipeline, update_pipeline
from .publishers import register_publisher, revoke_publisher
from .replays import judge_facts, request_replay
from .runs import cancel_run, start_run
from .state import State
from .webhooks import UrlCheck, create_webhook, delete_webhook, no_urls, redeliver_webhook, rotate_secret, update_webhook


class CommandDecider:
    """Admission: one outcome for every command."""

    SNAPSHOT_VERSION = codec.VERSION

    def __init__(self, webhook_url: UrlCheck = no_urls) -> None:
        self._webhook_url = webhook_url

    def initial(self) -> State:
        return State()

    def decide(self, state: State, inbound: Inbound) -> Sequence[Emit]:
        if inbound.key != inbound.command.tenant:
            # another key could bring a tenant's command to an owner that does not know the tenant
            return refuse(
                inbound, "wrong-partition", f"the record's key is {inbound.key!r}; it must be the tenant {inbound.command.tenant!r}"
            )
        # JSON has no other way of writing it
        may_hold_nul = inbound.value is None or b"\\u0000" in inbound.value
        if may_hold_nul and _holds_nul(inbound.payload.to_data()):
            return refuse(inbound, "invalid-request", "a text holds the character U+0000, which databases cannot keep; leave it out")
        tenant = state.of(inbound.command.tenant)
        match inbound.payload:
            case RegisterContract() as command:
                return register_contract(tenant, inbound, command)
            case RegisterSchema() as command:
                return register_schema(tenant, inbound, command)
            case CreatePipeline() as command:
                return create_pipeline(tenant, inbound, command)
            case UpdatePipeline() as command:
                return update_pipeline(tenant, inbound, command)
            case PromotePipeline() as command:
                return promote_pipeline(tenant, inbound, command)
            case DeletePipeline() as command:
                return delete_pipeline(tenant, inbound, command)
            case StartRun() as command:
                return start_run(tenant, inbound, command)
            case CancelRun() as command:
                return cancel_run(tenant, inbound, command)
            case ReplayRun() as command:
                return request_replay(tenant, inbound, command)
            case ReportLedgerFacts() as command:
                return judge_facts(tenant, inbound, command)
            case DecideRequest() as command:
                return decide_request(tenant, inbound, command)
            case CreateWebhook() as command:
                return create_webhook(tenant.webhooks, inbound, command, self._webhook_url)
            case UpdateWebhook() as command:
                return update_webhook(tenant.webhooks, inbound, command, self._webhook_url)
            case DeleteWebhook() as command:
                return delete_webhook(tenant.webhooks, inbound, command)
            case RotateWebhookSecret() as command:
                return rotate_secret(tenant.webhooks, inbound, command)
            case RedeliverWebhook() as command:
                return redeliver_webhook(tenant.webhooks, inbound, command)
            case RegisterPublisher() as command:
                return register_publisher(tenant, inbound, command)
            case RevokePublisher() as command:
                return revoke_publisher(tenant, inbound, command)
            case _:
                return refuse(inbound, "unknown-type", f"pipelines.commands takes no {inbound.command.type}")

    def evolve(self, state: State, event: Heading) -> State:
        return evolve(state, event)

    def evolve_all(self, state: State, events: Sequence[Heading]) -> State:
        return evolve_all(state, events)

    def deadline(self, state: State) -> datetime | None:
        """Nothing here falls due by time."""
        return None

    def dump(self, state: State) -> bytes:
        return codec.dump(state)

    def load(self, blob: bytes) -> State:
        return codec.load(blob)


def _holds_nul(value: Any) -> bool:
    match value:
        case str():
            return "\x00" in value
        case dict():
            return any("\x00" in key or _holds_nul(one) for key, one in value.items())
        case list():
            return any(_holds_nul(one) for one in value)
        case _:
            return False
