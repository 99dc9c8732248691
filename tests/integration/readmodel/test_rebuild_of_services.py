"""Every service's own views, over one record of every type there is: projected record by record live, rebuilt in bulk, and equal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from barecount_contracts import catalogue
from barecount_readmodel import Database, Projector, Rebuild, View

from tests.integration.eventlog.kit import eventually, settings_of
from tests.integration.readmodel.kit import fresh_service, service_database
from tests.support.servers import Kafka, Postgres, kafka_server

EXAMPLES = Path(__file__).resolve().parents[3] / "contracts" / "examples"
# (service, the name of its views in projection.py)
SERVICES = (("command", "VIEWS"), ("execution", "views"), ("lineage", "VIEWS"), ("evidence", "VIEWS"))


@pytest.fixture(scope="module")
def own_kafka() -> Iterator[Kafka]:
    """A broker of its own: a ledger of examples and other tests' ledger would be one log that no service ever wrote."""
    with kafka_server() as broker:
        broker.furnish()
        yield broker


@pytest.fixture(scope="module")
async def examples(own_kafka: Kafka) -> Kafka:
    """A log with every example in its topic, and a record that nobody can read."""
    producer = AIOKafkaProducer(**settings_of(own_kafka).client())
    await producer.start()
    for topic in catalogue().topics.values():
        # a run's own log begins with its being queued
        for payload in sorted(topic.payloads, key=lambda name: not name.startswith("RunQueued")) if topic.form != "cloudevent" else ():
            file = EXAMPLES / f"{payload}.json"
            if file.exists():
                await producer.send_and_wait(topic.name, _of_one_run(file.read_text()), key=b"acme", partition=0)
        await producer.send_and_wait(topic.name, b"\x00 not a record", key=b"acme", partition=0)
    await producer.stop()
    return own_kafka


def _of_one_run(example: str) -> bytes:
    """The examples are of several runs; here they are of one, as a log would have them."""
    return re.sub(r'"(run_id|new_run_id)": "[^"]*"', r'"\1": "run-1"', json.dumps(json.loads(example))).encode()


@pytest.mark.parametrize(("name", "attribute"), SERVICES)
async def test_a_service_s_rebuilt_rows_are_its_live_rows(examples: Kafka, postgres: Postgres, name: str, attribute: str) -> None:
    found = getattr(import_module(f"barecount_{name}.projection"), attribute)
    views: list[View] = list(found() if callable(found) else found)
    service, kafka = fresh_service(), settings_of(examples)
    url = await service_database(postgres, service=service)
    database = await Database.open(url, service=service)
    projector = Projector(kafka=kafka, database=database, service=service, views=views)
    await projector.start()
    try:
        await eventually(lambda: projector.ready, 60)
        done = await Rebuild(kafka, url, service, views).run()
    finally:
        await projector.stop()
        await database.close()
    assert done["differences"] == []
    assert done["tables"]["projection_errors"] >= 1
    assert sum(done["tables"].values()) > done["tables"]["projection_errors"] + done["tables"]["projection_positions"]
