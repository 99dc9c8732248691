"""Commands decided and committed per second, against raw aiokafka transactions over the same records with the same batch and rotation."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from barecount_chassis import Caller, Keyring, ProvingProcess
from barecount_command.domain import CommandDecider
from barecount_command.handler import gate as command_gate
from barecount_contracts import CreatePipeline, Envelope, Message, PromotePipeline, RegisterContract, StartRun, command_id
from barecount_eventlog import Appender, Decider, Gate, Handler, KafkaSettings, Proof, read_all, tail
from barecount_local import sample
from barecount_local.demo import DAY, PIPELINE, TENANT
from barecount_local.keys import make_keys

from tests.integration.eventlog.counter import Counter, add, gate
from tests.integration.eventlog.kit import create_topics

Measured = dict[str, Any]


@dataclass(frozen=True)
class Load:
    """before: what must be decided first and is not measured. values: the commands, as a sender would write them, all of one key.

    keys: the folder of the keys that they are signed with; then another process proves them, as in the product.
    """

    decider: Decider[Any]
    gate: Gate[Any]
    values: Sequence[bytes]
    before: Sequence[bytes] = ()
    keys: Path | None = None


def toy(count: int) -> Load:
    """The smallest domain: the library's own cost."""
    return Load(Counter(), gate, [add(n if n not in (13, 666) else 1, key=f"toy/{n}").to_bytes() for n in range(count)])


def real(count: int, folder: Path) -> Load:
    """Runs asked of the command service by HTTP: its decider and its gate, every command signed by its HTTP side."""
    make_keys(folder)
    ring, caller = Keyring(folder, "command"), Caller("user:bench", TENANT, frozenset({"tenant_admin"}), "bench")

    def signed(payload: Message, key: str) -> bytes:
        identity = command_id(caller.tenant, caller.principal, key)
        told = Envelope(id=identity, type=payload.TYPE, tenant=TENANT, time=datetime.now(UTC), correlation=identity, data=payload.to_data())
        return ring.sign_assertion(caller, told).to_bytes()

    documents = [yaml.safe_load(sample.document(name)) for name in sample.CONTRACTS]
    made: list[Message] = [RegisterContract(name=one["name"], version=one["version"], document=one) for one in documents]
    made.append(CreatePipeline(name=PIPELINE, manifest=yaml.safe_load(sample.document(sample.MANIFEST))))
    made.append(PromotePipeline(name=PIPELINE, from_environment="dev", to_environment="prod"))
    runs = [StartRun(pipeline=PIPELINE, data_partition=str(DAY), run_id=f"run-{number:07}") for number in range(count)]
    return Load(
        CommandDecider(),
        command_gate(ring),
        [signed(run, f"run/{number}") for number, run in enumerate(runs)],
        [signed(payload, f"before/{number}") for number, payload in enumerate(made)],
        folder,
    )


async def fill(kafka: KafkaSettings, topic: str, values: Sequence[bytes]) -> None:
    """Appends commands of one key, without waiting for each."""
    producer = AIOKafkaProducer(**kafka.client(), enable_idempotence=True, max_batch_size=500_000, compression_type="lz4")
    await producer.start()
    sent = [await producer.send(topic, value, key=TENANT.encode(), partition=0) for value in values]
    await asyncio.gather(*sent)
    await producer.stop()


async def handled_per_second(kafka: KafkaSettings, load: Load, batch: int) -> float:
    inbox, events = await create_topics(kafka, "bench-in", "bench-out")
    await fill(kafka, inbox, load.before)
    prover = await _prover(load)
    handler = Handler(
        kafka=kafka, service="bench", inbox=inbox, events=events, decider=load.decider, gate=load.gate, max_batch=batch, prover=prover
    )
    await handler.start()

    async def decided(count: int) -> None:
        async with asyncio.timeout(300):
            while handler._owners[0].state.books.inbox_next < count:
                assert handler.failed is None, handler.failed
                await asyncio.sleep(0.002)  # between two looks from outside: the owner tells nobody of each batch

    await decided(len(load.before))
    await handler.stop()
    await fill(kafka, inbox, load.values)
    await handler.start()
    started, first = time.perf_counter(), handler._owners[0].state.books.inbox_next
    await decided(len(load.before) + len(load.values))
    seconds = time.perf_counter() - started
    await handler.stop()
    if prover is not None:
        await prover.stop()
    await _all_admitted(kafka, events, len(load.before) + len(load.values))
    return (len(load.before) + len(load.values) - first) / seconds


async def _prover(load: Load) -> ProvingProcess[Proof] | None:
    """Once it answers: its start is the service's first second under load, and not measured."""
    if load.keys is None:
        return None
    prover = ProvingProcess(load.keys, "command", Proof)
    assert await prover.ready()
    return prover


async def _all_admitted(kafka: KafkaSettings, events: str, count: int) -> None:
    """A refusal costs less than a decision: none may hide among the outcomes."""
    written = [record.envelope async for batch in read_all(kafka, events) for record in batch.records]
    found = [event.type for event in written if event.cause is not None and event.cause.index == 0]
    wrong = {"CommandRefused", "RecordRejected", "CommandDuplicated"} & set(found)
    assert len(found) == count, (len(found), count)
    assert not wrong, wrong


async def raw_per_second(kafka: KafkaSettings, load: Load, batch: int, width: int = 3) -> float:
    """The ceiling: consume, parse JSON, write JSON of an event's size, one future a record, offsets and commit; nothing else."""
    inbox, events = await create_topics(kafka, "raw-in", "raw-out")
    await fill(kafka, inbox, load.values)
    count, where, name = len(load.values), TopicPartition(inbox, 0), f"raw.{uuid4()}"
    consumer = AIOKafkaConsumer(**kafka.client(), isolation_level="read_committed", enable_auto_commit=False)
    consumer.assign([where])
    await consumer.start()
    consumer.seek(where, 0)
    producers = [
        AIOKafkaProducer(
            **kafka.client(), transactional_id=f"{name}.{n}", retry_backoff_ms=20, compression_type="lz4", max_batch_size=900_000
        )
        for n in range(width)
    ]
    await asyncio.gather(*(producer.start() for producer in producers))
    done, turn, started = 0, 0, time.perf_counter()
    while done < count:
        records = (await consumer.getmany(where, timeout_ms=100, max_records=batch)).get(where, [])
        if not records:
            continue
        producer, turn = producers[turn % width], turn + 1
        await producer.begin_transaction()
        sent = []
        for record in records:
            value = json.dumps(_event(json.loads(record.value), record.offset)).encode()
            sent.append(await producer.send(events, value, key=record.key, partition=0, headers=[("inbox-offset", b"%d" % record.offset)]))
        await asyncio.gather(*sent)
        await producer.send_offsets_to_transaction({where: records[-1].offset + 1}, name)
        await producer.commit_transaction()
        done += len(records)
    seconds = time.perf_counter() - started
    await asyncio.gather(consumer.stop(), *(producer.stop() for producer in producers))
    return count / seconds


def _event(command: dict[str, Any], offset: int) -> dict[str, Any]:
    """As many fields as a real event has."""
    return command | {"cause": {"topic": "inbox", "partition": 0, "offset": offset, "index": 0, "count": 1, "command_id": command["id"]}}


async def latency(kafka: KafkaSettings, rate: int = 100, seconds: float = 5) -> Mapping[str, float]:
    """Appended until decided and committed, in ms, at a steady rate of commands a second."""
    inbox, events = await create_topics(kafka, "bench-in", "bench-out")
    handler = Handler(kafka=kafka, service="bench", inbox=inbox, events=events, decider=Counter(), gate=gate)
    appender = Appender(kafka, "bench")
    await asyncio.gather(handler.start(), appender.start())
    begun: dict[int, float] = {}
    took: list[float] = []
    seen = asyncio.Event()
    count = int(rate * seconds)

    async def watch() -> None:
        async for found in tail(kafka, events):
            now = time.perf_counter()
            seen.set()
            for record in found.records:
                if record.whole().data["number"] in begun:
                    took.append((now - begun[record.whole().data["number"]]) * 1000)
            if len(took) >= count:
                return

    watching = asyncio.create_task(watch())
    # one that is not measured: everything is connected when it comes back
    await appender.append(inbox, "acme", add(1))
    async with asyncio.timeout(30):
        await seen.wait()
    numbers = range(1000, 1000 + count)
    start = time.perf_counter()
    appends = []
    for index, number in enumerate(numbers):
        # the rate is what is measured at
        await asyncio.sleep(max(0.0, start + index / rate - time.perf_counter()))
        begun[number] = time.perf_counter()
        appends.append(asyncio.create_task(appender.append(inbox, "acme", add(number))))
    await asyncio.gather(*appends)
    await watching
    await handler.stop()
    await appender.stop()
    took.sort()
    return {"p50": round(took[len(took) // 2], 1), "p99": round(took[int(len(took) * 0.99)], 1)}


async def bench_commands(kafka: KafkaSettings, load: Load, *, batch: int = 500) -> Measured:
    """value and ceiling in commands/s of one partition.

    The medians of two and of three, in turn: a machine's speed may change by half from one minute to the next.
    """
    found, raw = list[float](), [await raw_per_second(kafka, load, batch)]
    for _ in range(2):
        found.append(await handled_per_second(kafka, load, batch))
        raw.append(await raw_per_second(kafka, load, batch))
    value, ceiling = statistics.median(found), statistics.median(raw)
    return {"value": round(value), "unit": "commands/s", "ceiling": round(ceiling), "batch": batch}
