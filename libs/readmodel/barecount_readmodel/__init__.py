"""PostgreSQL: exactly-once projector, rebuild, consistency tokens.

Errors (one tree): ReadModelError > QueryRoleMissing, NotYetProjected, TokenError, ProjectionTaken, RebuildError
(> RebuildUnderWay, NoLiveModel, NothingToRollBackTo, ModelsDiffer, SwapBlocked, LogTooShort).
"""

from .database import EVERY_TENANT, Database, query_role_of
from .errors import (
    UNASKABLE,
    UNREACHABLE,
    LogTooShort,
    ModelsDiffer,
    NoLiveModel,
    NothingToRollBackTo,
    NotYetProjected,
    ProjectionTaken,
    QueryRoleMissing,
    ReadModelError,
    RebuildError,
    RebuildUnderWay,
    SwapBlocked,
    TokenError,
)
from .projector import Projector
from .reach import reach
from .rebuild import Rebuild
from .rebuilding import rebuild_main
from .rows import insert_rows
from .snapshots import PostgresSnapshots
from .token import Token, token_secret
from .view import Connection, View, schema_of

__all__ = [
    "EVERY_TENANT",
    "UNASKABLE",
    "UNREACHABLE",
    "Connection",
    "Database",
    "LogTooShort",
    "ModelsDiffer",
    "NoLiveModel",
    "NotYetProjected",
    "NothingToRollBackTo",
    "PostgresSnapshots",
    "ProjectionTaken",
    "Projector",
    "QueryRoleMissing",
    "ReadModelError",
    "Rebuild",
    "RebuildError",
    "RebuildUnderWay",
    "SwapBlocked",
    "Token",
    "TokenError",
    "View",
    "insert_rows",
    "query_role_of",
    "reach",
    "rebuild_main",
    "schema_of",
    "token_secret",
]
