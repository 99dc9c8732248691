"""What the dashboard says of a write that is answered 202 after the wait, in Node: neither success nor failure, but which command it is."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from barecount_streams.dashboard import ASSETS

COMMAND = "0e64b5c2-4d6d-5951-b6d7-86144e553799"

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed here")


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the page said, by action."""
    assets = shutil.copytree(ASSETS, tmp_path_factory.mktemp("dashboard") / "assets")
    # Node takes .js for a module where a package says so; a browser is told by the page
    (assets / "package.json").write_text('{"type": "module"}')
    page = Path(__file__).parent / "dashboard" / "undecided.mjs"
    ran = subprocess.run(["node", str(page), str(assets)], capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 0, ran.stderr
    told: dict[str, dict[str, Any]] = json.loads(ran.stdout)
    return told


@pytest.mark.parametrize("action", ["approve", "reject", "cancel", "replay", "send again"])
def test_an_undecided_command_is_called_that_and_can_be_asked_after(said: dict[str, dict[str, Any]], action: str) -> None:
    shown = said[action]
    assert shown["toast"].startswith(f"Accepted, not decided yetCommand {COMMAND}"), shown
    assert (shown["command"], shown["open"], shown["hash"]) == (COMMAND, 0, ""), "the form is closed, and no page pretends that it went on"
    assert "It is not decided yet." in shown["first"]
    assert shown["second"].startswith(f"DecidedCommand {COMMAND}refused run-ended: it has ended")
    assert shown["left"] == 0
