"""Publish one signed command and read its outcome: python publish_command.py acme/ci ci.pem StartRun '{"pipeline": ..., ...}'

Needs aiokafka and cryptography, a key registered by `barecount publishers register ci --role operator --key ci.pem`, and the brokers
in BARECOUNT_KAFKA_BOOTSTRAP, BARECOUNT_KAFKA_USERNAME and BARECOUNT_KAFKA_PASSWORD.
"""

import asyncio
import base64
import json
import os
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from cryptography.hazmat.primitives.serialization import load_pem_private_key

NAMESPACE = uuid.UUID("6f1c1c1e-6a5b-5a43-9a0d-2f1f8b1d7c10")
KAFKA = {
    "bootstrap_servers": os.environ["BARECOUNT_KAFKA_BOOTSTRAP"],
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "SCRAM-SHA-256",
    "sasl_plain_username": os.environ["BARECOUNT_KAFKA_USERNAME"],
    "sasl_plain_password": os.environ["BARECOUNT_KAFKA_PASSWORD"],
}


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


async def main(kid: str, pem: bytes, kind: str, data: str) -> None:
    tenant, principal, jti = kid.split("/")[0], f"publisher:{kid}", str(uuid.uuid4())
    # the jti names the command: the same one is never decided twice
    command_id = str(uuid.uuid5(NAMESPACE, "\x1f".join((tenant, principal, jti))))
    command = {"id": command_id, "correlation": command_id, "type": kind, "version": 1, "tenant": tenant, "principal": principal}
    value = json.dumps({**command, "time": datetime.now(UTC).isoformat(), "data": json.loads(data)}).encode()
    # a detached JWS: what is signed is exactly the record's value
    protected = base64url(json.dumps({"alg": "EdDSA", "kid": kid, "jti": jti, "exp": int(time.time()) + 300}).encode())
    signature = base64url(load_pem_private_key(pem, None).sign(f"{protected}.{base64url(value)}".encode()))
    producer, consumer = AIOKafkaProducer(**KAFKA), AIOKafkaConsumer(**KAFKA, isolation_level="read_committed")
    async with asyncio.timeout(60), producer, consumer:
        outcomes = [TopicPartition("control.events", number) for number in await producer.partitions_for("control.events")]
        consumer.assign(outcomes)
        await consumer.seek_to_end()
        # the key is the tenant; aiokafka's default partitioner is Kafka's own (murmur2)
        headers = [("jws", f"{protected}..{signature}".encode())]
        sent = await producer.send_and_wait("pipelines.commands", value, key=tenant.encode(), headers=headers)
        async for record in consumer:
            event = json.loads(record.value)
            # also a record that nobody could read is answered: its cause has this position, if no command_id
            if (event["cause"]["partition"], event["cause"]["offset"]) == (sent.partition, sent.offset):
                return print(json.dumps({"command_id": command_id, "type": event["type"], "data": event["data"]}))


if __name__ == "__main__":
    kid, key_file, kind, data = sys.argv[1:5]
    asyncio.run(main(kid, Path(key_file).read_bytes(), kind, data))
