"""What the gate lets into a log: a command that a service which may has signed for a principal whose role allows it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from barecount_chassis import Caller, Keyring, SettingsError, create_keypair
from barecount_contracts import Envelope, Position
from barecount_contracts.rules import permissions

OPERATOR = Caller("user:00000000000000aa", "acme", frozenset({"operator"}), "ann")
DATA = {"pipeline": "revenue-kpi", "environment": "prod", "data_partitions": ["2025-10-04"]}


def command(type_: str = "StartRun", *, tenant: str = "acme", **other: Any) -> Envelope:
    return Envelope(id=uuid4(), type=type_, tenant=tenant, time=datetime.now(UTC), correlation=uuid4(), data=DATA, **other)


@pytest.fixture
def ring(keys: Path) -> Keyring:
    return Keyring(keys, "command")


def code(ring: Keyring, envelope: Envelope) -> str | None:
    refusal = ring.gate()(envelope, None)
    return refusal and refusal.code


def test_a_command_without_an_assertion_is_refused(ring: Keyring) -> None:
    assert code(ring, command()) == "unsigned-command"


def test_a_changed_command_is_refused(ring: Keyring) -> None:
    good = ring.sign_assertion(OPERATOR, command())
    assert code(ring, good) is None
    assert code(ring, good.model_copy(update={"data": {**DATA, "pipeline": "payroll"}})) == "bad-signature"
    assert code(ring, good.model_copy(update={"id": uuid4()})) == "bad-signature"
    assert code(ring, good.model_copy(update={"type": "CancelRun"})) == "bad-signature"
    assert code(ring, good.model_copy(update={"version": 2})) == "bad-signature"


def test_a_changed_assertion_is_refused(ring: Keyring) -> None:
    good = ring.sign_assertion(OPERATOR, command())
    assert good.assertion is not None
    for change in (
        {"roles": ("tenant_admin",)},
        {"tenant": "globex"},
        {"principal": "user:00000000000000bb"},
        {"signature": ""},
        {"signature": "not base64!"},
        {"signature": good.assertion.signature[:-4] + "AAAA"},
    ):
        assert code(ring, good.model_copy(update={"assertion": good.assertion.model_copy(update=change)})) == "bad-signature", change


def test_a_private_key_vouches_for_nothing_when_the_public_one_is_another(keys: Path, tmp_path: Path) -> None:
    create_keypair(tmp_path, "command")
    for name in ("command.pem", "command.public.pem"):
        source = tmp_path if name == "command.pem" else keys
        (tmp_path / "mixed").mkdir(exist_ok=True)
        (tmp_path / "mixed" / name).write_bytes((source / name).read_bytes())
    thief = Keyring(tmp_path / "mixed", "command")
    assert code(thief, thief.sign_assertion(OPERATOR, command())) == "bad-signature"


def test_a_service_that_only_reads_judges_its_own_name_by_the_public_key(ring: Keyring, keys: Path, tmp_path: Path) -> None:
    (tmp_path / "command.public.pem").write_bytes((keys / "command.public.pem").read_bytes())
    reader = Keyring(tmp_path, "command")
    good = ring.sign_assertion(OPERATOR, command())
    assert code(reader, good) is None
    assert code(reader, good.model_copy(update={"id": uuid4()})) == "bad-signature"


def test_a_signed_command_cannot_be_moved_to_another_tenant_or_principal(ring: Keyring) -> None:
    good = ring.sign_assertion(OPERATOR, command())
    assert code(ring, good.model_copy(update={"tenant": "globex"})) == "bad-signature"
    assert code(ring, good.model_copy(update={"principal": "user:00000000000000bb"})) == "bad-signature"


def test_a_service_vouches_only_for_the_commands_that_the_matrix_gives_it(ring: Keyring, keys: Path) -> None:
    worker = Keyring(keys, "worker")
    assert code(ring, worker.sign_assertion(OPERATOR, command())) == "forbidden"
    assert code(ring, worker.service_assertion(command("AdmitRun"))) == "forbidden"
    assert code(ring, worker.service_assertion(command("ReportTaskStarted"))) is None


def test_a_service_that_is_unknown_is_refused_before_any_file_is_looked_for(ring: Keyring, keys: Path) -> None:
    good = ring.sign_assertion(OPERATOR, command())
    assert good.assertion is not None
    for name in ("mallory", "../command", "issuer"):
        forged = good.model_copy(update={"assertion": good.assertion.model_copy(update={"issuer": name})})
        assert code(ring, forged) == "forbidden"


def test_the_role_service_is_a_services_own(ring: Keyring) -> None:
    pretender = Caller("user:00000000000000aa", "acme", frozenset({"service"}), "ann")
    assert code(ring, ring.sign_assertion(pretender, command("ReportLedgerFacts"))) == "forbidden"
    mixed = Caller(ring.principal, "acme", frozenset({"service", "operator"}), "x")
    assert code(ring, ring.sign_assertion(mixed, command())) == "forbidden"


def test_only_a_service_derives_a_command_from_another_log(ring: Keyring) -> None:
    source = Position(topic="runs.events", partition=0, offset=7)
    assert code(ring, ring.sign_assertion(OPERATOR, command(source=source))) == "forbidden"
    assert code(ring, ring.service_assertion(command("ReportLedgerFacts", source=source))) is None


def test_a_command_that_the_matrix_does_not_know_is_refused(ring: Keyring) -> None:
    assert code(ring, ring.service_assertion(command("LaunchRocket"))) == "unknown-type"


@pytest.mark.parametrize("role", sorted(permissions().roles.keys() - {"service"}))
@pytest.mark.parametrize("type_", sorted(permissions().commands))
def test_every_role_sends_exactly_the_commands_that_permissions_yaml_gives_it(keys: Path, role: str, type_: str) -> None:
    rule = permissions().commands[type_]
    vouching = Keyring(keys, rule.issuers[0])
    signed = vouching.sign_assertion(Caller("user:00000000000000aa", "acme", frozenset({role}), "ann"), command(type_))
    expected = None if rule.action in permissions().roles[role] else "forbidden"
    assert code(vouching, signed) == expected


def test_a_refusal_is_of_the_class_that_the_log_wants(ring: Keyring) -> None:
    gate = ring.gate(lambda code, detail, proven: (code, proven))
    assert gate(command(), None) == ("unsigned-command", False)
    auditor = Caller("user:00000000000000aa", "acme", frozenset({"auditor"}), "ann")
    assert gate(ring.sign_assertion(auditor, command()), None) == ("forbidden", True)


def test_a_missing_key_is_the_installations_fault_and_not_the_commands(tmp_path: Path, ring: Keyring) -> None:
    with pytest.raises(SettingsError, match="BARECOUNT_KEYS_DIR"):
        Keyring(tmp_path, "command").gate()(ring.sign_assertion(OPERATOR, command()), None)
