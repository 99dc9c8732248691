"""The page docs/backup-and-restore.md, done: its own blocks are run, on the product with the story told."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.stack import Stack, stack

PAGE = Path(__file__).resolve().parents[3] / "docs" / "backup-and-restore.md"
BLOCK = re.compile(r"^## ([^\n]+)\n.*?^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN, REPLAY = "rev_kpi_20251004_01", "rev_kpi_20251004_01-replay-1"
# the product is started six times: about 60 CPU-seconds, so CI leaves it to `make chaos`
FULL = int(os.environ.get("BARECOUNT_CHAOS_SEEDS", "1")) > 1

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not FULL, reason="six starts of the product: run by make chaos; test_the_log_is_another.py has the parts"),
]


@pytest.fixture
def told() -> Iterator[Stack]:
    with stack() as product:
        product.run("demo")
        yield product


def types(product: Stack, section: str, *, status: int = 0, **more: str) -> str:
    """Runs a block of the page as somebody who reads it."""
    [block] = [text for title, text in BLOCK.findall(PAGE.read_text()) if title == section]
    env = {
        **product.env,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DATA": str(product.data),
        "BACKUPS": str(product.folder / "backups"),
        **more,
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block], env=env, cwd=product.folder, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == status, f"{section}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_the_page_s_backup_restores_and_an_older_log_is_refused_until_somebody_decides(told: Stack) -> None:
    product = told
    types(product, "Back up")
    [copy] = sorted(path.name for path in (product.folder / "backups").iterdir())
    story = the_story(product)
    asked = product.run("replay", RUN, "--contract-version", "v3.2", "--partition", "2025-10-04").stdout
    assert "waits for a person" in asked
    pending = product.client("governance").get("/governance/approvals")
    product.run("evidence", "verify")

    # everything from one copy: starts at once, and the ledger is known to have been rolled back
    product.run("down")
    keep(product.data, product.folder / "newer")
    assert "before" in types(product, "Restore", COPY=copy, status=1)
    assert the_story(product) == story
    product.run("down")
    put_back(product, "newer")

    # Kafka alone from the older copy
    put_back(product, "backups/" + copy, "kafka")
    refused = product.run("up", "--no-demo", check=False)
    assert refused.returncode == 1
    for service in ("command", "execution", "evidence"):
        assert re.search(rf"{service}: .* (\S+/\d): it stands at \d+, the log ends at \d+", refused.stderr), refused.stderr
        assert f"barecount rebuild {service} --accept-loss" in refused.stderr
    shown = product.run("status", check=False)
    assert shown.returncode == 3
    assert "refused" in shown.stdout
    assert "it stands at" in shown.stdout
    assert "--accept-loss" in shown.stdout

    # the first way: the newer log is put back, and nothing is lost
    product.run("down")
    put_back(product, "newer", "kafka")
    product.run("up", "--no-demo")
    assert product.client("governance").get("/governance/approvals") == pending
    product.run("evidence", "verify")

    # the second way
    product.run("down")
    put_back(product, "backups/" + copy, "kafka")
    product.run("up", "--no-demo", check=False)
    types(product, "When the log is older than the rest")
    until(lambda: product.status()["state"] == "ready", "the services to start by themselves", 60)
    assert product.run("status").returncode == 0
    assert the_story(product) == story
    assert product.client("governance").get("/governance/approvals") != pending, "what came after the copy is given up"
    rolled_back = product.run("evidence", "verify", check=False)
    assert rolled_back.returncode == 1
    assert "this machine saw" in rolled_back.stderr
    assert "checkpoints" in rolled_back.stderr
    again = product.run("replay", RUN, "--contract-version", "v3.2", "--partition", "2025-10-04").stdout
    assert "waits for a person" in again, "and everything goes on"


def test_a_database_that_is_older_than_the_log_or_gone_needs_nothing(told: Stack) -> None:
    product = told
    product.run("down")
    keep(product.data / "postgres", product.folder / "older" / "postgres")
    product.run("up", "--no-demo")
    product.run("replay", RUN, "--contract-version", "v3.2", "--partition", "2025-10-04")
    expected = product.client("governance").get("/governance/approvals")
    for restore in (lambda: put_back(product, "older", "postgres"), lambda: shutil.rmtree(product.data / "postgres")):
        product.run("down")
        restore()
        product.run("up", "--no-demo")
        assert product.client("governance").get("/governance/approvals") == expected


def the_story(product: Stack) -> list[object]:
    """What a user has: the runs, one with its parts, and the table's publications."""
    operator = product.client("operator")
    return [list(operator.items("/runs")), operator.get(f"/runs/{REPLAY}/metrics"), list(operator.items(f"/runs/{REPLAY}/partitions"))]


def keep(what: Path, where: Path) -> None:
    """With its owners: PostgreSQL's files belong to the user that it runs as."""
    where.parent.mkdir(exist_ok=True)
    subprocess.run(["cp", "-a", str(what), str(where)], check=True)


def put_back(product: Stack, copy: str, part: str = "") -> None:
    """The data folder, or one part of it, as it stands in a copy."""
    shutil.rmtree(product.data / part)
    keep(product.folder / copy / part, product.data / part)


def until(look: Callable[[], object], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.2)  # nobody tells from outside
