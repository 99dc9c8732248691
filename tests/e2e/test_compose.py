"""The same story from containers: deploy/compose.yaml on the images of deploy/images. `make test-containers` runs it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from barecount_local.waiting import until

from tests.support.compose import Composed, composed, why_not

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900), pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

REPLAY = "rev_kpi_20251004_01-replay-1"
SERVICES = ("command", "execution", "lineage", "evidence", "webhooks", "streams", "worker-1", "worker-2")


@pytest.fixture(scope="module")
def product() -> Iterator[Composed]:
    with composed() as running:
        yield running


@pytest.fixture(scope="module")
def story(product: Composed) -> str:
    """What the demo printed, once; it ends with an error when a claim of the story does not hold."""
    return product.cli("demo").stdout


def test_the_story_holds_in_containers(product: Composed, story: str) -> None:
    assert f"evidence verify --run {REPLAY}" in story
    shown = json.loads(product.cli("evidence", "verify", "--run", REPLAY, "--output", "json").stdout)
    assert shown["holds"]
    assert {step["name"] for step in shown["steps"]} >= {"checkpoint", "continuity", "inclusion", "causes", "delta commit"}


def test_a_container_holds_no_private_key_but_its_own(product: Composed) -> None:
    also = {"evidence": {"ledger.private.pem"}, "webhooks": {"webhooks.master"}}
    for name in SERVICES:
        principal = name.partition("-")[0]
        listed = product.call("exec", "-T", name, "ls", "/secrets/keys").stdout.split()
        private = {key for key in listed if not key.endswith(".public.pem")} - {"token.secret"}
        assert private == {f"{principal}.pem"} | also.get(name, set()), name


def test_no_password_shows_in_what_the_engine_tells_of_a_container(product: Composed) -> None:
    for name, container in product.containers().items():
        told = [row for row in container.attrs["Config"]["Env"] if "PASSWORD" in row or "DATABASE_URL" in row]
        assert told == [], name


def test_only_the_edge_can_be_reached_and_only_from_this_machine(product: Composed) -> None:
    published = {
        name: [place["HostIp"] for places in (one.attrs["HostConfig"]["PortBindings"] or {}).values() for place in places or ()]
        for name, one in product.containers().items()
    }
    assert {name: places for name, places in published.items() if places} == {"edge": ["127.0.0.1"]}


def test_containers_run_as_nobody_special_and_cannot_change_their_image(product: Composed) -> None:
    for name in SERVICES:
        assert product.call("exec", "-T", name, "id", "-u").stdout.strip() == "10001", name
        refused = product.call("exec", "-T", name, "touch", "/opt/barecount/changed", check=False)
        assert refused.returncode != 0, name


@pytest.mark.usefixtures("story")
def test_a_killed_service_is_missed_alone_and_goes_on_where_it_was(product: Composed) -> None:
    before = json.loads(product.cli("runs", "--output", "json").stdout)
    token = product.cli("token", "--role", "operator").stdout.strip()
    headers = {"Authorization": f"Bearer {token}"}
    product.containers()["execution"].kill()
    missed = httpx.get(f"{product.url}/runs", headers=headers, trust_env=False)
    assert (missed.status_code, missed.json()["code"]) == (503, "service-unavailable")
    # a busy machine may need a second call: an answer waits for its record for half a second only
    until(
        lambda: httpx.get(f"{product.url}/pipelines", headers=headers, trust_env=False).status_code == 200,
        what="another service's answer while execution is dead",
        seconds=30,
    )
    product.call("start", "execution")
    product.wait()
    assert json.loads(product.cli("runs", "--output", "json").stdout) == before


@pytest.mark.usefixtures("story")
def test_down_and_up_keep_everything(product: Composed) -> None:
    before = json.loads(product.cli("runs", "--output", "json").stdout)
    product.call("down", "--timeout", "20")
    assert product.containers() == {}
    product.up()
    assert json.loads(product.cli("runs", "--output", "json").stdout) == before
    product.cli("evidence", "verify", "--run", REPLAY)
