"""External systems on the real broker, as their own principal: what they sign is decided, what is wrong becomes one rejection each."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from barecount_contracts import murmur2

from tests.integration.command.kit import asking
from tests.integration.command.test_admission import created
from tests.support.publisher import Publisher
from tests.support.servers import Kafka
from tests.support.service import Service

pytestmark = pytest.mark.integration

WAIT = {"Prefer": "wait=20"}
INBOX, EVENTS = "pipelines.commands", "control.events"


@dataclass
class Topic:
    """The inbox and the outcomes as an external system has them: nothing but a Kafka client."""

    producer: AIOKafkaProducer
    kafka: Kafka
    partitions: int

    def of(self, key: str) -> int:
        return murmur2(key.encode()) % self.partitions

    async def put(self, value: bytes, jws: bytes | None = None, *, key: str, partition: int | None = None) -> tuple[int, int]:
        where = self.of(key) if partition is None else partition
        headers = [] if jws is None else [("jws", jws)]
        sent = await self.producer.send_and_wait(INBOX, value, key.encode(), where, headers=headers)
        return sent.partition, sent.offset

    async def outcomes(self, *positions: tuple[int, int]) -> list[dict[str, Any]]:
        """The event of each position, in their order; fails when a position has two."""
        found: dict[tuple[int, int], list[dict[str, Any]]] = {position: [] for position in positions}
        wanted = {partition: max(offset for at, offset in positions if at == partition) for partition, _ in positions}
        async with AIOKafkaConsumer(
            **self.kafka.settings("publisher"), auto_offset_reset="earliest", isolation_level="read_committed"
        ) as consumer:
            consumer.assign([TopicPartition(EVENTS, partition) for partition in wanted])
            async with asyncio.timeout(60):
                while wanted:
                    event = json.loads((await consumer.getone()).value)
                    cause = event["cause"]
                    at = (cause["partition"], cause["offset"])
                    if at in found and cause["index"] == 0:
                        found[at].append(event)
                    if cause["offset"] >= wanted.get(cause["partition"], 1 << 62):
                        wanted.pop(cause["partition"])
        assert all(len(one) == 1 for one in found.values()), found
        return [found[position][0] for position in positions]


@pytest.fixture
async def topic(own_kafka: Kafka) -> AsyncIterator[Topic]:
    async with AIOKafkaProducer(**own_kafka.settings("publisher"), max_request_size=8_388_608) as producer:
        yield Topic(producer, own_kafka, len(await producer.partitions_for(INBOX)))


@asynccontextmanager
async def registered(service: Service, publisher: Publisher, *roles: str) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(service, "tenant_admin", publisher.tenant) as admin:
        body = {"name": publisher.name, "public_key": publisher.public_key, "roles": list(roles) or ["operator"]}
        answer = await admin.post("/publishers", json=body, headers=WAIT)
        assert answer.status_code == 201, answer.text
        yield admin


def soon() -> int:
    return int(time.time()) + 300


def start(publisher: Publisher, jti: str, **changed: Any) -> tuple[bytes, bytes]:
    value = publisher.command(
        "StartRun", {"pipeline": "revenue-kpi", "data_partition": "2025-10-04", "run_id": f"run-{jti}"}, jti=jti, **changed
    )
    return value, publisher.signature(value, jti=jti, exp=soon())


async def test_everything_that_is_wrong_becomes_one_rejection_and_the_partition_goes_on(service: Service, topic: Topic) -> None:
    ours, theirs, gone = Publisher("p1"), Publisher("p1-other"), Publisher("p1", "gone")
    await created(service, "p1")
    async with registered(service, ours), registered(service, theirs), registered(service, gone) as admin:
        assert (await admin.delete("/publishers/gone", headers=WAIT)).status_code == 200
        good, signature = start(ours, "first")
        first = await topic.put(good, signature, key="p1")
        stale = ours.signature(good, jti="first", exp=int(time.time()) - 60)
        far = ours.signature(good, jti="first", exp=int(time.time()) + 90_000)
        unknown, version = ours.command("DropEverything", {}, jti="t"), ours.command("StartRun", {}, jti="v", version=9)
        payload = ours.command("StartRun", {"pipeline": 7}, jti="d")
        stolen = ours.command("StartRun", {"pipeline": "revenue-kpi", "data_partition": "2025-10-04"}, jti="s")
        wrong = (
            ("malformed-record", await topic.put(b"\x00\xff\xfe not json", signature, key="p1")),
            ("unknown-type", await topic.put(unknown, ours.signature(unknown, jti="t", exp=soon()), key="p1")),
            ("unknown-type", await topic.put(version, ours.signature(version, jti="v", exp=soon()), key="p1")),
            ("invalid-payload", await topic.put(payload, ours.signature(payload, jti="d", exp=soon()), key="p1")),
            ("wrong-partition", await topic.put(good, signature, key="p1", partition=(topic.of("p1") + 1) % topic.partitions)),
            ("expired-command", await topic.put(good, stale, key="p1")),
            ("expiry-too-far", await topic.put(good, far, key="p1")),
            ("jti-reused", await topic.put(good, signature, key="p1")),
            ("unknown-publisher", await topic.put(stolen, theirs.signature(stolen, jti="s", exp=soon()), key="p1")),
            ("oversized-record", await topic.put(b"x" * 5_000_000, signature, key="p1")),
            ("oversized-record", await topic.put(ours.command("StartRun", {"pad": "x" * 5_000_000}, jti="o"), signature, key="p1")),
            ("bad-signature", await topic.put(*start(Publisher("p1", ours.name), "forged"), key="p1")),
            ("bad-signature", await topic.put(good.replace(b"2025-10-04", b"2025-10-05"), signature, key="p1")),
            ("unknown-publisher", await topic.put(*start(gone, "g"), key="p1")),
            ("unsigned-command", await topic.put(good, key="p1")),
        )
        last = await topic.put(*start(ours, "last"), key="p1")
        events = await topic.outcomes(first, *(position for _, position in wrong), last)
        assert [event["type"] for event in events] == ["RunRequested", *["RecordRejected"] * len(wrong), "RunRequested"]
        assert [event["data"]["code"] for event in events[1:-1]] == [code for code, _ in wrong]
        assert events[0]["principal"] == events[-1]["principal"] == "publisher:p1/ci"
        named = {event["data"]["code"] for event in events[1:-1] if "command_id" in event["cause"] or event["tenant"] != "platform"}
        assert named == {"expired-command", "expiry-too-far", "jti-reused", "invalid-payload", "unknown-type"}
        assert not any(
            "command_id" in event["cause"] for event in events if event["data"].get("code") in ("bad-signature", "unknown-publisher")
        )
        # what came again did not replace the first outcome
        shown = (await admin.get(f"/commands/{ours.id_of('first')}")).json()
        assert (shown["status"], shown["admission"]["type"]) == ("admitted", "RunRequested")


async def test_what_a_publisher_may_not_do_is_refused_and_says_so_by_its_id(service: Service, topic: Topic) -> None:
    auditor = Publisher("p2")
    async with registered(service, auditor, "auditor") as admin:
        (event,) = await topic.outcomes(await topic.put(*start(auditor, "1"), key="p2"))
        assert (event["type"], event["data"]["code"]) == ("RecordRejected", "forbidden")
        assert (event["tenant"], event["cause"]["command_id"]) == ("p2", str(auditor.id_of("1")))

        async def told() -> httpx.Response:
            async with asyncio.timeout(20):
                while (answer := await admin.get(f"/commands/{auditor.id_of('1')}")).status_code == 404:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            return answer

        assert (await told()).json()["status"] == "refused"


async def test_who_may_register_and_what_is_shown(service: Service) -> None:
    publisher = Publisher("p3")
    body = {"name": "ci", "public_key": publisher.public_key, "roles": ["operator"], "description": "the build"}
    for role in ("developer", "operator", "governance", "auditor"):
        async with asking(service, role, "p3") as other:
            assert (await other.post("/publishers", json=body)).json()["code"] == "forbidden"
    async with asking(service, "tenant_admin", "p3") as admin, asking(service, "auditor", "p3-other") as stranger:
        for wrong, code in (
            ({"public_key": "AAAA"}, "invalid-public-key"),
            ({"public_key": "A" * 43}, "invalid-public-key"),
            ({"roles": ["service"]}, "invalid-request"),
            ({"roles": []}, "invalid-request"),
            ({"name": "../x"}, "invalid-request"),
        ):
            assert (await admin.post("/publishers", json={**body, **wrong}, headers=WAIT)).json()["code"] == code, wrong
        assert (await admin.delete("/publishers/ci", headers=WAIT)).json()["code"] == "publisher-not-found"
        made = await admin.post("/publishers", json=body, headers=WAIT)
        assert made.status_code == 201
        again = await admin.post("/publishers", json=body, headers=WAIT)
        assert (again.status_code, again.json()["event"]["data"]["reason"]) == (200, "same-content")
        token = {"X-Consistency-Token": made.headers["X-Consistency-Token"]}
        (shown,) = (await admin.get("/publishers", headers=token)).json()["items"]
        assert (shown["kid"], shown["principal"], shown["roles"]) == ("p3/ci", "publisher:p3/ci", ["operator"])
        assert shown["revoked_at"] is None
        assert (await stranger.get("/publishers")).json() == {"items": [], "next_cursor": None}
        gone = await admin.delete("/publishers/ci", headers=WAIT)
        token = {"X-Consistency-Token": gone.headers["X-Consistency-Token"]}
        (shown,) = (await admin.get("/publishers", headers=token)).json()["items"]
        assert shown["revoked_at"] is not None
