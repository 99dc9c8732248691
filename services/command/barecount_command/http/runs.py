"""Runs: start, cancel, replay."""

from __future__ import annotations

from typing import Annotated

from barecount_chassis import Caller, IdempotencyKey, PreferWait, require
from barecount_contracts import CancelRun, Environment, ReplayRun, StartRun
from fastapi import APIRouter, Body
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from .desk import Desk
from .models import Written


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RunOrder(_Closed):
    """What to run."""

    partition: str = Field(max_length=64, description="The data partition: a day as 2025-10-04")
    environment: Environment = "prod"
    run_id: str | None = Field(default=None, max_length=120, description="Chosen by you, or derived from the command")


class ReplayOrder(_Closed):
    """Which run to do again, as you believe it happened: the evidence ledger is asked whether it did."""

    run_id: str = Field(min_length=1, max_length=200)
    contract_version: str = Field(min_length=1, max_length=64, description="The output contract version that the run ran under, as v3.2")
    partition: str = Field(max_length=64, description="The data partition of the run: a day as 2025-10-04")
    manifest_version: str | int = Field(default="as_run", description="`as_run`, `latest`, or a number")


class CancelOrder(_Closed):
    reason: str = Field(default="", max_length=1000)


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(tags=["runs"])

    @routes.post("/pipelines/replay", response_model=Written, status_code=202, responses={201: {"model": Written}})
    async def replay_run(
        body: ReplayOrder, caller: Annotated[Caller, require("runs:replay")], wait: PreferWait, key: IdempotencyKey = None
    ) -> JSONResponse:
        """Replays a data partition of a run that has ended, after the evidence ledger has proven what the request says.

        The request is recorded at once. When the ledger covers that moment, its facts decide: a run that failed and published nothing,
        under the contract version it ran with, is approved by the manifest's governance policy where it says so; anything else waits for
        another person (`status: waiting`). With `Prefer: wait=N` the answer is that decision and names the new run; refusals:
        `run-not-found`, `run-not-ended`, `partition-not-of-run`, `contract-mismatch`, `unknown-contract-version`,
        `unknown-manifest-version`, `invalid-data-partition`, `pipeline-deleted`, `evidence-not-proven`.
        """
        command = ReplayRun(
            run_id=body.run_id,
            contract_version=body.contract_version,
            data_partition=body.partition,
            manifest_version=str(body.manifest_version),
        )
        return await desk.write(caller, command, key=key, wait=wait, created=True)

    @routes.post("/pipelines/{name}/runs", response_model=Written, status_code=202, responses={201: {"model": Written}})
    async def start_run(
        name: str, body: RunOrder, caller: Annotated[Caller, require("runs:start")], wait: PreferWait, key: IdempotencyKey = None
    ) -> JSONResponse:
        """Starts a run of the manifest version that the environment runs, for one data partition.

        Refusals: `pipeline-not-found`, `pipeline-deleted`, `not-deployed`, `invalid-data-partition`, `run-exists`.
        """
        command = StartRun(pipeline=name, environment=body.environment, data_partition=body.partition, run_id=body.run_id)
        thing = f"/runs/{body.run_id}" if body.run_id else None
        return await desk.write(caller, command, key=key, wait=wait, created=True, thing=thing)

    @routes.post("/runs/{run_id}/cancel", response_model=Written, status_code=202, responses={200: {"model": Written}})
    async def cancel_run(
        run_id: str,
        caller: Annotated[Caller, require("runs:cancel")],
        wait: PreferWait,
        key: IdempotencyKey = None,
        body: Annotated[CancelOrder | None, Body()] = None,
    ) -> JSONResponse:
        """Asks for the end of a run. Whether it still could be cancelled shows on GET /runs/{run_id}.

        `run-not-found` when your tenant has no such run.
        """
        command = CancelRun(run_id=run_id, reason=body.reason if body else "")
        return await desk.write(caller, command, key=key, wait=wait, thing=f"/runs/{run_id}")

    return routes
