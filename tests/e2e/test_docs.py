"""What the docs show is run: every `sh` block of a page, in its order, in one shell, against the product with the story told."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# each makes its own runs on days of its own, so that their order does not matter
PAGES = ("developer.md", "operator.md", "governance.md", "integrator.md", "writing-a-worker.md")
# verbs that a page shows and no block can run against a shared product: the test that does
ELSEWHERE = {
    "up": "tests/e2e/test_the_story.py",
    "down": "tests/e2e/test_the_story.py",
    "demo": "tests/conftest.py",
    "status": "tests/integration/local/test_stack.py",
    "clean": "tests/integration/local/test_stack.py",
    "rebuild": "tests/chaos/test_kills_during_a_rebuild.py",
}

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("story")]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.timeout(240)
def test_every_command_of_a_page_does_what_the_page_says(product: Stack, page: str) -> None:
    script = "\n".join(BLOCK.findall((DOCS / page).read_text()))
    # a link to the tests' own environment: pages are written for the repository's folder with its .venv
    env = {**product.env, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    end = "trap 'code=$?; jobs -p | xargs -r kill 2>/dev/null || true; exit $code' EXIT"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-x", "-c", f"{end}\n{script}"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )
    assert done.returncode == 0, f"docs/{page} ended with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def test_every_verb_that_a_page_names_is_run_by_a_test() -> None:
    shown, run = set[str](), set[str]()
    for page in (*DOCS.glob("*.md"), ROOT / "README.md"):
        shown |= set(re.findall(r"\bbarecount ([a-z-]+)", page.read_text()))
    for page in PAGES:
        run |= set(re.findall(r"\bbarecount ([a-z-]+)", "\n".join(BLOCK.findall((DOCS / page).read_text()))))
    for verb, file in ELSEWHERE.items():
        assert f'"{verb}"' in (ROOT / file).read_text(), f"{file} no longer runs `barecount {verb}`"
    assert shown - run - set(ELSEWHERE) == set(), (
        "docs name verbs that no block and no test runs: add a block, or name the test in ELSEWHERE"
    )
