"""Who may publish: given registered publishers, when a signed record comes, then it is let in or refused with a code."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from barecount_command.domain import State, admit_signed
from barecount_command.domain.publishers import is_signing_key
from barecount_contracts import CancelRun, DecideRequest, Position, RegisterPublisher, RevokePublisher, StartRun, parse
from barecount_eventlog import Asking, Recorded, Refusal
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.publisher import Publisher
from tests.unit.command.history import History, code

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SOON = int(NOW.timestamp()) + 300
CI = Publisher()
START = StartRun(pipeline="revenue-kpi", data_partition="2025-10-04").to_data()


def registered(*publishers: tuple[Publisher, str]) -> State:
    history = History()
    for publisher, role in publishers or ((CI, "operator"),):
        command = RegisterPublisher(name=publisher.name, public_key=publisher.public_key, roles=(role,))  # type: ignore[arg-type]
        assert code(history.when(command, tenant=publisher.tenant)) == "PublisherRegistered"
    return history.state


def judged(
    value: bytes, jws: bytes, *, state: State | None = None, now: datetime = NOW, first: Position | None = None
) -> tuple[str, bool] | None:
    """(code, proven) of the refusal; None when it is let in."""
    record = Recorded("pipelines.commands", 0, 7, now, "acme", {"jws": jws}, value, b"acme")
    refusal = admit_signed(parse(value), Asking(record, registered() if state is None else state, now, first))
    assert refusal is None or isinstance(refusal, Refusal)
    return refusal and (refusal.code, refusal.proven)


def published(
    publisher: Publisher = CI, type_: str = "StartRun", data: dict[str, Any] = START, *, jti: str = "1", exp: Any = SOON, **changed: Any
) -> tuple[bytes, bytes]:
    value = publisher.command(type_, data, jti=jti, **changed)
    return value, publisher.signature(value, jti=jti, exp=exp)


def test_a_record_signed_with_another_key_is_refused() -> None:
    thief = Publisher(key=Ed25519PrivateKey.generate())
    assert judged(*published(thief)) == ("bad-signature", False)


def test_a_publisher_nobody_registered_is_refused() -> None:
    assert judged(*published(Publisher(name="cd"))) == ("unknown-publisher", False)


def test_another_tenants_publisher_is_refused_even_with_its_own_valid_key() -> None:
    other = Publisher(tenant="globex")
    state = registered((CI, "operator"), (other, "tenant_admin"))
    value = CI.command("StartRun", START, jti="1")
    assert judged(value, other.signature(value, jti="1", exp=SOON), state=state) == ("unknown-publisher", False)
    assert judged(*published(other), state=state) is None


def test_a_revoked_publisher_is_refused_and_registered_anew_it_is_let_in() -> None:
    history = History()
    register = RegisterPublisher(name="ci", public_key=CI.public_key, roles=("operator",))
    history.when(register)
    assert judged(*published(), state=history.state) is None
    assert code(history.when(RevokePublisher(name="ci"))) == "PublisherRevoked"
    assert judged(*published(), state=history.state) == ("unknown-publisher", False)
    history.when(register)
    assert judged(*published(), state=history.state) is None


def test_a_rotated_key_is_void_at_once() -> None:
    fresh = Publisher()
    state = registered((CI, "operator"), (fresh, "operator"))
    assert judged(*published(), state=state) == ("bad-signature", False)
    assert judged(*published(fresh), state=state) is None


def test_expiry_is_judged_by_the_brokers_clock() -> None:
    now = int(NOW.timestamp())
    assert judged(*published(exp=now)) == ("expired-command", True)
    assert judged(*published(exp=now + 1)) is None
    assert judged(*published(exp=now + 86_400)) is None
    assert judged(*published(exp=now + 86_401)) == ("expiry-too-far", True)
    assert judged(*published(exp=-(10**400))) == ("expired-command", True)
    assert judged(*published(exp=10**400)) == ("expiry-too-far", True)


def test_a_jti_is_spent_once() -> None:
    first = Position(topic="pipelines.commands", partition=0, offset=3)
    assert judged(*published(), first=first) == ("jti-reused", True)


def test_an_id_or_principal_or_chain_of_somebody_else_is_refused() -> None:
    stranger = str(uuid4())
    for changed in ({"id": stranger}, {"principal": "user:1"}, {"principal": None}, {"correlation": stranger}):
        value = CI.command("StartRun", START, jti="1", **changed)
        assert judged(value, CI.signature(value, jti="1", exp=SOON)) == ("id-mismatch", False), changed


def test_a_publisher_cannot_pose_as_a_policy_or_a_service() -> None:
    source = {"topic": "runs.events", "partition": 0, "offset": 10**9}
    assert judged(*published(source=source)) == ("forbidden", False)
    assert judged(*published(cause=source)) == ("forbidden", False)
    word = {"issuer": "command", "principal": CI.principal, "tenant": "acme", "roles": ["operator"], "signature": ""}
    assert judged(*published(assertion=word)) == ("bad-signature", False)


def test_a_role_without_the_action_and_a_command_not_taken_from_publishers_are_refused() -> None:
    assert judged(*published(), state=registered((CI, "auditor"))) == ("forbidden", True)
    decision = DecideRequest(request_id="r", decision="approve", reason="so", plan_digest="sha256:0").to_data()
    assert judged(*published(type_="DecideRequest", data=decision), state=registered((CI, "governance"))) == ("forbidden", True)
    key = RegisterPublisher(name="mine", public_key=CI.public_key, roles=("tenant_admin",)).to_data()
    assert judged(*published(type_="RegisterPublisher", data=key), state=registered((CI, "tenant_admin"))) == ("forbidden", True)
    assert judged(*published(type_="NoSuch", data={})) == ("unknown-type", False)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"crit": ["b64"], "b64": False},
        {"crit": ["exp"]},
        {"b64": False},
        {"kid": None},
        {"kid": 7},
        {"kid": ""},
        {"jti": None},
        {"jti": ""},
        {"jti": "x" * 256},
        {"jti": "\ud800"},
        {"jti": 1},
        {"exp": None},
        {"exp": True},
        {"exp": "soon"},
        {"exp": SOON + 0.5},
        {"extra": "x" * 5000},
    ],
    ids=str,
)
def test_a_header_that_says_less_or_more_than_agreed_is_refused(header: dict[str, Any]) -> None:
    value = CI.command("StartRun", START, jti="1")
    told = {"alg": "EdDSA", "kid": "acme/ci", "jti": "1", "exp": SOON, **header}
    jws = by_hand({name: one for name, one in told.items() if one is not None}, value)
    assert judged(value, jws) in (("bad-signature", False), ("unknown-publisher", False))


def by_hand(told: dict[str, Any] | str, value: bytes) -> bytes:
    text = told if isinstance(told, str) else json.dumps(told)
    protected = _base64(text.encode())
    return protected + b".." + _base64(CI.key.sign(protected + b"." + _base64(value)))


def _base64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


@pytest.mark.parametrize("jws", [b"", b"..", b"a..b", b"\xff\xfe", b"e30..", b"." * 4096, b"x" * 9000, b"[" * 3000 + b".." + b"A" * 86])
def test_garbage_in_the_header_is_refused(jws: bytes) -> None:
    assert judged(published()[0], jws) == ("bad-signature", False)


def test_a_name_that_stands_twice_and_nesting_without_end_are_refused() -> None:
    value = CI.command("StartRun", START, jti="1")
    twice = f'{{"alg":"EdDSA","kid":"acme/ci","jti":"1","exp":{SOON},"exp":{SOON}}}'
    assert judged(value, by_hand(twice, value)) == ("bad-signature", False)
    assert judged(value, by_hand("[" * 2500, value)) == ("bad-signature", False)
    assert judged(value, by_hand("[]", value)) == ("bad-signature", False)
    assert judged(value, by_hand(twice.replace(f',"exp":{SOON}', "", 1), value)) is None


def test_a_payload_that_stands_in_the_signature_too_is_refused() -> None:
    value, jws = published()
    protected, _, signature = jws.split(b".")
    assert judged(value, protected + b"." + _base64(value) + b"." + signature) == ("bad-signature", False)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_changed_byte_of_the_value_or_the_signature_refuses(data: st.DataObject) -> None:
    value, jws = published()
    state = registered()
    assert judged(value, jws, state=state) is None
    which = data.draw(st.sampled_from(["value", "jws"]))
    target = value if which == "value" else jws
    at = data.draw(st.integers(0, len(target) - 1))
    changed = bytearray(target)
    changed[at] ^= data.draw(st.integers(1, 255))
    record = Recorded("pipelines.commands", 0, 7, NOW, "acme", {"jws": bytes(changed) if which == "jws" else jws}, value, b"acme")
    if which == "value":
        # the envelope is what was meant; the bytes are what was signed
        record = Recorded("pipelines.commands", 0, 7, NOW, "acme", {"jws": jws}, bytes(changed), b"acme")
    refusal = admit_signed(parse(value), Asking(record, state, NOW, None))
    assert refusal is not None
    assert not refusal.proven


def test_a_key_that_is_no_key_is_not_registered() -> None:
    p = 2**255 - 19
    for bad in (
        "",
        "AAAA",
        "!" * 43,
        CI.public_key + "=",
        CI.public_key[:-1],
        "A" * 43,
        _point(1),
        _point(p - 1),
        _point(0),
        _point(p),
        _point(2),
    ):
        found = code(History().when(RegisterPublisher(name="ci", public_key=bad, roles=("operator",))))
        assert found == "invalid-public-key", bad
    assert all(is_signing_key(Publisher().key.public_key().public_bytes_raw()) for _ in range(200))


def _point(y: int) -> str:
    return _base64(y.to_bytes(32, "little")).decode()


def test_nobody_makes_a_publisher_a_service() -> None:
    assert code(History().when(RegisterPublisher(name="ci", public_key=CI.public_key, roles=("operator", "service")))) == "invalid-request"


def test_the_same_registration_again_changes_nothing_and_revoking_needs_somebody() -> None:
    history = History()
    register = RegisterPublisher(name="ci", public_key=CI.public_key, roles=("operator", "developer"))
    assert code(history.when(RevokePublisher(name="ci"))) == "publisher-not-found"
    assert code(history.when(register)) == "PublisherRegistered"
    assert code(history.when(register)) == "CommandDuplicated"
    assert code(history.when(register.model_copy(update={"roles": ("developer", "operator", "operator")}))) == "CommandDuplicated"
    assert code(history.when(RevokePublisher(name="ci"))) == "PublisherRevoked"
    assert code(history.when(RevokePublisher(name="ci"))) == "CommandDuplicated"
    assert code(history.when(register)) == "PublisherRegistered"


def test_a_publishers_cancel_needs_the_role_of_its_key() -> None:
    data = CancelRun(run_id="r").to_data()
    assert judged(*published(type_="CancelRun", data=data)) is None
    assert judged(*published(type_="CancelRun", data=data), state=registered((CI, "developer"))) == ("forbidden", True)
