"""Behind every route: send a command and wait for what becomes of it, or ask the read model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from uuid import UUID, uuid4

from barecount_chassis import Caller, CommandBus, Problem, Submitted, telemetry
from barecount_contracts import Message
from barecount_contracts.rules import problem_types
from barecount_eventlog import AppendFailed
from barecount_readmodel import EVERY_TENANT, UNREACHABLE, Connection, Database, NotYetProjected, Past, Projector, Seen, Thing, Token, reach
from fastapi.responses import JSONResponse

from barecount_command.views import Recent
from barecount_command.views.rows import from_json

REPLAY_ENDS = ("ReplayApproved", "ReplayRefused", "ApprovalRequested")
# what reading an outcome may take beyond the wait for it: who asks for 5 s is not kept by a silent database for 10 more
READ_SECONDS = 1.0
AWAY: Final[tuple[type[Exception], ...]] = (TimeoutError, *UNREACHABLE)
REFUSALS = frozenset({"CommandRefused", "ReplayRefused", "RecordRejected"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the log says about a command: an event's type and data (documents left out)."""

    type: str
    data: dict[str, Any]


@dataclass
class Desk:
    """`bus`, `database`, `projector` and `past` are set when the service has started; `secret` signs consistency tokens;
    the projector tells `recent` what it has projected."""

    bus: CommandBus | None = None
    database: Database | None = None
    projector: Projector | None = None
    past: Past | None = None
    secret: bytes = b""
    recent: Recent = field(default_factory=Recent)

    # --- writes -------------------------------------------------------------------------------------------------------------

    async def write(
        self,
        caller: Caller,
        payload: Message,
        *,
        key: str | None,
        wait: float | None,
        created: bool = False,
        thing: str | Callable[[Submitted], str] | None = None,
    ) -> JSONResponse:
        """Appends a command; with `wait` (seconds) answers with its admission.

        202 without one: it is not known within `wait`, or the read model is away. created: an admission is answered 201 instead of
        200. thing: the address of what the command makes.
        Raises: Problem of the refusal, with `command_id`.
        """
        submitted = await self.submit(caller, payload, key)
        thing = thing(submitted) if callable(thing) else thing
        outcome = None if wait is None else await self.outcome(caller, submitted, wait)
        if outcome is None:
            return self._answer(submitted, 202, thing)
        if outcome.type in REFUSALS:
            raise problem_of(outcome, submitted.command_id)
        again = outcome.type == "CommandDuplicated"
        return self._answer(submitted, 201 if created and not again else 200, thing, outcome)

    async def submit(self, caller: Caller, payload: Message, key: str | None) -> Submitted:
        """Raises: Problem; `evidence-unavailable` when the broker refuses or does not answer."""
        assert self.bus is not None, "the service has not started"
        # made here where the caller gives none, so that who is told to repeat the call can be told with which key
        key = str(uuid4()) if key is None else key
        try:
            return await self.bus.submit(caller, payload, idempotency_key=key)
        except AppendFailed as error:
            raise Problem("evidence-unavailable", f"the command was not acknowledged: {error}", idempotency_key=key) from error

    async def outcome(self, caller: Caller, submitted: Submitted, seconds: float) -> Outcome | None:
        """The command's admission, for a replay what the ledger led to.

        None when it is not known after `seconds`, and when the rows that would tell cannot be read: it stands in the log all the same.
        """
        try:
            async with asyncio.timeout(seconds + READ_SECONDS):
                return await self._admission(caller, submitted, seconds)
        except AWAY as error:
            telemetry.logger().warning(telemetry.READ_MODEL_AWAY, command_id=str(submitted.command_id), error=repr(error))
            return None

    async def _admission(self, caller: Caller, submitted: Submitted, seconds: float) -> Outcome | None:
        assert self.projector is not None
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        try:
            await self.projector.wait(Token.of(submitted.position), seconds)
        except NotYetProjected:
            return None
        at = submitted.position
        found = await self._outcome_at(caller.tenant, at.partition, at.offset)
        first = (found.data.get("first") if found else None) or {}
        if found is not None and found.type == "CommandDuplicated" and first:
            # the same command again: the first one's outcome stands
            found = await self._outcome_at(caller.tenant, int(first["partition"]), int(first["offset"])) or found
        if found is None or found.type != "ReplayRequested":
            return found or await self._rejected(at.partition, at.offset)

        async def ended() -> Outcome | None:
            return await self._followed(caller.tenant, submitted.command_id, REPLAY_ENDS)

        return await self.projector.until(ended, max(0.0, until - loop.time()))

    def token(self, submitted: Submitted) -> str:
        return Token.of(submitted.position).encode(self.secret, submitted.envelope.tenant)

    def _answer(self, submitted: Submitted, status: int, thing: str | None, outcome: Outcome | None = None) -> JSONResponse:
        token, link = self.token(submitted), f"/commands/{submitted.command_id}"
        state: Literal["accepted", "admitted", "waiting"] = "accepted"
        links = {"command": link, **({"self": thing} if thing else {})}
        if outcome is not None and (run := outcome.data.get("new_run_id") or outcome.data.get("run_id")):
            links["run"] = f"/runs/{run}"
        made = thing or links.get("run", link)
        headers = {"Location": made if status == 201 else link, "X-Consistency-Token": token}
        body: dict[str, Any] = {"command_id": str(submitted.command_id), "status": state}
        if outcome is not None:
            body["status"] = "waiting" if outcome.type == "ApprovalRequested" else "admitted"
            body["event"] = {"type": outcome.type, "data": outcome.data}
            headers["Preference-Applied"] = "wait"
        return JSONResponse({**body, "links": links, "consistency_token": token}, status_code=status, headers=headers)

    async def _outcome_at(self, tenant: str, partition: int, offset: int) -> Outcome | None:
        """What became of the command at this place of the inbox, whose outcome the projector has reached."""
        assert self.database is not None
        told = self.recent.get((partition, offset), tenant)
        if told is not None:
            return Outcome(told.type, from_json(told.data))
        async with self.database.query(tenant) as conn:
            row = await conn.fetchrow("SELECT type, data FROM outcomes WHERE inbox_partition = $1 AND inbox_offset = $2", partition, offset)
        return Outcome(row["type"], from_json(row["data"])) if row else None

    async def _rejected(self, partition: int, offset: int) -> Outcome | None:
        """A record that no partition owner could take belongs to no tenant; the position is our own, so it may be looked at."""
        found = await self._outcome_at(EVERY_TENANT, partition, offset)
        return found if found is not None and found.type == "RecordRejected" else None

    async def _followed(self, tenant: str, correlation: UUID, types: tuple[str, ...]) -> Outcome | None:
        assert self.database is not None
        async with self.database.query(tenant) as conn:
            row = await conn.fetchrow(
                "SELECT type, data FROM followed WHERE tenant = $1 AND correlation = $2 AND type = ANY($3) ORDER BY at DESC LIMIT 1",
                tenant,
                correlation,
                list(types),
            )
        return Outcome(row["type"], from_json(row["data"])) if row else None

    # --- reads --------------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def read(self, caller: Caller, token: str | None = None) -> AsyncIterator[Connection]:
        """A read-only transaction over the caller's rows, after the token's position is projected.

        Raises: Problem `token-*`, or `not-yet-projected` after 2 s.
        """
        assert self.database is not None, "the service has not started"
        assert self.projector is not None
        await reach(self.projector, token, self.secret, caller.tenant)
        async with self.database.query(caller.tenant) as conn:
            yield conn

    @asynccontextmanager
    async def read_at(self, caller: Caller, token: str | None, as_of: str | None, thing: Thing) -> AsyncIterator[Seen]:
        """The same for one thing, at a moment of the log where `as_of` names one.

        Raises: Problem as `read`, and `as-of-*`.
        """
        assert self.past is not None, "the service has not started"
        assert self.projector is not None
        await reach(self.projector, token, self.secret, caller.tenant)
        async with self.past.read(caller.tenant, as_of, thing) as seen:
            yield seen


def problem_of(outcome: Outcome, command_id: UUID) -> Problem:
    """The refusal as the problem document of its code; what a program may want stands under `errors` and `extra`."""
    code, extra = str(outcome.data["code"]), dict(outcome.data.get("extra") or {})
    known = code if code in problem_types() else "internal-error"
    errors = extra.pop("errors", None)
    members = {"errors": errors, "extra": extra or None, "request_id": outcome.data.get("request_id")}
    return Problem(known, str(outcome.data["detail"]), command_id=str(command_id), **members)
