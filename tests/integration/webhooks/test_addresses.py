"""A tenant's address never opens a door to the inside, whatever it is called and whatever it resolves to by now."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from barecount_chassis import PrivateTargets
from barecount_webhooks.adapters import sender as sending
from barecount_webhooks.adapters.sender import Sender
from barecount_webhooks.domain.outcome import Failed, Taken

from tests.integration.webhooks.kit import Answer, Place, Receiver, change, publish

HEADERS = {"content-type": "application/json"}


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What the resolver says; a name that is not here resolves as everywhere."""
    found: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def lookup(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host in found:
            return [row for address in found[host] for row in real(address, port, *args, **kwargs)]
        return real(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return found


async def test_a_private_address_is_refused_when_the_endpoint_is_made(place: Place) -> None:
    for url in (
        "https://10.0.0.8/",
        "https://2130706433/",
        "http://127.0.0.1:1/",
        "https://[::ffff:169.254.169.254]/",
        "https://localhost/",
    ):
        made = await place.ask("POST", "/webhooks", "t-inside", body={"url": url})
        assert (made["http"], made.get("code")) == (422, "invalid-webhook-url"), url


async def test_a_name_that_leads_inside_is_never_connected_to(place: Place, receiver: Receiver, names: dict[str, list[str]]) -> None:
    names["rebinds.example"] = ["127.0.0.2"]
    endpoint = await place.create("t-dns", f"https://rebinds.example:{receiver.port}/dns")
    event = await publish(place.streams, change("t-dns", "run-1"))
    shown = await place.delivery("t-dns", endpoint, event.id, "failed")
    assert {one["error_type"] for one in shown["attempt_list"]} == {"blocked-address"}
    assert "127.0.0.2" in shown["detail"]
    assert receiver.at("/dns") == []


async def test_one_private_address_among_public_ones_is_enough_to_refuse(names: dict[str, list[str]]) -> None:
    names["mixed.example"] = ["8.8.8.8", "10.0.0.1"]
    outcome = await post(Sender(PrivateTargets()), "https://mixed.example/")
    assert isinstance(outcome, Failed)
    assert outcome.error_type == "blocked-address"


async def test_a_name_that_does_not_resolve_is_told_apart(names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    outcome = await post(Sender(PrivateTargets()), "https://nowhere.example/")
    assert isinstance(outcome, Failed)
    assert outcome.error_type == "dns"


async def test_what_was_checked_is_what_is_connected_to(receiver: Receiver, names: dict[str, list[str]]) -> None:
    """The name resolves to the allowed address once and to another host ever after: only one look-up is made for a connection."""
    asked: list[str] = []
    real = sending.resolved

    async def once(host: str, port: int) -> Any:
        asked.append(host)
        found = await real(host, port)
        names["hooks.internal"] = ["127.0.0.2"]
        return found

    names["hooks.internal"] = ["127.0.0.1"]
    sender = Sender(PrivateTargets.parse(f"127.0.0.1:{receiver.port},hooks.internal:{receiver.port}"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sending, "resolved", once)
        outcome = await post(sender, f"http://hooks.internal:{receiver.port}/once")
    assert outcome == Taken(200)
    assert asked == ["hooks.internal"]
    (got,) = receiver.at("/once")
    assert got.headers["host"] == f"hooks.internal:{receiver.port}"


async def test_a_proxy_of_the_environment_is_not_asked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    sender = Sender(PrivateTargets.parse(f"127.0.0.1:{receiver.port}"))
    assert await post(sender, receiver.url("/no-proxy")) == Taken(200)


async def test_an_answer_is_read_only_so_far_and_shown_only_shortly(receiver: Receiver) -> None:
    receiver.plan["/long"] = [Answer(500, body="x" * 3_000_000)]
    sender = Sender(PrivateTargets.parse(f"127.0.0.1:{receiver.port}"))
    outcome = await post(sender, receiver.url("/long"))
    assert isinstance(outcome, Failed)
    assert outcome.status == 500
    assert len(outcome.detail) < 1000


async def post(sender: Sender, url: str) -> Any:
    try:
        return await sender.post(url, HEADERS, b"{}")
    finally:
        await sender.close()
