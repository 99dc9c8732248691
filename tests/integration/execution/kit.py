"""The real service as a process, and a worker that knows nothing of it but the public task contract over Kafka."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
from barecount_chassis import CommandBus, Keyring, create_keypair, issue_token, tail_partition
from barecount_contracts import (
    PLATFORM,
    AnnounceWorker,
    Cause,
    ContractRegistered,
    Envelope,
    Heading,
    InterruptTask,
    Message,
    PipelineCreated,
    Position,
    ReportTaskAlive,
    ReportTaskFailed,
    ReportTaskStarted,
    ReportTaskSucceeded,
    RunCancelRequested,
    RunRequested,
    RunTask,
    partition_of,
)
from barecount_eventlog import Appender, KafkaSettings, Recorded, read_all
from barecount_local.ports import free_ports
from barecount_manifest import digest

from tests.support.forks import Forked, forked
from tests.support.servers import Kafka, Postgres
from tests.unit.execution.world import manifest, plan, success

SECONDS = 30.0
DAY = "2025-10-04"


@dataclass
class Site:
    """Servers, keys and connections of one test session. Every test uses its own tenant and pool, so tests do not meet."""

    kafka: Kafka
    postgres: Postgres
    keys: Path
    control: Appender
    reports: Appender

    def settings(self, principal: str) -> KafkaSettings:
        given = self.kafka.settings(principal)
        return KafkaSettings(given["bootstrap_servers"], given["sasl_plain_username"], given["sasl_plain_password"])

    def token(self, tenant: str, role: str = "operator") -> str:
        pem = (self.keys / "issuer.pem").read_bytes()
        return issue_token(pem, subject=f"{role}@{tenant}", tenant=tenant, roles=[role], ttl=timedelta(hours=1))

    async def say(self, tenant: str, payload: Message, correlation: UUID | None = None) -> Envelope:
        """An event of the command service."""
        identity = uuid4()
        event = Envelope(
            id=identity,
            type=payload.TYPE,
            tenant=tenant,
            time=datetime.now(UTC),
            correlation=correlation or identity,
            principal="user:4f2c",
            cause=Cause(topic="pipelines.commands", partition=0, offset=0),
            data=payload.to_data(),
        )
        await self.control.append("control.events", tenant, event)
        return event

    async def register(self, tenant: str, document: dict[str, Any]) -> None:
        for name, version in (("retail", "v1"), ("revenue-kpi", "v3.2")):
            body = {"name": name, "version": version}
            await self.say(
                tenant,
                ContractRegistered(name=name, version=version, digest=digest(body), document=body, schemas={}, subjects={}),
            )
        await self.say(tenant, PipelineCreated(name="revenue-kpi", version=1, digest=digest(document), manifest=document))

    async def request(self, tenant: str, run_id: str, document: dict[str, Any], *days: str) -> Envelope:
        asked = plan(*(days or (DAY,)), document=document)
        return await self.say(tenant, RunRequested(run_id=run_id, plan=asked, plan_digest=digest(asked.model_dump(mode="json"))))

    async def cancel(self, tenant: str, run_id: str) -> None:
        await self.say(tenant, RunCancelRequested(run_id=run_id, reason="not needed"))

    async def log(self, topic: str = "runs.events") -> list[Recorded]:
        """All committed records of a topic, by partition and offset."""
        found = [record async for batch in read_all(self.settings("admin"), topic) for record in batch.records]
        return sorted(found, key=lambda record: (record.partition, record.offset))

    async def events_of(self, tenant: str) -> list[Message]:
        return [record.payload for record in await self.log() if record.envelope.tenant == tenant]


@dataclass
class Execution:
    """The service's process. `kill` is SIGKILL."""

    site: Site
    folder: Path
    lease_seconds: int = 3
    process: Forked | None = None
    port: int = 0

    async def start(self) -> None:
        (self.port,) = free_ports(1)
        kafka = self.site.kafka.settings("execution")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("BARECOUNT_")},
            "BARECOUNT_HTTP_PORT": str(self.port),
            "BARECOUNT_KAFKA_BOOTSTRAP": kafka["bootstrap_servers"],
            "BARECOUNT_KAFKA_USERNAME": kafka["sasl_plain_username"],
            "BARECOUNT_KAFKA_PASSWORD": kafka["sasl_plain_password"],
            "BARECOUNT_DATABASE_URL": self.site.postgres.dsn("execution", user="execution"),
            "BARECOUNT_KEYS_DIR": str(self.site.keys),
            "BARECOUNT_DATA_DIR": str(self.folder),
            "BARECOUNT_LEASE_SECONDS": str(self.lease_seconds),
            "BARECOUNT_SNAPSHOT_EVERY": "20",
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "execution.log").open("ab") as log:
            self.process = await forked("barecount_execution.app", env=environment, stdout=log, stderr=log)
        await eventually(self._ready, "execution to be ready", self.told)

    async def _ready(self) -> bool | None:
        assert self.process is not None
        if self.process.returncode is not None:
            raise AssertionError(f"execution ended with {self.process.returncode}: {self.told()}")
        try:
            async with httpx.AsyncClient() as http:
                return (await http.get(f"http://127.0.0.1:{self.port}/health/ready")).status_code == 200 or None
        except httpx.TransportError:
            return None

    def told(self) -> str:
        return (self.folder / "execution.log").read_text()[-3000:]

    async def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), SECONDS)

    async def get(self, path: str, tenant: str, role: str = "operator", **query: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.site.token(tenant, role)}"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=10) as http:
            return await http.get(path, params=query, headers=headers)

    async def run(self, tenant: str, run_id: str, *statuses: str) -> dict[str, Any]:
        """The run, once it has one of these statuses."""

        async def look() -> dict[str, Any] | None:
            answer = await self.get(f"/runs/{run_id}", tenant)
            return answer.json() if answer.status_code == 200 and answer.json()["status"] in statuses else None

        return await eventually(look, f"{run_id} to be {' or '.join(statuses)}", self.told)


Answer = Callable[["Worker", RunTask], Awaitable[None]]


@dataclass
class Worker:
    """A worker in a test: tails the partition of its id, announces itself, and answers each task as it is told to."""

    site: Site
    worker_id: str
    pool: str
    slots: int = 1
    answer: Answer | None = None
    incarnation: str = field(default_factory=lambda: uuid4().hex)
    tasks: list[RunTask] = field(default_factory=list)
    interrupts: list[InterruptTask] = field(default_factory=list)
    tenants: dict[str, str] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    beats: float | None = None
    open: dict[str, RunTask] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bus = CommandBus(self.site.reports, Keyring(self.site.keys, "worker"), inbox="runs.commands")

    async def announce(self) -> None:
        payload = AnnounceWorker(worker_id=self.worker_id, incarnation=self.incarnation, pool=self.pool, slots=self.slots, code_version="t")
        await self.bus.report(payload, tenant=PLATFORM, correlation=uuid4(), key=self.pool, idempotency_key=uuid4().hex)

    async def report(self, task: RunTask, payload: Message) -> Position:
        done = await self.bus.report(
            payload, tenant=self.tenants[task.task.nonce], correlation=uuid4(), key=self.pool, idempotency_key=uuid4().hex
        )
        return done.position

    async def started(self, task: RunTask) -> None:
        await self.report(task, ReportTaskStarted(run_id=task.run_id, task=task.task))

    async def alive(self, task: RunTask) -> None:
        await self.report(task, ReportTaskAlive(run_id=task.run_id, task=task.task, sequence=1))

    async def succeeded(self, task: RunTask) -> Position:
        self.open.pop(task.task.nonce, None)
        report: ReportTaskSucceeded = success(task)
        return await self.report(task, report)

    async def failed(self, task: RunTask, error: str = "contract-violated", retriable: bool = False) -> None:
        self.open.pop(task.task.nonce, None)
        payload = ReportTaskFailed(
            run_id=task.run_id,
            task=task.task,
            error_type=error,
            error_message="it broke",
            retriable=retriable,
            metrics=success(task).metrics,
        )
        await self.report(task, payload)

    async def next_task(self, number: int = 1) -> RunTask:
        """The n-th task that this worker got, waiting for it."""
        async with self.changed:
            try:
                async with asyncio.timeout(SECONDS):
                    await self.changed.wait_for(lambda: len(self.tasks) >= number)
            except TimeoutError:
                told = [(record.offset, record.envelope.type, record.envelope.time) for record in await self.site.log()][-40:]
                raise AssertionError(f"{self.worker_id} got {len(self.tasks)} tasks, not {number}; the log ends with {told}") from None
            return self.tasks[number - 1]

    async def interrupted(self, number: int = 1) -> InterruptTask:
        async with self.changed:
            async with asyncio.timeout(SECONDS):
                await self.changed.wait_for(lambda: len(self.interrupts) >= number)
            return self.interrupts[number - 1]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Worker]:
        kafka = self.site.settings("worker")
        given = {"bootstrap": kafka.bootstrap, "username": kafka.username, "password": kafka.password}
        # the position is fixed before it announces itself, so that no task is missed
        tail = await tail_partition(given, "runs.tasks", partition_of(self.worker_id, 4), client_id=self.worker_id)

        async def read() -> None:
            async for record in tail:
                if record.key == self.worker_id:
                    await self._take(record.envelope, record.payload)

        jobs = [asyncio.create_task(read()), asyncio.create_task(self._beat())]
        try:
            await self.announce()
            yield self
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
            await tail.stop()

    async def _beat(self) -> None:
        """Every `beats` seconds a beat of each open attempt, as every worker must send."""
        while self.beats is not None:
            await asyncio.sleep(self.beats)
            for task in list(self.open.values()):
                await self.alive(task)

    async def _take(self, envelope: Heading, payload: Message) -> None:
        match payload:
            case RunTask() as task if task.task.incarnation == self.incarnation:
                self.tenants[task.task.nonce] = envelope.tenant
                async with self.changed:
                    self.tasks.append(task)
                    self.open[task.task.nonce] = task
                    self.changed.notify_all()
                if self.answer is not None:
                    await self.answer(self, task)
            case InterruptTask() as interrupt:
                async with self.changed:
                    self.interrupts.append(interrupt)
                    self.open.pop(interrupt.task.nonce, None)
                    self.changed.notify_all()
                if interrupt.reason == "stale-attempt":
                    # its lease was lost: it gets nothing more until it says that it is there
                    await self.announce()
            case _:
                pass


async def does_all(worker: Worker, task: RunTask) -> None:
    """Starts and succeeds."""
    await worker.started(task)
    await worker.succeeded(task)


async def eventually(look: Callable[[], Awaitable[Any]], what: str, told: Callable[[], str] = lambda: "", seconds: float = SECONDS) -> Any:
    """The first answer of `look` that is not None."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        found = await look()
        if found is not None:
            return found
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"waited {seconds:g} s for {what}\n{told()}")
        await asyncio.sleep(0.05)  # another process: nothing to wait on but its answers


def make_keys(folder: Path) -> Path:
    for name in ("execution", "worker", "command", "issuer"):
        create_keypair(folder, name)
    return folder


async def may_query(superuser: str) -> None:
    """The role under which execution's queries run; an installation's provisioning makes it."""
    conn = await asyncpg.connect(superuser)
    try:
        if not await conn.fetchval("SELECT 1 FROM pg_roles WHERE rolname = 'execution_query'"):
            await conn.execute("CREATE ROLE execution_query NOLOGIN")
        await conn.execute("GRANT execution_query TO execution")
    finally:
        await conn.close()


def in_pool(pool: str, attempts: int = 3) -> dict[str, Any]:
    return {**manifest(attempts=attempts), "pool": pool}


def counted(events: Sequence[Message]) -> Counter[str]:
    return Counter(event.TYPE for event in events)
