"""The dashboard as people use it: signing in, runs as they happen, one run whole."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from playwright.sync_api import Page, Route, expect

from tests.browser.looking import PATIENT_MS, Looker
from tests.support.stack import Stack

RUN, REPLAY, DAY = "rev_kpi_20251004_01", "rev_kpi_20251004_01-replay-1", "2025-10-04"
MARKUP = "<img src=x onerror=\"document.title='taken'\"><b>bold</b>"

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]


def starts_a_run(product: Stack, run_id: str) -> None:
    product.client("operator").write("POST", "/pipelines/revenue-kpi/runs", {"partition": DAY, "run_id": run_id})


def row(page: Page, run_id: str) -> Any:
    return page.locator(f'tr[data-run="{run_id}"]')


def test_the_files_need_no_token_and_allow_nothing_from_elsewhere(product: Stack) -> None:
    base = f"http://127.0.0.1:{product.port}"
    page = httpx.get(f"{base}/ui/", trust_env=False)
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert httpx.get(f"{base}/", trust_env=False).headers["location"] == "/ui/"
    assert httpx.get(f"{base}/ui/app.js", headers={"If-None-Match": '"x"'}, trust_env=False).status_code == 200
    assert httpx.get(f"{base}/ui/%2e%2e/app.py", trust_env=False).status_code == 404
    assert httpx.get(f"{base}/runs", trust_env=False).status_code == 401, "data needs a token"


def test_nobody_sees_a_sign_in_and_a_pasted_token_opens_the_runs(looker: Looker) -> None:
    page = looker.page()
    page.goto(f"{looker.origin}/ui/")
    page.get_by_label("Token").fill("something else")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not a token")
    page.get_by_label("Token").fill(looker.product.client("auditor").token or "")
    page.get_by_role("button", name="Sign in").click()
    expect(row(page, RUN)).to_be_visible()


def test_the_link_of_the_cli_signs_in_and_its_token_leaves_the_address(looker: Looker) -> None:
    address = looker.product.run("dashboard", RUN, "--role", "operator", "--tenant", "acme").stdout.strip()
    page = looker.page()
    page.goto(address)
    expect(page.get_by_role("heading", level=1)).to_contain_text(RUN)
    assert "token" not in page.url
    assert page.evaluate("JSON.stringify(history.state) + document.referrer").count("ey") == 0
    expect(page.locator(".who")).to_contain_text("acme · operator")


def test_a_token_that_is_refused_leads_back_to_the_sign_in(looker: Looker) -> None:
    page = looker.as_("operator")
    page.evaluate("sessionStorage.setItem('barecount.token', sessionStorage.getItem('barecount.token').slice(0, -8) + 'AAAAAAAA')")
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("not valid any more")


def test_a_run_that_starts_later_appears_and_ends_without_a_reload(looker: Looker) -> None:
    page = looker.as_("operator")
    expect(page.locator("#connection")).to_have_text("Live")
    expect(row(page, REPLAY)).to_contain_text("succeeded")
    lists: list[str] = []
    page.on("request", lambda request: lists.append(request.url) if re.search(r"/runs(\?|$)", request.url) else None)
    page.evaluate("window.sameLoad = true")
    starts_a_run(looker.product, "seen_as_it_happens")
    expect(row(page, "seen_as_it_happens")).to_be_visible()
    expect(row(page, "seen_as_it_happens")).to_contain_text("succeeded", timeout=PATIENT_MS)
    expect(row(page, "seen_as_it_happens").locator('[data-label="Read"]')).to_have_text("3,427")
    assert page.evaluate("window.sameLoad") is True
    assert lists == [], "the stream told it; no list was read again"


def test_filters_keep_what_fits_and_stand_in_the_address(looker: Looker) -> None:
    page = looker.as_("operator")
    page.get_by_label("Status").select_option("failed")
    expect(row(page, RUN)).to_be_visible()
    expect(row(page, REPLAY)).to_have_count(0)
    assert "status=failed" in page.url
    page.get_by_label("Status").select_option("")
    page.keyboard.press("Escape")
    page.get_by_label("Text").fill("replay-1")
    expect(row(page, REPLAY)).to_be_visible()
    expect(row(page, "rev_kpi_20991231_01")).to_have_count(0)
    page.get_by_label("Text").fill("nothing is called so")
    expect(page.get_by_text("No run fits these filters")).to_be_visible()


def test_what_was_missed_while_the_stream_was_cut_is_made_up_for(looker: Looker) -> None:
    page = looker.as_("operator")
    expect(page.locator("#connection")).to_have_text("Live")
    page.evaluate("window.sameLoad = true")
    looker.product.kill("streams", signal.SIGKILL)
    expect(page.locator("#connection")).not_to_have_text("Live")
    starts_a_run(looker.product, "while_the_stream_was_cut")
    expect(row(page, "while_the_stream_was_cut")).to_contain_text("succeeded", timeout=PATIENT_MS)
    expect(page.locator("#connection")).to_have_text("Live", timeout=PATIENT_MS)
    assert page.evaluate("window.sameLoad") is True


def test_without_a_stream_the_page_asks_now_and_then(looker: Looker) -> None:
    page = looker.page()

    def absent(route: Route) -> None:
        route.fulfill(status=404, content_type="application/problem+json", body='{"code": "not-found"}')

    page.route("**/stream", absent)
    looker.open(page, "operator")
    expect(page.locator("#connection")).to_have_text("Asking every 3 s")
    starts_a_run(looker.product, "seen_by_asking")
    expect(row(page, "seen_by_asking")).to_contain_text("succeeded", timeout=PATIENT_MS)


def test_a_run_that_failed_shows_why(looker: Looker) -> None:
    page = looker.as_("operator", to=f"/runs/{RUN}")
    expect(page.get_by_role("note")).to_contain_text("stage publish: reconciliation failed")
    totals = page.get_by_role("region", name="Reconciliation")
    expect(totals).to_contain_text("records-equal-control-total")
    expect(totals).to_contain_text("-1,378")
    expect(page.get_by_role("region", name="Dead letters").locator("tbody tr")).to_have_count(7)
    expect(page.get_by_role("region", name="Published")).to_contain_text("Nothing was published")
    page.get_by_label("Level").select_option("error")
    expect(page.locator(".logs li").first).to_contain_text("reconciliation-failed")
    expect(page.locator(".logs li.info")).to_have_count(0)


def test_a_run_shows_stages_figures_logs_lineage_and_the_chain_of_evidence(looker: Looker) -> None:
    page = looker.as_("auditor", to=f"/runs/{REPLAY}")
    expect(page.locator(".timeline > li")).to_have_count(4)
    expect(page.locator(".timeline > li").last).to_contain_text("108 → 108")
    metrics = looker.product.client("operator").get(f"/runs/{REPLAY}/metrics")
    expect(page.locator('.figure:has(.label:text-is("Read"))')).to_contain_text(f"{metrics['records_in']:,}")
    expect(page.get_by_role("region", name="Logs")).to_contain_text("stage started")
    expect(page.get_by_role("region", name="Lineage")).to_contain_text("2025-10-04.csv")
    chain = looker.product.client("auditor").get(f"/evidence/chain?run_id={REPLAY}")
    proof = page.get_by_role("region", name="Chain of evidence")
    expect(proof.locator("tbody tr")).to_have_count(len(chain["items"]))
    expect(proof).to_contain_text(f"barecount evidence verify --run {REPLAY}")
    shown = {int(text) for text in proof.locator("tbody tr td:first-child").all_inner_texts()}
    assert shown == {leaf["index"] for leaf in chain["items"]}
    # who only reads is offered nothing to change
    expect(page.get_by_role("button", name="Replay")).to_have_count(0)


def test_a_run_that_is_open_grows_while_it_works(looker: Looker) -> None:
    starts_a_run(looker.product, "watched_from_inside")
    page = looker.as_("operator", to="/runs/watched_from_inside")
    expect(page.locator(".head .badge")).to_have_text("succeeded", timeout=PATIENT_MS)
    expect(page.locator(".timeline > li .state .badge.good")).to_have_count(4)
    expect(page.get_by_role("region", name="Logs").locator(".logs")).to_contain_text("published", timeout=PATIENT_MS)
    expect(page.get_by_role("region", name="Chain of evidence")).to_contain_text("run succeeded", timeout=PATIENT_MS)


def test_a_run_that_does_not_exist_is_answered_in_the_apis_words(looker: Looker) -> None:
    page = looker.as_("operator", to="/runs/nobody_started_it")
    expect(page.get_by_role("alert")).to_contain_text("404 run-not-found")
    expect(page.get_by_role("alert")).to_contain_text("GET /runs lists the runs of your tenant")


def test_markup_in_names_is_shown_as_text(looker: Looker) -> None:
    sample = Path(__file__).parents[2] / "deploy/local/barecount_local/sample/revenue-kpi.yaml"
    manifest = yaml.safe_load(sample.read_text())
    manifest |= {"name": "with-markup", "description": MARKUP, "owner": MARKUP}
    looker.product.client("developer").write("POST", "/pipelines", manifest)
    page = looker.as_("developer", to="/pipelines")
    expect(page.locator("tr", has_text="with-markup")).to_contain_text(MARKUP)
    assert page.locator("main img, main b:text-is('bold')").count() == 0
    assert page.title() == "Pipelines · Barecount"


def test_an_endpoint_that_cannot_be_reached_is_shown_as_failing(looker: Looker) -> None:
    order = {"url": "https://receiver.invalid/hook", "event_types": ["run.*"], "description": "nobody is there"}
    created = looker.product.client("operator").write("POST", "/webhooks", order)
    endpoint = created["event"]["data"]["endpoint_id"]
    page = looker.as_("operator", to="/webhooks")
    shown = page.locator(f'tr[data-endpoint="{endpoint}"]')
    expect(shown).to_contain_text("delivering")
    starts_a_run(looker.product, "told_to_nobody")
    expect(shown).to_contain_text("failing", timeout=PATIENT_MS)
    shown.get_by_role("link").click()
    expect(page.get_by_role("region", name="Deliveries").locator("tr", has_text="run.queued")).to_contain_text("dns")
    looker.product.client("operator").write("DELETE", f"/webhooks/{endpoint}")


def test_the_keyboard_alone_leads_to_a_run(looker: Looker) -> None:
    page = looker.as_("operator")
    expect(row(page, RUN)).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type(RUN)
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent").startswith(RUN):
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text(RUN)


@pytest.mark.parametrize("path", ["/runs", f"/runs/{RUN}", "/approvals", "/pipelines", "/webhooks"])
def test_nothing_is_wider_than_a_small_screen(looker: Looker, path: str) -> None:
    page = looker.as_("tenant_admin", to=path, width=400)
    page.wait_for_load_state("load")
    expect(page.locator("main .skeleton")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
