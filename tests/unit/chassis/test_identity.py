"""Who may call: every token that is not exactly right is refused."""

from __future__ import annotations

import asyncio
import base64
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from barecount_chassis import Identity, JwksKeys, Problem, Settings, create_keypair, issue_token
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm

Token = Callable[..., str]


@pytest.fixture
def identity(settings: Settings) -> Identity:
    return Identity.of(settings)


async def refused(identity: Identity, authorization: str | None) -> Problem:
    with pytest.raises(Problem) as caught:
        await identity.verify(authorization)
    assert caught.value.code == "unauthenticated"
    assert caught.value.status == 401
    assert caught.value.headers["WWW-Authenticate"].startswith('Bearer realm="barecount"')
    return caught.value


def claims(**changed: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    base = {"iss": "barecount-local", "aud": "barecount", "sub": "ann", "tenant": "acme", "roles": ["operator"]}
    return {name: value for name, value in {**base, "exp": now + timedelta(minutes=5), **changed}.items() if value is not None}


def signed(keys: Path, **changed: Any) -> str:
    key = load_pem_private_key((keys / "issuer.pem").read_bytes(), None)
    return "Bearer " + jwt.encode(claims(**changed), key, algorithm="EdDSA")  # type: ignore[arg-type]


async def test_a_call_without_a_token_is_refused(identity: Identity) -> None:
    await refused(identity, None)
    await refused(identity, "")
    await refused(identity, "Bearer")
    await refused(identity, "Basic YW5uOnNlY3JldA==")
    await refused(identity, "Bearer not.a.token")
    await refused(identity, "Bearer " + "a" * 20_000)


async def test_an_expired_token_is_refused(identity: Identity, token: Token) -> None:
    problem = await refused(identity, token("operator", ttl=-60))
    assert problem.detail == "the token has expired"


async def test_a_token_for_another_audience_or_of_another_issuer_is_refused(identity: Identity, token: Token) -> None:
    assert "audience" in (await refused(identity, token("operator", audience="payroll"))).detail
    assert "issuer" in (await refused(identity, token("operator", issuer="elsewhere"))).detail


async def test_a_token_of_another_key_is_refused(identity: Identity, tmp_path: Path) -> None:
    create_keypair(tmp_path, "issuer")
    other = issue_token((tmp_path / "issuer.pem").read_bytes(), subject="a", tenant="acme", roles=["operator"], ttl=timedelta(minutes=1))
    assert "not signed by the issuer" in (await refused(identity, f"Bearer {other}")).detail


async def test_an_unsigned_token_is_refused(identity: Identity) -> None:
    await refused(identity, "Bearer " + jwt.encode(claims(), None, algorithm="none"))  # type: ignore[arg-type]


async def test_a_token_signed_with_the_public_key_as_a_shared_secret_is_refused(identity: Identity, keys: Path) -> None:
    # RFC 8725 §2.1: HS256 with the PEM text as its secret
    import hashlib
    import hmac

    def part(value: dict[str, Any]) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value, default=lambda when: int(when.timestamp())).encode()).rstrip(b"=")

    said = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(claims())
    mac = hmac.new((keys / "issuer.public.pem").read_bytes(), said, hashlib.sha256).digest()
    forged = (said + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()
    assert "algorithm" in (await refused(identity, f"Bearer {forged}")).detail


@pytest.mark.parametrize("claim", ["sub", "tenant", "roles", "exp", "iss", "aud"])
async def test_a_token_without_a_needed_claim_is_refused(identity: Identity, keys: Path, claim: str) -> None:
    await refused(identity, signed(keys, **{claim: None}))


@pytest.mark.parametrize("tenant", ["*", "", "ACME", "a/b", "a" * 80, "é"])
async def test_a_token_cannot_name_what_is_no_tenant(identity: Identity, keys: Path, tenant: str) -> None:
    await refused(identity, signed(keys, tenant=tenant))


async def test_a_token_never_makes_its_bearer_a_service(identity: Identity, keys: Path) -> None:
    caller = await identity.verify(signed(keys, roles=["service", "auditor", "something-else"]))
    assert caller.roles == {"auditor"}
    assert not caller.may("work:report")


async def test_a_good_token_gives_a_pseudonymous_caller(identity: Identity, token: Token) -> None:
    caller = await identity.verify(token("operator", "auditor", tenant="acme"))
    assert (caller.tenant, caller.roles) == ("acme", {"operator", "auditor"})
    assert caller.principal.startswith("user:")
    assert len(caller.principal) == len("user:") + 16
    assert "ann" not in repr(caller)
    again = await identity.verify(token("developer"))
    assert again.principal == caller.principal


@pytest.fixture
def jwks(keys: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """A real HTTP server with a key set; (url, {kid: private key}) plus how often it was asked."""
    ed = load_pem_private_key((keys / "issuer.pem").read_bytes(), None)
    rsa = generate_private_key(65537, 2048)
    rows = [
        {**OKPAlgorithm.to_jwk(ed.public_key(), as_dict=True), "kid": "ed", "alg": "EdDSA", "use": "sig"},  # type: ignore[arg-type]
        {**RSAAlgorithm.to_jwk(rsa.public_key(), as_dict=True), "kid": "rsa", "alg": "RS256", "use": "sig"},
    ]
    asked: list[str] = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps({"keys": rows}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/keys", {"ed": ed, "rsa": rsa, "asked": asked, "rows": rows, "server": server}
    server.shutdown()
    server.server_close()


async def test_keys_of_an_oidc_issuer_take_the_same_path(jwks: tuple[str, dict[str, Any]]) -> None:
    url, held = jwks
    identity = Identity(JwksKeys(url), issuer="barecount-local", audience="barecount")
    for kid, algorithm in (("ed", "EdDSA"), ("rsa", "RS256")):
        caller = await identity.verify("Bearer " + jwt.encode(claims(), held[kid], algorithm=algorithm, headers={"kid": kid}))
        assert caller.tenant == "acme"
    assert (
        "audience"
        in (await refused(identity, "Bearer " + jwt.encode(claims(aud="x"), held["ed"], algorithm="EdDSA", headers={"kid": "ed"}))).detail
    )
    for _ in range(5):
        await refused(identity, "Bearer " + jwt.encode(claims(), held["ed"], algorithm="EdDSA", headers={"kid": "unknown"}))
    assert len(held["asked"]) == 1, "unknown key ids made the service ask the issuer again and again"


async def test_an_issuer_that_is_away_is_not_the_callers_fault() -> None:
    identity = Identity(JwksKeys("http://127.0.0.1:9/keys"), issuer="barecount-local", audience="barecount")
    made = jwt.encode(claims(), load_pem_private_key(_any_key(), None), algorithm="EdDSA", headers={"kid": "x"})  # type: ignore[arg-type]
    with pytest.raises(Problem) as caught:
        await identity.verify(f"Bearer {made}")
    assert caught.value.code == "service-unavailable"


def test_no_token_is_issued_for_the_role_service(keys: Path) -> None:
    for roles in (["service"], ["king"], []):
        with pytest.raises(ValueError, match="choose from"):
            issue_token((keys / "issuer.pem").read_bytes(), subject="a", tenant="acme", roles=roles, ttl=timedelta(minutes=1))


def _any_key() -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


async def test_a_token_that_was_verified_is_refused_from_the_moment_it_expires(identity: Identity, token: Token) -> None:
    shown = token("operator", ttl=-7)  # within the leeway of 10 s
    assert (await identity.verify(shown)).tenant == "acme"
    async with asyncio.timeout(30):
        with pytest.raises(Problem, match="expired"):  # noqa: PT012
            while await identity.verify(shown):  # noqa: ASYNC110 only the clock makes it expire
                await asyncio.sleep(0.05)


async def test_a_token_that_was_verified_is_verified_again_after_a_minute(
    identity: Identity, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, asked = token("operator"), 0
    inner = identity._keys.key_for

    async def counted(given: str) -> Any:
        nonlocal asked
        asked += 1
        return await inner(given)

    monkeypatch.setattr(identity._keys, "key_for", counted)
    first = await identity.verify(shown)
    assert await identity.verify(shown) == first
    assert asked == 1
    monkeypatch.setattr("barecount_chassis.identity.monotonic", lambda: time.monotonic() + 61)
    assert await identity.verify(shown) == first
    assert asked == 2


def of_kid(held: dict[str, Any], kid: str, algorithm: str, **changed: Any) -> str:
    return "Bearer " + jwt.encode(claims(**changed), held[kid], algorithm=algorithm, headers={"kid": kid})


def of_issuer(url: str) -> tuple[Identity, JwksKeys]:
    keys = JwksKeys(url)
    return Identity(keys, issuer="barecount-local", audience="barecount"), keys


async def test_a_key_that_its_issuer_withdrew_is_refused_as_soon_as_that_is_learned_although_its_token_was_verified_just_now(
    jwks: tuple[str, dict[str, Any]],
) -> None:
    url, held = jwks
    identity, keys = of_issuer(url)
    stolen = of_kid(held, "rsa", "RS256")
    for _ in range(3):
        assert (await identity.verify(stolen)).tenant == "acme"
    held["rows"][:] = [row for row in held["rows"] if row["kid"] != "rsa"]
    keys._client.cooldown_duration = 0
    # a key that is not known yet, as the issuer's next one, makes the service ask
    await refused(identity, of_kid({"new": held["ed"]}, "new", "EdDSA"))
    await refused(identity, stolen)
    assert (await identity.verify(of_kid(held, "ed", "EdDSA"))).tenant == "acme"


async def test_a_key_that_its_issuer_withdrew_is_refused_when_the_keys_are_asked_for_again(
    jwks: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barecount_chassis.identity.JWKS_SECONDS", 0.2)
    url, held = jwks
    identity, _ = of_issuer(url)
    stolen = of_kid(held, "rsa", "RS256")
    await identity.verify(stolen)
    asked = len(held["asked"])
    await identity.verify(stolen)
    assert len(held["asked"]) == asked, "known keys are not asked for by every call"
    held["rows"][:] = [row for row in held["rows"] if row["kid"] != "rsa"]
    async with asyncio.timeout(5):
        with pytest.raises(Problem, match="not signed by the issuer"):  # noqa: PT012
            while await identity.verify(stolen):  # noqa: ASYNC110 only the clock makes it ask again
                await asyncio.sleep(0.02)


async def test_while_the_issuer_is_away_its_last_keys_are_believed_and_not_for_ever(
    jwks: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barecount_chassis.identity.JWKS_SECONDS", 0.05)
    url, held = jwks
    identity, keys = of_issuer(url)
    shown = of_kid(held, "ed", "EdDSA")
    await identity.verify(shown)
    held["server"].shutdown()
    held["server"].server_close()
    for _ in range(3):
        await asyncio.sleep(0.06)  # the keys' time passes, and the issuer cannot be asked
        assert (await identity.verify(shown)).tenant == "acme"
    keys._client.cooldown_duration = 0
    with pytest.raises(Problem) as unknown:
        await identity.verify(of_kid({"new": held["ed"]}, "new", "EdDSA"))
    assert unknown.value.code == "service-unavailable", "whether the issuer has that key cannot be known"
    monkeypatch.setattr("barecount_chassis.identity.JWKS_KEPT_SECONDS", 0.0)
    async with asyncio.timeout(5):
        with pytest.raises(Problem) as away:  # noqa: PT012
            while await identity.verify(shown):  # noqa: ASYNC110 only the clock makes it ask again
                await asyncio.sleep(0.02)
    assert away.value.code == "service-unavailable"


async def test_the_local_issuers_key_counts_from_the_moment_it_is_replaced(tmp_path: Path) -> None:
    create_keypair(tmp_path, "issuer")
    identity = Identity.of(Settings(service="command", kafka_bootstrap="localhost:1", keys_dir=tmp_path))
    identity.check()
    before = signed(tmp_path)
    assert (await identity.verify(before)).tenant == "acme"
    (tmp_path / "issuer.pem").unlink()
    create_keypair(tmp_path, "issuer")
    assert "not signed by the issuer" in (await refused(identity, before)).detail
    assert (await identity.verify(signed(tmp_path))).tenant == "acme"
    (tmp_path / "issuer.public.pem").unlink()
    with pytest.raises(Problem) as gone:
        await identity.verify(signed(tmp_path))
    assert gone.value.code == "service-unavailable"
