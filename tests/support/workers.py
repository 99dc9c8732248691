"""Worker processes under test, and the part of execution played by the test: tasks are written, reports are read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from barecount_chassis import create_keypair
from barecount_contracts import (
    AnnounceWorker,
    Bodies,
    ContractBody,
    ContractRef,
    Envelope,
    InputFile,
    InterruptTask,
    Message,
    PlanSummary,
    PublishTicket,
    RecordDeadLettered,
    ReportTaskAlive,
    ReportTaskFailed,
    ReportTaskStarted,
    ReportTaskSucceeded,
    RunLogged,
    RunTask,
    StagedOutput,
    TaskRef,
    catalogue,
    parse,
    partition_of,
)
from barecount_local.ports import free_ports
from barecount_local.sample import CONTRACTS, MANIFEST, document
from barecount_manifest import digest, load

from tests.support.forks import Forked, forked_now
from tests.support.servers import Kafka

TENANT = "acme"
PIPELINE = "revenue-kpi"
SECONDS = 40.0
M = TypeVar("M", bound=Message)


def bodies() -> Bodies:
    """The sample's manifest and contracts, as a task carries them."""
    contracts = [load(document(name)) for name in CONTRACTS]
    return Bodies(
        manifest=load(document(MANIFEST)),
        contracts=tuple(ContractBody(name=one["name"], version=one["version"], digest=digest(one), document=one) for one in contracts),
    )


@dataclass(frozen=True)
class Said:
    """One record that a worker wrote."""

    envelope: Envelope
    payload: Message
    headers: dict[str, bytes]


@dataclass
class Execution:
    """The test as execution: one pool of its own, and everything that was said to it."""

    kafka: Kafka
    pool: str
    producer: AIOKafkaProducer
    said: list[Said] = field(default_factory=list)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def order(self, worker: TaskRef, **given: Any) -> tuple[RunTask, Envelope]:
        """Writes a RunTask. given: RunTask's fields; plan and bodies are the sample's unless given."""
        data_partition = worker.data_partition
        made = given.pop("bodies", None) or bodies()
        plan = PlanSummary(
            pipeline=PIPELINE,
            environment="prod",
            manifest_version=1,
            manifest_digest=given.pop("manifest_digest", None) or digest(made.manifest),
            contract=ContractRef(name="revenue-kpi", version="v3.2"),
            data_partitions=(data_partition,),
            mode="run",
        )
        fields = {"inputs": (), "lease_seconds": 30, **given}
        task = RunTask(task=worker, plan=plan, plan_digest=digest(plan.model_dump(mode="json", exclude_none=True)), bodies=made, **fields)
        return task, await self.write(worker.worker_id, task)

    async def interrupt(self, run_id: str, task: TaskRef, reason: str) -> None:
        await self.write(task.worker_id, InterruptTask(run_id=run_id, task=task, reason=reason))

    async def write(self, worker_id: str, payload: Message) -> Envelope:
        envelope = Envelope(
            id=uuid4(), type=payload.TYPE, tenant=TENANT, time=datetime.now(UTC), correlation=uuid4(), data=payload.to_data()
        )
        where = partition_of(worker_id, catalogue().topics["runs.tasks"].partitions)
        # the trace is named after the chain, so that a test can tell whose it is
        headers = [("type", payload.TYPE.encode()), ("traceparent", f"00-{envelope.correlation.hex}-{uuid4().hex[:16]}-01".encode())]
        await self.producer.send_and_wait("runs.tasks", envelope.to_bytes(), key=worker_id.encode(), partition=where, headers=headers)
        return envelope

    async def until(self, wanted: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
        """What `wanted` gives, once it gives something; asked again after every record that arrives."""
        found: Any = None

        def there() -> bool:
            nonlocal found
            found = wanted()
            return bool(found)

        try:
            async with asyncio.timeout(seconds), self.arrived:
                await self.arrived.wait_for(there)
        except TimeoutError:
            heard = [(one.payload.TYPE, getattr(one.payload, "run_id", "")) for one in self.said]
            raise AssertionError(f"not within {seconds:g} s: {what}; heard {heard}") from None
        return found

    def of(self, kind: type[M], **fields: Any) -> list[M]:
        """Every record of a type whose fields (also of its task: `nonce=…`) are these."""

        def fits(payload: Message) -> bool:
            task = getattr(payload, "task", None)
            return all(
                getattr(payload, name, None) == value or (task is not None and getattr(task, name, None) == value)
                for name, value in fields.items()
            )

        return [one.payload for one in self.said if isinstance(one.payload, kind) and fits(one.payload)]

    async def announced(self, worker_id: str, *, after: int = 0, slots: int | None = 1) -> AnnounceWorker:
        """The first announcement of a worker beyond `after` of them."""
        wanted = {"worker_id": worker_id} | ({} if slots is None else {"slots": slots})
        return (await self.until(lambda: self.of(AnnounceWorker, **wanted)[after:], f"announcement of {worker_id}"))[0]

    async def final(self, task: TaskRef, seconds: float = SECONDS) -> ReportTaskSucceeded | ReportTaskFailed:
        """The last report of an attempt."""

        def found() -> list[Any]:
            return [*self.of(ReportTaskSucceeded, nonce=task.nonce), *self.of(ReportTaskFailed, nonce=task.nonce)]

        return (await self.until(found, f"the end of {task.stage} {task.nonce}", seconds))[0]

    def logs(self, run_id: str) -> list[RunLogged]:
        return sorted(self.of(RunLogged, run_id=run_id), key=lambda line: (line.stage, line.attempt, line.sequence))

    def dead(self, run_id: str) -> list[RecordDeadLettered]:
        return self.of(RecordDeadLettered, run_id=run_id)

    def reports(self, task: TaskRef) -> list[str]:
        """The types of an attempt's reports, in the log's order, signs of life left out."""
        kinds = (ReportTaskStarted, ReportTaskSucceeded, ReportTaskFailed)
        return [one.payload.TYPE for one in self.said if isinstance(one.payload, kinds) and one.payload.task.nonce == task.nonce]

    def alive(self, task: TaskRef) -> list[ReportTaskAlive]:
        return self.of(ReportTaskAlive, nonce=task.nonce)


@asynccontextmanager
async def playing_execution(kafka: Kafka) -> AsyncIterator[Execution]:
    """Reads runs.commands, run.logs and dlq from their ends on."""
    kafka.furnish()
    pool = f"pool-{uuid4().hex[:8]}"
    async with AIOKafkaProducer(**kafka.settings("admin"), acks="all") as producer:
        playing = Execution(kafka, pool, producer)
        consumer = AIOKafkaConsumer(**kafka.settings("admin"), enable_auto_commit=False, auto_offset_reset="earliest")
        topics = ("runs.commands", "run.logs", "dlq")
        everything = [TopicPartition(name, number) for name in topics for number in range(catalogue().topics[name].partitions)]
        consumer.assign(everything)
        await consumer.start()
        await consumer.seek_to_end(*everything)
        for partition in everything:
            await consumer.position(partition)
        listening = asyncio.create_task(_listen(playing, consumer))
        try:
            yield playing
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening
            await consumer.stop()


async def _listen(playing: Execution, consumer: AIOKafkaConsumer) -> None:
    async for record in consumer:
        if record.topic == "runs.commands" and record.key != playing.pool.encode():
            continue
        envelope = parse(record.value)
        async with playing.arrived:
            playing.said.append(Said(envelope, envelope.payload(), dict(record.headers)))
            playing.arrived.notify_all()


class WorkerProcess:
    """`barecount_worker.app:main` as the stack starts it, in a process group of its own."""

    def __init__(self, kafka: Kafka, folder: Path, *, worker_id: str, pool: str, **settings: str) -> None:
        self.worker_id, self.lake, self._folder = worker_id, folder / "lake", folder
        self.keys = folder / "keys"
        create_keypair(self.keys, "worker")
        create_keypair(self.keys, "issuer")
        (self.port,) = free_ports(1)
        login = kafka.settings("worker")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("BARECOUNT_")},
            "BARECOUNT_SERVICE": "worker",
            "BARECOUNT_INSTANCE": worker_id,
            "BARECOUNT_WORKER_ID": worker_id,
            "BARECOUNT_POOL": pool,
            "BARECOUNT_DATA_DIR": str(folder),
            "BARECOUNT_KEYS_DIR": str(self.keys),
            "BARECOUNT_LAKE_DIR": str(self.lake),
            "BARECOUNT_HTTP_PORT": str(self.port),
            "BARECOUNT_KAFKA_BOOTSTRAP": kafka.bootstrap,
            "BARECOUNT_KAFKA_USERNAME": login["sasl_plain_username"],
            "BARECOUNT_KAFKA_PASSWORD": login["sasl_plain_password"],
            **{f"BARECOUNT_{name.upper()}": value for name, value in settings.items()},
        }
        self._process: Forked | None = None
        self.log = folder / f"{worker_id}.log"

    def start(self) -> None:
        with self.log.open("ab") as out:
            self._process = forked_now("barecount_worker.app", env=self.environment, stdout=out, stderr=out)

    @property
    def process(self) -> Forked:
        assert self._process is not None, "not started"
        return self._process

    def signal(self, number: signal.Signals, *, group: bool = True) -> None:
        """group: also the slots' processes, as when a machine stands still."""
        (os.killpg if group else os.kill)(self.process.pid, number)

    async def ended(self, seconds: float = 20) -> int:
        return await asyncio.wait_for(asyncio.to_thread(self.process.wait_now, seconds), seconds + 1)

    def end(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait_now(10)

    def slots(self) -> list[int]:
        """Process ids of its slots."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children if b"barecount_worker.slot" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def events(self, name: str) -> list[dict[str, Any]]:
        """What the process logged under an event's name."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == name]

    async def get(self, path: str) -> tuple[int, str]:
        def ask() -> tuple[int, str]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        return await asyncio.to_thread(ask)


def reference(announced: AnnounceWorker, stage: str, day: str, attempt: int = 1) -> TaskRef:
    return TaskRef(
        stage=stage,
        data_partition=day,
        attempt=attempt,
        nonce=str(uuid4()),
        worker_id=announced.worker_id,
        incarnation=announced.incarnation,
    )


def ticket(day: str, grant: int, superseded: Iterable[int] = ()) -> PublishTicket:
    """As execution numbers them: the n-th grant has the fence 2n and the number 2n + 1."""
    return PublishTicket(
        app_id=f"{TENANT}/prod/{PIPELINE}/{day}",
        table="tables/revenue_kpi",
        number=2 * grant + 1,
        fence=2 * grant,
        superseded=tuple(superseded),
    )


@dataclass
class Progress:
    """What the stages before have left."""

    outputs: tuple[StagedOutput, ...] = ()
    inputs: tuple[InputFile, ...] = ()


async def run_stages(execution: Execution, announced: AnnounceWorker, run_id: str, day: str, *stages: str) -> Progress:
    """Lets a worker do these stages, one after the other, each with success."""
    progress = Progress()
    for stage in stages:
        task = reference(announced, stage, day)
        await execution.order(task, run_id=run_id, inputs=progress.outputs, source_inputs=progress.inputs)
        done = await execution.final(task)
        assert isinstance(done, ReportTaskSucceeded), done
        progress = Progress((*progress.outputs, *done.outputs), (*progress.inputs, *done.inputs))
    return progress


def slow_bodies() -> Bodies:
    """The sample with an aggregate that takes minutes: something to interrupt."""
    made = bodies()
    manifest = json.loads(json.dumps(made.manifest))
    for stage in manifest["stages"]:
        if stage["name"] == "aggregate":
            stage["sql"] = "SELECT count(*) AS n FROM transactions, range(1000000000) AS r(i) WHERE hash(i, store_id) % 7 = 0"
    return made.model_copy(update={"manifest": manifest})


def publications(lake: Path) -> list[dict[str, Any]]:
    """The table's own word: its commits that published something, newest first."""
    from deltalake import DeltaTable

    table = lake / TENANT / "prod" / "tables" / "revenue_kpi"
    if not DeltaTable.is_deltatable(str(table)):
        return []
    return [entry for entry in DeltaTable(table).history() if entry.get("barecount.kind") == "publish"]
