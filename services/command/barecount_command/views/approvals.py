"""Which replay requests exist, what each waits for, and who decided what."""

from __future__ import annotations

from collections.abc import Sequence

from barecount_contracts import (
    ApprovalRejected,
    ApprovalRequested,
    Heading,
    ReplayApproved,
    ReplayRefused,
    ReplayRequested,
    ReplayValidated,
)
from barecount_eventlog import Recorded
from barecount_readmodel import Connection

from .rows import as_json


class ApprovalsView:
    NAME = "approvals"
    VERSION = 2
    TOPICS: tuple[str, ...] = ("control.events",)
    DDL = """
    CREATE TABLE requests (
        tenant text NOT NULL,
        request_id text NOT NULL,
        state text NOT NULL,
        run_id text NOT NULL,
        contract_version text NOT NULL,
        data_partition text NOT NULL,
        manifest_version text NOT NULL,
        requested_by text,
        requested_at timestamptz NOT NULL,
        rule text,
        reason text,
        plan jsonb,
        plan_digest text,
        facts jsonb,
        code text,
        detail text,
        extra jsonb,
        decided_by text,
        decided_at timestamptz,
        new_run_id text,
        PRIMARY KEY (tenant, request_id)
    );
    CREATE INDEX requests_by_time ON requests (tenant, requested_at, request_id);
    """

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        for record in records:
            event = record.envelope
            if not event.type.startswith(("Replay", "Approval")):
                continue
            match record.payload:
                case ReplayRequested() as fact:
                    await conn.execute(
                        "INSERT INTO requests (tenant, request_id, state, run_id, contract_version, data_partition, manifest_version, "
                        "requested_by, requested_at) VALUES ($1, $2, 'pending', $3, $4, $5, $6, $7, $8)",
                        event.tenant,
                        fact.request_id,
                        fact.run_id,
                        fact.contract_version,
                        fact.data_partition,
                        fact.manifest_version,
                        event.principal,
                        event.time,
                    )
                case ReplayValidated() as fact:
                    plan = as_json(fact.plan.model_dump(mode="json", exclude_none=True))
                    facts = as_json(fact.facts.model_dump(mode="json", exclude_none=True))
                    await _change(conn, event, fact.request_id, state="validated", plan=plan, plan_digest=fact.plan_digest, facts=facts)
                case ReplayRefused() as fact:
                    facts = as_json(fact.facts.model_dump(mode="json", exclude_none=True))
                    said = {"code": fact.code, "detail": fact.detail, "extra": as_json(fact.extra)}
                    # a person may have been too late: then it was their decision that showed it
                    by = _decided(event) if event.cause and event.cause.command_type == "DecideRequest" else {}
                    await _change(conn, event, fact.request_id, state="refused", facts=facts, **said, **by)
                case ApprovalRequested() as fact:
                    await _change(conn, event, fact.request_id, state="waiting", rule=fact.rule, reason=fact.reason)
                case ReplayApproved() as fact:
                    said = {"rule": fact.rule, "reason": fact.reason, "new_run_id": fact.new_run_id}
                    await _change(conn, event, fact.request_id, state="approved", **said, **_decided(event))
                case ApprovalRejected() as fact:
                    await _change(conn, event, fact.request_id, state="rejected", reason=fact.reason, **_decided(event))
                case _:
                    pass


def _decided(event: Heading) -> dict[str, object]:
    return {"decided_by": event.principal, "decided_at": event.time}


async def _change(conn: Connection, event: Heading, request_id: str, **columns: object) -> None:
    """The names of the columns come from this file alone."""
    sets = ", ".join(f"{name} = ${number}" for number, name in enumerate(columns, 3))
    await conn.execute(f"UPDATE requests SET {sets} WHERE tenant = $1 AND request_id = $2", event.tenant, request_id, *columns.values())
