"""A worker in one file, with nothing of barecount but its topics: takes tasks of the pool `examples`, counts the lines of landing files.

pip install aiokafka cryptography rfc8785
python worker.py DATA_DIR          # of an embedded stack: for the broker's address, password, the workers' key and the lake
"""

import asyncio
import base64
import hashlib
import json
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

import rfc8785
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from cryptography.hazmat.primitives.serialization import load_pem_private_key

POOL, WORKER = "examples", "example-worker"
INCARNATION = str(uuid.uuid4())  # one life of this process
COMMANDS = uuid.UUID("6f1c1c1e-6a5b-5a43-9a0d-2f1f8b1d7c10")  # the namespace of command ids

data = Path(sys.argv[1])
key = load_pem_private_key((data / "keys" / "worker.pem").read_bytes(), None)
kafka = {
    "bootstrap_servers": json.loads((data / "stack.json").read_text())["kafka_bootstrap"],
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "SCRAM-SHA-256",
    "sasl_plain_username": "worker",
    "sasl_plain_password": json.loads((data / "passwords.json").read_text())["kafka"]["worker"],
}


def signed(type_: str, payload: dict, tenant: str, correlation: str | None, idempotency_key: str) -> bytes:
    """The command as bytes: what is asked has a digest, and the assertion over that digest says who asks."""
    principal = "service:worker"
    identity = str(uuid.uuid5(COMMANDS, "\x1f".join((tenant, principal, idempotency_key))))
    command = {"id": identity, "type": type_, "version": 1, "tenant": tenant, "data": payload}
    word = {"issuer": "worker", "principal": principal, "tenant": tenant, "roles": ["service"]}
    digest = "sha256:" + hashlib.sha256(rfc8785.dumps(command)).hexdigest()
    signature = base64.urlsafe_b64encode(key.sign(rfc8785.dumps({**word, "digest": digest}))).rstrip(b"=").decode()
    now = datetime.now(UTC).isoformat()
    told = {"time": now, "correlation": correlation or identity, "principal": principal, "assertion": {**word, "signature": signature}}
    return json.dumps({**command, **told}).encode()


async def main() -> None:
    producer = AIOKafkaProducer(**kafka, acks="all", enable_idempotence=True)
    consumer = AIOKafkaConsumer(**kafka, isolation_level="read_committed")
    await producer.start()
    await consumer.start()

    async def say(type_: str, payload: dict, tenant: str, correlation: str | None, idempotency_key: str) -> None:
        # the inbox of execution: one partition a pool, by murmur2 of its name (aiokafka's default)
        await producer.send_and_wait("runs.commands", signed(type_, payload, tenant, correlation, idempotency_key), key=POOL.encode())

    async def alive(order: dict, tenant: str, correlation: str) -> None:
        task, sequence = order["task"], 0
        while True:
            await asyncio.sleep(order["lease_seconds"] / 3)
            sequence += 1
            report = {"run_id": order["run_id"], "task": task, "sequence": sequence}
            await say("ReportTaskAlive", report, tenant, correlation, f"{task['nonce']}/alive/{sequence}")

    async def work(order: dict, tenant: str, correlation: str) -> None:
        task, about = order["task"], {"run_id": order["run_id"], "task": order["task"]}
        await say("ReportTaskStarted", about, tenant, correlation, f"{task['nonce']}/started")
        beat = asyncio.create_task(alive(order, tenant, correlation))
        try:
            type_, report = await asyncio.to_thread(done, order, tenant)
        finally:
            beat.cancel()
        await say(type_, {**about, **report}, tenant, correlation, f"{task['nonce']}/ended")
        print(f"{order['run_id']} {task['stage']}: {type_}", flush=True)

    # the position first, then the announcement: what is dispatched because of it lies behind the position
    consumer.assign([TopicPartition("runs.tasks", number) for number in await producer.partitions_for("runs.tasks")])
    await consumer.seek_to_end()
    for partition in consumer.assignment():
        await consumer.position(partition)
    slots = {"worker_id": WORKER, "incarnation": INCARNATION, "pool": POOL, "slots": 1, "code_version": "example-1"}
    await say("AnnounceWorker", slots, "platform", None, f"{INCARNATION}/announce/0")
    print(f"{WORKER} waits for tasks of the pool {POOL}", flush=True)
    async for record in consumer:
        if record.key == WORKER.encode():
            envelope = json.loads(record.value)
            if envelope["type"] == "RunTask" and envelope["data"]["task"]["incarnation"] == INCARNATION:
                await work(envelope["data"], envelope["tenant"], envelope["correlation"])


def done(order: dict, tenant: str) -> tuple[str, dict]:
    """The work itself: (report's type, its fields)."""
    manifest = order["bodies"]["manifest"]
    stage = next(one for one in manifest["stages"] if one["name"] == order["task"]["stage"])
    if stage["kind"] == "publish":
        why = "this example does not publish: a worker that does commits under its ticket's number (see writing-a-worker.md)"
        return "ReportTaskFailed", {"error_type": "example-only", "error_message": why, "retriable": False, "metrics": {}}
    if stage["kind"] != "read":
        return "ReportTaskSucceeded", {"metrics": {}}
    source = next(one for one in manifest["sources"] if one["name"] == stage["source"])
    path = data / "lake" / tenant / source["path"].replace("{partition}", order["task"]["data_partition"])
    lines = sum(1 for _ in path.open()) - 1
    return "ReportTaskSucceeded", {"metrics": {"records_in": lines, "records_out": lines}}


asyncio.run(main())
