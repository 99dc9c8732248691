"""Systems that publish signed commands: who they are, with which key, and what they may do."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from barecount_contracts import PublisherRegistered, PublisherRevoked, RegisterPublisher, RevokePublisher
from barecount_eventlog import Emit, Inbound

from .answers import refuse, unchanged
from .state import Tenant

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P


def register_publisher(tenant: Tenant, inbound: Inbound, command: RegisterPublisher) -> list[Emit]:
    """PublisherRegistered. The same name with another key rotates it: from here on the former one is void."""
    if "service" in command.roles:
        return refuse(inbound, "invalid-request", "the role `service` is a service's own: give the publisher a role of people")
    raw = unpadded(command.public_key)
    if raw is None or not is_signing_key(raw):
        return refuse(inbound, "invalid-public-key", f"the public key of {command.name} is not 32 bytes that are an Ed25519 key")
    roles = tuple(sorted(set(command.roles)))
    event = PublisherRegistered(name=command.name, public_key=command.public_key, roles=roles, description=command.description)
    held = tenant.publishers.get(command.name)
    same = held is not None and (held.public_key, held.roles, held.description) == (event.public_key, event.roles, event.description)
    return unchanged(inbound) if held is not None and same and not held.revoked else [Emit(event)]


def revoke_publisher(tenant: Tenant, inbound: Inbound, command: RevokePublisher) -> list[Emit]:
    """PublisherRevoked; revoking again changes nothing."""
    held = tenant.publishers.get(command.name)
    if held is None:
        return refuse(inbound, "publisher-not-found", f"there is no publisher {command.name}")
    return unchanged(inbound) if held.revoked else [Emit(PublisherRevoked(name=command.name))]


def unpadded(text: str) -> bytes | None:
    """The bytes of base64url without padding (RFC 7515); None for anything that has another spelling."""
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    # one value has one spelling: set trailing bits would let a signed thing look like another
    return raw if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() == text else None


def is_signing_key(raw: bytes) -> bool:
    """Whether these are the 32 bytes of a point of Ed25519 (RFC 8032, 5.1.3) that is not of small order.

    Under a key of small order a signature can be made without any secret.
    """
    if len(raw) != 32:
        return False
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _P:
        return False
    square = y * y % _P
    on_curve = pow((square - 1) * pow(_D * square + 1, -1, _P), (_P - 1) // 2, _P) == 1
    order_eight = (_D * square * square + 2 * square - 1) % _P == 0
    return on_curve and square != 0 and not order_eight
