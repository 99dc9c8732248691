"""Who calls: a bearer token (JWT, RFC 7519) becomes a Caller. The local issuer and an OIDC issuer take the same path."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, Final, Protocol

import jwt
from barecount_contracts.rules import permissions
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from .problems import Problem, unauthenticated
from .settings import Settings, SettingsError

LEEWAY: Final = timedelta(seconds=10)
LONGEST_TOKEN: Final = 16_384
# a token that was verified is known for so long, and no longer than its key is (docs/operating.md)
VERIFIED_SECONDS: Final = 60.0
MOST_VERIFIED: Final = 1_024
# an OIDC issuer's keys are asked for so often; while it does not answer, those that it gave last are believed for so long
JWKS_SECONDS: Final = 60.0
JWKS_KEPT_SECONDS: Final = 300.0
# what a public key can verify; a symmetric algorithm or `none` never enters this list (RFC 8725 §3.1)
ASYMMETRIC: Final = ("EdDSA", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
TENANT: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller. `principal` is the pseudonym that logs and evidence carry; `subject` is never logged."""

    principal: str
    tenant: str
    roles: frozenset[str]
    subject: str
    expires: datetime | None = None
    """From when on the token is refused; None: never."""

    def may(self, action: str) -> bool:
        return any(permissions().allowed(role, action) for role in self.roles)

    def __repr__(self) -> str:
        return f"Caller(principal={self.principal!r}, tenant={self.tenant!r}, roles={sorted(self.roles)})"


class KeySource(Protocol):
    """Finds the key that must have signed a token."""

    async def key_for(self, token: str) -> tuple[Any, list[str]]:
        """(key, algorithms allowed with it). Raises: jwt.PyJWTError when there is none."""
        ...

    def known(self) -> object:
        """Stands for the keys as they are known now: while it stays equal, no key was withdrawn. None: they must be asked for first."""
        ...

    def check(self) -> None:
        """Reads what can be read at start. Raises: SettingsError."""
        ...


class Identity:
    """Verifies bearer tokens of one issuer for one audience."""

    def __init__(self, keys: KeySource, *, issuer: str, audience: str, tenant_claim: str = "tenant", roles_claim: str = "roles") -> None:
        self._keys, self._issuer, self._audience = keys, issuer, audience
        self._tenant_claim, self._roles_claim = tenant_claim, roles_claim
        self._verified: dict[bytes, tuple[float, object, Caller]] = {}

    @classmethod
    def of(cls, settings: Settings) -> Identity:
        """The issuer that the settings name. Keys are read when the first token arrives, so that this works offline."""
        keys = JwksKeys(settings.jwks_url) if settings.jwks_url else PemKey(settings.keys / "issuer.public.pem")
        claims = {"tenant_claim": settings.tenant_claim, "roles_claim": settings.roles_claim}
        return cls(keys, issuer=settings.issuer, audience=settings.audience, **claims)

    def check(self) -> None:
        """At start: a missing local key is told then, not at the first call. Raises: SettingsError."""
        self._keys.check()

    async def verify(self, authorization: str | None) -> Caller:
        """The caller behind an `Authorization` header's value.

        Raises: Problem `unauthenticated`, or `service-unavailable` when the issuer's keys cannot be read.
        """
        scheme, _, token = (authorization or "").strip().partition(" ")
        token = token.strip()
        if not authorization:
            raise unauthenticated("the call carries no Authorization header")
        if scheme.lower() != "bearer" or not token:
            raise unauthenticated("the Authorization header is not `Bearer <token>`", error="invalid_request")
        if len(token) > LONGEST_TOKEN:
            raise unauthenticated("the token is longer than any that is issued here", error="invalid_token")
        # who calls a hundred times a second shows the same token: its signature is verified once a minute
        shown = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        until, under, caller = self._verified.get(shown, (0.0, None, None))
        # before the token is verified: keys that change meanwhile make it be verified again
        known = self._keys.known()
        withdrawn = known is None or known != under
        if caller is None or withdrawn or monotonic() > until or caller.expires is None or datetime.now(UTC) >= caller.expires:
            caller = await self._verify(token)
            if len(self._verified) >= MOST_VERIFIED:
                self._verified.clear()
            self._verified[shown] = (monotonic() + VERIFIED_SECONDS, known, caller)
        return caller

    async def _verify(self, token: str) -> Caller:
        try:
            key, algorithms = await self._keys.key_for(token)
            claims = jwt.decode(
                token,
                key,
                algorithms=algorithms,
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY,
                options={"require": ["exp", "iss", "aud", "sub", self._tenant_claim, self._roles_claim]},
            )
        except jwt.PyJWKClientConnectionError as error:
            raise Problem("service-unavailable", "the token issuer's keys cannot be read") from error
        except jwt.PyJWTError as error:
            raise unauthenticated(self._explain(error), error="invalid_token") from error
        return self._caller(claims)

    def _caller(self, claims: dict[str, Any]) -> Caller:
        subject, tenant, roles = claims["sub"], claims[self._tenant_claim], claims[self._roles_claim]
        if not isinstance(subject, str) or not subject:
            raise unauthenticated("the token's `sub` is empty", error="invalid_token")
        if not isinstance(tenant, str) or not TENANT.fullmatch(tenant):
            raise unauthenticated(f"the token's `{self._tenant_claim}` is not a tenant's name", error="invalid_token")
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise unauthenticated(f"the token's `{self._roles_claim}` is not a list of roles", error="invalid_token")
        # an issuer may know roles of other systems; `service` is nobody's to claim by token
        known = frozenset(roles) & (permissions().roles.keys() - {"service"})
        expires = datetime.fromtimestamp(claims["exp"], UTC) + LEEWAY
        return Caller(pseudonym(self._issuer, subject), tenant, known, subject, expires)

    def _explain(self, error: jwt.PyJWTError) -> str:
        match error:
            case jwt.ExpiredSignatureError():
                return "the token has expired"
            case jwt.ImmatureSignatureError():
                return "the token is not valid yet"
            case jwt.InvalidAudienceError():
                return f"the token is not for the audience {self._audience!r}"
            case jwt.InvalidIssuerError():
                return f"the token is not of the issuer {self._issuer!r}"
            case jwt.MissingRequiredClaimError():
                return f"the token has no claim {error.claim!r}"
            case jwt.InvalidAlgorithmError():
                return "the token's algorithm is not the issuer's"
            case jwt.InvalidSignatureError() | jwt.PyJWKClientError():
                return "the token is not signed by the issuer"
            case _:
                return "the token is malformed"


class PemKey:
    """The local issuer's public key, from a PEM file (Ed25519). A file that was replaced counts from the next call on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key: Any = None
        self._read: object = None

    def check(self) -> None:
        known = self.known()
        if self._key is None or known is None or known != self._read:
            try:
                self._key, self._read = load_pem_public_key(self._path.read_bytes()), known
            except (OSError, ValueError) as error:
                raise SettingsError(f"{self._path} is not a readable public key: BARECOUNT_KEYS_DIR must hold the issuer's") from error

    def known(self) -> object:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    async def key_for(self, token: str) -> tuple[Any, list[str]]:
        try:
            self.check()
        except SettingsError as error:
            # at start it ends the service; a file that is taken away or damaged later is a key that nobody can be asked about
            raise jwt.PyJWKClientConnectionError(str(error)) from error
        return self._key, ["EdDSA"]


class JwksKeys:
    """An OIDC issuer's keys, asked for once a minute; an unknown key id asks again at most every 30 seconds."""

    def __init__(self, url: str) -> None:
        self._client = _Jwks(url, lifespan=JWKS_SECONDS, timeout=5, cooldown_duration=30)

    def check(self) -> None:
        """Nothing: an issuer that is away must not keep a service from starting."""

    def known(self) -> object:
        # the very object: each time that the issuer is asked makes another
        return self._client.jwk_set_cache.get() if self._client.jwk_set_cache else None

    async def key_for(self, token: str) -> tuple[Any, list[str]]:
        # the client may fetch over the network, so it runs in a thread
        key = await asyncio.to_thread(self._client.get_signing_key_from_jwt, token)
        return key, [name for name in ASYMMETRIC if name == key.algorithm_name]


class _Jwks(jwt.PyJWKClient):
    """Goes on with the keys that it has while the issuer does not answer, though not for ever."""

    _last: jwt.PyJWKSet | None = None
    _fetched = 0.0

    def fetch_data(self) -> Any:
        found = super().fetch_data()
        self._fetched = monotonic()
        return found

    def get_jwk_set(self, refresh: bool = False) -> jwt.PyJWKSet:
        try:
            self._last = super().get_jwk_set(refresh)
        except jwt.PyJWKClientConnectionError:
            # who asks for a key that is not among them must hear that it cannot be looked up
            if refresh or self._last is None or monotonic() - self._fetched > JWKS_KEPT_SECONDS:
                raise
            assert self.jwk_set_cache is not None
            # not asked again by every call meanwhile
            self.jwk_set_cache.put(self._last)
        return self._last


def pseudonym(issuer: str, subject: str) -> str:
    """The principal that stands for a subject in logs and evidence: user:<16 hex of SHA-256(issuer | subject)>."""
    return "user:" + hashlib.sha256(f"{issuer}|{subject}".encode()).hexdigest()[:16]


def issue_token(
    private_pem: bytes,
    *,
    subject: str,
    tenant: str,
    roles: Iterable[str],
    ttl: timedelta,
    issuer: str = "barecount-local",
    audience: str = "barecount",
) -> str:
    """A token of the local issuer.

    Raises: ValueError for a role that permissions.yaml does not have, or a key that is not Ed25519.
    """
    wanted = sorted(set(roles))
    known = permissions().roles.keys() - {"service"}
    if not wanted or set(wanted) - known:
        raise ValueError(f"{wanted} are not all roles; choose from {sorted(known)}")
    key = load_pem_private_key(private_pem, None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("the issuer's key is not an Ed25519 key")
    now = datetime.now(UTC)
    claims = {"iss": issuer, "aud": audience, "sub": subject, "tenant": tenant, "roles": wanted, "iat": now, "exp": now + ttl}
    return jwt.encode(claims, key, algorithm="EdDSA")
