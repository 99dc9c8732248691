"""`kill -9` of every process in turn while the story runs: it ends the same, nothing twice, nothing lost.

The judges are the story's own claims, the log alone (tests/support/judge.py), the Delta table, and the CLI's verifier.
"""

from __future__ import annotations

import os
import random
import re
import time

import pytest

from tests.support import judge
from tests.support.stack import Stack

# CI takes the first seed, `make chaos` more; hundreds are for the crash points (tests/chaos/crash)
SEEDS = range(min(10, int(os.environ.get("BARECOUNT_CHAOS_SEEDS", "1"))))
VICTIMS = ("command", "execution", "worker-1", "worker-2", "evidence", "lineage", "webhooks", "streams", "kafka", "postgres")

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("victim", VICTIMS)
def test_the_story_ends_the_same_when_a_process_is_killed(victim_stack: Stack, victim: str, seed: int) -> None:
    moment = random.Random(f"kill {victim} {seed}").uniform(0.5, 6.0)
    story = victim_stack.start("demo")
    try:
        time.sleep(moment)  # the seed's moment: when the kill falls is the subject
        victim_stack.kill(victim)
        output, _ = story.communicate(timeout=240)
    finally:
        story.kill()
    assert story.returncode == 0, f"{victim} killed after {moment:.2f} s (seed {seed}): the story broke\n{output}"
    [run_id] = set(re.findall(r"run (rev_kpi_20251004_\d\d), partition", output))
    verified = victim_stack.run("evidence", "verify", "--run", f"{run_id}-replay-1")
    assert "delta commit" in verified.stdout
    admin = victim_stack.librdkafka_admin()
    judge.exactly_one_outcome(admin)
    ends = judge.runs_end_once(admin)
    assert ends["acme", run_id] == "RunFailed"
    assert ends["acme", f"{run_id}-replay-1"] == "RunSucceeded"
    assert ends["acme", f"{run_id}-replay-2"] == "RunSucceeded", "approved by a person"
    judge.ledger_is_complete(admin)
    judge.one_commit_per_run(victim_stack.data / "lake")
