"""The one error tree of this library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import asyncpg

# values that no row can hold: a number out of range, U+0000 in a text
UNASKABLE: Final[tuple[type[Exception], ...]] = (asyncpg.DataError,)
# the database is away, starting or stopping, or cut the connection; the same question is safe to ask again
UNREACHABLE: Final[tuple[type[Exception], ...]] = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InterfaceError,
    # a connection that was lost between two statements of a transaction: "cannot switch to state"
    asyncpg.InternalClientError,
    ConnectionError,
)


class ReadModelError(Exception):
    """Anything that this library raises by itself."""


class QueryRoleMissing(ReadModelError):
    """The role under which queries run does not exist, and this login may not create it."""

    def __init__(self, role: str, owner: str) -> None:
        super().__init__(
            f'queries run as role "{role}", which does not exist or which "{owner}" may not take. As an administrator of PostgreSQL run: '
            f'CREATE ROLE "{role}" NOLOGIN; GRANT "{role}" TO "{owner}";'
        )


class NotYetProjected(ReadModelError):
    """The read model did not reach a position in time. missing: (topic, partition) -> offset that is not projected yet."""

    def __init__(self, missing: Mapping[tuple[str, int], int], seconds: float) -> None:
        places = ", ".join(f"{topic}/{partition}@{offset}" for (topic, partition), offset in missing.items())
        super().__init__(f"not projected within {seconds:g} s: {places}")
        self.missing = dict(missing)


class TokenError(ReadModelError):
    """A consistency token that cannot be used. code: `token-malformed`, `token-foreign` or `token-future` of problems.yaml."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


class ProjectionTaken(ReadModelError):
    """Another process moved this projection's position: a zombie, or a second projector of the same views."""
