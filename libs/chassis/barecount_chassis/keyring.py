"""The assertion: a service vouches, over a command's digest, for who asks. It is what the log carries instead of a bearer token."""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, overload

from barecount_contracts import Assertion, Envelope, Heading, Role, canonical_of_json, command_digest
from barecount_contracts.rules import command_rule, permissions
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from .identity import Caller
from .settings import SettingsError


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a record is not a command: a code of contracts/problems.yaml and words for people."""

    code: str
    detail: str
    proven: bool = False  # the assertion is genuine and only a permission is missing


R = TypeVar("R")


class Keyring:
    """One service's signing key and every service's public key, from a folder of <name>.pem and <name>.public.pem (Ed25519)."""

    def __init__(self, folder: Path, service: str) -> None:
        self._folder, self._service = folder, service
        self._own: Ed25519PrivateKey | None = None
        self._public: dict[str, Ed25519PublicKey] = {}
        self._pair: bool | None = None

    @property
    def principal(self) -> str:
        """How this service signs when it acts by itself."""
        return service_principal(self._service)

    def sign_assertion(self, caller: Caller, command: Envelope) -> Envelope:
        """The command with this service's word that the caller asks it. The command's tenant is the caller's."""
        return self._sign(command, caller.principal, caller.tenant, tuple(sorted(caller.roles)))

    def service_assertion(self, command: Envelope) -> Envelope:
        """The command as this service's own (role `service`), for the tenant that it names: policies, ticks and reports."""
        return self._sign(command, self.principal, command.tenant, ("service",))

    @overload
    def gate(self) -> Callable[[Heading, object], Refusal | None]: ...

    @overload
    def gate(self, refuse: Callable[[str, str, bool], R]) -> Callable[[Heading, object], R | None]: ...

    def gate(self, refuse: Callable[[str, str, bool], Any] = Refusal) -> Callable[[Heading, object], Any]:
        """What a handler asks of every command: asserted by a service that may, signed, and within the principal's role.

        The gate answers None, or a refusal `unsigned-command`, `bad-signature`, `forbidden` or `unknown-type`, made by
        `refuse(code, detail, proven)`: hand over the event log's own Refusal.
        """

        def check(command: Heading, asking: object = None) -> Any:
            # the handler knows the command's digest already, and may know what its signature is worth
            refusal = self._check(command, getattr(asking, "digest", None), getattr(asking, "vouched", None))
            return refusal and refuse(refusal.code, refusal.detail, refusal.proven)

        return check

    def vouched(self, command: Heading, digest: str) -> bool | None:
        """Whether the command's assertion is signed by the key of its issuer; None where nobody may vouch so. digest: the command's.

        Raises: SettingsError when the issuer's key is not there.
        """
        word, rule = command.assertion, command_rule(command.type)
        if word is None or rule is None or word.issuer not in rule.issuers:
            return None
        return self._verifies(word, command, digest)

    def _sign(self, command: Envelope, principal: str, tenant: str, roles: tuple[str, ...]) -> Envelope:
        unsigned = Assertion(issuer=self._service, principal=principal, tenant=tenant, roles=cast("tuple[Role, ...]", roles), signature="")
        signature = base64.urlsafe_b64encode(self._private().sign(signed_bytes(unsigned, command))).rstrip(b"=").decode()
        return command.model_copy(update={"principal": principal, "assertion": unsigned.model_copy(update={"signature": signature})})

    def _check(self, command: Heading, digest: str | None, vouched: bool | None = None) -> Refusal | None:
        word = command.assertion
        if word is None:
            return Refusal("unsigned-command", f"{command.type} {command.id} carries no assertion of who asks")
        rule = command_rule(command.type)
        if rule is None:
            return Refusal("unknown-type", f"contracts/permissions.yaml has no command {command.type}")
        if word.issuer not in rule.issuers:
            return Refusal("forbidden", f"the service {word.issuer!r} may not vouch for {command.type}")
        if word.tenant != command.tenant or word.principal != command.principal:
            return Refusal("bad-signature", f"the assertion of {command.id} is for another tenant or principal than the command names")
        if not (self._verifies(word, command, digest) if vouched is None else vouched):
            return Refusal("bad-signature", f"the assertion of {command.id} is not signed by the key of {word.issuer!r} over this command")
        own = word.principal == service_principal(word.issuer)
        if own != ("service" in word.roles) or (own and word.roles != ("service",)):
            return Refusal("forbidden", "the role `service` is a service's own, and its only one", proven=True)
        if command.source is not None and not own:
            return Refusal("forbidden", "only a service derives a command from another log", proven=True)
        if not any(permissions().allowed(role, rule.action) for role in word.roles):
            detail = f"{command.type} needs {rule.action}; the roles {list(word.roles)} do not have it"
            return Refusal("forbidden", detail, proven=True)
        return None

    def _verifies(self, word: Assertion, command: Heading, digest: str | None) -> bool:
        key = self._public_of(word.issuer)
        try:
            signature = base64.b64decode(word.signature + "=" * (-len(word.signature) % 4), altchars=b"-_", validate=True)
            said = signed_bytes(word, command, digest)
            if word.issuer != self._service or not self._signs_so(key, signature, said):
                key.verify(signature, said)
        except (InvalidSignature, ValueError):
            return False
        return True

    def _signs_so(self, key: Ed25519PublicKey, signature: bytes, said: bytes) -> bool:
        """Whether this service's own key gives this very signature: Ed25519 is deterministic (RFC 8032), and signing costs a third."""
        if self._pair is None:
            self._pair = self._has_private() and self._private().public_key() == key
        return self._pair and hmac.compare_digest(self._private().sign(said), signature)

    def _has_private(self) -> bool:
        return (self._folder / f"{self._service}.pem").exists()

    def _private(self) -> Ed25519PrivateKey:
        if self._own is None:
            path = self._folder / f"{self._service}.pem"
            try:
                key = load_pem_private_key(path.read_bytes(), None)
            except (OSError, ValueError) as error:
                raise SettingsError(f"{path} is not a readable private key: BARECOUNT_KEYS_DIR must hold this service's own") from error
            if not isinstance(key, Ed25519PrivateKey):
                raise SettingsError(f"{path} is not an Ed25519 key")
            self._own = key
        return self._own

    def _public_of(self, service: str) -> Ed25519PublicKey:
        """Only issuers of permissions.yaml come here, so that a name from the log never becomes a path."""
        if service not in self._public:
            path = self._folder / f"{service}.public.pem"
            try:
                key = load_pem_public_key(path.read_bytes())
            except (OSError, ValueError) as error:
                # not the command's fault: the handler must stop rather than refuse what is well signed
                raise SettingsError(f"{path} is not a readable public key: BARECOUNT_KEYS_DIR must hold every service's") from error
            if not isinstance(key, Ed25519PublicKey):
                raise SettingsError(f"{path} is not an Ed25519 key")
            self._public[service] = key
        return self._public[service]


def service_principal(service: str) -> str:
    return f"service:{service}"


def signed_bytes(word: Assertion, command: Heading, digest: str | None = None) -> bytes:
    """What the signature covers: canonical JSON (RFC 8785) of the assertion without signature, plus the command's digest (when known)."""
    if digest is None:
        # only what the sender wrote has the sender's digest: what was read with its payload says its defaults too
        assert isinstance(command, Envelope)
        digest = command_digest(command)
    return canonical_of_json({**word.model_dump(mode="json", exclude={"signature"}), "digest": digest})


def create_keypair(folder: Path, name: str) -> None:
    """Writes <name>.pem (0600) and <name>.public.pem, unless the private key is there: a key is made once."""
    folder.mkdir(parents=True, exist_ok=True)
    private, public = folder / f"{name}.pem", folder / f"{name}.public.pem"
    if private.exists():
        key = load_pem_private_key(private.read_bytes(), None)
        assert isinstance(key, Ed25519PrivateKey), f"{private} is not an Ed25519 key"
    else:
        key = Ed25519PrivateKey.generate()
        draft = folder / f".{name}.pem.new"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        draft.replace(private)
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
