"""The one error tree of this library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
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


class DatabaseAway(ReadModelError, ConnectionError):
    """A query found no database, or none that answers in time; nothing was read, and the same question is safe to ask again."""


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


class AsOfError(ReadModelError):
    """A moment that cannot be asked about. code: `as-of-malformed`, `as-of-foreign`, `as-of-future` or `as-of-too-long`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


class ProjectionTaken(ReadModelError):
    """Another process moved this projection's position: a zombie, or a second projector of the same views."""


class RebuildError(ReadModelError):
    """A rebuild that did not end with a swap. The live model is as it was."""


class RebuildUnderWay(RebuildError):
    """Another process rebuilds this service's read model."""

    def __init__(self, service: str, holder: str, since: datetime | None) -> None:
        began = f" since {since:%Y-%m-%d %H:%M:%S %Z}" if since else ""
        super().__init__(
            f"{service} is being rebuilt already by {holder}{began}: wait for it, or end that process; the live model does not depend on it"
        )


class NoLiveModel(RebuildError):
    """The database does not hold the schema of this code's views."""

    def __init__(self, service: str, schema: str, found: Sequence[str]) -> None:
        there = f"what stands there is {', '.join(found)}" if found else "there is none at all"
        super().__init__(
            f"no read model {schema} of {service} ({there}). The running service has other views than this code: "
            "restart the service with this code, or build the model ahead of that with --prepare"
        )


class NothingToRollBackTo(RebuildError):
    """No rebuild of these views was swapped in, so there is no model before it."""


class ModelsDiffer(RebuildError):
    """The rebuilt rows are not the live ones. differences: what `equality.compare` found, table by table."""

    def __init__(self, service: str, told: str, differences: Sequence[object]) -> None:
        super().__init__(told)
        self.service, self.differences = service, tuple(differences)


class SwapBlocked(RebuildError):
    """The live projector or a long query did not let the swap pass in time."""


class ShareLost(RebuildError):
    """Another process, among which a rebuild was divided, is gone or stands still."""

    def __init__(self, service: str, pid: int | None, what: str) -> None:
        super().__init__(f"process {pid} of the rebuild of {service} {what}; the live model is as it was, rebuild again")


class LogTooShort(RebuildError):
    """The log did not bring the records up to the live model's position in time."""
