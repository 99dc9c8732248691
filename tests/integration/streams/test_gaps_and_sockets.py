"""What the log lost is said, who is behind is served from the log, and a WebSocket shows what the stream shows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import websockets
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from barecount_eventlog import Appender
from barecount_streams.domain.cursor import Cursors, Place
from barecount_streams.follower import Follower
from barecount_streams.hub import Hub

from tests.integration.streams.kit import Serving, appending, change, kafka_as, publish, serving, settings_for, tenant_of
from tests.support.servers import Kafka

pytestmark = pytest.mark.integration
CURSORS = Cursors(bytes(32))


@pytest.fixture
async def appender(furnished_kafka: Kafka) -> AsyncIterator[Appender]:
    async with appending(furnished_kafka, "admin") as running:
        yield running


async def taken(follower: Follower, count: int) -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            got = await follower.take(1.0)
            assert got.gap is None, got.gap
            found += [json.loads(entry.text)["id"] for entry in got.entries]
    return found


async def test_who_is_behind_the_buffer_is_served_from_the_log_and_then_from_the_buffer(furnished_kafka: Kafka, appender: Appender) -> None:
    topic, tenant = furnished_kafka.topic("changes", 4), tenant_of()
    hub = Hub(kafka_as(furnished_kafka, "admin"), topic=topic, records=10, catch_ups=1)
    await hub.start()
    try:
        first = await Follower.open(hub, CURSORS, tenant, lambda _: True)
        second = await Follower.open(hub, CURSORS, tenant, lambda _: True)
        for number in range(50):
            await publish(appender, change(tenant, number), topic=topic)
        # one reader at a time: the second one waits for the first to have caught up
        assert await taken(first, 50) == await taken(second, 50) == [f"{tenant}/{n}" for n in range(50)]
        await publish(appender, change(tenant, 50), topic=topic)
        assert await taken(first, 1) == await taken(second, 1) == [f"{tenant}/50"]
        assert hub.catch_ups._value == 1, "the reader is given back"
    finally:
        await hub.stop()


async def test_what_retention_took_is_told_as_a_gap_and_the_rest_comes(furnished_kafka: Kafka, appender: Appender) -> None:
    topic, tenant = furnished_kafka.topic("changes", 4), tenant_of()
    kafka = kafka_as(furnished_kafka, "admin")
    hub = Hub(kafka, topic=topic, records=5)
    await hub.start()
    try:
        begun = await Follower.open(hub, CURSORS, tenant, lambda _: True)
        cursor = begun.cursor
        for number in range(20):
            await publish(appender, change(tenant, number), topic=topic)
        assert len(await taken(begun, 20)) == 20
        admin = AIOKafkaAdminClient(**kafka.client())
        await admin.start()
        await admin.delete_records({TopicPartition(topic, begun.partition): RecordsToDelete(before_offset=12)})
        await admin.close()
        back = await Follower.open(hub, CURSORS, tenant, lambda _: True, cursor=cursor)
        gap = (await back.take(20)).gap
        assert gap is not None
        assert (gap.reason, CURSORS.open(tenant, gap.to).next) == ("retention", 12)
        assert CURSORS.open(tenant, gap.since).next == 0
        assert await taken(back, 8) == [f"{tenant}/{n}" for n in range(12, 20)]
        await back.close()
    finally:
        await hub.stop()


@pytest.mark.parametrize(("generation", "next_", "reason"), [(7, 3, "generation"), (1, 1_000_000, "log-replaced")])
async def test_a_position_of_another_log_is_told_as_a_gap_and_everything_there_is_comes(
    furnished_kafka: Kafka, appender: Appender, generation: int, next_: int, reason: str
) -> None:
    topic, tenant = furnished_kafka.topic("changes", 4), tenant_of()
    hub = Hub(kafka_as(furnished_kafka, "admin"), topic=topic)
    await publish(appender, change(tenant, 0), change(tenant, 1), topic=topic)
    await hub.start()
    try:
        old = CURSORS.seal(tenant, Place(generation, hub.partition_of(tenant), next_))
        back = await Follower.open(hub, CURSORS, tenant, lambda _: True, cursor=old)
        gap = (await back.take(10)).gap
        assert gap is not None
        assert (gap.reason, gap.since) == (reason, old)
        assert await taken(back, 2) == [f"{tenant}/0", f"{tenant}/1"]
    finally:
        await hub.stop()


async def test_a_foreign_record_in_the_log_stops_nobody(furnished_kafka: Kafka, appender: Appender) -> None:
    topic, tenant = furnished_kafka.topic("changes", 4), tenant_of()
    hub = Hub(kafka_as(furnished_kafka, "admin"), topic=topic)
    await hub.start()
    try:
        follower = await Follower.open(hub, CURSORS, tenant, lambda _: True)
        await appender.append_bytes(topic, tenant, b"\xff", ())
        await publish(appender, change(tenant, 1), topic=topic)
        assert await taken(follower, 1) == [f"{tenant}/1"]
    finally:
        await hub.stop()


@pytest.fixture
async def service(furnished_kafka: Kafka, tmp_path: Path) -> AsyncIterator[Serving]:
    async with serving(settings_for(furnished_kafka, tmp_path, stream_heartbeat_seconds=0.3)) as running:
        yield running


async def heard(socket: Any, event: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            found: dict[str, Any] = json.loads(await socket.recv())
            if found["event"] == event:
                return found
            assert found["event"] == "heartbeat", found


async def test_a_socket_shows_the_same_events_and_positions_as_the_stream(service: Serving, appender: Appender) -> None:
    tenant = tenant_of()
    address = service.address.replace("http", "ws") + "/ws"
    offered = ["barecount.v1", f"bearer.{service.token(tenant)}"]
    async with websockets.connect(f"{address}?type=run.*", subprotocols=offered) as socket:  # type: ignore[arg-type]
        assert socket.subprotocol == "barecount.v1"
        await heard(socket, "open")
        await publish(appender, change(tenant, 1, type_="task.started"), change(tenant, 2), change(tenant, 3, type_="task.failed"))
        told = await heard(socket, "run.started")
        assert told["data"]["id"] == f"{tenant}/2"
        await heard(socket, "heartbeat")
        # the filters change on the way, and the place may be an earlier one
        await socket.send(json.dumps({"resume": told["id"], "type": ["task.*"]}))
        await heard(socket, "open")
        assert (await heard(socket, "task.failed"))["data"]["id"] == f"{tenant}/3"
        await socket.send("what?")
        assert (await heard(socket, "problem"))["data"]["code"] == "invalid-request"
        await publish(appender, change(tenant, 4, type_="task.failed"))
        await heard(socket, "open")
        assert (await heard(socket, "task.failed"))["data"]["id"] == f"{tenant}/4"
    # its position is good for the stream too
    async with service.stream(tenant, last=told["id"]) as stream:
        assert await stream.ids(2) == [f"{tenant}/3", f"{tenant}/4"]


async def test_a_socket_is_refused_before_it_opens(service: Serving) -> None:
    address = service.address.replace("http", "ws") + "/ws"
    for headers, query, status in (({}, "", 401), ({"Authorization": f"Bearer {service.token('acme')}"}, "?type=cow", 422)):
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with websockets.connect(address + query, additional_headers=headers):
                pass
        assert refused.value.response.status_code == status


async def test_a_socket_ends_with_its_token(service: Serving) -> None:
    address = service.address.replace("http", "ws") + "/ws"
    headers = {"Authorization": f"Bearer {service.token(tenant_of(), seconds=-8.5)}"}
    async with websockets.connect(address, additional_headers=headers) as socket:
        assert (await heard(socket, "open"))["id"]
        assert (await heard(socket, "end"))["data"]["reason"] == "token-expired"
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 3000
