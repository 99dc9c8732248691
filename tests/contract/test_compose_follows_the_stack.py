"""deploy/compose.yaml has the same processes as the embedded stack, and gives each only its own secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from barecount_local.routes import ROUTES
from barecount_local.services import SERVICES, ServiceProcess

FILE = Path(__file__).resolve().parents[2] / "deploy" / "compose.yaml"
DOCKERFILE = FILE.with_name("images") / "Dockerfile"
PROCESSES = pytest.mark.parametrize("process", SERVICES, ids=lambda process: process.name)


@pytest.fixture(scope="module")
def composed() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return found


@PROCESSES
def test_each_process_of_the_stack_is_a_container(composed: dict[str, Any], process: ServiceProcess) -> None:
    block = composed["services"].get(process.name)
    assert block is not None, f"deploy/compose.yaml has no block `{process.name}`: copy that of `lineage`"
    assert block["command"] == [process.principal]


@PROCESSES
def test_a_container_mounts_its_own_secrets_read_only_and_no_others(composed: dict[str, Any], process: ServiceProcess) -> None:
    volume = f"secrets-{process.principal}"
    mounted = [one for one in composed["services"][process.name]["volumes"] if one.startswith("secrets-")]
    assert mounted == [f"{volume}:/secrets:ro"]
    assert volume in composed["volumes"]
    assert f"{volume}:/secrets/{process.principal}" in composed["services"]["init"]["volumes"], "`init` must write into it"
    assert f" {process.principal} " in DOCKERFILE.read_text(), (
        f"the image needs a folder /secrets/{process.principal}: its owner is the volume's"
    )


def test_the_edge_waits_for_every_service_that_it_routes_to(composed: dict[str, Any]) -> None:
    assert set(composed["services"]["edge"]["depends_on"]) == {route.service for route in ROUTES}


def test_nothing_but_the_edge_is_published_and_only_on_loopback(composed: dict[str, Any]) -> None:
    published = {name: block["ports"] for name, block in composed["services"].items() if "ports" in block}
    assert list(published) == ["edge"]
    assert all(port.startswith("127.0.0.1:") for port in published["edge"])
