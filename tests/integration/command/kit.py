"""Callers as they should be: who is answered 503 (safe to repeat) asks again, as Retry-After says, with the same key."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import httpx

from tests.support.service import Service


class Patient(httpx.AsyncBaseTransport):
    """Repeats calls that were answered 503; on a loaded machine the record of a call may take more than its 500 ms."""

    def __init__(self, service: Service) -> None:
        self._inner = httpx.ASGITransport(service.app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.headers.setdefault("Idempotency-Key", str(uuid4()))
        async with asyncio.timeout(30):
            while (answer := await self._inner.handle_async_request(request)).status_code == 503:
                await answer.aread()
                await asyncio.sleep(float(answer.headers.get("Retry-After", "1")))
        return answer


def asking(service: Service, role: str, tenant: str) -> httpx.AsyncClient:
    """A patient client of the service."""
    headers = service.client(role, tenant).headers
    return httpx.AsyncClient(transport=Patient(service), base_url="http://test", headers=headers, timeout=60)
