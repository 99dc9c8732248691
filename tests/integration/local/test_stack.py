"""The stack as a user has it: `barecount up`, `status` and `down`, with stand-ins for the services' code and real servers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from barecount_contracts import catalogue
from barecount_local.ports import free_ports
from barecount_local.settings import StackSettings
from barecount_local.status import status
from barecount_local.waiting import until
from confluent_kafka.admin import AdminClient

from tests.support import fakes
from tests.support.servers import SHORT_LIVED, kafka_server, postgres_server

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


class User:
    """Somebody at a terminal with a data folder."""

    def __init__(self, folder: Path, code: Path) -> None:
        (self.port,) = free_ports(1)
        self.folder = folder / "data"
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(code),
            "BARECOUNT_DATA_DIR": str(self.folder),
            "BARECOUNT_HTTP_PORT": str(self.port),
            "BARECOUNT_KAFKA_JAVA_OPTIONS": " ".join(SHORT_LIVED),
        }

    def types(self, *words: str, **changed: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("barecount")), *words]
        return subprocess.run(command, env={**self.environment, **changed}, capture_output=True, text=True, check=False, timeout=150)

    def up(self) -> dict[str, Any]:
        done = self.types("up", "--output", "json")
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.types("status", "--output", "json").stdout))

    def row(self, name: str) -> dict[str, Any]:
        """A row of what `status` shows, without a process for each look: waiting looks often."""
        found = status(StackSettings.of(self.environment))
        return next(row for row in found["processes"] if row["name"] == name)

    def asks(self, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, dict[str, Any], Any]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method, data=body)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.loads(answer.read()), answer.headers
        except urllib.error.HTTPError as refused:
            return refused.code, json.loads(refused.read()), refused.headers


@contextmanager
def user() -> Iterator[User]:
    with tempfile.TemporaryDirectory(prefix="barecount-stack-") as name:
        folder = Path(name)
        # PostgreSQL runs as another user when root runs the tests
        folder.chmod(0o755)
        somebody = User(folder, fakes.write(folder / "code"))
        try:
            yield somebody
        finally:
            assert somebody.types("down").returncode == 0


@pytest.fixture(scope="module")
def running() -> Iterator[User]:
    with user() as somebody:
        somebody.up()
        yield somebody


def test_a_taken_port_is_named_with_its_holder_and_the_setting_to_change() -> None:
    with user() as somebody, socket.create_server(("127.0.0.1", somebody.port)):
        refused = somebody.types("up")
        assert refused.returncode == 1
        assert f"port {somebody.port} is taken by" in refused.stderr
        assert f"pid {os.getpid()}" in refused.stderr
        assert "BARECOUNT_HTTP_PORT" in refused.stderr
        assert somebody.status()["state"] == "stopped"


def test_a_port_that_is_none_is_refused_by_the_name_of_its_setting() -> None:
    with user() as somebody:
        refused = somebody.types("status", BARECOUNT_HTTP_PORT="http")
        assert refused.returncode == 1
        assert "BARECOUNT_HTTP_PORT=http" in refused.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")
def test_a_folder_that_postgresql_cannot_pass_is_named() -> None:
    with user() as somebody:
        somebody.folder.parent.chmod(0o700)
        refused = somebody.types("up")
        assert refused.returncode == 1
        assert f"cannot pass {somebody.folder.parent}" in refused.stderr
        assert "BARECOUNT_DATA_DIR" in refused.stderr


def test_clean_refuses_a_folder_that_holds_no_stack() -> None:
    with user() as somebody:
        somebody.folder.mkdir()
        (somebody.folder / "letters.txt").write_text("dear")
        refused = somebody.types("clean", "--yes")
        assert refused.returncode == 1
        assert (somebody.folder / "letters.txt").exists()


def test_every_process_is_ready_and_named_with_its_memory_and_lag(running: User) -> None:
    found = running.status()
    names = [row["name"] for row in found["processes"]]
    services = ["command", "execution", "lineage", "evidence", "webhooks", "streams", "worker-1", "worker-2"]
    assert names == ["kafka", "postgres", "caddy", *services]
    assert {row["health"] for row in found["processes"]} == {"ready"}
    assert all(row["pss_bytes"] > 0 and Path(row["log"]).exists() for row in found["processes"])
    assert running.row("command")["lag"] == 3


def test_passwords_and_keys_are_readable_by_their_owner_alone_and_stand_in_no_other_file(running: User) -> None:
    secrets = [
        running.folder / "passwords.json",
        *(running.folder / "keys").glob("*.private.pem"),
        running.folder / "keys" / "token.secret",
    ]
    assert len(secrets) > 9
    assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}
    word = json.loads(secrets[0].read_text())["kafka"]["command"]
    assert word not in (running.folder / "stack.json").read_text()
    for row in running.status()["processes"]:
        assert word not in Path(f"/proc/{row['pid']}/cmdline").read_text()


def test_a_second_up_on_the_same_folder_leaves_the_running_stack_alone(running: User) -> None:
    before = {row["name"]: row["pid"] for row in running.status()["processes"]}
    again = running.types("up")
    assert again.returncode == 0
    assert "already" in again.stdout
    assert {row["name"]: row["pid"] for row in running.status()["processes"]} == before


def test_a_second_stack_runs_beside_the_first(running: User) -> None:
    with user() as neighbour:
        neighbour.up()
        assert running.status()["state"] == neighbour.status()["state"] == "ready"
        assert neighbour.types("down").returncode == 0
        assert running.status()["state"] == "ready"


@pytest.mark.parametrize(
    ("method", "path", "service"),
    [
        ("POST", "/pipelines", "command"),
        ("POST", "/pipelines/replay", "command"),
        ("POST", "/runs/r1/cancel", "command"),
        ("GET", "/runs/r1/metrics", "execution"),
        ("GET", "/pipelines/p/history", "command"),
        ("POST", "/dlq/d1/redrive", "command"),
        ("GET", "/dlq", "execution"),
        ("GET", "/subjects", "command"),
        ("GET", "/lineage/revenue", "lineage"),
        ("GET", "/evidence/proof", "evidence"),
        ("GET", "/tile/0/000", "evidence"),
        ("GET", "/checkpoint", "evidence"),
        ("GET", "/webhooks", "command"),
        ("GET", "/webhooks/wh_1", "command"),
        ("POST", "/webhooks/wh_1/redeliver", "command"),
        ("GET", "/webhooks/wh_1/deliveries", "webhooks"),
        ("GET", "/webhooks/wh_1/secret", "webhooks"),
        ("GET", "/publishers", "command"),
        ("GET", "/stream", "streams"),
        ("GET", "/ui/", "streams"),
        ("GET", "/", "streams"),
    ],
)
def test_the_edge_brings_each_call_to_its_service(running: User, method: str, path: str, service: str) -> None:
    status, answer, _ = running.asks(path, method)
    assert status == 200
    assert answer["told"]["BARECOUNT_SERVICE"] == service
    assert answer["path"] == path


@pytest.mark.parametrize("path", ["/runsaway", "/metrics", "/health/ready", "/pipelinesx"])
def test_the_edge_answers_what_belongs_to_nobody_with_a_problem_document(running: User, path: str) -> None:
    status, problem, headers = running.asks(path)
    assert status == problem["status"] == 404
    assert problem["code"] == "not-found"
    assert headers["Content-Type"] == "application/problem+json"


def test_the_edge_refuses_a_body_over_its_limit(running: User) -> None:
    status, problem, _ = running.asks("/pipelines", "POST", b"x" * 2_100_000)
    assert (status, problem["code"]) == (413, "payload-too-large")


def test_a_killed_service_is_answered_for_named_and_started_again(running: User) -> None:
    before = running.row("lineage")
    os.kill(before["pid"], signal.SIGKILL)
    status, problem, headers = running.asks("/lineage")
    if status != 200:  # it may be back already on a fast machine
        assert (status, problem["code"], headers["Retry-After"]) == (503, "service-unavailable", "1")
    after = until(lambda: (row := running.row("lineage"))["health"] == "ready" and row, what="lineage to be back", seconds=30)
    assert after["pid"] != before["pid"]
    assert after["restarts"] == before["restarts"] + 1
    assert "SIGKILL" in after["last_error"]


def test_a_service_that_ends_by_itself_is_named_with_its_status_and_last_lines(running: User) -> None:
    address = running.row("evidence")["address"]
    with pytest.raises(OSError, match=r".*"):
        urllib.request.urlopen(f"{address}/crash", timeout=5)
    after = until(lambda: (row := running.row("evidence"))["restarts"] and row["health"] == "ready" and row, what="evidence", seconds=30)
    assert "with status 7" in after["last_error"]
    assert "about to crash on request" in after["last_lines"]


def test_servers_that_die_come_back_on_the_same_address(running: User) -> None:
    for name in ("kafka", "postgres", "caddy"):
        before = running.row(name)
        os.kill(before["pid"], signal.SIGKILL)
        after = until(
            lambda name=name, before=before: (  # type: ignore[misc]
                (row := running.row(name))["health"] == "ready" and row["pid"] != before["pid"] and row
            ),
            what=f"{name} to be back",
            seconds=60,
        )
        assert after["address"] == before["address"]
        assert after["restarts"] == before["restarts"] + 1


def test_the_data_and_the_addresses_survive_down_and_up(running: User) -> None:
    before = {row["name"]: row["address"] for row in running.status()["processes"]}
    cluster = (running.folder / "kafka" / "data" / "meta.properties").read_text()
    words = (running.folder / "passwords.json").read_text()
    ended = json.loads(running.types("down", "--output", "json").stdout)["ended"]
    assert set(ended) == set(before)
    assert running.status()["state"] == "stopped"
    assert _listening(before) == []
    running.up()
    assert {row["name"]: row["address"] for row in running.status()["processes"]} == before
    assert (running.folder / "kafka" / "data" / "meta.properties").read_text() == cluster
    assert (running.folder / "passwords.json").read_text() == words


def test_what_a_killed_supervisor_left_is_cleaned_up_by_the_next_up(running: User) -> None:
    before = running.status()
    os.kill(before["supervisor"]["pid"], signal.SIGKILL)
    until(lambda: running.status()["state"] == "orphaned", what="the record to show it", seconds=10)
    running.up()
    after = running.status()
    assert after["state"] == "ready"
    old, new = ({row["pid"] for row in found["processes"]} for found in (before, after))
    assert not old & new
    assert [pid for pid in old if _runs(pid)] == []


def test_servers_that_already_run_are_used_and_not_started() -> None:
    with user() as somebody, kafka_server() as kafka, postgres_server() as postgres:
        admin = kafka.settings()
        somebody.environment |= {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
            "KAFKA_USERNAME": admin["sasl_plain_username"],
            "KAFKA_PASSWORD": admin["sasl_plain_password"],
            "DATABASE_URL": postgres.dsn(),
        }
        found = somebody.up()
        assert [row["name"] for row in found["processes"]][:2] == ["caddy", "command"]
        told = somebody.asks("/pipelines")[1]["told"]
        assert told["BARECOUNT_KAFKA_BOOTSTRAP"] == kafka.bootstrap
        assert told["BARECOUNT_DATABASE_URL"].startswith("postgresql://command:")
        assert told["BARECOUNT_DATABASE_URL"].endswith(postgres.dsn("command").rpartition("@")[2])
        assert set(AdminClient({**kafka.librdkafka(), "log_level": 0}).list_topics(timeout=10).topics) >= set(catalogue().topics)


def test_a_folder_that_cannot_be_written_is_named_with_the_setting_to_change() -> None:
    with user() as somebody:
        # a file where the folder should be: root may write everywhere else
        somebody.folder.write_text("")
        refused = somebody.types("up")
        somebody.folder.unlink()
        assert refused.returncode == 1
        assert f"cannot write to {somebody.folder}" in refused.stderr
        assert "BARECOUNT_DATA_DIR" in refused.stderr


def test_a_service_whose_code_cannot_start_ends_the_start_with_its_own_last_words() -> None:
    with user() as somebody:
        broken = Path(somebody.environment["PYTHONPATH"]) / "barecount_evidence" / "app.py"
        broken.write_text("def main():\n    raise RuntimeError('the ledger key is not readable')\n")
        refused = somebody.types("up")
        assert refused.returncode == 1
        assert "evidence dies again and again" in refused.stderr
        assert "the ledger key is not readable" in refused.stderr
        assert somebody.status()["state"] == "stopped"
        assert all(row["pid"] is None for row in somebody.status()["processes"])


def _listening(addresses: dict[str, str]) -> list[str]:
    found = []
    for name, address in addresses.items():
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))) == 0:
                found.append(name)
    return found


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
