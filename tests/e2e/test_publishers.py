"""Systems publish signed commands to the running product: from a terminal, in Python and in Node, as the docs show it."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.stack import Stack

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
pytestmark = pytest.mark.e2e
ASKED = {"type": "StartRun", "data": {"pipeline": "nothing-here", "data_partition": "2025-10-04"}}


@pytest.fixture(scope="module")
def key(product: Stack) -> Path:
    """The key of acme/ci, registered from the terminal."""
    path = product.folder / "ci.pem"
    product.run("publishers", "register", "ci", "--role", "operator", "--role", "developer", "--key", str(path))
    return path


def environment(product: Stack) -> dict[str, str]:
    """What an external system is told: an address and its login."""
    password = json.loads((product.data / "passwords.json").read_text())["kafka"]["publisher"]
    bootstrap = json.loads((product.data / "stack.json").read_text())["kafka_bootstrap"]
    told = {"BOOTSTRAP": bootstrap, "USERNAME": "publisher", "PASSWORD": password}
    return {**product.env, **{f"BARECOUNT_KAFKA_{name}": value for name, value in told.items()}}


def written(product: Stack, text: str) -> str:
    path = product.folder / f"{uuid4()}.yaml"
    path.write_text(text)
    return str(path)


def schema(subject: str) -> dict[str, Any]:
    return {"subject": subject, "schema_text": json.dumps({"type": "object", "title": subject})}


def test_a_command_published_from_the_terminal_is_decided_and_its_outcome_read_by_its_id(product: Stack, key: Path) -> None:
    command = written(product, f"type: RegisterSchema\ndata: {json.dumps(schema('terminal-value'))}\n")
    done = product.run("publish", command, "--publisher", "ci", "--key", str(key), "--jti", "terminal-1", "--output", "json")
    told = json.loads(done.stdout)
    assert told["event"]["type"] == "SchemaRegistered"
    shown = product.client("operator").get(f"/commands/{told['command_id']}")
    assert (shown["status"], shown["principal"]) == ("admitted", "publisher:acme/ci")
    again = product.run("publish", command, "--publisher", "ci", "--key", str(key), "--jti", "terminal-1", check=False)
    assert (again.returncode, "jti-reused" in again.stderr) == (5, True), again.stderr
    # the first outcome stands
    assert product.client("operator").get(f"/commands/{told['command_id']}")["status"] == "admitted"


def test_a_date_in_yaml_stays_a_text_and_a_refusal_has_exit_code_5(product: Stack, key: Path) -> None:
    command = written(product, "type: StartRun\ndata: {pipeline: nothing-here, data_partition: 2025-10-04}\n")
    done = product.run("publish", command, "--publisher", "ci", "--key", str(key), check=False)
    assert (done.returncode, "pipeline-not-found" in done.stderr) == (5, True), done.stderr


def test_a_command_that_is_not_waited_for_is_followed_by_its_id(product: Stack, key: Path) -> None:
    done = product.run("publish", written(product, json.dumps(ASKED)), "-p", "ci", "--key", str(key), "--no-wait", "-o", "json")
    told = json.loads(done.stdout)
    assert told["event"] is None


def test_a_key_is_made_for_its_owner_alone_and_revoked_it_publishes_nothing(product: Stack) -> None:
    product.run("publishers", "register", "short-lived", "--role", "operator")
    made = product.folder / "state" / "publishers" / "acme" / "short-lived.pem"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    command = written(product, json.dumps(ASKED))
    # the only key in the state folder: no name is needed
    assert "pipeline-not-found" in product.run("publish", command, check=False).stderr
    product.run("publishers", "revoke", "short-lived")
    refused = product.run("publish", command, check=False)
    assert (refused.returncode, "unknown-publisher" in refused.stderr) == (5, True), refused.stderr
    listed = {one["name"]: one for one in json.loads(product.run("publishers", "list", "--output", "json").stdout)}
    assert listed["short-lived"]["revoked_at"] is not None


def test_what_was_rejected_is_counted_where_an_operator_looks(product: Stack, key: Path) -> None:
    def rejected() -> dict[str, int]:
        found: dict[str, int] = product.processes()["command"]["rejected"]
        return found

    before = rejected()
    product.run("publishers", "register", "counted", "--role", "auditor", "--key", str(key.with_name("counted.pem")))
    command = written(product, json.dumps(ASKED))
    done = product.run("publish", command, "-p", "counted", "--key", str(key.with_name("counted.pem")), check=False)
    assert "forbidden" in done.stderr
    assert rejected().get("forbidden", 0) == before.get("forbidden", 0) + 1
    assert "rejected" in product.run("status").stdout


def test_the_python_example_publishes_and_reads_the_outcome(product: Stack, key: Path) -> None:
    asked = [str(EXAMPLES / "publish_command.py"), "acme/ci", str(key), "RegisterSchema", json.dumps(schema("python-value"))]
    done = subprocess.run([sys.executable, *asked], env=environment(product), capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["type"] == "SchemaRegistered"
    assert product.client("operator").get(f"/commands/{told['command_id']}")["principal"] == "publisher:acme/ci"


@pytest.mark.skipif(shutil.which("node") is None or shutil.which("npm") is None, reason="Node is not installed here")
def test_the_node_example_publishes_and_reads_the_outcome(product: Stack, key: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(EXAMPLES / "publish-command", tmp_path / "example", ignore=shutil.ignore_patterns("node_modules")))
    npm = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=place, capture_output=True, text=True, timeout=120, check=False)
    assert npm.returncode == 0, npm.stderr
    asked = ["node", "publish-command.mjs", "acme/ci", str(key), "RegisterSchema", json.dumps(schema("node-value"))]
    done = subprocess.run(asked, cwd=place, env=environment(product), capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["type"] == "SchemaRegistered"
    assert product.client("operator").get(f"/commands/{told['command_id']}")["principal"] == "publisher:acme/ci"
