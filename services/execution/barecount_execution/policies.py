"""What the command service decided becomes work: control.events in order, AdmitRun and StopRun out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from barecount_chassis import CommandBus, Policy
from barecount_chassis.record import Record
from barecount_contracts import AdmitRun, Bodies, Heading, PlanSummary, ReplayApproved, RunCancelRequested, RunRequested, StopRun
from barecount_readmodel import Database, Projector, Token

from .settings import SERVICE
from .views.bodies import bodies_of

NAME = "admission"
SOURCE = "control.events"
DEFAULT_POOL = "default"
# longer than any healthy projection takes; then the reader's own backoff takes over
PROJECTION_SECONDS = 30.0
KEPT_BODIES = 32


class Admission:
    """Turns requests into commands. Repeats itself after a crash; the handler knows the source position and ignores what it had."""

    def __init__(self, bus: CommandBus, database: Database, projector: Projector) -> None:
        self._bus, self._database, self._projector = bus, database, projector
        self._bodies: OrderedDict[tuple[str, str], Bodies] = OrderedDict()

    async def handle(self, record: Record) -> None:
        """Raises: NotYetProjected when the read model lags; the reader tries again."""
        event = record.envelope
        match event.type:
            case "RunRequested" | "ReplayApproved" | "RunCancelRequested":
                await self._projector.wait(Token.of(record.position), PROJECTION_SECONDS)
            case _:
                return
        match record.payload:
            case RunRequested(run_id=run_id, plan=plan, plan_digest=digest):
                await self._admit(record, event, run_id, plan, digest)
            case ReplayApproved(new_run_id=run_id, plan=plan, plan_digest=digest):
                await self._admit(record, event, run_id, plan, digest)
            case RunCancelRequested(run_id=run_id, reason=reason):
                await self._derive(record, event, StopRun(run_id=run_id, reason=reason), await self._pool_of(event.tenant, run_id))
            case _:
                return

    async def park(self, record: Record, error: Exception) -> None:
        """What cannot be read asks for nothing; it is passed by once the read model, which reads the same log, holds place and reason."""
        await self._projector.wait(Token.of(record.position), PROJECTION_SECONDS)

    async def _admit(self, record: Record, event: Heading, run_id: str, plan: PlanSummary, digest: str) -> None:
        bodies = await self._bodies_of(event.tenant, plan)
        pool = pool_of(bodies.manifest)
        await self._derive(record, event, AdmitRun(run_id=run_id, pool=pool, plan=plan, plan_digest=digest, bodies=bodies), pool)

    async def _pool_of(self, tenant: str, run_id: str) -> str:
        """The pool that the run was or will be admitted to: its manifest's word."""
        async with self._database.query(tenant) as conn:
            plan = await conn.fetchval("SELECT plan FROM runs WHERE run_id = $1", run_id)
            if plan is None:
                # no pool has it: whichever answers says so
                return DEFAULT_POOL
        return pool_of((await self._bodies_of(tenant, PlanSummary.model_validate_json(plan))).manifest)

    async def _bodies_of(self, tenant: str, plan: PlanSummary) -> Bodies:
        """Bodies never change under their digest, so the newest few are kept; an incomplete answer is not."""
        key = (tenant, plan.manifest_digest)
        if key in self._bodies:
            self._bodies.move_to_end(key)
            return self._bodies[key]
        async with self._database.query(tenant) as conn:
            bodies, complete = await bodies_of(conn, plan)
        if complete:
            self._bodies[key] = bodies
            if len(self._bodies) > KEPT_BODIES:
                self._bodies.popitem(last=False)
        return bodies

    async def _derive(self, record: Record, event: Heading, payload: AdmitRun | StopRun, pool: str) -> None:
        await self._bus.derive(payload, tenant=event.tenant, source=record.position, correlation=event.correlation, key=pool)


def pool_of(manifest: Mapping[str, Any]) -> str:
    return str(manifest.get("pool") or DEFAULT_POOL)


def admission(kafka: Mapping[str, str | None], admission: Admission, instance: str) -> Policy:
    return Policy(kafka, service=SERVICE, name=NAME, topics=(SOURCE,), handle=admission.handle, park=admission.park, instance=instance)
