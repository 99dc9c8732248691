"""Integration: a webhook endpoint and a follower of the stream hear of the failure and of the success."""

from __future__ import annotations

import errno

from barecount_cli.client import Client
from barecount_cli.errors import ProblemError

from .listeners import Follower, Receiver
from .telling import PIPELINE, Story, StoryError, waits

EVENTS = ["run.succeeded", "run.failed"]


def listening(story: Story) -> None:
    story.title("Others listen: a webhook receiver and a stream")
    operator = story.client("operator")
    url = f"http://127.0.0.1:{story.settings.webhook_listen_port}/"
    for endpoint in list(operator.items("/webhooks")):
        if endpoint["url"] == url:
            # of a telling that was cut off
            operator.write("DELETE", f"/webhooks/{endpoint['endpoint_id']}")
    asked = {"url": url, "event_types": EVENTS, "pipelines": [PIPELINE], "description": "The story's receiver"}
    made = operator.write("POST", "/webhooks", asked)["event"]["data"]
    address = f"/webhooks/{made['endpoint_id']}"
    story.receiver = _receiver(story, operator, address)
    story.done("POST /webhooks", f"{made['endpoint_id'][:15]}… to {url} for {', '.join(EVENTS)}")
    story.follower = Follower(story.settings.address, operator.token, {"pipeline": PIPELINE})
    story.claim(story.follower.opened.wait(20), "the stream to open", "no event of GET /stream within 20 s")
    story.done(f"GET /stream?pipeline={PIPELINE}", "open: every state change from now on")


def told_of_failure(story: Story) -> None:
    _told(story, "run.failed", story.run_id)


def told_of_success(story: Story) -> None:
    _told(story, "run.succeeded", story.replay_id)


def _secret(operator: Client, address: str) -> str:
    """Empty while the relay does not know the endpoint."""
    try:
        return str(operator.get(f"{address}/secret")["secret"])
    except ProblemError as error:
        if error.status != 404:
            raise
        return ""


def _told(story: Story, event_type: str, run_id: str) -> None:
    assert story.receiver is not None
    assert story.follower is not None
    receiver, follower = story.receiver, story.follower
    delivered = waits(lambda: receiver.of(event_type, run_id), f"{event_type} of {run_id} at the webhook receiver", seconds=60)[0]
    seen = waits(lambda: follower.of(event_type, run_id), f"{event_type} of {run_id} on the stream", seconds=60)[0]
    story.claim(delivered.id == seen.id, "one id for the webhook and the stream", f"{delivered.id} and {seen.id}")
    summary = delivered.data["summary"]
    story.done("webhook", f"{event_type}, signature verified (Standard Webhooks), id {delivered.id[:8]}…: {summary}")
    story.done("stream", f"{len(follower.seen)} changes so far, the newest kinds: {', '.join(_kinds(follower))}")


def _kinds(follower: Follower) -> list[str]:
    return list(dict.fromkeys(told.type for told in reversed(follower.seen)))[:4]


def _receiver(story: Story, operator: Client, address: str) -> Receiver:
    port = story.settings.webhook_listen_port

    def secret() -> str:
        # the relay derives it, and follows the log
        return waits(lambda: _secret(operator, address), "the endpoint's secret")

    try:
        return Receiver(port, secret, lambda: operator.write("DELETE", address))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise StoryError(
            f"port {port} is taken, and the story's webhooks are delivered there", "End what listens there, as `barecount webhooks listen`."
        ) from error
