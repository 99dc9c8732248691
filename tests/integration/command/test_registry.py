"""Confluent's own client against the registry routes, over a real port with a bearer token."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
import uvicorn
from barecount_chassis import issue_token
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from tests.integration.command.test_admission import registered
from tests.support.service import Service

pytestmark = pytest.mark.integration

Registry = Callable[..., SchemaRegistryClient]


@pytest.fixture(scope="module")
async def registry(service: Service) -> AsyncIterator[Registry]:
    """`registry(tenant, role)`: a client of the registry, which is served on a port of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(service.app, lifespan="off", log_level="warning"))
    serving = asyncio.create_task(server.serve([listener]))
    pem = (service.keys / "issuer.private.pem").read_bytes()

    def client(tenant: str, role: str = "developer") -> SchemaRegistryClient:
        token = issue_token(pem, subject=role, tenant=tenant, roles=[role], ttl=timedelta(hours=1))
        return SchemaRegistryClient(
            {
                "url": f"http://127.0.0.1:{listener.getsockname()[1]}",
                "bearer.auth.credentials.source": "STATIC_TOKEN",
                "bearer.auth.token": token,
                "bearer.auth.logical.cluster": "lsrc-local",
                "bearer.auth.identity.pool.id": "pool-local",
                "max.retries": 0,
            }
        )

    yield client
    server.should_exit = True
    await serving


def schema(**properties: Any) -> Schema:
    return Schema(json.dumps({"title": "order", "type": "object", "properties": properties, "additionalProperties": False}), "JSON")


async def call(function: Callable[..., Any], *given: Any) -> Any:
    """The client blocks, and the server runs in this loop."""
    return await asyncio.to_thread(function, *given)


async def refused(function: Callable[..., Any], *given: Any) -> tuple[int, int]:
    with pytest.raises(SchemaRegistryError) as caught:
        await call(function, *given)
    return caught.value.http_status_code, caught.value.error_code


async def test_what_is_not_there_is_told_in_the_registrys_codes(registry: Registry) -> None:
    client = registry("r1")
    await call(client.register_schema, "orders-value", schema(id={"type": "integer"}))
    assert await refused(client.get_latest_version, "nothing-value") == (404, 40401)
    assert await refused(client.get_version, "orders-value", 7) == (404, 40402)
    assert await refused(client.get_version, "orders-value", "first") == (422, 42202)
    assert await refused(client.get_schema, 4711) == (404, 40403)
    assert await refused(client.lookup_schema, "orders-value", schema(other={"type": "integer"})) == (404, 40403)


async def test_a_schema_that_is_none_and_one_that_breaks_readers_are_refused(registry: Registry) -> None:
    client = registry("r2")
    assert await refused(client.register_schema, "orders-value", Schema('{"type": "colour"}', "JSON")) == (422, 42201)
    assert await refused(client.register_schema, "orders-value", Schema('"string"', "AVRO")) == (422, 42201)
    await call(client.register_schema, "orders-value", schema(id={"type": "integer"}))
    status, code = await refused(client.register_schema, "orders-value", schema(id={"type": "string"}))
    assert (status, code) == (409, 409)
    assert await call(client.test_compatibility, "orders-value", schema(id={"type": "string"})) is False
    assert await call(client.test_compatibility, "orders-value", schema(id={"type": "integer"}, note={"type": "string"})) is True


async def test_a_reader_may_not_register_and_another_tenant_sees_nothing(registry: Registry) -> None:
    await call(registry("r3").register_schema, "orders-value", schema(id={"type": "integer"}))
    assert await refused(registry("r3", "auditor").register_schema, "orders-value", schema()) == (403, 40301)
    assert await call(registry("r3", "auditor").get_subjects) == ["orders-value"]
    assert await call(registry("r4").get_subjects) == []
    assert await refused(registry("r4").get_latest_version, "orders-value") == (404, 40401)


async def test_versions_ids_and_texts_come_back_as_they_were_registered(registry: Registry) -> None:
    client = registry("r5")
    first = schema(id={"type": "integer"})
    second = schema(id={"type": "integer"}, note={"type": "string"})
    assert await call(client.register_schema, "orders-value", first) == 1
    assert await call(client.register_schema, "orders-value", second) == 2
    fresh = registry("r5")
    assert await call(fresh.register_schema, "orders-value", first) == 1
    assert await call(fresh.get_versions, "orders-value") == [1, 2]
    latest = await call(fresh.get_latest_version, "orders-value")
    assert (latest.version, latest.schema_id, latest.schema.schema_str) == (2, 2, second.schema_str)
    found = await call(fresh.lookup_schema, "orders-value", first)
    assert (found.version, found.schema_id) == (1, 1)
    assert (await call(fresh.get_schema, 1)).schema_str == first.schema_str
    assert await call(fresh.get_compatibility) == "BACKWARD"


async def test_a_contracts_object_is_a_subject(service: Service, registry: Registry) -> None:
    await registered(service, "r6")
    client = registry("r6")
    assert await call(client.get_subjects) == ["r6.retail-transactions-transactions", "r6.revenue-kpi-revenue_kpi"]
    row = json.loads((await call(client.get_latest_version, "r6.revenue-kpi-revenue_kpi")).schema.schema_str)
    assert row["required"] == ["day", "level", "store_id", "revenue", "baskets", "units", "line_items"]


async def test_confluents_serializer_writes_and_reads_through_the_registry(registry: Registry) -> None:
    text = schema(id={"type": "integer"}).schema_str
    where = SerializationContext("orders", MessageField.VALUE)
    written = await call(JSONSerializer(text, registry("r7")), {"id": 7}, where)
    assert written[:5] == b"\x00\x00\x00\x00\x01"
    assert await call(JSONDeserializer(None, schema_registry_client=registry("r7")), written, where) == {"id": 7}
