"""What a receiver sees: every event once it is taken, signed, under one id however often it is sent."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from tests.integration.webhooks.kit import Answer, Place, Receiver, change, eventually, publish


async def test_an_event_arrives_signed_as_standard_webhooks_wants_it(place: Place, receiver: Receiver) -> None:
    endpoint = await place.create("t-first", receiver.url("/first"), "run.*")
    event = await publish(place.streams, change("t-first", "run-1"))
    (got,) = await receiver.waits_for("/first", 1)
    secret = await place.secret("t-first", endpoint)
    assert got.verified_by(secret["secret"])
    assert got.id == event.id
    assert got.json == {"type": "run.succeeded", "timestamp": event.time.isoformat(), "data": event.data}
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    shown = await place.delivery("t-first", endpoint, event.id, "succeeded")
    assert [(one["attempt"], one["outcome"], one["status"]) for one in shown["attempt_list"]] == [(1, "succeeded", 200)]


async def test_an_event_that_was_not_taken_is_sent_again_under_the_same_id(place: Place, receiver: Receiver) -> None:
    receiver.plan["/retry"] = [Answer(503, body="not now"), Answer(500), Answer(302, {"location": receiver.url("/elsewhere")})]
    endpoint = await place.create("t-retry", receiver.url("/retry"))
    event = await publish(place.streams, change("t-retry", "run-1"))
    got = await receiver.waits_for("/retry", 4)
    shown = await place.delivery("t-retry", endpoint, event.id, "succeeded")
    assert {one.id for one in got} == {event.id}
    assert len({one.body for one in got}) == 1
    said = [(one["attempt"], one["outcome"], one["status"], one["error_type"]) for one in shown["attempt_list"]]
    assert said == [(1, "failed", 503, "status"), (2, "failed", 500, "status"), (3, "failed", 302, "redirect"), (4, "succeeded", 200, None)]
    assert "not now" in shown["attempt_list"][0]["detail"]
    assert receiver.at("/elsewhere") == []


async def test_retry_after_is_honoured_in_seconds_and_as_a_date(place: Place, receiver: Receiver) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=4), usegmt=True)
    receiver.plan["/after"] = [Answer(503, {"retry-after": "1"}), Answer(429, {"retry-after": later})]
    endpoint = await place.create("t-after", receiver.url("/after"))
    event = await publish(place.streams, change("t-after", "run-1"))
    first, second, third = await receiver.waits_for("/after", 3)
    assert second.at - first.at >= 0.95
    assert third.at > second.at
    shown = await place.delivery("t-after", endpoint, event.id, "succeeded")
    asked = datetime.fromisoformat(shown["attempt_list"][1]["retry_at"])
    assert asked >= datetime.now(UTC) - timedelta(seconds=10)
    assert datetime.fromisoformat(shown["attempt_list"][2]["started_at"]) >= asked - timedelta(seconds=0.05)


async def test_an_endpoint_that_wants_nothing_more_is_disabled_and_gets_what_came_meanwhile_once_enabled(
    place: Place, receiver: Receiver
) -> None:
    receiver.plan["/gone"] = [Answer(410)]
    endpoint = await place.create("t-gone", receiver.url("/gone"))
    first = await publish(place.streams, change("t-gone", "run-1"))
    await receiver.waits_for("/gone", 1)
    health = await place.health("t-gone", endpoint, "disabled")
    assert health["disabled_reason"] == "gone"
    second = await publish(place.streams, change("t-gone", "run-2"))
    waiting = await place.delivery("t-gone", endpoint, second.id, "pending")
    assert waiting["attempts"] == 0
    assert len(receiver.at("/gone")) == 1
    answer = await place.ask("PUT", f"/webhooks/{endpoint}", "t-gone", body={"enabled": True})
    assert answer["http"] == 200
    got = await receiver.waits_for("/gone", 3)
    assert {one.id for one in got[1:]} == {first.id, second.id}


async def test_a_disabled_endpoint_gets_nothing_and_later_everything(place: Place, receiver: Receiver) -> None:
    endpoint = await place.create("t-off", receiver.url("/off"))
    await place.ask("PUT", f"/webhooks/{endpoint}", "t-off", body={"enabled": False})
    health = await place.health("t-off", endpoint, "disabled")
    assert health["disabled_reason"] == "by-tenant"
    events = [await publish(place.streams, change("t-off", f"run-{number}")) for number in range(5)]
    await place.delivery("t-off", endpoint, events[-1].id, "pending")
    assert receiver.at("/off") == []
    await place.ask("PUT", f"/webhooks/{endpoint}", "t-off", body={"enabled": True})
    got = await receiver.waits_for("/off", 5)
    assert {one.id for one in got} == {event.id for event in events}


async def test_an_endpoint_that_hangs_delays_no_other(place: Place, receiver: Receiver) -> None:
    held = asyncio.Event()
    receiver.always["/hangs"] = Answer(hold=held)
    await place.create("t-hang", receiver.url("/hangs"))
    await place.create("t-hang", receiver.url("/quick"))
    try:
        events = [await publish(place.streams, change("t-hang", f"run-{number}")) for number in range(40)]
        got = await receiver.waits_for("/quick", 40, seconds=10)
        assert {one.id for one in got} == {event.id for event in events}
        # what hangs is not called more often at once than it has earned
        assert len(receiver.at("/hangs")) <= 16
    finally:
        receiver.always.pop("/hangs")
        held.set()


async def test_one_event_is_sent_again_when_somebody_asks(place: Place, receiver: Receiver) -> None:
    endpoint = await place.create("t-again", receiver.url("/again"), "run.failed")
    unwanted = await publish(place.streams, change("t-again", "run-1"))
    wanted = await publish(place.streams, change("t-again", "run-1", event_type="run.failed"))
    (got,) = await receiver.waits_for("/again", 1)
    assert got.id == wanted.id
    for event in (wanted, unwanted):
        answer = await place.ask("POST", f"/webhooks/{endpoint}/redeliver", "t-again", body={"event_id": event.id})
        assert answer["http"] == 200, answer
    got_again = await receiver.waits_for("/again", 3)
    assert sorted(one.id for one in got_again[1:]) == sorted([wanted.id, unwanted.id])
    assert next(one for one in got_again[1:] if one.id == wanted.id).body == got.body


async def test_while_a_secret_is_rotated_both_verify(place: Place, receiver: Receiver) -> None:
    endpoint = await place.create("t-rotate", receiver.url("/rotate"))
    before = (await place.secret("t-rotate", endpoint))["secret"]
    assert (await place.ask("POST", f"/webhooks/{endpoint}/rotate", "t-rotate", body={"keep_hours": 1}))["http"] == 200
    await eventually_rotated(place, "t-rotate", endpoint, 2)
    after = await place.secret("t-rotate", endpoint)
    assert after["secret"] != before
    assert after["previous"] == before
    await publish(place.streams, change("t-rotate", "run-1"))
    (got,) = await receiver.waits_for("/rotate", 1)
    assert got.verified_by(after["secret"])
    assert got.verified_by(before)
    assert (await place.ask("POST", f"/webhooks/{endpoint}/rotate", "t-rotate", body={"keep_hours": 0}))["http"] == 200
    await eventually_rotated(place, "t-rotate", endpoint, 3)
    await publish(place.streams, change("t-rotate", "run-2"))
    last = (await receiver.waits_for("/rotate", 2))[1]
    assert not last.verified_by(after["secret"])
    assert last.verified_by((await place.secret("t-rotate", endpoint))["secret"])


async def test_only_what_an_endpoint_wants_reaches_it(place: Place, receiver: Receiver) -> None:
    await place.create("t-filter", receiver.url("/filter"), "run.failed", "drift.*", pipelines=["revenue-kpi"])
    await publish(place.streams, change("t-filter", "other-type"))
    await publish(place.streams, change("t-filter", "other-pipeline", event_type="run.failed", pipeline="orders"))
    await publish(place.streams, change("t-somebody", "other-tenant", event_type="run.failed"))
    drift = await publish(place.streams, change("t-filter", "wanted", event_type="drift.detected"))
    failed = await publish(place.streams, change("t-filter", "wanted", event_type="run.failed"))
    got = await receiver.waits_for("/filter", 2)
    assert [one.id for one in got] == [drift.id, failed.id]


async def test_a_delivery_that_is_never_taken_is_given_up_visibly(place: Place, receiver: Receiver) -> None:
    receiver.always["/never"] = Answer(400, body="no")
    endpoint = await place.create("t-never", receiver.url("/never"))
    event = await publish(place.streams, change("t-never", "run-1"))
    shown = await place.delivery("t-never", endpoint, event.id, "failed")
    assert shown["attempts"] == 9
    assert shown["attempt_list"][-1]["retry_at"] is None
    listed = await place.ask("GET", f"/webhooks/{endpoint}/deliveries?state=failed", "t-never")
    assert [one["event_id"] for one in listed["items"]] == [event.id]


async def test_an_unreachable_receiver_is_a_failed_connection(place: Place) -> None:
    endpoint = await place.create("t-closed", "http://127.0.0.1:9/closed")
    event = await publish(place.streams, change("t-closed", "run-1"))
    shown = await place.delivery("t-closed", endpoint, event.id, "failed")
    assert {one["error_type"] for one in shown["attempt_list"]} == {"connection"}


async def eventually_rotated(place: Place, tenant: str, endpoint: str, version: int) -> None:
    found: dict[str, int] = {}

    async def look() -> None:
        found["version"] = (await place.secret(tenant, endpoint))["key_version"]

    async with asyncio.timeout(15):
        while found.get("version") != version:
            await look()
    await eventually(lambda: found["version"] == version, "the new secret")
