"""Approvals in the browser: somebody else decides, with a reason, about exactly what is shown."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.looking import PATIENT_MS, Looker
from tests.support.stack import Stack

REPLAY, DAY = "rev_kpi_20251004_01-replay-1", "2025-10-04"

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]


def asks_for_a_replay(product: Stack, user: str) -> str:
    """A replay of what succeeded: a person must decide. The request's id."""
    order = {"run_id": REPLAY, "contract_version": "v3.2", "partition": DAY}
    answer = product.client("tenant_admin", user=user).write("POST", "/pipelines/replay", order, wait=30)
    assert answer["event"]["type"] == "ApprovalRequested", answer
    return str(answer["event"]["data"]["request_id"])


def card(page: Page, request_id: str) -> Any:
    return page.locator(f'article[data-request="{request_id}"]')


def decided(page: Page, request_id: str) -> Any:
    return page.locator(f'tr[data-request="{request_id}"]')


def decide(page: Page, request_id: str, verb: str, reason: str) -> None:
    card(page, request_id).get_by_role("button", name=f"{verb}…").click()
    page.get_by_role("dialog").get_by_label("Reason").fill(reason)
    page.get_by_role("dialog").get_by_role("button", name=verb).click()


def test_who_asked_is_told_so_and_refused(looker: Looker) -> None:
    page = looker.as_("tenant_admin", "ann", to="/approvals")
    request_id = asks_for_a_replay(looker.product, "ann")
    expect(card(page, request_id)).to_contain_text("This is your own request")
    decide(page, request_id, "Approve", "I want it")
    refused = page.get_by_role("dialog").get_by_role("alert")
    expect(refused).to_contain_text("403 own-request")
    expect(refused).to_contain_text("Ask another person with the governance role")
    page.get_by_role("button", name="Back").click()
    expect(card(page, request_id)).to_be_visible()


def test_a_decision_needs_a_reason_and_a_rejection_is_shown_with_it(looker: Looker) -> None:
    request_id = asks_for_a_replay(looker.product, "ben")
    page = looker.as_("governance", "gus", to="/approvals")
    decide(page, request_id, "Reject", "")
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(card(page, request_id)).to_be_visible()
    page.get_by_role("dialog").get_by_label("Reason").fill("not <b>now</b>")
    page.get_by_role("dialog").get_by_role("button", name="Reject").click()
    expect(decided(page, request_id)).to_contain_text("rejected")
    expect(decided(page, request_id)).to_contain_text("not <b>now</b>")


def test_governance_approves_what_waits_and_the_run_starts(looker: Looker) -> None:
    page = looker.as_("governance", "gus", to="/approvals")
    request_id = asks_for_a_replay(looker.product, "cara")
    # it came while the page was open
    expect(card(page, request_id)).to_contain_text("succeeded under revenue-kpi v3.2")
    expect(page.get_by_role("link", name="Approvals").locator(".waiting")).to_be_visible()
    decide(page, request_id, "Approve", "the report was corrected")
    expect(decided(page, request_id)).to_contain_text("approved")
    started = decided(page, request_id).locator("a").first
    name = started.inner_text()
    started.click()
    expect(page.locator(".head .badge")).to_have_text("succeeded", timeout=PATIENT_MS)
    run = looker.product.client("operator").get(f"/runs/{name}")
    assert run["rerun_of"] == REPLAY


def test_a_plan_that_changed_meanwhile_is_refused_with_the_difference(looker: Looker) -> None:
    request_id = asks_for_a_replay(looker.product, "dora")
    looker.product.client("operator").write("POST", "/pipelines/revenue-kpi/runs", {"partition": DAY, "run_id": "came_in_between"})
    page = looker.as_("governance", "gus", to="/approvals")
    decide(page, request_id, "Approve", "as it was shown")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("plan-stale")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("came_in_between")
    page.get_by_role("button", name="Back").click()
    expect(decided(page, request_id)).to_contain_text("plan-stale")


def test_who_may_only_look_is_offered_no_decision(looker: Looker) -> None:
    request_id = asks_for_a_replay(looker.product, "emil")
    page = looker.as_("auditor", to="/approvals")
    expect(card(page, request_id)).to_contain_text("Your role may see requests, not decide them")
    expect(card(page, request_id).get_by_role("button", name="Approve…")).to_have_count(0)


def test_a_replay_is_asked_for_from_the_runs_own_page(looker: Looker) -> None:
    page = looker.as_("tenant_admin", "fay", to=f"/runs/{REPLAY}")
    page.get_by_role("button", name="Replay").click()
    page.get_by_label("Output contract").fill("v9.9")
    page.get_by_role("button", name="Ask for the replay").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("422 unknown-contract-version")
    page.get_by_label("Output contract").fill("v3.2")
    page.get_by_role("button", name="Ask for the replay").click()
    expect(page.locator("article", has_text="This is your own request").first).to_be_visible()


def test_of_a_command_that_is_not_decided_yet_nothing_more_is_said_and_it_can_be_asked_for_again(looker: Looker) -> None:
    page = looker.as_("tenant_admin", "gil", to=f"/runs/{REPLAY}")

    def in_haste(route: Route) -> None:
        # the API answers 202 at once, as it does when its read model is away
        route.continue_(headers={name: value for name, value in route.request.headers.items() if name != "prefer"})

    page.route("**/pipelines/replay", in_haste)
    page.get_by_role("button", name="Replay").click()
    page.get_by_label("Output contract").fill("v3.2")
    page.get_by_role("button", name="Ask for the replay").click()
    notice = page.locator(".toast[data-command]")
    expect(notice).to_contain_text("Accepted, not decided yet")
    notice.get_by_role("button", name="Ask again").click()
    expect(notice).to_contain_text("Decided")
    notice.get_by_role("button", name="Close").click()
    expect(notice).to_have_count(0)
