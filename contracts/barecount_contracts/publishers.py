"""External principals that append signed commands to pipelines.commands, and what their signature must say.

A publisher's record carries the header `jws`: a detached JWS (RFC 7515 appendix F, compact form without its middle part) over exactly the
bytes of the record's value, with the protected header `{"alg": "EdDSA", "kid": "<tenant>/<publisher>", "jti": <1 to 255 characters>,
"exp": <unix seconds>}`. The envelope has no assertion, names `publisher:<tenant>/<publisher>` as principal, and its id is
UUIDv5(tenant, principal, jti): `jti` is the idempotency key of DESIGN §1. `exp` is judged by the broker's clock.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from pydantic import Field

from .envelope import Role
from .message import Message, message

SIGNATURE_HEADER: Final = "jws"
# an expired command can never come again as a new one: ids are remembered for seven days
LONGEST_VALIDITY: Final = timedelta(days=1)


def publisher_principal(tenant: str, name: str) -> str:
    """How a publisher stands in logs and evidence."""
    return f"publisher:{tenant}/{name}"


@message(outcome="requested")
class RegisterPublisher(Message):
    """Let a system that holds this key publish signed commands."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="Unique within the tenant")
    public_key: str = Field(description="Raw Ed25519 public key (32 bytes), base64url without padding")
    roles: tuple[Role, ...] = Field(min_length=1, description="What its commands may do; never `service`")
    description: str = Field(default="", max_length=500, description="For people")


@message(outcome="requested")
class RevokePublisher(Message):
    """Take the right to publish away. What was admitted before stays."""

    name: str = Field(description="The publisher's name")


@message(subject=("publisher", "name"), facts=("public_key", "roles"))
class PublisherRegistered(Message):
    """A system may publish commands signed with this key; a former key of the same name is void from here."""

    name: str = Field(description="Unique within the tenant")
    public_key: str = Field(description="Raw Ed25519 public key (32 bytes), base64url without padding")
    roles: tuple[Role, ...] = Field(description="What its commands may do")
    description: str = Field(default="", description="For people")


@message(subject=("publisher", "name"))
class PublisherRevoked(Message):
    """Nothing signed with this publisher's key is admitted any more."""

    name: str = Field(description="The publisher's name")
