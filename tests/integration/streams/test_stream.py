"""GET /stream as a client has it: filters, positions, tenants, cuts, gaps, ends."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from aiokafka import AIOKafkaConsumer
from barecount_eventlog import Appender, read_all

from tests.integration.streams.kit import (
    Serving,
    appending,
    change,
    eventually,
    kafka_as,
    publish,
    serving,
    settings_for,
    tenant_of,
)
from tests.support.servers import Kafka

pytestmark = pytest.mark.integration


@pytest.fixture
async def appender(furnished_kafka: Kafka) -> AsyncIterator[Appender]:
    async with appending(furnished_kafka) as running:
        yield running


@pytest.fixture
async def service(furnished_kafka: Kafka, tmp_path: Path) -> AsyncIterator[Serving]:
    async with serving(settings_for(furnished_kafka, tmp_path, stream_heartbeat_seconds=0.3, stream_limit=3)) as running:
        yield running


async def test_what_happens_after_the_opening_arrives_in_order_with_its_type_as_the_event_name(
    service: Serving, appender: Appender
) -> None:
    tenant = tenant_of()
    async with service.stream(tenant) as stream:
        await publish(appender, change(tenant, 1), change(tenant, 2, type_="pipeline.created", kind="pipeline"))
        first, second = await stream.next(), await stream.next()
    assert (first.event, second.event) == ("run.started", "pipeline.created")
    told = json.loads(first.data)
    assert (told["specversion"], told["type"], told["data"]["summary"]) == ("1.0", "run.started", "change 1")


async def test_two_event_types_are_asked_for_and_no_other_comes(service: Serving, appender: Appender) -> None:
    tenant = tenant_of()
    async with service.stream(tenant, type="run.failed,task.*") as stream:
        kinds = ("run.started", "run.failed", "run.succeeded", "task.failed", "run.failed")
        await publish(appender, *(change(tenant, n, type_=kind) for n, kind in enumerate(kinds)))
        assert [(await stream.next()).event for _ in range(3)] == ["run.failed", "task.failed", "run.failed"]


async def test_pipeline_run_and_kind_narrow(service: Serving, appender: Appender) -> None:
    tenant = tenant_of()
    made = [
        change(tenant, 1),
        change(tenant, 2, pipeline="cost"),
        change(tenant, 3, kind="pipeline", type_="pipeline.created"),
        change(tenant, 4),
    ]
    for query, expected in (
        ({"pipeline": "cost"}, [2]),
        ({"run_id": "r4"}, [4]),
        ({"kind": "pipeline"}, [3]),
        ({"type": "run.*"}, [1, 2, 4]),
    ):
        async with service.stream(tenant, **query) as stream:
            await publish(appender, *made)
            assert await stream.ids(len(expected)) == [f"{tenant}/{n}" for n in expected], query


async def test_nobody_sees_another_tenants_changes_though_they_stand_in_one_partition(service: Serving, appender: Appender) -> None:
    mine, other = tenant_of(1), tenant_of(1)
    async with service.stream(mine) as stream:
        await publish(appender, change(other, 1), change(mine, 1), change(other, 2), change(mine, 2))
        assert await stream.ids(2) == [f"{mine}/1", f"{mine}/2"]
        theirs = stream.last
    answer = await asked(service, other, {"Last-Event-ID": theirs})
    assert (answer.status_code, answer.json()["code"]) == (400, "cursor-invalid")


async def test_a_kind_that_the_role_may_not_read_does_not_come(service: Serving, appender: Appender) -> None:
    tenant = tenant_of()
    # an operator may not see publishers; an auditor may
    async with service.stream(tenant, role="operator") as narrow, service.stream(tenant) as wide:
        await publish(appender, change(tenant, 1, type_="publisher.registered", kind="publisher"), change(tenant, 2))
        assert await narrow.ids(1) == [f"{tenant}/2"]
        assert await wide.ids(2) == [f"{tenant}/1", f"{tenant}/2"]


async def test_coming_back_with_the_last_id_brings_every_change_once_wherever_the_cut_was(service: Serving, appender: Appender) -> None:
    tenant, had, last = tenant_of(), list[str](), None
    async with service.stream(tenant) as stream:
        last = stream.last
    for cut in (1, 3, 7, 2, 12):
        numbers = range(len(had), len(had) + cut)
        await publish(appender, *(change(tenant, n) for n in numbers))
        async with service.stream(tenant, last=last) as stream:
            had += await stream.ids(cut)
            last = stream.last
    assert had == [f"{tenant}/{n}" for n in range(25)]


async def test_on_a_quiet_stream_ids_alone_move_the_position_over_what_the_filter_hides(service: Serving, appender: Appender) -> None:
    tenant = tenant_of()
    async with service.stream(tenant, type="run.failed") as stream:
        await publish(appender, *(change(tenant, n) for n in range(5)))
        before, opened = stream.heartbeats, stream.last
        reading = asyncio.create_task(stream.next())
        await eventually(lambda: stream.heartbeats >= before + 2, "two signs of life")
        assert stream.last != opened
        last = stream.last
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    # without the filter nothing hidden comes again: the position stands behind it
    async with service.stream(tenant, last=last) as stream:
        await publish(appender, change(tenant, 99))
        assert await stream.ids(1) == [f"{tenant}/99"]


async def test_since_begins_with_what_the_broker_wrote_then(service: Serving, appender: Appender, furnished_kafka: Kafka) -> None:
    tenant = tenant_of()
    await publish(appender, change(tenant, 1), change(tenant, 2))
    times = [
        record.timestamp
        async for batch in read_all(kafka_as(furnished_kafka, "streams"), "state.changes")
        for record in batch.records
        if record.key == tenant
    ]
    async with service.stream(tenant, since=times[0].isoformat()) as stream:
        assert await stream.ids(2) == [f"{tenant}/1", f"{tenant}/2"]
    async with service.stream(tenant, since=datetime(2199, 1, 1, tzinfo=UTC).isoformat()) as stream:
        await publish(appender, change(tenant, 3))
        assert await stream.ids(1) == [f"{tenant}/3"]


async def test_a_stream_ends_with_its_token_and_says_so(service: Serving) -> None:
    tenant = tenant_of()
    async with service.stream(tenant, seconds=-8.5) as stream:  # tokens are taken 10 s longer than they say
        ended = await stream.next()
    assert (ended.event, json.loads(ended.data)["reason"]) == ("end", "token-expired")


async def test_a_server_that_stops_says_so_and_does_not_wait_for_its_streams(furnished_kafka: Kafka, tmp_path: Path) -> None:
    tenant = tenant_of()
    async with serving(settings_for(furnished_kafka, tmp_path)) as service, service.stream(tenant) as stream:
        service.app.state.stopping.set()
        ended = await stream.next()
    assert (ended.event, json.loads(ended.data)["reason"]) == ("end", "stopping")


async def test_refusals_say_what_can_be_asked_for(service: Serving) -> None:
    tenant = tenant_of()
    for query, status, code in (
        ({"type": "run.flew"}, 422, "unknown-event-type"),
        ({"kind": "cow"}, 422, "invalid-request"),
        ({"last_event_id": "v1.AAAA"}, 400, "cursor-invalid"),
        ({"since": "2026-11-23T00:00:00"}, 422, "invalid-request"),
    ):
        answer = await asked(service, tenant, {}, query)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_a_principal_may_have_so_many_streams_and_no_more(service: Serving) -> None:
    tenant = tenant_of()
    async with service.stream(tenant), service.stream(tenant):
        async with service.stream(tenant):
            answer = await asked(service, tenant)
            assert (answer.status_code, answer.json()["code"]) == (429, "too-many-streams")
        await eventually(lambda: sum(service.app.state.desk._open.values()) == 2, "the closed stream to be counted off")
        async with service.stream(tenant):
            pass


async def test_a_client_that_does_not_read_is_cut_and_comes_back_to_all_it_missed(
    furnished_kafka: Kafka, tmp_path: Path, appender: Appender
) -> None:
    tenant = tenant_of()
    given = settings_for(furnished_kafka, tmp_path, stream_slow_seconds=0.5, stream_buffer_records=50)
    async with serving(given) as service:
        place = urlsplit(service.address)
        with socket.create_connection((place.hostname or "", place.port or 0)) as deaf:
            deaf.sendall(f"GET /stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.token(tenant)}\r\n\r\n".encode())
            await eventually(lambda: sum(service.app.state.desk._open.values()) == 1, "the stream to be open")
            for first in range(0, 400, 100):
                await publish(appender, *(change(tenant, n, pad=50_000) for n in range(first, first + 100)))
            await eventually(lambda: not service.app.state.desk._open, "the client to be cut")
            text = await asyncio.to_thread(_everything, deaf)
        got = [line.removeprefix("id: ") for block in text.split("\n\n")[:-1] for line in block.split("\n") if line.startswith("id: ")]
        assert 1 <= len(got) < 400
        async with service.stream(tenant, last=got[-1]) as stream:
            rest = await stream.ids(400 - (len(got) - 1))  # the first id was that of `open`
    assert rest == [f"{tenant}/{n}" for n in range(len(got) - 1, 400)]


async def test_a_client_of_kafka_that_cannot_be_closed_leaves_nobody_without_an_answer(
    furnished_kafka: Kafka, tmp_path: Path, appender: Appender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka's close can raise the CancelledError of its own tasks, here in the midst of a call that asks for a time."""
    tenant, stop = tenant_of(), AIOKafkaConsumer.stop
    await publish(appender, change(tenant, 1))
    async with serving(settings_for(furnished_kafka, tmp_path)) as service:

        async def raising(self: AIOKafkaConsumer) -> None:
            await stop(self)
            if self._client._client_id == "streams.since":
                raise asyncio.CancelledError

        monkeypatch.setattr(AIOKafkaConsumer, "stop", raising)
        async with service.stream(tenant, since="2020-01-01T00:00:00Z") as stream:
            assert await stream.ids(1) == [f"{tenant}/1"]


async def asked(
    service: Serving, tenant: str, headers: dict[str, str] | None = None, query: dict[str, str] | None = None
) -> httpx.Response:
    async with httpx.AsyncClient(timeout=10) as client:
        sent = {"Authorization": f"Bearer {service.token(tenant)}", **(headers or {})}
        return await client.get(f"{service.address}/stream", params=query, headers=sent)


def _everything(deaf: socket.socket) -> str:
    parts = []
    deaf.settimeout(20)
    while part := deaf.recv(65_536):
        parts.append(part)
    body = b"".join(parts).partition(b"\r\n\r\n")[2]
    # without the chunks' own lines; a block that the cut left unfinished has no empty line behind it
    whole, rest = b"", body
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        whole, rest = whole + rest[:length], rest[length + 2 :]
    return whole.decode()
