"""What became of a command."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from asyncpg import Record
from barecount_chassis import Caller, ConsistencyToken, Problem, require
from fastapi import APIRouter

from barecount_command.views.rows import from_json

from .desk import REFUSALS, Desk
from .models import CommandShown

_STATUS = {"ReplayRequested": "pending", "ApprovalRequested": "waiting", "ReplayValidated": "waiting"}


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(tags=["commands"])

    @routes.get("/commands/{command_id}", response_model=CommandShown)
    async def get_command(
        command_id: UUID, caller: Annotated[Caller, require("commands:read")], token: ConsistencyToken = None
    ) -> dict[str, Any]:
        """A command's admission, and the events of its chain that tell how it went on.

        `status`: `admitted`, `refused`, `pending` (a replay for which the ledger has not spoken) or `waiting` (for a person).
        `not-found` when your tenant has no such command, or it is not decided yet.
        """
        async with desk.read(caller, token) as conn:
            # repetitions of a command point to the first; only the first decided something, and a record that was not let in nothing
            first = await conn.fetchrow(
                "SELECT * FROM outcomes WHERE tenant = $1 AND command_id = $2 ORDER BY type = 'RecordRejected', inbox_offset LIMIT 1",
                caller.tenant,
                command_id,
            )
            rows = await conn.fetch(
                'SELECT * FROM followed WHERE tenant = $1 AND correlation = $2 ORDER BY at, topic, "offset" LIMIT 200',
                caller.tenant,
                command_id,
            )
        if first is None:
            raise Problem("not-found", f"there is no command {command_id}, or it is not decided yet")
        events = [_event(row, row["at"]) for row in rows]
        admission = _event(first, first["decided_at"])
        return {
            "command_id": str(command_id),
            "type": first["command_type"],
            "status": _status(admission, events),
            "principal": first["principal"],
            "admission": admission,
            "result": events[-1] if events else None,
            "events": events,
            "links": _links(command_id, admission, events),
        }

    return routes


def _event(row: Record, at: Any) -> dict[str, Any]:
    return {"type": row["type"], "time": at, "principal": row["principal"], "data": from_json(row["data"])}


def _status(admission: dict[str, Any], events: list[dict[str, Any]]) -> str:
    decided = [event["type"] for event in (admission, *events) if not event["type"].startswith("Run") or event is admission]
    if any(kind in REFUSALS or kind == "ApprovalRejected" for kind in decided):
        return "refused"
    return _STATUS.get(decided[-1], "admitted")


def _links(command_id: UUID, admission: dict[str, Any], events: list[dict[str, Any]]) -> dict[str, str]:
    links = {"self": f"/commands/{command_id}"}
    for event in (admission, *events):
        run = event["data"].get("new_run_id") if event["type"] == "ReplayApproved" else event["data"].get("run_id")
        if run and (event["type"] in ("RunRequested", "ReplayApproved") or event["type"].startswith("RunQueued")):
            links["run"] = f"/runs/{run}"
    return links
