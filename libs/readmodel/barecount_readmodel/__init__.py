"""PostgreSQL: exactly-once projector, rebuild, consistency tokens.

Errors (one tree): ReadModelError > DatabaseAway, QueryRoleMissing, NotYetProjected, TokenError, AsOfError, ProjectionTaken, RebuildError
(> RebuildUnderWay, NoLiveModel, NothingToRollBackTo, ModelsDiffer, SwapBlocked, LogTooShort, ShareLost).
"""

from .concerning import EntityEvents
from .database import EVERY_TENANT, Database, query_role_of
from .errors import (
    UNASKABLE,
    UNREACHABLE,
    AsOfError,
    DatabaseAway,
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
    ShareLost,
    SwapBlocked,
    TokenError,
)
from .folding import Folded, columns_of
from .past import Past, Seen, Source, Thing
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
    "AsOfError",
    "Connection",
    "Database",
    "DatabaseAway",
    "EntityEvents",
    "Folded",
    "LogTooShort",
    "ModelsDiffer",
    "NoLiveModel",
    "NotYetProjected",
    "NothingToRollBackTo",
    "Past",
    "PostgresSnapshots",
    "ProjectionTaken",
    "Projector",
    "QueryRoleMissing",
    "ReadModelError",
    "Rebuild",
    "RebuildError",
    "RebuildUnderWay",
    "Seen",
    "ShareLost",
    "Source",
    "SwapBlocked",
    "Thing",
    "Token",
    "TokenError",
    "View",
    "columns_of",
    "insert_rows",
    "query_role_of",
    "reach",
    "rebuild_main",
    "schema_of",
    "token_secret",
]
