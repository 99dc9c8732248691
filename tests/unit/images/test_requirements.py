"""What an image installs is cut out of requirements.lock: deploy/images/requirements.py."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
LOCK = """\
-e ./libs/chassis
    # via
    #   barecount-command
-e ./services/command
anyio==4.1 \\
    --hash=sha256:aa
    # via httpx
httpx==0.28 \\
    --hash=sha256:bb
    # via
    #   barecount-chassis
    #   barecount-command
java==25 \\
    --hash=sha256:cc
    # via barecount-command
pytest==9 \\
    --hash=sha256:dd
"""


@pytest.fixture(scope="module")
def cutter() -> Any:
    spec = spec_from_file_location("images_requirements", ROOT / "deploy" / "images" / "requirements.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_name_that_the_lock_does_not_have_stops_the_build(cutter: Any) -> None:
    with pytest.raises(SystemExit, match="the lock has no unheard-of"):
        cutter.needed(cutter.entries(LOCK), ["unheard-of"], [])


def test_a_line_that_is_not_understood_stops_the_build(cutter: Any) -> None:
    with pytest.raises(SystemExit, match="cannot read this line"):
        cutter.entries(LOCK + "other @ https://example.org/other.whl\n")


def test_a_member_brings_what_it_needs_through_other_members(cutter: Any) -> None:
    assert cutter.needed(cutter.entries(LOCK), ["barecount-command"], []) == {
        "barecount-command", "barecount-chassis", "httpx", "anyio", "java"
    }  # fmt: skip


def test_what_is_left_out_stays_out_and_the_others_stay_in(cutter: Any) -> None:
    wanted = cutter.needed(cutter.entries(LOCK), ["barecount-command"], ["java"])
    assert wanted == {"barecount-command", "barecount-chassis", "httpx", "anyio"}


def test_every_package_that_is_cut_keeps_its_hashes(cutter: Any) -> None:
    found = cutter.entries((ROOT / "requirements.lock").read_text())
    for name in cutter.needed(found, ["barecount-local"], []):
        assert name.startswith("barecount-") or "--hash=sha256:" in found[name], name


def test_no_tool_of_the_developers_comes_into_the_product(cutter: Any) -> None:
    wanted = cutter.needed(cutter.entries((ROOT / "requirements.lock").read_text()), ["barecount-local"], [])
    assert wanted.isdisjoint({"pytest", "mypy", "ruff", "playwright", "testcontainers", "hypothesis"})
