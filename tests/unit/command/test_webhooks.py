"""Endpoints as commands make them: refusals first."""

from __future__ import annotations

from datetime import timedelta

import pytest
from barecount_command.domain import CommandDecider
from barecount_command.domain.webhooks import MOST_ENDPOINTS
from barecount_contracts import (
    CommandDuplicated,
    CommandRefused,
    CreateWebhook,
    DeleteWebhook,
    Message,
    RedeliverWebhook,
    RotateWebhookSecret,
    UpdateWebhook,
    WebhookCreated,
    WebhookDeleted,
    WebhookRedeliveryRequested,
    WebhookSecretRotated,
    WebhookUpdated,
)

from tests.unit.command.history import START, History

pytestmark = pytest.mark.unit
URL = "https://hooks.example/pipelines"


@pytest.fixture
def history() -> History:
    return History(CommandDecider(webhook_url=lambda url: "it leads inside" if "inside" in url else None))


def made(history: History, **more: object) -> str:
    (event,) = history.when(CreateWebhook.model_validate({"url": URL, **more}))
    assert isinstance(event, WebhookCreated)
    return event.endpoint_id


def refused(events: list[Message]) -> str:
    (event,) = events
    assert isinstance(event, CommandRefused)
    return event.code


def test_an_address_that_leads_inside_is_refused_at_creation_and_at_change(history: History) -> None:
    assert refused(history.when(CreateWebhook(url="https://inside.example/"))) == "invalid-webhook-url"
    endpoint = made(history)
    assert refused(history.when(UpdateWebhook(endpoint_id=endpoint, url="https://inside.example/"))) == "invalid-webhook-url"


def test_a_decider_that_was_told_of_no_check_takes_no_address() -> None:
    assert refused(History().when(CreateWebhook(url=URL))) == "invalid-webhook-url"


def test_a_type_that_no_event_has_is_refused_and_those_that_exist_are_named(history: History) -> None:
    (event,) = history.when(CreateWebhook(url=URL, event_types=("run.failed", "runs.*")))
    assert isinstance(event, CommandRefused)
    assert event.code == "unknown-event-type"
    assert "runs.*" in event.detail
    assert "run.failed" in event.extra["exists"]


def test_what_another_tenant_has_does_not_exist(history: History) -> None:
    endpoint = made(history)
    for command in (
        UpdateWebhook(endpoint_id=endpoint),
        DeleteWebhook(endpoint_id=endpoint),
        RotateWebhookSecret(endpoint_id=endpoint),
        RedeliverWebhook(endpoint_id=endpoint, event_id="e"),
    ):
        assert refused(history.when(command, tenant="globex")) == "webhook-not-found"


def test_a_tenant_has_at_most_fifty_endpoints_and_a_deleted_one_makes_room(history: History) -> None:
    endpoints = [made(history) for _ in range(MOST_ENDPOINTS)]
    assert refused(history.when(CreateWebhook(url=URL))) == "too-many-webhooks"
    assert history.when(DeleteWebhook(endpoint_id=endpoints[0])) == [WebhookDeleted(endpoint_id=endpoints[0])]
    assert refused(history.when(RotateWebhookSecret(endpoint_id=endpoints[0]))) == "webhook-not-found"
    made(history)


def test_what_a_change_does_not_name_stays(history: History) -> None:
    endpoint = made(history, event_types=("run.*",), pipelines=("revenue-kpi",), description="ours")
    (event,) = history.when(UpdateWebhook(endpoint_id=endpoint, enabled=False))
    assert event == WebhookUpdated(
        endpoint_id=endpoint, url=URL, event_types=("run.*",), pipelines=("revenue-kpi",), description="ours", enabled=False
    )
    (event,) = history.when(UpdateWebhook(endpoint_id=endpoint, pipelines=()))
    assert isinstance(event, WebhookUpdated)
    assert (event.pipelines, event.enabled) == ((), False)


def test_the_same_again_changes_nothing_but_to_enable_is_always_said(history: History) -> None:
    endpoint = made(history)
    (event,) = history.when(UpdateWebhook(endpoint_id=endpoint, url=URL))
    assert isinstance(event, CommandDuplicated)
    (event,) = history.when(UpdateWebhook(endpoint_id=endpoint, enabled=True))
    assert isinstance(event, WebhookUpdated)


def test_each_rotation_counts_up_and_says_until_when_the_old_secret_signs(history: History) -> None:
    endpoint = made(history)
    asked_at = START + timedelta(seconds=history.offset)
    (event,) = history.when(RotateWebhookSecret(endpoint_id=endpoint, keep_hours=2))
    assert event == WebhookSecretRotated(endpoint_id=endpoint, key_version=2, previous_until=asked_at + timedelta(hours=2))
    (event,) = history.when(RotateWebhookSecret(endpoint_id=endpoint))
    assert isinstance(event, WebhookSecretRotated)
    assert event.key_version == 3


def test_a_redelivery_is_asked_for(history: History) -> None:
    endpoint = made(history)
    asked = RedeliverWebhook(endpoint_id=endpoint, event_id="e-1")
    assert history.when(asked) == [WebhookRedeliveryRequested(endpoint_id=endpoint, event_id="e-1")]


def test_a_snapshot_keeps_every_endpoint(history: History) -> None:
    endpoint = made(history, pipelines=("a", "b"))
    history.when(RotateWebhookSecret(endpoint_id=endpoint))
    history.when(UpdateWebhook(endpoint_id=endpoint, enabled=False))
    decider = history.decider
    assert decider.load(decider.dump(history.state)) == history.state
