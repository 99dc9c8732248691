"""Read-your-writes at the edge: what a caller's consistency token names is projected, or the caller is told what to do."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from barecount_chassis import Problem
from barecount_contracts import catalogue

from .errors import NotYetProjected, TokenError
from .projector import Projector
from .token import Token

SECONDS: Final = 2.0


async def reach(
    projector: Projector, token: str | None, secret: bytes, tenant: str, *, topics: Collection[str] | None = None, seconds: float = SECONDS
) -> None:
    """Waits until the rows hold what the token names; at once without a token.

    tenant: the caller's, to whom the token must have been given. topics: those whose positions this service can know, where tokens may
    name others. Raises: Problem `token-malformed`, `token-foreign`, `token-future`, or `not-yet-projected` after `seconds`.
    """
    if token is None:
        return
    try:
        named = Token.decode(token, secret, tenant)
        if topics is not None:
            named = Token(tuple(row for row in named.positions if row[0] in topics), catalogue().generation)
        await projector.wait(named, seconds)
    except TokenError as error:
        raise Problem(error.code, error.detail) from error
    except NotYetProjected as error:
        raise Problem("not-yet-projected", str(error)) from error
